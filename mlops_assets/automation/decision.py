"""Which candidates start now. A pure decision: the same facts give the same answer, however often it is asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mlops_assets.automation.due_days import Candidate

_NAMED = 5
_FIRST_PAUSE, _MOST_RUNS = dt.timedelta(minutes=15), 6  # an engine may be away for eight hours of a night


@dataclass(frozen=True)
class Attempt:
    """What was started for some input.

    Attributes:
        outcome: What became of the newest run, in words.
        count: How many runs there were.
        may_repeat: Whether it failed by something that can heal, and long enough ago.
    """

    outcome: str
    count: int = 1
    may_repeat: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do about the candidates of a job.

    Attributes:
        start: What starts now, oldest day first.
        waiting: What cannot start, or not yet, and why; day -> words.
        earlier: Day -> how many runs there were for the input of what starts.
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


def pause_after(count: int) -> dt.timedelta | None:
    """How long to wait after so many runs that failed by something that can heal; None: no more is tried."""
    return _FIRST_PAUSE * 2 ** (count - 1) if count < _MOST_RUNS else None


def trigger_of(job: str, candidate: Candidate) -> str:
    """What names the work of a run: the same job over the same input of the same day."""
    return f"{job}/{candidate.ds}/{candidate.key}"


def decide(
    job: str,
    candidates: Iterable[Candidate],
    *,
    attempts: Mapping[str, Attempt],
    in_progress: Collection[str],
    free: int,
    due_at: Callable[[str], dt.datetime],
) -> Decision:
    """Choose.

    Args:
        job: The job's name.
        candidates: Oldest first.
        attempts: Trigger -> what became of what was started for it: nothing starts twice, unless it can heal.
        in_progress: Days that some run is making right now, by hand or not.
        free: How many runs may be started.
        due_at: Since when a day is due.
    """
    start: list[Candidate] = []
    waiting: dict[str, str] = {}
    for one in candidates:
        if one.waits_for is not None:
            waiting[one.ds] = f"{one.waits_for} (due since {due_at(one.ds):%Y-%m-%d %H:%M %Z})"
        elif one.ds in in_progress:
            waiting[one.ds] = "a run is making it"
        elif (attempt := attempts.get(trigger_of(job, one))) is not None and not attempt.may_repeat:
            waiting[one.ds] = attempt.outcome
        elif len(start) >= free:
            waiting[one.ds] = "it waits for earlier runs (MLOPS_CATCHUP_RUNS)"
        else:
            start.append(one)
    known = {one.ds: attempts[trigger_of(job, one)].count for one in start if trigger_of(job, one) in attempts}
    return Decision(tuple(start), waiting, known)


def overdue(
    candidates: Iterable[Candidate], now: dt.datetime, deadline: dt.timedelta, due_at: Callable[[str], dt.datetime]
) -> list[Candidate]:
    """The days that wait for somebody outside for longer than the deadline allows."""
    return [
        one
        for one in candidates
        if one.waits_for is not None and not one.is_upstream and now - due_at(one.ds) > deadline
    ]
