"""The Dagster instance that the commands share with the UI, and the traces of runs whose process died."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from mlops_assets.wiring.assembly import build_tracking

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.settings import Settings

_CONFIG = "dagster.yaml"
_PLACES = ("storage", "local_artifact_storage", "compute_logs")
_QUIET = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
_HEADER = "# Made by mlops-assets from the dagster.yaml of the folder where it was started; written anew each time.\n"


def dagster_home(settings: Settings) -> Path:
    """The instance's folder: ``DAGSTER_HOME``, else ``dagster`` under the home, made if missing.

    The project's ``dagster.yaml`` is copied into it without the places of files, which Dagster then keeps in this very
    folder. So ``dagster dev`` in the project's folder and everything that is started with this folder as
    ``DAGSTER_HOME`` share configuration and files.
    """
    if configured := os.environ.get("DAGSTER_HOME"):
        return Path(configured)
    home = settings.home.absolute() / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    project = Path(_CONFIG)
    config = yaml.safe_load(project.read_text(encoding="utf-8")) if project.exists() else {}
    kept = {name: value for name, value in (config or {}).items() if name not in _PLACES}
    (home / _CONFIG).write_text(_HEADER + yaml.safe_dump({**_QUIET, **kept}), encoding="utf-8")
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance. Runs that a killed command left behind are ended first, in Dagster and in MLflow."""
    from dagster import DagsterInstance

    from mlops_assets.housekeeping.dead_runs import fail_dead_runs, is_over

    os.environ["DAGSTER_HOME"] = str(dagster_home(settings))
    instance = DagsterInstance.get()
    if fail_dead_runs(instance):
        build_tracking(settings).close_runs(lambda run_id: is_over(instance, run_id))
    return instance
