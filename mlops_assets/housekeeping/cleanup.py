"""Clearing away what killed runs left behind: Dagster's records of them, their containers, their MLflow runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.housekeeping.dead_runs import fail_dead_runs, is_over

if TYPE_CHECKING:
    import datetime as dt

    from mlops_assets.backends.base import Backend
    from mlops_assets.tracking.tracker import Tracking

_UNSUCCESSFUL = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def clean_up(instance: dg.DagsterInstance, backend: Backend, location: str | None = None) -> list[str]:
    """Fail the runs of killed processes, then remove what the backend still runs for runs that are over.

    Args:
        instance: Dagster's.
        backend: Where steps run.
        location: See :func:`mlops_assets.housekeeping.dead_runs.fail_dead_runs`.

    Returns:
        A line for each thing that was ended.
    """
    dead = [f"run {run_id} of a killed process" for run_id in fail_dead_runs(instance, location)]
    return dead + backend.cleanup(lambda run_id: is_over(instance, run_id))


def close_mlflow_runs(instance: dg.DagsterInstance, tracking: Tracking, since: dt.datetime | None) -> list[str]:
    """End the MLflow runs that killed processes left open.

    MLflow is asked only if a Dagster run has failed or was cancelled since the last look: opening it is expensive.

    Args:
        instance: Dagster's.
        tracking: MLflow.
        since: The last look; None: there was none.

    Returns:
        A line for each run that was ended.
    """
    unsuccessful = dg.RunsFilter(statuses=_UNSUCCESSFUL, updated_after=since)
    if not instance.get_runs(unsuccessful, limit=1):
        return []
    return [f"MLflow run {run_id}" for run_id in tracking.close_runs(lambda run_id: is_over(instance, run_id))]
