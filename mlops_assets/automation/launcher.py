"""From the candidates of a job to run requests: what schedules and sensors share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from mlops_assets.automation.calendar import Calendar
from mlops_assets.automation.config import DOWNLOAD, PREDICT, TRAIN, Cadence
from mlops_assets.automation.decision import Decision, decide, overdue, trigger_of
from mlops_assets.automation.delivery import Looks
from mlops_assets.automation.due_days import Candidate, Days, Watcher
from mlops_assets.automation.jobs import ASSETS_OF_JOBS
from mlops_assets.automation.run_lookup import (
    TRIGGER_TAG,
    attempts,
    days_being_made,
    started_by_itself,
    unfinished_runs,
)

DAILY_JOBS = (DOWNLOAD, TRAIN, PREDICT)
"""The jobs that have days."""


@dataclass(frozen=True)
class Launcher:
    """Decides what to start.

    Attributes:
        cadence: The rules.
        watcher: Finds the candidates.
    """

    cadence: Cadence
    watcher: Watcher

    @cached_property
    def calendars(self) -> dict[str, Calendar]:
        """Job -> when its days are due."""
        return {job: Calendar(self.cadence, job) for job in DAILY_JOBS}

    def decide(
        self, instance: dg.DagsterInstance, job: str, now: dt.datetime, looks: Looks | None, only: str | None = None
    ) -> Decision:
        """What to start of a job now.

        Args:
            instance: Dagster's.
            job: One of :data:`DAILY_JOBS`.
            now: The instant.
            looks: What was seen of deliveries before; brought up to date. None: there is no before.
            only: Look at this day alone.
        """
        days = self.calendars[job].days(now)
        if only is not None:
            days = Days([ds for ds in days.due if ds == only], days.first, [ds for ds in days.trained if ds == only])
        candidates = self.watcher.candidates(job, days, looks, now.timestamp())
        ready = [one for one in candidates if one.waits_for is None]
        runs = unfinished_runs(instance) if ready else []
        return decide(
            job,
            candidates,
            attempts=attempts(instance, [trigger_of(job, one) for one in ready], now),
            in_progress=days_being_made(runs, ASSETS_OF_JOBS[job]),
            free=self.cadence.catchup_runs - started_by_itself(runs, job),
            due_at=self.calendars[job].due_at,
        )

    def requests(self, job: str, decision: Decision) -> list[dg.RunRequest]:
        """A run for each day that starts."""
        return [
            dg.RunRequest(
                run_key=f"{trigger_of(job, one)}/{decision.earlier.get(one.ds, 0)}",
                partition_key=one.ds,
                tags={TRIGGER_TAG: trigger_of(job, one)},
            )
            for one in decision.start
        ]

    def overdue(self, job: str, now: dt.datetime) -> Sequence[Candidate]:
        """The days that wait for somebody outside for longer than the deadline allows."""
        calendar, deadline = self.calendars[job], dt.timedelta(hours=self.cadence.deadline_hours)
        candidates = self.watcher.candidates(job, calendar.days(now), None, now.timestamp())
        return overdue(candidates, now, deadline, calendar.due_at)
