"""The schedules of the daily jobs: each tick starts the day that has just become due, if it is ready.

The sensors start all other days. The two never decide about the same day at the same time: a schedule leaves a day to
the sensor when it is later than :data:`LATE`, and a sensor looks only at days that were due :data:`GRACE` ago.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import dagster as dg

from mlops_assets.automation.config import DAILY_JOBS, AutomationConfig, schedule_name, sensor_name
from mlops_assets.automation.due_days import Days
from mlops_assets.automation.launcher import Launcher
from mlops_assets.errors import SettingsError
from mlops_assets.housekeeping.dagster_internals import is_switched_on, is_valid_cron_string
from mlops_assets.names import Names

GRACE = dt.timedelta(minutes=2)
"""From when a day is due until the sensor looks at it."""

LATE = dt.timedelta(minutes=1)
"""Ticks are late when the daemon was down, or for a cron string with several ticks a day; the rest of the grace period
is more than Dagster gives a tick (60 s) to decide."""


def build_schedules(launcher: Launcher) -> list[dg.ScheduleDefinition]:
    """The schedules of the daily jobs."""
    return [_schedule(launcher, job) for job in DAILY_JOBS]


def cron_schedule(
    config: AutomationConfig, names: Names, job: str, evaluate: Callable[..., Any], description: str
) -> dg.ScheduleDefinition:
    """A schedule of a job by its cron string.

    Raises:
        SettingsError: The cron string is invalid.
    """
    if not is_valid_cron_string(config.crons[job]):
        raise SettingsError(
            f"MLOPS_{job.upper()}_CRON is {config.crons[job]!r}: expected a cron string, such as 30 0 * * * for half"
            " past midnight."
        )
    return dg.schedule(
        name=names.of(schedule_name(job)),
        job_name=names.of(job),
        cron_schedule=config.crons[job],
        execution_timezone=config.timezone,
        description=description,
        default_status=dg.DefaultScheduleStatus.RUNNING if config.automate else dg.DefaultScheduleStatus.STOPPED,
    )(evaluate)


def _schedule(launcher: Launcher, job: str) -> dg.ScheduleDefinition:
    config, calendar, sensor = launcher.config, launcher.calendars[job], launcher.names.of(sensor_name(job))

    def evaluate(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        day = calendar.last_day(context.scheduled_execution_time)
        if day is None:
            return dg.SkipReason(f"No day has ended since {config.start_date} (MLOPS_START_DATE).")
        ds, now = day.isoformat(), dt.datetime.now(dt.timezone.utc)
        is_late = now - calendar.due_at(ds) > LATE
        if is_late and is_switched_on(context.instance, sensor, by_default=config.automate):
            return dg.SkipReason(f"{ds} was due some time ago; the sensor {sensor} starts it.")
        decision = launcher.decide(context.instance, job, Days([ds], ds, [ds]), now, {})
        return launcher.requests(job, decision) or dg.SkipReason(
            f"{decision.reason}\nThe sensor {sensor} starts it when it can."
        )

    description = (
        f"Starts job {job} for the day that has become due, if it is ready. The sensor {sensor} does the rest."
    )
    return cron_schedule(config, launcher.names, job, evaluate, description)
