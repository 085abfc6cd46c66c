"""Clearing away what killed runs left behind: Dagster's records of them, and what ran elsewhere for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.housekeeping.dead_runs import fail_dead_runs, is_over

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.backends.base import Backend


def sweep(instance: dg.DagsterInstance, backend: Backend, location: str | None = None) -> list[str]:
    """Mark the runs of killed processes as failed, then end what the backend still runs for runs that are over.

    Args:
        instance: Dagster's.
        backend: Where steps run.
        location: See :func:`mlops_assets.housekeeping.dead_runs.fail_dead_runs`.

    Returns:
        A line for each thing that was ended.
    """
    dead = [f"run {run_id} of a killed process" for run_id in fail_dead_runs(instance, location)]
    return dead + backend.sweep(lambda run_id: is_over(instance, run_id))
