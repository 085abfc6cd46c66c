"""Clearing away what killed runs left behind: Dagster's records of them, and what ran elsewhere for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.pipeline.liveness import fail_dead_runs, is_over

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.backends.base import Backend


def sweep(instance: dg.DagsterInstance, backend: Backend) -> list[str]:
    """Mark the runs of killed processes as failed, then end what the backend still runs for runs that are over.

    Returns:
        A line for each thing that the backend ended.
    """
    fail_dead_runs(instance)
    return backend.sweep(lambda run_id: is_over(instance, run_id))
