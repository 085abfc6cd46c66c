"""What Dagster knows of runs: what was started for which input, and what is being made right now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from mlops_assets.pipeline.jobs import ASSETS_OF_JOBS
from mlops_assets.steps.catalog import ASSETS

TRIGGER_TAG = "mlops_assets/trigger"
"""Run tag: see :func:`mlops_assets.cadence.decision.trigger_of`."""

_PARTITION = "dagster/partition"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_SHORT = 8


def attempts(instance: dg.DagsterInstance, triggers: Sequence[str]) -> dict[str, str]:
    """Trigger -> what became of the newest run that was started for it."""
    if not triggers:
        return {}
    runs = instance.get_runs(dg.RunsFilter(tags={TRIGGER_TAG: list(triggers)}))
    return {run.tags[TRIGGER_TAG]: _outcome(run) for run in reversed(runs)}


def unfinished_runs(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """All runs that are queued or under way."""
    return instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))


def days_being_made(runs: Collection[dg.DagsterRun], assets: Collection[str]) -> set[str]:
    """The days of some assets that these runs make."""
    return {ds for run in runs if set(_assets(run)) & set(assets) for ds in _days(run.tags)}


def started_by_itself(runs: Collection[dg.DagsterRun], job: str) -> int:
    """How many of these runs a schedule or sensor has started for a job."""
    return sum(run.job_name == job and TRIGGER_TAG in run.tags for run in runs)


def _assets(run: dg.DagsterRun) -> Collection[str]:
    if run.asset_selection is not None:
        return [key.path[-1] for key in run.asset_selection]
    return ASSETS_OF_JOBS.get(run.job_name, ASSETS)


def _days(tags: Mapping[str, str]) -> list[str]:
    if _PARTITION in tags:
        return [tags[_PARTITION]]
    if not all(name in tags for name in _RANGE):
        return []
    first, last = (dt.date.fromisoformat(tags[name]) for name in _RANGE)
    return [(first + dt.timedelta(days=one)).isoformat() for one in range((last - first).days + 1)]


def _outcome(run: dg.DagsterRun) -> str:
    name = f"run {run.run_id[:_SHORT]}"
    if run.status is dg.DagsterRunStatus.FAILURE:
        return f"{name} failed for these data; deliver them again, or execute the run again in Dagster's UI"
    if run.status is dg.DagsterRunStatus.CANCELED:
        return f"{name} was cancelled; execute it again in Dagster's UI"
    return f"{name} is for it"
