"""Scoring held-out rows with a version: what the model says, and which rows it cannot judge."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_assets.errors import DataError
from mlops_assets.steps.features import fitting_rows
from mlops_assets.steps.gate import gate
from mlops_assets.steps.parameters import Parameters
from mlops_assets.steps.score import score
from mlops_assets.steps.train import train
from mlops_assets.store.tables import read_table, write_table

PARAMS = Parameters(estimator="logistic_regression")
ROWS = 60


def held_out(**changes: list) -> pa.Table:
    """A day with numbers, words and dates; keyword arguments replace columns."""
    columns = {
        "id": list(range(ROWS)),
        "amount": [row % 7 + 0.5 for row in range(ROWS)],
        "city": [f"c{row % 3}" for row in range(ROWS)],
        "day": [dt.datetime(2026, 1, 1 + row % 28) for row in range(ROWS)],  # noqa: DTZ001
        "target": [row % 2 for row in range(ROWS)],
    }
    return pa.table({**columns, **changes})


@pytest.fixture(scope="module")
def model():
    return train({"train.csv": [held_out()]}, PARAMS, "2026-01-01").outputs["model.skops"][0]


def scored(model, *days: pa.Table) -> tuple[pa.Table, dict]:
    outcome = score({"val.csv": dict(enumerate(days)), "model.skops": model}, PARAMS, "v7")
    return outcome.outputs["scores.csv"], dict(outcome.metadata)


def test_rows_are_scored_in_the_order_of_the_days(model):
    # given a day, and one on which the rows stand the other way round
    day = held_out()
    backwards = day.take(list(reversed(range(ROWS))))
    found, metadata = scored(model, day, backwards)
    # then the scores are what the model says, and labels are strings
    frame = pd.DataFrame({name: day[name].to_pandas() for name in model.feature_names_in_})
    expected = model.predict_proba(frame)
    assert found.column_names == ["target", "fits", "score_0", "score_1"]
    assert found["target"].to_pylist()[:3] == ["0", "1", "0"]
    proba = np.column_stack([found["score_0"], found["score_1"]])
    assert proba == pytest.approx(np.concatenate([expected, expected[::-1]]))
    assert metadata == {"rows": 2 * ROWS, "rows_that_do_not_fit": 0}


def test_a_cell_of_another_kind_costs_its_row_only(model):
    # given words among the numbers of one day, among the dates of another, and missing cells
    amounts = ["abc", None, "1.5", *["2"] * (ROWS - 4), "1,5"]
    dates = ["2026-01-01", "soon", None, *["2026-01-02 10:00:00"] * (ROWS - 3)]
    found, metadata = scored(model, held_out(), held_out(amount=amounts), held_out(day=dates))
    # then the rows of these words do not fit and have no scores; all others have
    wrong = {ROWS, 2 * ROWS - 1, 2 * ROWS + 1}
    assert [not fits for fits in found["fits"].to_pylist()] == [row in wrong for row in range(3 * ROWS)]
    for name in ("score_0", "score_1"):
        assert [value is None for value in found[name].to_pylist()] == [row in wrong for row in range(3 * ROWS)]
    assert metadata == {"rows": 3 * ROWS, "rows_that_do_not_fit": 3}


@pytest.mark.parametrize(
    ("column", "values", "fitting"),
    [
        ("amount", [dt.datetime(2026, 1, 1)] * ROWS, 0),  # noqa: DTZ001
        ("amount", [f"word {row}" for row in range(ROWS)], 0),
        ("amount", [None] * ROWS, ROWS),
        ("amount", [row % 2 == 0 for row in range(ROWS)], ROWS),
        ("amount", list(range(ROWS)), ROWS),
        ("day", [1.0, None] * (ROWS // 2), ROWS // 2),
        ("city", list(range(ROWS)), ROWS),
    ],
)
def test_a_column_of_another_kind(model, column, values, fitting):
    found, metadata = scored(model, held_out(**{column: values}))
    assert metadata["rows_that_do_not_fit"] == ROWS - fitting
    assert found["score_1"].null_count == ROWS - fitting


def test_a_missing_column_is_refused(model):
    with pytest.raises(DataError, match="The held-out data to score with version 7 lacks the column 'city'"):
        scored(model, held_out(), held_out().drop_columns(["city"]))


def test_which_of_many_cells_fit_is_known_exactly():
    # given many distinct numbers with words in random places
    rng = np.random.default_rng(0)
    wrong = rng.random(20_000) < 0.01
    cells = [f"x{row}" if bad else f"{row}.25" for row, bad in enumerate(wrong)]
    chunks = pa.chunked_array([cells[:7_000], cells[7_000:], []], pa.string())
    assert (fitting_rows(pa.table({"x": chunks}), {"x": "double"}, "the test") == ~wrong).all()


@pytest.mark.parametrize("labels", [[0, 1], [False, True], ["no", "yes"]])
def test_the_gate_reads_scores_from_their_file(tmp_path, labels):
    # given a model of these labels, and scores of rows of which one does not fit
    day = held_out(target=labels * (ROWS // 2), amount=[row % 2 + row % 7 / 10 for row in range(ROWS)])
    fitted = train({"train.csv": [day]}, PARAMS, "2026-01-01").outputs["model.skops"][0]
    amounts = ["abc", *(str(one) for one in day["amount"].to_pylist()[1:])]
    found, _ = scored(fitted, day.set_column(1, "amount", [amounts]))
    # when they are written and read again
    info = write_table(found, tmp_path / "scores.csv")
    again = read_table((tmp_path / "scores.csv").read_bytes(), info)
    # then the gate judges by them
    outcome = gate({"scores.csv": {"v7": again}, "champion": None}, PARAMS, "gate")
    assert (outcome.metadata["winner"], outcome.metadata["rows"]) == ("v7", ROWS - 1)
