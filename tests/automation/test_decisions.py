"""Which candidates start: nothing twice, oldest first, no more than may run."""

from __future__ import annotations

import datetime as dt

from mlops_assets.automation.decision import Attempt, decide, overdue, trigger_of
from mlops_assets.automation.due_days import Candidate


def due_at(ds):
    return dt.datetime.fromisoformat(ds).replace(tzinfo=dt.timezone.utc) + dt.timedelta(days=1, minutes=30)


def made(candidates, **facts):
    return decide("predict", candidates, **{"attempts": {}, "in_progress": (), "free": 5, "due_at": due_at, **facts})


def days(count):
    return [Candidate(f"2026-01-{day:02}", f"k{day}") for day in range(1, count + 1)]


def test_the_oldest_days_start_first_and_no_more_than_may_run():
    decision = made(days(8), free=3)
    assert [one.ds for one in decision.start] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert len(decision.waiting) == 5


def test_a_day_that_waits_does_not_hold_up_later_ones():
    decision = made([Candidate("2026-01-01", waits_for="raw/2026-01-01/data.csv is missing"), *days(3)[1:]])
    assert [one.ds for one in decision.start] == ["2026-01-02", "2026-01-03"]
    assert decision.waiting == {"2026-01-01": "raw/2026-01-01/data.csv is missing (due since 2026-01-02 00:30 UTC)"}


def test_the_same_input_is_never_started_twice_and_another_one_is():
    # given a run for the input of a day
    first = days(1)
    attempts = {trigger_of("predict", "2026-01-01", "k1"): Attempt("run 12345678 failed on this input")}
    # when the same input is looked at, then it is not started, with a reason
    decision = made(first, attempts=attempts)
    assert decision.start == ()
    assert decision.reason == "2026-01-01: run 12345678 failed on this input"
    # and when other data come for that day, it is
    assert made([Candidate("2026-01-01", "other")], attempts=attempts).start


def test_a_day_that_is_in_progress_is_not_started():
    decision = made(days(2), in_progress={"2026-01-01"})
    assert [one.ds for one in decision.start] == ["2026-01-02"]


def test_the_reason_when_there_is_nothing_to_do():
    assert made([]).reason == "All days that are due are done."


def test_only_days_that_wait_for_a_delivery_are_late():
    # given a day whose file is missing, one that waits for another job, one that is ready
    candidates = [
        Candidate("2026-01-01", waits_for="missing"),
        Candidate("2026-01-02", waits_for="raw_data is not there", waits_for_other_job=True),
        Candidate("2026-01-03", "k"),
        Candidate("2026-01-04", waits_for="missing"),
    ]
    now = dt.datetime(2026, 1, 5, 6, tzinfo=dt.timezone.utc)
    # when / then
    assert [one.ds for one in overdue(candidates, now, dt.timedelta(hours=6), due_at)] == ["2026-01-01"]
