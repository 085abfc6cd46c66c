"""The split depends on the row alone, and divides every class alike."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.steps.parameters import Parameters
from mlops_assets.steps.row_hash import duplicates_of, row_hashes
from mlops_assets.steps.split import split
from mlops_assets.store.layout import TRAIN, TRAIN_DATA, VAL


def frame(rows: int = 20_000, **changes: pa.Array) -> pa.Table:
    rng = np.random.default_rng(0)
    columns = {
        "id": np.arange(rows),
        "x": rng.normal(size=rows),
        "word": rng.choice(["a", "b"], rows),
        "target": (rng.random(rows) < 0.05).astype(int),
    }
    return pa.table({**columns, **changes})


def sides(table: pa.Table, **settings: object) -> tuple[pa.Table, pa.Table]:
    outcome = split({TRAIN_DATA: table}, Parameters(**settings), "2024-01-01")
    return outcome.outputs[TRAIN], outcome.outputs[VAL]


@pytest.mark.parametrize("id_column", ["id", "there is none"])
def test_every_row_is_on_one_side_and_every_class_is_divided_alike(id_column):
    # given two classes, one of 5 %
    table = frame()
    # when they are split
    train, val = sides(table, id_column=id_column, validation_share=0.3)
    # then no row is lost or doubled, order stays, and the shares are as asked for, up to chance
    assert sorted([*train["id"].to_pylist(), *val["id"].to_pylist()]) == table["id"].to_pylist()
    assert train["id"].to_pylist() == sorted(train["id"].to_pylist())
    for label in (0, 1):
        total, held = (int((one["target"].to_numpy() == label).sum()) for one in (table, val))
        assert abs(held - 0.3 * total) < 4 * np.sqrt(total * 0.3 * 0.7)


@pytest.mark.parametrize("id_column", ["id", "there is none"])
def test_a_row_is_on_the_same_side_whatever_is_around_it(id_column):
    # given a day
    table = frame(2_000)
    _, val = sides(table, id_column=id_column)
    # when other days have some of its rows, in another order
    some = table.take(np.random.default_rng(1).permutation(2_000)[:500])
    _, others = sides(some, id_column=id_column)
    # then they are held out there too
    assert set(others["id"].to_pylist()) == set(val["id"].to_pylist()) & set(some["id"].to_pylist())


def test_a_column_may_be_integer_on_one_day_and_float_on_the_next():
    table = frame(500, x=pa.array(range(500)))
    assert (row_hashes(table) == row_hashes(frame(500, x=pa.array(np.arange(500.0))))).all()


def test_a_huge_value_does_not_move_the_other_rows():
    # given integers, and the same day with one that no float holds
    values = list(range(500))
    hashes = row_hashes(pa.table({"x": values}))
    # then only that row's hash differs
    huge = row_hashes(pa.table({"x": [2**60 + 1, *values[1:]]}))
    assert (hashes[1:] == huge[1:]).all()
    assert len({int(one) for one in row_hashes(pa.table({"x": [2**60, 2**60 + 1, -(2**63), 2**63 - 1]}))}) == 4


def test_hashes_are_the_same_for_ever():
    # A changed hash would put rows that a champion was trained on among those that it is judged on.
    table = pa.table(
        {
            "i": pa.array([1, None]),
            "f": [0.5, -0.0],
            "s": pa.array(["ü", None]),
            "b": [True, False],
            "t": pa.array([0, None], pa.timestamp("s")),
        }
    )
    assert [hex(one) for one in row_hashes(table)] == ["0x4373cd5b939727c8", "0x4a63303d39c13746"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, 2, 1, None, None]), [False, False, True, False, True]),
        (pa.array(["a", "", "a", None, None]), [False, False, True, False, True]),
        (pa.array([0.0, -0.0, 0.5, None, None]), [False, True, False, False, True]),
        (pa.array([True, False, True, None, None]), [False, False, True, False, True]),
        (pa.array([0, 1, 0, None, None], pa.timestamp("us")), [False, False, True, False, True]),
        (pa.array([0, 1, 0, None, None], pa.timestamp("ns")), [False, False, True, False, True]),
    ],
)
def test_only_exact_repetitions_are_duplicates(column, expected):
    assert duplicates_of(pa.table({"x": column, "y": [1] * 5})).tolist() == expected


def test_missing_and_empty_and_swapped_columns_are_told_apart():
    table = pa.table({"x": pa.array(["", None, "a", "b"]), "y": pa.array([None, "", "b", "a"])})
    assert not duplicates_of(table).any()


def test_an_empty_table_has_no_hashes():
    assert row_hashes(frame(10).slice(0, 0)).shape == (0,)
    assert duplicates_of(frame(10).slice(0, 0)).shape == (0,)
