"""The checks: what a day is compared with, what each finds, what it stops and how a person accepts it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from projects import DS, LATER, NEXT, as_csv, mixed, with_labels, without_column

from mlops_assets.checks.output_rules import fault_in_production
from mlops_assets.checks.reference_day import Records
from mlops_assets.checks.verdicts import blockers, judge
from mlops_assets.steps.predict import predict
from mlops_assets.steps.skops_io import load_model
from mlops_assets.store.layout import manifest_name

AFTER = "2024-01-04"
ROWS = 60


def first_rows(text: str, count: int) -> str:
    header, *rows = csv.reader(io.StringIO(text))
    return as_csv(header, rows[:count])


def with_column(text: str, name: str, change) -> str:
    """Each value of a column through a function of row number and value."""
    header, *rows = csv.reader(io.StringIO(text))
    place = header.index(name)
    return as_csv(header, [[*row[:place], change(n, row[place]), *row[place + 1 :]] for n, row in enumerate(rows)])


def verdict(made, check, ds, asset="raw_data", records=None):
    verdicts = judge(asset, ds, records or Records.of(made.store), made.settings.checks)
    return next(one for one in verdicts if one.check == check)


def blocked(made, asset, ds):
    return {one.check for one in blockers(asset, ds, Records.of(made.store), made.settings.checks)}


@pytest.fixture
def days(project):
    """A project in which raw data of these days were delivered and registered, one after the other."""

    def deliver(*contents, **settings):
        made = project(**settings)
        for ds, content in zip((DS, NEXT, LATER, AFTER), contents, strict=False):
            made.deliver(ds, *content)
            made.make("register", ds=ds)
        return made

    return deliver


def test_like_days_pass_and_the_first_has_no_measure(days):
    # given two days of one form
    made = days(mixed(ROWS), mixed(ROWS, seed=1, first_id=ROWS))
    # then both pass all checks, and the first says why
    for ds in (DS, NEXT):
        found = judge("raw_data", ds, Records.of(made.store), made.settings.checks)
        assert [one.check for one in found] == ["schema", "row_count", "missing_values", "unique_ids"]
        assert all(one.passed and not one.blocks for one in found), ds
    assert verdict(made, "schema", DS).message == "there is no earlier day to compare with"
    facts = {"good day with the fewest rows": DS, "rows": ROWS, "rows then": ROWS}
    assert verdict(made, "row_count", NEXT).facts["data.csv"] == facts
    # and of a day that is not there nothing is said
    assert judge("raw_data", LATER, Records.of(made.store), made.settings.checks) == []


@pytest.mark.parametrize("facts", [{"missing_share": "x"}, {"missing_share": {"age": "x"}}, {"repeated_ids": [1]}])
def test_a_day_whose_facts_are_of_other_types_is_no_measure_and_stops_no_other(days, facts):
    # given three equal days, and a manifest of the second one that another program changed
    made = days(mixed(ROWS), mixed(ROWS, seed=1, first_id=ROWS), mixed(ROWS, seed=2, first_id=2 * ROWS))
    manifest = made.store.require("raw_data", NEXT)
    path = made.store.folder("raw_data", NEXT) / manifest_name("raw_data")
    path.write_bytes(replace(manifest, metadata={**manifest.metadata, **facts}).to_json().encode())
    # when / then it has no verdict, and the third is compared with the first
    records = Records.of(made.store)
    assert judge("raw_data", NEXT, records, made.settings.checks) == []
    assert verdict(made, "missing_values", LATER, records=records).facts["data.csv"]["last good day"] == DS
    assert blocked(made, "processed", LATER) == set()


def test_a_day_of_few_rows_is_stopped(days):
    # given a second day of less than half the rows
    data, target = mixed(ROWS)
    made = days((data, target), (first_rows(data, ROWS // 2 - 1), target))
    # then nothing is made of it, and the message says what, where, expected and what to do
    found = verdict(made, "row_count", NEXT)
    assert (found.passed, found.blocks) == (False, ("processed", "predictions"))
    assert found.message.startswith(
        f"raw/{NEXT}/data.csv has 29 rows, and 60 on {DS}, which has the fewest of the last good days (up to 7)."
        " Expected at least 50% of them"
    )
    assert "materialize processed or predictions of the day by hand" in found.message
    assert blocked(made, "processed", NEXT) == blocked(made, "predictions", NEXT) == {"row_count"}
    assert blocked(made, "processed", DS) == set()


def test_the_measure_of_few_rows_is_named_as_what_it_is(days):
    # given a good day of few rows, and one of many after it
    made = days(mixed(ROWS), mixed(2 * ROWS, seed=1, first_id=ROWS), mixed(20, seed=2, first_id=3 * ROWS))
    made.make("process")
    made.make("process", ds=NEXT)
    # when a day of few is refused, then the message names the day that it was compared with, which is not the last one
    assert f"and 60 on {DS}, which has the fewest of the last good days" in verdict(made, "row_count", LATER).message


def in_pieces(data: str) -> str:
    return with_column(data, "count", lambda n, value: f"{value} pieces")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: without_column(data, "amount"), "data.csv lacks the column 'amount'."),
        (lambda data: data.replace("count", "Count", 1), "lacks the column 'count'; also has the column 'Count'."),
        (in_pieces, "has words in column 'count', which had numbers."),
        (lambda data: with_column(data, "day", lambda n, value: n), "has numbers in column 'day', which had dates."),
    ],
    ids=["gone", "renamed", "numbers to words", "dates to numbers"],
)
def test_changed_columns_stop_a_day(days, change, problem):
    data, target = mixed(ROWS)
    made = days((data, target), (change(data), target))
    found = verdict(made, "schema", NEXT)
    assert not found.passed
    assert problem in found.message
    assert blocked(made, "predictions", NEXT) == {"schema"}


@pytest.mark.parametrize(
    "change",
    [
        lambda data: with_column(data, "count", lambda n, value: float(value) + 0.5),
        lambda data: with_column(data, "flag", lambda n, value: int(value == "true")),
        lambda data: with_column(data, "nothing", lambda n, value: "something at last"),
        lambda data: without_column(data, "note"),
    ],
    ids=["whole numbers to broken ones", "true to 1", "a column without values", "a dropped column"],
)
def test_changes_that_make_no_difference_pass(days, change):
    data, target = mixed(ROWS)
    made = days((data, target), (change(data), target), drop_columns="note")
    assert verdict(made, "schema", NEXT).passed


def test_a_column_that_suddenly_lacks_its_values_stops_a_day(days):
    # given a column that has no value on the second day, one that never had, one that has some fewer
    data, target = mixed(ROWS)
    emptied = with_column(data, "colour", lambda n, value: "")
    emptied = with_column(emptied, "count", lambda n, value: "" if n % 3 == 0 else value)
    made = days((data, target), (emptied, target))
    # then the first is named, and it is no change of kind
    found = verdict(made, "missing_values", NEXT)
    assert "values are missing in the column 'colour', up to 100% of the rows" in found.message
    assert verdict(made, "schema", NEXT).passed
    assert blocked(made, "processed", NEXT) == {"missing_values"}


def test_repeated_ids_are_counted_and_stop_nothing(days, monkeypatch):
    # given ids that stand there again, one of them in a later block of the file
    monkeypatch.setattr("mlops_assets.store.delivered.BLOCK_BYTES", 500)
    data, target = mixed(ROWS)
    again = with_column(data, "id", {3: 2, 50: 2, 51: ""}.get)
    made = days((data, target), (again, target))
    # then they are counted; a missing one repeats none
    assert verdict(made, "unique_ids", DS).facts == {"data.csv": {"repeated ids": 0}, "target.csv": {"repeated ids": 0}}
    found = verdict(made, "unique_ids", NEXT)
    assert (found.passed, found.blocks) == (False, ())
    assert f"raw/{NEXT}/data.csv: 2 rows have the id of an earlier row" in found.message
    # and where there is no id column, there is nothing to say
    data, target = (without_column(text, "id") for text in mixed(ROWS))
    assert "no id column" in verdict(days((data, target)), "unique_ids", DS).message


def test_a_bad_day_is_not_the_measure_of_the_next(days):
    # given a bad third day of four that arrived together, none of them used yet
    data, target = mixed(ROWS)
    made = days((data, target), (data, target), (without_column(data, "amount"), target), (data, target))
    # then it alone fails
    assert [verdict(made, "schema", ds).passed for ds in (DS, NEXT, LATER, AFTER)] == [True, True, False, True]
    assert verdict(made, "schema", AFTER).facts["data.csv"]["last good day"] == NEXT
    # and the same where an earlier day was used
    made.make("process", ds=DS)
    assert verdict(made, "schema", AFTER).facts["data.csv"]["last good day"] == DS


def test_a_person_accepts_a_change_by_making_the_next_asset(days):
    # given a change that is meant, on two days
    data, target = mixed(ROWS)
    changed = without_column(data, "amount"), target
    made = days((data, target), changed, changed)
    made.make("process", ds=DS)
    assert blocked(made, "predictions", NEXT) == blocked(made, "predictions", LATER) == {"schema"}
    # when the first of them is processed by hand
    made.make("process", ds=NEXT)
    # then it stops nothing more, and a day like it passes
    assert blocked(made, "predictions", NEXT) == blocked(made, "predictions", LATER) == set()
    assert verdict(made, "schema", LATER).passed
    # and another delivery of it was not accepted
    made.deliver(NEXT, without_column(data, "count"))
    made.make("register", ds=NEXT)
    assert blocked(made, "predictions", NEXT) == {"schema"}


def test_a_day_that_was_accepted_does_not_stop_the_next_one_that_is_as_before(serving):
    # given a day without a column that the champion needs
    made = serving()
    data, target = mixed(seed=1, first_id=1_000)
    made.deliver(NEXT, without_column(data, "amount"), target)
    assert made.materialize("raw_data", ds=NEXT).success
    # then the remedy that its check names is one that works
    found = verdict(made, "schema", NEXT)
    assert "materialize processed of the day by hand" in found.message
    assert "cannot score the day: train one on such days" in found.message
    refused = made.materialize("predictions", ds=NEXT)
    assert "lacks the column 'amount', which the model was trained on" in refused.failures["predictions"]
    assert made.materialize("processed", ds=NEXT).success
    # and the day after it, with all columns, is scored, in a run over several days, too
    made.deliver(LATER, *mixed(seed=2, first_id=2_000))
    made.deliver(AFTER, without_column(mixed(seed=3, first_id=3_000)[0], "amount"), target)
    assert made.materialize("raw_data", ds=LATER, to=AFTER).success
    result = made.materialize("processed", "production_model", "predictions", ds=LATER, to=AFTER)
    assert result.made("predictions") == [LATER]
    # while one like the accepted day passes the check
    assert verdict(made, "schema", AFTER).passed


def test_a_bad_target_stops_training_and_not_predictions(serving):
    # given a second day whose targets were cut off
    made = serving()
    data, target = mixed(400, seed=1)
    made.deliver(NEXT, data, first_rows(target, 100))
    made.make("register", ds=NEXT)
    # then only what reads them is stopped
    found = verdict(made, "row_count", NEXT)
    assert (found.at_fault, found.blocks) == (("target.csv",), ("processed",))
    assert "materialize processed of the day by hand" in found.message
    # and predicting the day accepts nothing of the target
    made.make("predict", ds=NEXT)
    assert blocked(made, "processed", NEXT) == {"row_count"}
    made.make("process", ds=NEXT)
    assert blocked(made, "processed", NEXT) == set()


def test_a_target_that_comes_later_is_no_failure(days):
    data, target = mixed(ROWS)
    made = days((data, target), (data,))
    assert all(one.passed for one in judge("raw_data", NEXT, Records.of(made.store), made.settings.checks))
    # and when it comes, it is judged
    made.deliver(NEXT, target=with_labels(target, ["no", "yes"]))
    made.make("register", ds=NEXT)
    assert "target.csv has words in column 'target', which had numbers" in verdict(made, "schema", NEXT).message


def test_a_broken_target_is_no_measure(days):
    # given a first day whose target is empty, and a good one after it
    data, target = mixed(ROWS)
    made = days((data, ""), (data, target))
    # then the good one passes: there is nothing that its target could be compared with
    assert all(one.passed for one in judge("raw_data", NEXT, Records.of(made.store), made.settings.checks))


def test_a_single_class_stops_training(days):
    made = days((mixed(ROWS)[0], with_labels(mixed(ROWS)[1], ["same", "same"])))
    made.make("process")
    found = verdict(made, "classes", DS, "processed")
    assert (found.passed, found.blocks) == (False, ("model",))
    assert f"processed/{DS}/train_data.csv: all rows are of class 'same'" in found.message
    assert blocked(made, "model", DS) == {"classes"}
    # but not of a model that learns from several days
    wider = replace(made.settings.checks, train_window_days=7)
    assert blockers("model", DS, Records.of(made.store), wider) == []


def test_predictions_are_counted_and_their_scores_looked_at(serving):
    # given a day that was predicted
    made = serving()
    made.make("predict")
    # then it passes
    assert verdict(made, "row_count", DS, "predictions").facts["predictions.csv"] == {"rows": 400, "predictions": 400}
    assert verdict(made, "scores", DS, "predictions").facts["predictions.csv"] == {"rows with invalid scores": 0}
    # when rows are lost, or scores are none
    manifest = made.store.require("predictions", DS)
    fewer = replace(manifest, files=(replace(manifest.files[0], rows=399),), metadata={"invalid_scores": 3})
    records = Records(lambda asset, ds: fewer if asset == "predictions" else made.store.manifest(asset, ds), [DS])
    # then it does not, though nothing is left to be stopped
    for check, problem in {
        "row_count": "has 399 rows and raw",
        "scores": "3 rows have scores that are not prob",
    }.items():
        found = verdict(made, check, DS, "predictions", records)
        assert (found.passed, found.blocks) == (False, ())
        assert problem in found.message
    # and a day that was delivered anew since is for another run to judge
    made.deliver(DS, mixed(100)[0])
    made.make("register")
    assert "replaced since" in verdict(made, "row_count", DS, "predictions").message


def test_scores_that_are_no_probabilities_are_counted(serving):
    # given a model that has gone wrong on four of its rows
    made = serving()
    pipeline = load_model(made.store.read_bytes("model", DS, "model.skops")[0], "the model")

    class Wrong:
        def __getattr__(self, name):
            return getattr(pipeline, name)

        def predict_proba(self, frame):
            proba = pipeline.predict_proba(frame)
            proba[:4] = [[np.nan, 1], [np.inf, 0], [1.5, -0.5], [0.2, 0.2]]
            return proba

    # when it predicts
    blocks = made.store.stream_table("raw_data", DS, "data.csv")
    outcome = predict({"model.skops": Wrong(), "data.csv": blocks}, made.params, DS)
    list(outcome.outputs["predictions.csv"])
    # then they are known
    assert outcome.metadata["invalid_scores"] == 4


def test_checks_can_be_switched_off(days):
    data, target = mixed(ROWS)
    bad = first_rows(with_column(without_column(data, "amount"), "colour", lambda n, value: ""), 10), target
    off = days((data, target), bad, check_schema=False, check_max_row_fall=0, check_max_missing_share=0)
    assert blocked(off, "processed", NEXT) == set()
    assert verdict(off, "row_count", NEXT).message == "switched off (MLOPS_CHECK_MAX_ROW_FALL)"


def test_what_a_step_did_not_report_is_not_judged(days):
    made = days(mixed(ROWS), mixed(ROWS))
    records = Records(
        lambda asset, ds: (one := made.store.manifest(asset, ds)) and replace(one, metadata={}), [DS, NEXT]
    )
    for check in ("missing_values", "unique_ids"):
        found = verdict(made, check, NEXT, records=records)
        assert found.passed
        assert "did not report" in found.message


def test_generated_days_report_the_same_facts(project):
    made = project(source="transactions", start_date=DS)
    made.make("generate")
    made.make("generate", ds=NEXT)
    assert verdict(made, "unique_ids", NEXT).facts["data.csv"] == {"repeated ids": 0}
    assert verdict(made, "missing_values", NEXT).facts["data.csv"]["last good day"] == DS
    assert blocked(made, "processed", NEXT) == set()


@pytest.mark.parametrize(
    ("staged", "alias", "expected"),
    [
        ([1], 1, ()),
        ([1], 2, ("stage Production: version 1;", "alias champion: version 2", "models list")),
        ([1, 2], 1, ("stage Production: versions 1, 2", "Move all but one to the stage Archived")),
        ([], None, ("stage Production: no version", "alias champion: no version", "models promote VERSION")),
    ],
)
def test_exactly_one_version_is_in_production(staged, alias, expected):
    fault = fault_in_production(staged, alias, "churn")
    assert bool(fault) is bool(expected)
    for words in ("Model 'churn'", *expected) if expected else ():
        assert words in fault
