"""When days are due, over changes of the clock too."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from mlops_assets.automation.calendar import Calendar
from mlops_assets.automation.config import PREDICT, TRAIN, AutomationConfig

BERLIN = ZoneInfo("Europe/Berlin")


def calendar(job=PREDICT, cron="30 2 * * *", start="2026-01-01", zone="Europe/Berlin", **more):
    return Calendar(AutomationConfig(**{f"{job}_cron": cron}, timezone=zone, start_date=start, **more), job)


@pytest.mark.parametrize(
    ("ds", "due"),
    [
        ("2026-03-27", "2026-03-28T02:30:00+01:00"),
        ("2026-03-28", "2026-03-29T03:00:00+02:00"),  # 02:30 does not exist that night
        ("2026-03-29", "2026-03-30T02:30:00+02:00"),
        ("2026-10-23", "2026-10-24T02:30:00+02:00"),
        ("2026-10-24", "2026-10-25T02:30:00+01:00"),  # 02:30 comes twice that night
        ("2026-10-25", "2026-10-26T02:30:00+01:00"),
    ],
)
def test_a_day_is_due_once_when_clocks_change(ds, due):
    assert calendar().due_at(ds).isoformat() == due


def test_every_day_of_a_year_becomes_due_once_and_in_order():
    # given a year of minutes around the time, also of the two nights when clocks change
    days = calendar()
    start = dt.datetime(2026, 1, 2, tzinfo=BERLIN)
    # when it is asked every hour what the newest due day is
    newest = []
    for hour in range(365 * 24):
        due = days.days(start + dt.timedelta(hours=hour)).due if hour % 24 in {0, 1, 2, 3, 4} else None
        if due and (not newest or newest[-1] != due[-1]):
            newest.append(due[-1])
    # then no day is skipped and none comes twice
    expected = [(dt.date(2026, 1, 1) + dt.timedelta(days=one)).isoformat() for one in range(len(newest))]
    assert newest == expected
    assert len(newest) >= 364


def test_a_day_is_due_at_its_tick_and_not_a_second_before():
    days, tick = calendar(), dt.datetime(2026, 5, 4, 2, 30, tzinfo=BERLIN)
    assert days.days(tick).due[-1] == "2026-05-03"
    assert days.days(tick - dt.timedelta(seconds=1)).due[-1] == "2026-05-02"


def test_days_without_a_tick_of_their_own_are_due_with_the_next_one():
    # given work days only
    days = calendar(cron="0 6 * * 1-5")
    # when it is Sunday, then Monday after six
    sunday, monday = (dt.datetime(2026, 5, 10, 12, tzinfo=BERLIN), dt.datetime(2026, 5, 11, 6, tzinfo=BERLIN))
    # then Friday, Saturday and Sunday come together
    assert days.days(sunday).due[-1] == "2026-05-07"
    assert days.days(monday).due[-3:] == ["2026-05-08", "2026-05-09", "2026-05-10"]


def test_a_training_is_for_the_last_day_before_its_tick():
    # given a training every Monday at two
    days = calendar(TRAIN, "0 2 * * 1", catchup_days=20)
    # when it is a Wednesday
    looked = days.days(dt.datetime(2026, 5, 13, 12, tzinfo=BERLIN))
    # then it is for the Sundays within reach
    assert looked.trained == ["2026-04-26", "2026-05-03", "2026-05-10"]


def test_nothing_is_due_before_the_first_day_has_ended():
    days = calendar(start="2026-05-13")
    assert days.days(dt.datetime(2026, 5, 13, 12, tzinfo=BERLIN)).due == ()
    assert days.days(dt.datetime(2026, 5, 14, 3, tzinfo=BERLIN)).due == ["2026-05-13"]
