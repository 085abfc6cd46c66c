"""Which candidates start now. A pure decision: the same facts always give the same answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mlops_assets.automation.due_days import Candidate

_NAMED = 5
_FIRST_PAUSE, _MAX_RUNS = dt.timedelta(minutes=15), 6  # an engine may be away for eight hours of a night


@dataclass(frozen=True)
class Attempt:
    """The runs that were started for some input.

    Attributes:
        outcome: The state of the newest run, as a sentence.
        count: How many runs there were.
        may_repeat: Whether it failed with a retryable error, and long enough ago.
    """

    outcome: str
    count: int = 1
    may_repeat: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do about the candidates of a job.

    Attributes:
        start: What starts now, oldest day first.
        waiting: Day -> why it does not start.
        earlier: Day -> number of runs so far for the input of what starts.
    """

    start: tuple[Candidate, ...] = ()
    waiting: Mapping[str, str] = field(default_factory=dict)
    earlier: Mapping[str, int] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why nothing starts, for people."""
        if not self.waiting:
            return "All days that are due are done."
        lines = [f"{ds}: {why}" for ds, why in list(self.waiting.items())[:_NAMED]]
        more = [f"… and {len(self.waiting) - _NAMED} more days"] if len(self.waiting) > _NAMED else []
        return "\n".join(lines + more)

    def all_waiting(self, reason: str) -> Decision:
        """The same, but what would have started waits."""
        return Decision(waiting={**self.waiting, **{one.ds: reason for one in self.start}})


def pause_after(count: int) -> dt.timedelta | None:
    """The pause after so many runs that failed with a retryable error; None: no further run."""
    return _FIRST_PAUSE * 2 ** (count - 1) if count < _MAX_RUNS else None


def trigger_of(job: str, ds: str, key: str) -> str:
    """Identifies the work of a run: a job (with the pipeline's name) over one input of one day."""
    return f"{job}/{ds}/{key}"


def decide(
    job: str,
    candidates: Iterable[Candidate],
    *,
    attempts: Mapping[str, Attempt],
    in_progress: Collection[str],
    free: int,
    due_at: Callable[[str], dt.datetime],
) -> Decision:
    """Choose the candidates that start.

    Args:
        job: The job's name in Dagster.
        candidates: Oldest first.
        attempts: Trigger -> the runs that were started for it: no input is started twice, unless a retry may help.
        in_progress: Days that some run is making right now, started by hand or not.
        free: How many runs may be started.
        due_at: Since when a day is due.
    """
    start: list[Candidate] = []
    waiting: dict[str, str] = {}
    earlier: dict[str, int] = {}
    for one in candidates:
        attempt = attempts.get(trigger_of(job, one.ds, one.key))
        if one.waits_for is not None:
            waiting[one.ds] = f"{one.waits_for} (due since {due_at(one.ds):%Y-%m-%d %H:%M %Z})"
        elif one.ds in in_progress:
            waiting[one.ds] = "a run for this day is in progress"
        elif attempt is not None and not attempt.may_repeat:
            waiting[one.ds] = attempt.outcome
        elif len(start) >= free:
            waiting[one.ds] = "waiting for earlier runs to end (MLOPS_CATCHUP_RUNS)"
        else:
            start.append(one)
            if attempt is not None:
                earlier[one.ds] = attempt.count
    return Decision(tuple(start), waiting, earlier)


def overdue(
    candidates: Iterable[Candidate], now: dt.datetime, deadline: dt.timedelta, due_at: Callable[[str], dt.datetime]
) -> list[Candidate]:
    """The days that wait for a delivery for longer than the deadline allows."""
    return [
        one
        for one in candidates
        if one.waits_for is not None and not one.waits_for_other_job and now - due_at(one.ds) > deadline
    ]
