"""The sensors of the daily jobs: late days, days whose data are delivered again, and days that were missed."""

from __future__ import annotations

import datetime as dt
import json

import dagster as dg

from mlops_assets.automation.config import DAILY_JOBS, DOWNLOAD, PREDICT, TRAIN, schedule_name, sensor_name
from mlops_assets.automation.delivery import Observations
from mlops_assets.automation.launcher import Launcher
from mlops_assets.automation.schedules import GRACE

_WAITS_FOR = {
    DOWNLOAD: "data.csv to be delivered",
    TRAIN: "data.csv and target.csv of the days that a model is trained for",
    PREDICT: "data.csv and a model in production",
}


def build_readiness_sensors(launcher: Launcher) -> list[dg.SensorDefinition]:
    """A sensor for each daily job."""
    return [_sensor(launcher, job) for job in DAILY_JOBS]


def _sensor(launcher: Launcher, job: str) -> dg.SensorDefinition:
    config, schedule = launcher.config, launcher.names.of(schedule_name(job))

    @dg.sensor(
        name=launcher.names.of(sensor_name(job)),
        job_name=launcher.names.of(job),
        description=(
            f"Starts job {job} for days that were due by {schedule} but not ready, that were delivered again, or that"
            f" were missed. Waits for {_WAITS_FOR[job]}. Does nothing while that schedule is off."
        ),
        minimum_interval_seconds=config.sensor_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if config.automate else dg.DefaultSensorStatus.STOPPED,
    )
    def when_ready(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not launcher.is_on(context.instance, job):
            return dg.SkipReason(f"The schedule {schedule} is switched off.")
        seen = json.loads(context.cursor or "{}")
        observations: Observations = {ds: (key, since) for ds, (key, since) in seen.items()}
        now = dt.datetime.now(dt.timezone.utc)
        days = launcher.calendars[job].days(now - GRACE)
        decision = launcher.decide(context.instance, job, days, now, observations)
        cursor = json.dumps(observations)
        if decision.start:
            return dg.SensorResult(run_requests=launcher.requests(job, decision), cursor=cursor)
        return dg.SensorResult(skip_reason=decision.reason, cursor=cursor)

    return when_ready
