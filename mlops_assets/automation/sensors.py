"""The sensors that wait for data: late days, days that come again, and days that were missed."""

from __future__ import annotations

import datetime as dt
import json

import dagster as dg

from mlops_assets.automation.config import DOWNLOAD, PREDICT, TRAIN
from mlops_assets.automation.delivery import Looks
from mlops_assets.automation.launcher import Launcher
from mlops_assets.automation.schedules import SCHEDULES, SENSORS
from mlops_assets.automation.tick_state import is_deciding, is_on

_WAITS_FOR = {
    DOWNLOAD: "data.csv to be delivered",
    TRAIN: "data.csv and target.csv of the days that a model is trained for",
    PREDICT: "data.csv and a model in production",
}


def build_readiness_sensors(launcher: Launcher) -> list[dg.SensorDefinition]:
    """A sensor for each job that waits for data."""
    return [_sensor(launcher, job) for job in SENSORS]


def _sensor(launcher: Launcher, job: str) -> dg.SensorDefinition:
    cadence, schedule = launcher.cadence, SCHEDULES[job]

    @dg.sensor(
        name=SENSORS[job],
        job_name=job,
        description=(
            f"Starts job {job} for days that are due by {schedule} and were not ready, came again or were missed. Waits"
            f" for {_WAITS_FOR[job]}. Does nothing while that schedule is off."
        ),
        minimum_interval_seconds=cadence.sensor_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if cadence.automate else dg.DefaultSensorStatus.STOPPED,
    )
    def when_ready(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not is_on(context.instance, schedule, by_default=cadence.automate):
            return dg.SkipReason(f"The schedule {schedule} is switched off.")
        if is_deciding(context.instance, schedule):
            return dg.SkipReason(f"The schedule {schedule} is deciding at this moment.")
        looks: Looks = {ds: (seen, at) for ds, (seen, at) in json.loads(context.cursor or "{}").items()}
        decision = launcher.decide(context.instance, job, dt.datetime.now(dt.timezone.utc), looks)
        cursor = json.dumps(looks)
        if decision.start:
            return dg.SensorResult(run_requests=launcher.requests(job, decision), cursor=cursor)
        return dg.SensorResult(skip_reason=decision.reason, cursor=cursor)

    return when_ready
