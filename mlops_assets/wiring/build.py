"""All Dagster definitions of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.alerts.sensor import build_alert_sensors
from mlops_assets.assets.assets import build_assets
from mlops_assets.assets.judging import held_out
from mlops_assets.assets.retries import retry_policy
from mlops_assets.automation.jobs import build_jobs
from mlops_assets.automation.judge_schedule import build_judge_schedule
from mlops_assets.automation.schedules import build_schedules
from mlops_assets.automation.sensors import build_readiness_sensors
from mlops_assets.housekeeping.retention import build_retention_sensor
from mlops_assets.housekeeping.sensors import build_cleanup_sensor
from mlops_assets.wiring import assembly

if TYPE_CHECKING:
    from mlops_assets.wiring.pipeline import Pipeline


def build_definitions(pipeline: Pipeline) -> dg.Definitions:
    """The code location of a pipeline: assets, jobs, schedules, sensors, resources."""
    settings, names, tracking = pipeline.settings, pipeline.names, pipeline.tracking
    launcher = assembly.build_launcher(settings, tracking)
    retries = retry_policy(launcher.config.retries, launcher.config.retry_seconds)

    def unjudged() -> tuple[list[int], str]:
        basis = held_out(pipeline.store).basis(tracking.registry.production())
        return [version.number for version in tracking.registry.unjudged(basis)], basis

    return dg.Definitions(
        assets=[*build_assets(assembly.build_days(settings), names, retries)],
        resources=pipeline.resources,
        jobs=build_jobs(names),
        schedules=[*build_schedules(launcher), build_judge_schedule(launcher, unjudged)],
        sensors=[
            *build_readiness_sensors(launcher),
            build_cleanup_sensor(names, tracking, pipeline.backend),
            build_retention_sensor(names, settings.retention),
            *build_alert_sensors(assembly.build_alerting(settings, launcher, tracking)),
        ],
        # One process a run: interpreters and heavy imports start once for all steps and days.
        executor=dg.in_process_executor,
    )
