"""Names in settings that stand for no column."""

from __future__ import annotations

from projects import DS, LATER, NEXT, mixed

from mlops_assets.checks.column_settings import unknown_columns
from mlops_assets.checks.reference_day import Records


def test_a_column_that_was_there_on_a_recent_day_is_known(project):
    # given a column that only the first day has, and settings that name it, one of the target, and a misspelt one
    made = project(drop_columns="extra,note,colours", text_columns="target")
    made.deliver(DS, *mixed(20, extra=lambda row: row))
    made.deliver(NEXT, *mixed(20))
    made.make("register")
    made.make("register", ds=NEXT)
    # when / then only the misspelt one is unknown, and without data nothing is said
    records = Records.of(made.store)
    (problem,) = unknown_columns(made.params, records, (NEXT, DS))
    assert problem.startswith("MLOPS_DROP_COLUMNS names 'colours', which no file of raw/2024-01-01 … raw/2024-01-02")
    assert "Did you mean 'colour'?" in problem
    assert list(unknown_columns(made.params, records, [LATER])) == []


def test_of_a_wide_file_only_the_first_columns_are_named(project):
    made = project(drop_columns="nope")
    made.deliver(DS, ",".join(["id", *(f"c{one}" for one in range(1_000))]) + "\n" + ",".join(["1"] * 1_001) + "\n")
    made.make("register")
    (problem,) = unknown_columns(made.params, Records.of(made.store), [DS])
    assert problem.endswith("c28 and 971 more.")
