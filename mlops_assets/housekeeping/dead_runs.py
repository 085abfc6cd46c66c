"""Runs whose process was killed: they are failed here if nothing else does it, and Dagster's run retries take over.

A code server notices that a process of its own was killed, but a process that was killed together with its code server
leaves a run STARTED. Hence each run records in a tag which process executes it.
"""

from __future__ import annotations

import time

import dagster as dg

from mlops_assets.backends.process_id import is_gone, process_tag

PROCESS_TAG = ".dagster/mlops_assets_process"
"""Run tag: see :func:`mlops_assets.backends.process_id.process_tag`: the process that executes the run.

Dagster's UI does not show tags with this prefix; so it is with all that say nothing to people.
"""

SILENT_SECONDS = 60
"""A run registers its process within milliseconds after its start; this allows for an overloaded machine."""

_NO_RETRIES = {"dagster/max_retries": "0"}
_OVER = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def tag_process(context: dg.AssetExecutionContext | dg.InitResourceContext) -> None:
    """Record in the run which process executes it, unless that is recorded."""
    instance, run = context.instance, context.run
    if instance is not None and run is not None and run.tags.get(PROCESS_TAG) != process_tag():
        instance.add_run_tags(run.run_id, {PROCESS_TAG: process_tag()})


def is_over(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a Dagster run has ended. An unknown one may be running in another instance."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in _OVER


def why_dead(tag: str, parent_tag: str, silent_seconds: float) -> str | None:
    """Why a run is certainly dead, or None.

    Args:
        tag: The run's :data:`PROCESS_TAG`, or nothing.
        parent_tag: That of the run that it retries, or nothing: a retry copies tags, so the same one means nothing.
        silent_seconds: For how long the run has been STARTED, if runs of its kind register their process; else 0.
    """
    if tag and tag != parent_tag:
        pid = tag.split("/")[-2]
        return f"The process {pid} that executed this run is gone: it was killed." if is_gone(tag) else None
    if silent_seconds > SILENT_SECONDS:
        return f"The process of this run was killed at its start: no process registered for {silent_seconds:.0f} s."
    return None


def fail_dead_runs(instance: dg.DagsterInstance, location: str | None = None) -> list[str]:
    """End the runs of this host whose process is gone.

    Dagster retries those that a daemon launched; those of a command cannot be retried by the daemon.

    Args:
        instance: Where the runs are.
        location: A code location all of whose runs register their process (those with the resource `backend` do).

    Returns:
        The ids of the runs.
    """
    records = instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))
    return [record.dagster_run.run_id for record in records if _end_if_dead(instance, record, location)]


def _end_if_dead(instance: dg.DagsterInstance, record: dg.RunRecord, location: str | None) -> bool:
    run = record.dagster_run
    parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    parent_tag = parent.tags.get(PROCESS_TAG, "") if parent else ""
    reason = why_dead(run.tags.get(PROCESS_TAG, ""), parent_tag, _silent_seconds(record, location))
    # It may have ended properly since it was read.
    current = instance.get_run_by_id(run.run_id) if reason else None
    if current is None or current.status in _OVER:
        return False
    if current.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(current, reason)
        return True
    if current.remote_job_origin is None:
        instance.add_run_tags(current.run_id, _NO_RETRIES)
    instance.report_run_failed(current, reason)
    return True


def _silent_seconds(record: dg.RunRecord, location: str | None) -> float:
    origin = record.dagster_run.remote_job_origin
    ours = location is not None and origin is not None and origin.location_name == location
    if not ours or record.dagster_run.status is not dg.DagsterRunStatus.STARTED or record.start_time is None:
        return 0
    return time.time() - record.start_time
