"""Which days a cron string makes due, and when.

It is the scheduler's own arithmetic, so that both agree about clock changes.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from mlops_assets.automation.config import TRAIN, AutomationConfig
from mlops_assets.automation.due_days import Days
from mlops_assets.housekeeping.dagster_internals import latest_cron_tick, next_cron_tick


class Calendar:
    """The days of one job.

    A day is due at the first tick of the cron string after it has ended. So a schedule that skips days
    (``0 6 * * 1-5``) makes the days between due with its next tick, and a day is due once, however clocks change.
    """

    def __init__(self, config: AutomationConfig, job: str) -> None:
        """Of a job that has a cron string."""
        self._cron, self._zone = config.crons[job], ZoneInfo(config.timezone)
        self._start = dt.date.fromisoformat(config.start_date)
        self._catchup = dt.timedelta(days=config.catchup_days)
        self._is_sparse = job == TRAIN

    def days(self, at: dt.datetime) -> Days:
        """All days that are due at an instant."""
        last = self.last_day(latest_cron_tick(self._cron, at, self._zone.key))
        if last is None:
            return Days((), "", ())
        first = (at.astimezone(self._zone) - self._catchup).date().isoformat()
        count = (last - self._start).days + 1
        due = [(self._start + dt.timedelta(days=one)).isoformat() for one in range(count)]
        return Days(due, first, [ds for ds in due if ds >= first and self._is_trained(ds)] if self._is_sparse else [])

    def last_day(self, at: dt.datetime) -> dt.date | None:
        """The last day that has ended at an instant; None before the first day has."""
        day = at.astimezone(self._zone).date() - dt.timedelta(days=1)
        return day if day >= self._start else None

    def due_at(self, ds: str) -> dt.datetime:
        """When a day is due, in the time zone of the days."""
        ended = dt.datetime.combine(dt.date.fromisoformat(ds) + dt.timedelta(days=1), dt.time(), self._zone)
        return next_cron_tick(self._cron, ended, self._zone.key).astimezone(self._zone)

    def _is_trained(self, ds: str) -> bool:
        """Whether a tick has this day for its last one: what a weekly training is for."""
        return self.last_day(self.due_at(ds)) == dt.date.fromisoformat(ds)
