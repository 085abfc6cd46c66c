"""Data that are late: what alerts are told about days that wait for longer than the deadline."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from mlops_assets.alerts.message import LATE, Alert, alert
from mlops_assets.pipeline.launcher import DAILY_JOBS, Launcher
from mlops_assets.pipeline.schedules import SCHEDULES
from mlops_assets.pipeline.turns import is_on


def late_alerts(launcher: Launcher, instance: dg.DagsterInstance) -> list[Alert]:
    """An alert for each day that is late now, of each job whose schedule is on."""
    now = dt.datetime.now(dt.timezone.utc)
    return [
        alert(
            f"late/{job}/{one.ds}",
            LATE,
            f"Late: {one.ds} cannot be worked on by {job}",
            [
                f"{one.waits_for}.",
                f"It was due at {launcher.calendars[job].due_at(one.ds):%Y-%m-%d %H:%M %Z}"
                f" (deadline: {launcher.cadence.deadline_hours:g} hours after, MLOPS_DEADLINE_HOURS).",
                "It is started as soon as it is ready.",
            ],
        )
        for job in DAILY_JOBS
        if is_on(instance, SCHEDULES[job], by_default=launcher.cadence.automate)
        for one in launcher.overdue(job, now)
    ]
