"""From settings to the parts that do the work. Entry points call this; the parts do not know the settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlops_assets.backends.local import LocalBackend
from mlops_assets.errors import SettingsError
from mlops_assets.settings import MLFLOW_UI, Settings
from mlops_assets.store.local import LocalStore
from mlops_assets.tracking.config import TrackingConfig

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.alerts.channels import Channels
    from mlops_assets.alerts.sensor import Alerting
    from mlops_assets.assets.materialization import Parts
    from mlops_assets.assets.names import Names
    from mlops_assets.automation.launcher import Launcher
    from mlops_assets.backends.base import Backend
    from mlops_assets.backends.docker.config import DockerConfig
    from mlops_assets.housekeeping.retention import Retention
    from mlops_assets.tracking.tracker import Tracking


MAX_WORKERS = 4
"""Each holds half a gigabyte of libraries."""


def build_store(settings: Settings) -> LocalStore:
    """The data root."""
    return LocalStore(settings.data_dir)


def build_names(settings: Settings) -> Names:
    """What the pipeline's parts are called in Dagster."""
    from mlops_assets.assets.names import Names

    return Names(settings.pipeline)


def build_days(settings: Settings) -> dg.DailyPartitionsDefinition:
    """The partitions."""
    from mlops_assets.assets.partitions import daily_partitions

    return daily_partitions(settings.start_date, settings.timezone)


def tracking_config(settings: Settings) -> TrackingConfig:
    """Where MLflow is."""
    try:
        return TrackingConfig(
            uri=settings.mlflow_uri,
            experiment=settings.experiment,
            model_name=settings.model_name,
            artifact_root=None if settings.artifact_root is None else str(settings.artifact_root),
            ui_url=settings.mlflow_ui_url or (MLFLOW_UI if settings.has_local_tracking else None),
        )
    except ValueError as error:
        raise SettingsError(f"{error} (MLFLOW_TRACKING_URI, MLOPS_EXPERIMENT or MLOPS_MODEL_NAME)") from None


def build_tracking(settings: Settings) -> Tracking:
    """The tracking server and the registry; connects at first use."""
    from mlops_assets.tracking.tracker import Tracking

    return Tracking(tracking_config(settings))


def build_backend(settings: Settings) -> Backend:
    """Where steps run."""
    if settings.backend == "docker":
        from mlops_assets.backends.docker.backend import DockerBackend

        return DockerBackend(docker_config(settings), build_store(settings), settings.parameters())
    workers = (os.cpu_count() or 1) if settings.workers is None else settings.workers
    return LocalBackend(build_store(settings), settings.parameters(), min(workers, MAX_WORKERS))


def build_parts(settings: Settings, backend: Backend | None = None, tracking: Tracking | None = None) -> Parts:
    """What the assets work with."""
    from mlops_assets.assets.materialization import Parts
    from mlops_assets.assets.production import Production

    store, tracking = build_store(settings), tracking or build_tracking(settings)
    production = Production(tracking, store, settings.home.absolute(), settings.model_version)
    return Parts(backend or build_backend(settings), tracking, production, settings.check_limits())


def build_launcher(settings: Settings, tracking: Tracking) -> Launcher:
    """What starts runs by itself."""
    from mlops_assets.automation.due_days import DueDays, Objection
    from mlops_assets.automation.launcher import Launcher
    from mlops_assets.checks.reference_day import Records
    from mlops_assets.checks.verdicts import blockers
    from mlops_assets.store.listing import Survey

    store, limits = build_store(settings), settings.check_limits()

    def objections() -> Objection:
        records = Records.of(store)
        return lambda asset, ds: " ".join(one.message for one in blockers(asset, ds, records, limits)) or None

    due_days = DueDays(
        Survey(store),
        settings.cadence(),
        delivered=settings.source == "files",
        delimiter=settings.csv_delimiter,
        objections=objections,
    )
    return Launcher(
        settings.cadence(),
        due_days,
        build_names(settings),
        has_model=lambda: settings.model_version is not None or tracking.registry.production() is not None,
    )


def build_retention(settings: Settings) -> Retention:
    """How long Dagster's records stay."""
    from mlops_assets.housekeeping.retention import Retention

    # A failed run keeps its day from being started again as long as the day is within reach.
    return Retention(runs=max(settings.keep_runs_days, settings.catchup_days + 1), logs=settings.keep_logs_days)


def docker_config(settings: Settings) -> DockerConfig:
    """With what the Docker backend makes its containers."""
    from mlops_assets.backends.docker.config import DockerConfig
    from mlops_assets.backends.docker.images import default_images

    return DockerConfig(
        images={**default_images(settings.source), **settings.images},
        data_dir=settings.data_dir.absolute(),
        environment=settings.step_environment(),
        host_data_dir=settings.data_dir_on_host,
        network=settings.docker_network,
        memory=settings.docker_memory,
        cpus=settings.docker_cpus,
        user=settings.docker_user,
        stop_seconds=settings.docker_stop_seconds,
    )


def build_channels(settings: Settings) -> Channels:
    """Where alerts go."""
    from mlops_assets.alerts.channels import Channels

    return Channels(settings.alert_urls)


def build_alerting(settings: Settings, launcher: Launcher, tracking: Tracking) -> Alerting | None:
    """What is sent to whom; None if there is no target."""
    if not settings.alert_urls:
        return None
    from mlops_assets.alerts.late_data import LateData
    from mlops_assets.alerts.outbox import Outbox
    from mlops_assets.alerts.sensor import Alerting
    from mlops_assets.automation.config import DAILY_JOBS

    names = build_names(settings)
    late = LateData(
        names,
        jobs=lambda instance: [job for job in DAILY_JOBS if launcher.is_on(instance, job)],
        overdue=launcher.overdue,
        due_at=lambda job, ds: launcher.calendars[job].due_at(ds),
        had_model=lambda: settings.model_version is not None or bool(tracking.registry.history()),
        deadline_hours=launcher.config.deadline_hours,
    )
    return Alerting(
        names=names,
        outbox=Outbox(settings.home.absolute() / f"{names.of('alerts')}.db"),
        channels=build_channels(settings),
        kinds=frozenset(settings.alert_on),
        dagster_url=settings.dagster_url,
        seconds=settings.sensor_seconds,
        late=late,
    )
