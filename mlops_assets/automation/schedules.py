"""The schedules: each tick starts the day that has just become due, if it is ready; the sensors see to all else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import dagster as dg
from dagster._utils.schedules import is_valid_cron_string

from mlops_assets.automation.config import DOWNLOAD, PREDICT, PROMOTE, TRAIN, Cadence
from mlops_assets.automation.launcher import Launcher
from mlops_assets.automation.promotion_schedule import CHALLENGER_TAG, Unjudged
from mlops_assets.automation.tick_state import is_deciding
from mlops_assets.errors import SettingsError

SCHEDULES = {
    DOWNLOAD: "download_schedule",
    TRAIN: "train_schedule",
    PREDICT: "predict_schedule",
    PROMOTE: "promote_schedule",
}
SENSORS = {DOWNLOAD: "download_when_ready", TRAIN: "train_when_ready", PREDICT: "predict_when_ready"}


def build_schedules(
    launcher: Launcher, unjudged: Callable[[dg.DagsterInstance], Unjudged]
) -> list[dg.ScheduleDefinition]:
    """All schedules.

    Args:
        launcher: Decides.
        unjudged: What the gate has to decide.
    """
    days = [_of_days(launcher, job) for job in SENSORS]
    return [*days, _of_promotion(launcher.cadence, unjudged)]


def _of_days(launcher: Launcher, job: str) -> dg.ScheduleDefinition:
    def evaluate(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        if is_deciding(context.instance, SENSORS[job]):
            return dg.SkipReason(
                f"The sensor {SENSORS[job]} is deciding at this moment; its next look sees to this day."
            )
        at = context.scheduled_execution_time
        day = launcher.calendars[job].last_day(at)
        if day is None:
            return dg.SkipReason(f"No day has ended since {launcher.cadence.start_date} (MLOPS_START_DATE).")
        now = max(at, dt.datetime.now(dt.timezone.utc))
        decision = launcher.decide(context.instance, job, now, None, only=day.isoformat())
        return launcher.requests(job, decision) or dg.SkipReason(
            f"{decision.reason}\nThe sensor {SENSORS[job]} starts it when it can."
        )

    return _schedule(
        launcher.cadence, job, evaluate, f"Starts job {job} for the day that has become due, if it is ready."
    )


def _of_promotion(cadence: Cadence, unjudged: Callable[[dg.DagsterInstance], Unjudged]) -> dg.ScheduleDefinition:
    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        found = unjudged(context.instance)
        if found.version is None:
            return dg.SkipReason(found.reason)
        return dg.RunRequest(run_key=f"{PROMOTE}/{found.version}", tags={CHALLENGER_TAG: str(found.version)})

    return _schedule(cadence, PROMOTE, evaluate, "Asks the gate about a model that nobody has judged yet.")


def _schedule(cadence: Cadence, job: str, evaluate: Callable[..., Any], description: str) -> dg.ScheduleDefinition:
    if not is_valid_cron_string(cadence.crons[job]):
        raise SettingsError(
            f"MLOPS_{job.upper()}_CRON is {cadence.crons[job]!r}: expected a cron string, such as 30 0 * * * for half"
            " past midnight."
        )
    on = dg.DefaultScheduleStatus.RUNNING if cadence.automate else dg.DefaultScheduleStatus.STOPPED
    return dg.schedule(
        name=SCHEDULES[job],
        job_name=job,
        cron_schedule=cadence.crons[job],
        execution_timezone=cadence.timezone,
        description=description,
        default_status=on,
    )(evaluate)
