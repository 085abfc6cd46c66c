"""Data that are late: what alerts are told about days that wait for longer than the deadline."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from mlops_assets.alerts.message import LATE, Alert, alert
from mlops_assets.automation.due_days import Candidate
from mlops_assets.automation.launcher import DAILY_JOBS, Launcher
from mlops_assets.automation.schedules import SCHEDULES
from mlops_assets.automation.tick_state import is_on

_DAYS_NAMED = 5


def late_alerts(launcher: Launcher, instance: dg.DagsterInstance) -> list[Alert]:
    """An alert for each job whose schedule is on and that has days which are late now.

    It is told again when a later day joins them.
    """
    now = dt.datetime.now(dt.timezone.utc)
    on = [job for job in DAILY_JOBS if is_on(instance, SCHEDULES[job], by_default=launcher.cadence.automate)]
    return [_alert(launcher, job, late) for job in on if (late := launcher.overdue(job, now))]


def _alert(launcher: Launcher, job: str, late: Sequence[Candidate]) -> Alert:
    newest = late[-1].ds
    due_at = launcher.calendars[job].due_at
    lines = [f"{one.ds}: {one.waits_for} (due since {due_at(one.ds):%Y-%m-%d %H:%M %Z})" for one in late]
    more = [f"… and {len(lines) - _DAYS_NAMED} earlier days"] if len(lines) > _DAYS_NAMED else []
    which = newest if len(late) == 1 else f"{len(late)} days up to {newest}"
    return alert(
        f"late/{job}/{newest}",
        LATE,
        f"Late: {job} cannot work on {which}",
        [
            *reversed(lines[-_DAYS_NAMED:]),
            *more,
            f"What is told as late: {launcher.cadence.deadline_hours:g} hours after its time (MLOPS_DEADLINE_HOURS).",
            "It is started as soon as it is ready.",
        ],
    )
