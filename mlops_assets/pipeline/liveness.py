"""Runs whose process was killed: nobody else would ever end them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import dagster as dg

PROCESS_TAG = "mlops_assets/process"
"""Run tag: ``host/pid/start time`` of the process that executes the run."""

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


def process_tag(pid: int | None = None) -> str:
    """What identifies a process on this host, also after its number was given to another one."""
    pid = os.getpid() if pid is None else pid
    return f"{socket.gethostname()}/{pid}/{_start_time(pid)}"


def is_over(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a Dagster run has ended. One that is not known here may be running in somebody else's instance."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in _OVER


def fail_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark the runs of this host as failed whose process is gone."""
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        host, _, rest = run.tags.get(PROCESS_TAG, "").partition("/")
        pid = rest.partition("/")[0]
        if host == socket.gethostname() and pid.isdigit() and process_tag(int(pid)) != run.tags[PROCESS_TAG]:
            instance.report_run_failed(run, f"The process {pid} that executed this run is gone: it was killed.")


def _start_time(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "gone"
    return stat.rpartition(")")[2].split()[19]  # field 22 of proc(5), after the name in parentheses
