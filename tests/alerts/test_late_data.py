"""When a day counts as late, and what the alert says."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pytest

from mlops_assets.alerts.late_data import LateData
from mlops_assets.names import Names

DUE = dt.datetime(2026, 1, 6, 6, tzinfo=dt.timezone.utc)


@dataclass(frozen=True)
class Waiting:
    ds: str
    waits_for: str = "raw_data is missing"


@pytest.fixture
def late_data():
    """With these days waiting for each job that is on."""

    def make(days, *, pipeline="", had_model=True):
        waiting = {job: [Waiting(ds) for ds in found] for job, found in days.items()}
        return LateData(
            names=Names(pipeline),
            jobs=lambda _instance: list(waiting),
            overdue=lambda job, _now: waiting[job],
            due_at=lambda _job, _ds: DUE,
            had_model=lambda: had_model,
            deadline_hours=6.0,
        )

    return make


def test_a_late_day_gives_one_alert_that_says_what_it_waits_for(late_data):
    # given / when
    (alert,) = late_data({"download": ["2026-01-05"], "train": []}, pipeline="churn")(None)
    # then
    assert alert.title == "churn_download is late: 2026-01-05"
    assert alert.body == (
        "2026-01-05: raw_data is missing (due since 2026-01-06 06:00 UTC)\n"
        "A day is late when it is still missing 6 hours after it was due (MLOPS_DEADLINE_HOURS).\n"
        "The run starts as soon as the input is there."
    )


def test_many_days_are_one_alert_and_a_later_day_is_another(late_data):
    # given / when
    days = [f"2026-01-{day:02}" for day in range(1, 9)]
    (before,), (after,) = (late_data({"download": found})(None) for found in (days[:-1], days))
    # then
    assert before.key != after.key
    assert after.title == "download is late: 8 days up to 2026-01-08"
    assert "2026-01-04" in after.body
    assert "2026-01-03" not in after.body
    assert "… and 3 earlier days" in after.body


def test_predictions_are_not_late_before_there_was_a_model(late_data):
    # given / when / then
    days = {"download": ["2026-01-05"], "predict": ["2026-01-05"]}
    assert [one.key for one in late_data(days, had_model=False)(None)] == ["late/download/2026-01-05"]
    assert len(late_data(days)(None)) == 2
