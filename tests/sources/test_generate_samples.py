"""Days of scikit-learn's data sets: real rows that keep their identity."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn import datasets

from mlops_assets.sources.generate import DayOfData, generate_day

SIZES = {"breast_cancer": 569, "wine": 178, "digits": 1797, "iris": 150}


def make(name: str, ds: str = "2024-01-05", rows: int = 10_000) -> DayOfData:
    return generate_day(f"sklearn:{name}", ds, seed=3, rows=rows, start_date="2024-01-01")


@pytest.mark.parametrize("name", SIZES)
def test_rows_are_those_of_the_data_set(name: str) -> None:
    # given
    bunch = getattr(datasets, f"load_{name}")()
    # when
    day = make(name)
    # then about 60 % of the rows are there, and each is the row that its id names
    ids = day.data["id"].to_numpy()
    assert len(ids) == pytest.approx(0.6 * SIZES[name], abs=1)
    values = np.column_stack([column.to_numpy() for column in day.data.columns[1:]])
    np.testing.assert_array_equal(values, bunch.data[ids])
    assert day.data.column_names[1:] == [str(column) for column in bunch.feature_names]
    assert day.target["target"].to_pylist() == bunch.target_names[bunch.target[ids]].tolist()


def test_rows_is_an_upper_limit() -> None:
    assert make("digits", rows=100).data.num_rows == 100


def test_targets_are_names_or_digits() -> None:
    assert set(make("breast_cancer").target["target"].to_pylist()) == {"malignant", "benign"}
    assert make("digits").target.schema.field("target").type == pa.int64()


def test_days_overlap_without_being_equal() -> None:
    # given two days / when
    first, second = (set(make("iris", ds).data["id"].to_pylist()) for ds in ("2024-01-05", "2024-01-06"))
    # then some rows are on both days, and some are new
    assert first & second
    assert second - first
