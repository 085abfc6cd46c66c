"""From the candidates of a job to run requests: shared by schedules and sensors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from mlops_assets.automation.calendar import Calendar
from mlops_assets.automation.config import DAILY_JOBS, PREDICT, AutomationConfig, schedule_name
from mlops_assets.automation.decision import Decision, decide, overdue, trigger_of
from mlops_assets.automation.delivery import Observations
from mlops_assets.automation.due_days import Candidate, Days, DueDays
from mlops_assets.automation.run_lookup import TRIGGER_TAG, PipelineRuns, attempts
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.housekeeping.dagster_internals import is_switched_on
from mlops_assets.names import Names


@dataclass(frozen=True)
class Launcher:
    """Decides what to start.

    Attributes:
        config: When what runs.
        due_days: Finds the candidates.
        names: Of the pipeline.
        has_model: Whether there is a model to predict with; asked only when a day waits for nothing else.
    """

    config: AutomationConfig
    due_days: DueDays
    names: Names
    has_model: Callable[[], bool] = lambda: True

    @cached_property
    def calendars(self) -> dict[str, Calendar]:
        """Job -> when its days are due."""
        return {job: Calendar(self.config, job) for job in self.config.crons}

    def decide(
        self, instance: dg.DagsterInstance, job: str, days: Days, now: dt.datetime, observations: Observations
    ) -> Decision:
        """What to start of a job now.

        Args:
            instance: Dagster's.
            job: One of the daily jobs.
            days: The days to look at.
            now: The time.
            observations: Of deliveries; updated.
        """
        candidates = self.due_days.candidates(job, days, observations, now.timestamp())
        name = self.names.of(job)
        triggers = [trigger_of(name, one.ds, one.key) for one in candidates if one.waits_for is None]
        runs = PipelineRuns.unfinished(instance, self.names) if triggers else PipelineRuns(self.names, ())
        decision = decide(
            name,
            candidates,
            attempts=attempts(instance, triggers, now),
            in_progress=runs.days(job),
            free=self.config.catchup_runs - runs.automatic(job),
            due_at=self.calendars[job].due_at,
        )
        if job == PREDICT and decision.start and not self._may_predict():
            return decision.all_waiting("no model is in production")
        return decision

    def requests(self, job: str, decision: Decision) -> list[dg.RunRequest]:
        """A run for each day that starts."""
        triggers = {one.ds: trigger_of(self.names.of(job), one.ds, one.key) for one in decision.start}
        return [
            dg.RunRequest(f"{trigger}/{decision.earlier.get(ds, 0)}", partition_key=ds, tags={TRIGGER_TAG: trigger})
            for ds, trigger in triggers.items()
        ]

    def is_on(self, instance: dg.DagsterInstance, job: str) -> bool:
        """Whether the schedule of a job is switched on."""
        return is_switched_on(instance, self.names.of(schedule_name(job)), by_default=self.config.automate)

    def overdue(self, job: str, now: dt.datetime) -> Sequence[Candidate]:
        """The days that wait for a delivery for longer than the deadline allows."""
        calendar, deadline = self.calendars[job], dt.timedelta(hours=self.config.deadline_hours)
        candidates = self.due_days.candidates(job, calendar.days(now), {}, now.timestamp())
        return overdue(candidates, now, deadline, calendar.due_at)

    def late(self, instance: dg.DagsterInstance, now: dt.datetime) -> dict[str, Sequence[Candidate]]:
        """Job -> its overdue days, of the jobs whose schedule is on and that have some."""
        on = [job for job in DAILY_JOBS if self.is_on(instance, job)]
        return {job: days for job in on if (days := self.overdue(job, now))}

    def _may_predict(self) -> bool:
        try:
            return self.has_model()
        except MlopsAssetsError:  # MLflow is away: the run serves the champion that was resolved last
            return True
