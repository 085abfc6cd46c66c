"""Which days a cron string makes due, and when.

It is the scheduler's own arithmetic, so that both agree about clock changes.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from dagster._utils.schedules import cron_string_iterator, get_latest_completed_cron_tick

from mlops_assets.automation.config import TRAIN, Cadence
from mlops_assets.automation.due_days import Days


class Calendar:
    """The days of one job.

    A day is due at the first tick of the cron string after it has ended. So a schedule that skips days
    (``0 6 * * 1-5``) makes the days between due with its next tick, and a day is due once, however clocks change.
    """

    def __init__(self, cadence: Cadence, job: str) -> None:
        """Of a job that has a cron string."""
        self._cron, self._zone = cadence.crons[job], ZoneInfo(cadence.timezone)
        self._start = dt.date.fromisoformat(cadence.start_date)
        self._catchup = dt.timedelta(days=cadence.catchup_days)
        self._is_sparse = job == TRAIN

    def days(self, now: dt.datetime) -> Days:
        """What is due now."""
        last = self.last_day(get_latest_completed_cron_tick(self._cron, now, self._zone.key))
        if last is None:
            return Days((), "", ())
        first = (now.astimezone(self._zone) - self._catchup).date().isoformat()
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
        ticks = cron_string_iterator(ended.timestamp(), self._cron, self._zone.key)
        return next(tick for tick in ticks if tick >= ended).astimezone(self._zone)

    def _is_trained(self, ds: str) -> bool:
        """Whether a tick has this day for its last one: what a weekly training is for."""
        return self.last_day(self.due_at(ds)) == dt.date.fromisoformat(ds)
