"""From settings to the parts that do the work. Entry points call this; the parts do not know the settings."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_assets.backends.local import LocalBackend
from mlops_assets.settings import Settings
from mlops_assets.store.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    import dagster as dg

    from mlops_assets.alerts.channels import Channels
    from mlops_assets.alerts.message import Alert
    from mlops_assets.alerts.outbox import Outbox
    from mlops_assets.alerts.sensor import Alerting
    from mlops_assets.assets.materialization import Parts
    from mlops_assets.assets.production import Production
    from mlops_assets.automation.launcher import Launcher
    from mlops_assets.backends.base import Backend
    from mlops_assets.names import Names
    from mlops_assets.serving.app import ModelServer
    from mlops_assets.tracking.tracker import Tracking


_logger = logging.getLogger(__name__)

MAX_WORKERS = 4
"""Each holds half a gigabyte of libraries."""


def build_store(settings: Settings) -> LocalStore:
    """The data root."""
    return LocalStore(settings.data_dir)


def build_names(settings: Settings) -> Names:
    """What the pipeline's parts are called in Dagster."""
    from mlops_assets.names import Names

    return Names(settings.pipeline)


def build_days(settings: Settings) -> dg.DailyPartitionsDefinition:
    """The partitions."""
    from mlops_assets.assets.partitions import daily_partitions

    return daily_partitions(settings.start_date, settings.automation.timezone)


def build_tracking(settings: Settings) -> Tracking:
    """The tracking server and the registry; connects at first use."""
    from mlops_assets.tracking.tracker import Tracking

    served = ui_address_file(settings)
    if "mlflow_ui_url" in settings.given or not settings.tracking.is_local or not served.is_file():
        return Tracking(settings.tracking)
    try:
        return Tracking(replace(settings.tracking, ui_url=served.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # incomplete, or another program's: links use the default address
        return Tracking(settings.tracking)


def ui_address_file(settings: Settings) -> Path:
    """Where ``mlops-assets dev`` leaves the address of MLflow's UI, for links that other commands make."""
    return settings.home.absolute() / "mlflow_ui_url"


def build_backend(settings: Settings) -> Backend:
    """Where steps run."""
    if settings.backend == "docker":
        from mlops_assets.backends.docker.backend import DockerBackend

        return DockerBackend(settings.docker, build_store(settings), settings.steps)
    workers = min(os.cpu_count() or 1, MAX_WORKERS) if settings.workers is None else settings.workers
    return LocalBackend(build_store(settings), settings.steps, workers)


def build_parts(settings: Settings, backend: Backend | None = None, tracking: Tracking | None = None) -> Parts:
    """What the assets work with."""
    from mlops_assets.assets.materialization import Parts

    tracking = tracking or build_tracking(settings)
    return Parts(backend or build_backend(settings), tracking, build_production(settings, tracking), settings.checks)


def build_production(settings: Settings, tracking: Tracking) -> Production:
    """Which model serves."""
    from mlops_assets.assets.production import Production

    return Production(tracking, build_store(settings), settings.home.absolute(), settings.tracking.model_version)


def build_launcher(settings: Settings, tracking: Tracking) -> Launcher:
    """What starts runs by itself."""
    from mlops_assets.automation.due_days import DueDays, Objection
    from mlops_assets.automation.launcher import Launcher
    from mlops_assets.checks.reference_day import Records
    from mlops_assets.checks.verdicts import blockers
    from mlops_assets.store.listing import Survey

    store, limits = build_store(settings), settings.checks

    def has_model() -> bool:
        # What was remembered is asked first: MLflow would stay in the code server's memory, 100 MB.
        is_known = settings.tracking.model_version is not None or build_production(settings, tracking).remembers
        return is_known or tracking.registry.production() is not None

    def objections() -> Objection:
        records = Records.of(store)
        return lambda asset, ds: " ".join(one.message for one in blockers(asset, ds, records, limits)) or None

    due_days = DueDays(
        Survey(store),
        settings.automation,
        delivered=settings.steps.source == "files",
        delimiter=settings.steps.csv_delimiter,
        objections=objections,
    )
    return Launcher(
        settings.automation,
        due_days,
        build_names(settings),
        has_model=has_model,
    )


def build_channels(settings: Settings) -> Channels:
    """Where alerts go."""
    from mlops_assets.alerts.channels import Channels

    return Channels(settings.alerts.urls)


def build_outbox(settings: Settings) -> Outbox:
    """Alerts that wait, and which were sent."""
    from mlops_assets.alerts.outbox import Outbox

    return Outbox(settings.home.absolute() / f"{build_names(settings).of('alerts')}.db")


def build_model_server(settings: Settings) -> ModelServer:
    """The server of the model in production."""
    from mlops_assets.alerts.message import FAILURE
    from mlops_assets.serving.app import ModelServer
    from mlops_assets.serving.following import Following
    from mlops_assets.serving.requests import CsvForm

    outbox, targets = build_outbox(settings), build_channels(settings).targets

    def notify(alert: Alert) -> None:
        if targets and FAILURE in settings.alerts.kinds:
            outbox.add([alert], targets, time.time())
            for line in outbox.deliver(targets).failed:
                _logger.error(line)

    production = build_production(settings, build_tracking(settings))
    following = Following(production, build_store(settings).root, notify, settings.serving.poll_seconds)
    return ModelServer(
        following, settings.serving, CsvForm(settings.steps.csv_delimiter, settings.steps.missing_values)
    )


def build_alerting(settings: Settings, launcher: Launcher, tracking: Tracking) -> Alerting | None:
    """What is sent to whom; None if there is no target."""
    if not settings.alerts.urls:
        return None
    from mlops_assets.alerts.late_data import LateData
    from mlops_assets.alerts.old_model import OldModel
    from mlops_assets.alerts.sensor import Alerting
    from mlops_assets.automation.config import DAILY_JOBS

    names, pinned = build_names(settings), settings.tracking.model_version
    late = LateData(
        names,
        jobs=lambda instance: [job for job in DAILY_JOBS if launcher.is_on(instance, job)],
        overdue=launcher.overdue,
        due_at=lambda job, ds: launcher.calendars[job].due_at(ds),
        had_model=lambda: pinned is not None or bool(tracking.registry.history()),
        deadline_hours=launcher.config.deadline_hours,
    )
    old_model = OldModel(
        names,
        serving=lambda: tracking.registry.version(pinned) if pinned else tracking.registry.production(),
        max_age_days=settings.alerts.model_max_age_days,
        link=tracking.version_url,
    )
    return Alerting(
        names=names,
        outbox=build_outbox(settings),
        channels=build_channels(settings),
        kinds=frozenset(settings.alerts.kinds),
        dagster_url=settings.alerts.dagster_url,
        seconds=settings.automation.sensor_seconds,
        late=late,
        old_model=old_model,
    )
