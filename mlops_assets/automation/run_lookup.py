"""What Dagster knows of runs: what was started for which input, and what is being made right now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from mlops_assets.assets.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from mlops_assets.assets.retries import HEAL_TAG
from mlops_assets.automation.decision import Attempt, pause_after
from mlops_assets.automation.jobs import ASSETS_OF_JOBS
from mlops_assets.steps.catalog import ASSETS
from mlops_assets.store.layout import is_partition

TRIGGER_TAG = "mlops_assets/trigger"
"""Run tag: see :func:`mlops_assets.automation.decision.trigger_of`."""

_ALL_ASSETS = "__ASSET_JOB"
_SHORT = 8
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def attempts(instance: dg.DagsterInstance, triggers: Sequence[str], now: dt.datetime) -> dict[str, Attempt]:
    """Trigger -> what became of the runs that were started for it."""
    if not triggers:
        return {}
    records = instance.get_run_records(dg.RunsFilter(tags={TRIGGER_TAG: list(triggers)}))  # the newest first
    found: dict[str, list[dg.RunRecord]] = {}
    for record in records:
        found.setdefault(record.dagster_run.tags[TRIGGER_TAG], []).append(record)
    return {trigger: _attempt(of_trigger, now) for trigger, of_trigger in found.items()}


def unfinished_runs(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """All runs that are queued or under way."""
    return instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))


def days_being_made(runs: Collection[dg.DagsterRun], assets: Collection[str]) -> set[str]:
    """The days of some assets that these runs make."""
    return {ds for run in runs if set(_assets(run)) & set(assets) for ds in _days(run.tags)}


def started_by_itself(runs: Collection[dg.DagsterRun], job: str) -> int:
    """How many of these runs a schedule or sensor has started for a job."""
    return sum(run.job_name == job and TRIGGER_TAG in run.tags for run in runs)


def _assets(run: dg.DagsterRun) -> Collection[str]:
    if run.asset_selection is not None:
        return [key.path[-1] for key in run.asset_selection]
    return ASSETS_OF_JOBS.get(run.job_name, ASSETS if run.job_name == _ALL_ASSETS else ())


def _days(tags: Mapping[str, str]) -> list[str]:
    first, last = (tags.get(PARTITION_TAG, tags.get(name, "")) for name in (RANGE_START_TAG, RANGE_END_TAG))
    if not (is_partition(first) and is_partition(last)):  # no days: of somebody else's assets
        return []
    start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    return [(start + dt.timedelta(days=one)).isoformat() for one in range((end - start).days + 1)]


def _attempt(records: Sequence[dg.RunRecord], now: dt.datetime) -> Attempt:
    run, started = records[0].dagster_run, sum(not one.dagster_run.parent_run_id for one in records)
    name = f"run {run.run_id[:_SHORT]}"
    if run.status is dg.DagsterRunStatus.CANCELED:
        return Attempt(f"{name} was cancelled; execute it again in Dagster's UI", started)
    if run.status is not dg.DagsterRunStatus.FAILURE:
        return Attempt(f"{name} is for it", started)
    pause = pause_after(started) if run.tags.get(HEAL_TAG) == "true" else None
    if pause is None:
        what = f"{name} failed for these data; deliver them again, or execute the run again (all steps) in Dagster's UI"
        return Attempt(what, started)
    again = records[0].update_timestamp.replace(tzinfo=records[0].update_timestamp.tzinfo or dt.timezone.utc) + pause
    return Attempt(f"{name} failed by something that can heal; tried again at {again:%H:%M %Z}", started, now >= again)
