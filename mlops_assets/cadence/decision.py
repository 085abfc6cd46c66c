"""Which candidates start now. A pure decision: the same facts give the same answer, however often it is asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mlops_assets.cadence.candidates import Candidate

_NAMED = 5


@dataclass(frozen=True)
class Decision:
    """What to do about the candidates of a job.

    Attributes:
        start: What starts now, oldest day first.
        waiting: What cannot start, or not yet, and why; day -> words.
    """

    start: tuple[Candidate, ...] = ()
    waiting: Mapping[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why nothing starts, for people."""
        if not self.waiting:
            return "All days that are due are done."
        lines = [f"{ds}: {why}" for ds, why in list(self.waiting.items())[:_NAMED]]
        more = [f"… and {len(self.waiting) - _NAMED} more days"] if len(self.waiting) > _NAMED else []
        return "\n".join(lines + more)


def trigger_of(job: str, candidate: Candidate) -> str:
    """What names the work of a run: the same job over the same input of the same day."""
    return f"{job}/{candidate.ds}/{candidate.key}"


def decide(
    job: str,
    candidates: Iterable[Candidate],
    *,
    attempts: Mapping[str, str],
    in_progress: Collection[str],
    free: int,
    due_at: Callable[[str], dt.datetime],
) -> Decision:
    """Choose.

    Args:
        job: The job's name.
        candidates: Oldest first.
        attempts: Trigger -> what became of the run that was started for it, in words: nothing starts twice.
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
        elif (outcome := attempts.get(trigger_of(job, one))) is not None:
            waiting[one.ds] = outcome
        elif len(start) >= free:
            waiting[one.ds] = "it waits for earlier runs (MLOPS_CATCHUP_RUNS)"
        else:
            start.append(one)
    return Decision(tuple(start), waiting)


def overdue(
    candidates: Iterable[Candidate], now: dt.datetime, deadline: dt.timedelta, due_at: Callable[[str], dt.datetime]
) -> list[Candidate]:
    """The days that wait for somebody outside for longer than the deadline allows."""
    return [
        one
        for one in candidates
        if one.waits_for is not None and not one.is_upstream and now - due_at(one.ds) > deadline
    ]
