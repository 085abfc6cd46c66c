"""Runs whose process was killed: nobody else would ever end them."""

from __future__ import annotations

import dagster as dg

from mlops_assets.backends.process import is_gone, process_tag

PROCESS_TAG = "mlops_assets/process"
"""Run tag: see :func:`mlops_assets.backends.process.process_tag`: the process that executes the run."""

_OVER = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def tag_process(context: dg.AssetExecutionContext) -> None:
    """Note in the run which process executes it, unless that is known."""
    if PROCESS_TAG not in context.run.tags:
        context.instance.add_run_tags(context.run.run_id, {PROCESS_TAG: process_tag()})


def is_over(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a Dagster run has ended. One that is not known here may be running in somebody else's instance."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in _OVER


def fail_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark the runs of this host as failed whose process is gone."""
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        tag = run.tags.get(PROCESS_TAG, "")
        if is_gone(tag):
            pid = tag.split("/")[-2]
            instance.report_run_failed(run, f"The process {pid} that executed this run is gone: it was killed.")
