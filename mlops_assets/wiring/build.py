"""All Dagster definitions from their parts; tests pass other parts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.alerts.sensor import build_alert_sensors
from mlops_assets.assets.assets import build_assets
from mlops_assets.assets.resources import build_resources
from mlops_assets.assets.retries import retry_policy
from mlops_assets.housekeeping.retention import Retention, build_retention_sensor
from mlops_assets.housekeeping.sensors import build_sensors

if TYPE_CHECKING:
    from mlops_assets.alerts.sensor import Alerting
    from mlops_assets.automation.launcher import Launcher
    from mlops_assets.tracking.tracker import Tracking


def assemble(
    days: dg.DailyPartitionsDefinition,
    parts: Parts,
    *,
    names: Names = THE_ONLY_PIPELINE,
    launcher: Launcher | None = None,
    retention: Retention | None = None,
    alerting: Alerting | None = None,
) -> dg.Definitions:
    """The code location.

    Args:
        days: The partitions.
        parts: What the assets work with.
        names: Of the pipeline.
        launcher: Starts runs by itself; without one there are the assets and the sensors that keep house.
        retention: How long runs and logs stay; without one nothing is ever deleted.
        alerting: Whom to tell what; without one nobody is told.
    """
    retries = None if launcher is None else retry_policy(launcher.cadence.retries, launcher.cadence.retry_seconds)
    sensors = [
        *build_sensors(tracking, backend),
        *([build_retention_sensor(retention)] if retention else []),
        *build_alert_sensors(alerting),
    ]
    return dg.Definitions(
        assets=[*build_assets(days, names, retries)],
        resources=build_resources(parts),
        # One process a run: interpreters and heavy imports start once for all steps and days.
        executor=dg.in_process_executor,
        **({"sensors": sensors} if launcher is None else _automated(launcher, tracking, sensors)),
    )


def _automated(launcher: Launcher, tracking: Tracking, sensors: list[dg.SensorDefinition]) -> dict[str, Any]:
    from mlops_assets.automation.config import PROMOTE, TRAIN
    from mlops_assets.automation.jobs import build_jobs
    from mlops_assets.automation.promotion_schedule import build_promotion_sensor, unjudged
    from mlops_assets.automation.schedules import build_schedules
    from mlops_assets.automation.sensors import build_readiness_sensors

    jobs = build_jobs()
    return {
        "jobs": [*jobs.values()],
        "schedules": build_schedules(launcher, partial(unjudged, tracking)),
        "sensors": [
            *sensors,
            *build_readiness_sensors(launcher),
            build_promotion_sensor(launcher.cadence, jobs[TRAIN], jobs[PROMOTE]),
        ],
    }
