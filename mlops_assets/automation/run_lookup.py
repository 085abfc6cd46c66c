"""Lookups in Dagster's runs: which input was started already, which days are in progress."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from mlops_assets.assets.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from mlops_assets.assets.retries import RETRY_TAG
from mlops_assets.automation.config import JUDGE
from mlops_assets.automation.decision import Attempt, pause_after
from mlops_assets.automation.jobs import ASSETS_OF_JOBS
from mlops_assets.names import PIPELINE_TAG, Names
from mlops_assets.steps.catalog import ASSETS
from mlops_assets.store.layout import is_partition

TRIGGER_TAG = "mlops_assets/trigger"
"""Run tag: see :func:`mlops_assets.automation.decision.trigger_of`."""

_DAGSTERS_OWN_JOB = "__"
_SHORT = 8
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class PipelineRuns:
    """Runs as one pipeline sees them; runs of other pipelines and projects count as none.

    Attributes:
        names: Of the pipeline.
        runs: Of the instance.
    """

    names: Names
    runs: Collection[dg.DagsterRun]

    @classmethod
    def unfinished(cls, instance: dg.DagsterInstance, names: Names) -> PipelineRuns:
        """The runs that are queued or under way."""
        return cls(names, instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)))

    def days(self, job: str) -> set[str]:
        """The days that these runs make of what a job makes."""
        # Each job but `judge` resolves or judges beside its own work: a training holds no prediction up.
        made = set(ASSETS_OF_JOBS[job]) - set(ASSETS_OF_JOBS[JUDGE])
        return {ds for run in self.runs if made & set(self._assets(run)) for ds in _days(run.tags)}

    def automatic(self, job: str) -> int:
        """How many of these runs a schedule or sensor has started for a job."""
        return sum(run.job_name == self.names.of(job) and TRIGGER_TAG in run.tags for run in self.runs)

    def _assets(self, run: dg.DagsterRun) -> Collection[str]:
        if run.asset_selection:  # empty or None: all assets of the job
            return [asset for key in run.asset_selection if (asset := self.names.asset_of(key))]
        if run.tags.get(PIPELINE_TAG, "") != self.names.pipeline:
            return ()
        if run.job_name.startswith(_DAGSTERS_OWN_JOB):
            return ASSETS
        return next((assets for job, assets in ASSETS_OF_JOBS.items() if self.names.of(job) == run.job_name), ())


def attempts(instance: dg.DagsterInstance, triggers: Sequence[str], now: dt.datetime) -> dict[str, Attempt]:
    """Trigger -> the runs that were started for it."""
    if not triggers:
        return {}
    records = instance.get_run_records(dg.RunsFilter(tags={TRIGGER_TAG: list(triggers)}))  # the newest first
    found: dict[str, list[dg.RunRecord]] = {}
    for record in records:
        found.setdefault(record.dagster_run.tags[TRIGGER_TAG], []).append(record)
    return {trigger: _attempt(of_trigger, now) for trigger, of_trigger in found.items()}


def _days(tags: Mapping[str, str]) -> list[str]:
    first, last = (tags.get(PARTITION_TAG, tags.get(name, "")) for name in (RANGE_START_TAG, RANGE_END_TAG))
    if not (is_partition(first) and is_partition(last)):  # partitions of another project's assets
        return []
    start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    return [(start + dt.timedelta(days=one)).isoformat() for one in range((end - start).days + 1)]


def _attempt(records: Sequence[dg.RunRecord], now: dt.datetime) -> Attempt:
    run, started = records[0].dagster_run, sum(not one.dagster_run.parent_run_id for one in records)
    name = f"run {run.run_id[:_SHORT]}"
    if run.status is dg.DagsterRunStatus.CANCELED:
        return Attempt(f"{name} was cancelled; re-execute it in Dagster's UI", started)
    if run.status is not dg.DagsterRunStatus.FAILURE:
        return Attempt(f"{name} already covers this input", started)
    pause = pause_after(started) if run.tags.get(RETRY_TAG) == "true" else None
    if pause is None:
        remedy = "deliver the data again, or re-execute the run (all steps) in Dagster's UI"
        return Attempt(f"{name} failed on this input; {remedy}", started)
    again = records[0].update_timestamp.replace(tzinfo=records[0].update_timestamp.tzinfo or dt.timezone.utc) + pause
    return Attempt(f"{name} failed with a retryable error; next run at {again:%H:%M %Z}", started, now >= again)
