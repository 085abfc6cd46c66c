"""Alerts about late data: days whose runs still wait for their input some hours after they were due.

Which days are due and what they wait for is the automation's to know; it is passed in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import dagster as dg

from mlops_assets.alerts.message import LATE, Alert, alert
from mlops_assets.names import Names

_DAYS_NAMED = 5
_NEEDS_A_MODEL = "predict"


class Candidate(Protocol):
    """A day that waits; both attributes are read only."""

    @property
    def ds(self) -> str:
        """The partition."""

    @property
    def waits_for(self) -> str | None:
        """What is missing, as text."""


@dataclass(frozen=True)
class LateData:
    """Call it for the alerts about the data that are late now.

    Attributes:
        names: Of the pipeline.
        jobs: The jobs with days whose schedule or sensor is on, by their names without a pipeline's.
        overdue: ``(job, now)`` -> the days that wait beyond the deadline, oldest first.
        due_at: ``(job, ds)`` -> when the day was due.
        had_model: Whether there has ever been a model in production; before that no prediction can be late.
        deadline_hours: ``MLOPS_DEADLINE_HOURS``, for the text.
    """

    names: Names
    jobs: Callable[[dg.DagsterInstance], Sequence[str]]
    overdue: Callable[[str, dt.datetime], Sequence[Candidate]]
    due_at: Callable[[str, str], dt.datetime]
    had_model: Callable[[], bool]
    deadline_hours: float

    def __call__(self, instance: dg.DagsterInstance) -> list[Alert]:
        """An alert for each job with late days; another when a later day joins them."""
        now = dt.datetime.now(dt.timezone.utc)
        found = ((job, self.overdue(job, now)) for job in self.jobs(instance))
        return [self._alert(job, late) for job, late in found if late and (job != _NEEDS_A_MODEL or self.had_model())]

    def _alert(self, job: str, late: Sequence[Candidate]) -> Alert:
        name, newest = self.names.of(job), late[-1].ds
        named = [
            f"{one.ds}: {one.waits_for} (due since {self.due_at(job, one.ds):%Y-%m-%d %H:%M %Z})"
            for one in reversed(late[-_DAYS_NAMED:])
        ]
        more = [f"… and {len(late) - _DAYS_NAMED} earlier days"] if len(late) > _DAYS_NAMED else []
        rule = f"A day is late when it is still missing {self.deadline_hours:g} hours after it was due"
        return alert(
            f"late/{name}/{newest}",
            LATE,
            f"{name} is late: {newest if len(late) == 1 else f'{len(late)} days up to {newest}'}",
            [*named, *more, f"{rule} (MLOPS_DEADLINE_HOURS).", "The run starts as soon as the input is there."],
        )
