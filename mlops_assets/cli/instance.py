"""The Dagster instance that the commands share with the UI, and the traces of runs whose process died."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.settings import Settings

PROCESS_TAG = "mlops_assets/process"
"""Run tag: ``host/pid/start time`` of the command that executes the run in its own process."""

_CONFIG = "dagster.yaml"


def dagster_home(settings: Settings) -> Path:
    """The instance's folder: ``DAGSTER_HOME``, else ``dagster`` under the home, made if missing.

    The project's ``dagster.yaml`` is linked into it, so the same configuration holds for ``dagster dev`` in the
    project's folder and for everything that is started with this folder as ``DAGSTER_HOME``.
    """
    if configured := os.environ.get("DAGSTER_HOME"):
        return Path(configured)
    home = settings.home.absolute() / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    link, project = home / _CONFIG, Path(_CONFIG).absolute()
    if project.exists() and not link.exists():
        link.unlink(missing_ok=True)  # a link whose target has moved
        link.symlink_to(os.path.relpath(project, home.resolve()))
    elif not link.exists():
        link.write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n", encoding="utf-8")
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance. Runs that a killed command left behind are marked as failed first."""
    from dagster import DagsterInstance

    os.environ["DAGSTER_HOME"] = str(dagster_home(settings))
    instance = DagsterInstance.get()
    _fail_dead_runs(instance)
    return instance


def process_tag(pid: int | None = None) -> str:
    """What identifies a process on this host, also after its number was given to another one."""
    pid = os.getpid() if pid is None else pid
    return f"{socket.gethostname()}/{pid}/{_start_time(pid)}"


def _fail_dead_runs(instance: dg.DagsterInstance) -> None:
    """A run whose command was killed would be STARTED for ever: nobody else watches over it."""
    from dagster import DagsterRunStatus, RunsFilter

    unfinished = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    for run in instance.get_runs(RunsFilter(statuses=unfinished)):
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
