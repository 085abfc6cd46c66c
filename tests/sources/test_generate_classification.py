"""The invented shop: its columns, its gaps, and the drift that makes retraining worth it."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from mlops_assets.sources.generate import DayOfData, generate_day

START = date(2024, 1, 1)


def make(days: int, rows: int = 10_000, seed: int = 0) -> DayOfData:
    ds = (START + timedelta(days)).isoformat()
    return generate_day("classification", ds, seed=seed, rows=rows, start_date=START.isoformat())


def features(day: DayOfData) -> NDArray[np.float64]:
    """Strings as the number of the word, times as the hour: enough for trees."""
    columns = []
    for name in day.data.column_names[1:]:
        column = day.data[name].combine_chunks()
        if pa.types.is_string(column.type):
            column = pc.index_in(column, column.unique().drop_null().sort())
        elif pa.types.is_timestamp(column.type):
            column = pc.hour(column)
        columns.append(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    return np.column_stack(columns)


def labels(day: DayOfData) -> NDArray[np.int64]:
    return np.asarray(day.target["target"].to_numpy(), dtype=np.int64)


def test_the_table_has_every_kind_of_column() -> None:
    # given / when
    day = make(10, rows=1_234)
    # then
    kinds = [field.type for field in day.data.schema][1:]
    assert day.data.num_rows == 1_234
    assert kinds.count(pa.float64()) == 14
    assert kinds.count(pa.int64()) == 1
    assert kinds.count(pa.string()) == 3
    assert kinds.count(pa.bool_()) == 1
    assert sum(pa.types.is_timestamp(kind) for kind in kinds) == 1
    assert len(kinds) == 20
    assert day.target.schema.field("target").type == pa.int64()


def test_categories_need_quotes_and_unicode() -> None:
    # given / when
    day = make(10)
    # then a reader that splits at commas, or reads ASCII, fails on them
    departments = day.data["department"].unique().drop_null().to_pylist()
    assert any("," in word for word in departments)
    assert not all(word.isascii() for word in departments)
    assert len(departments) < 10
    assert pc.count_distinct(day.data["store"]).as_py() == 300


def test_about_three_percent_are_missing_in_some_columns() -> None:
    # given / when
    day = make(10, rows=20_000)
    # then
    shares = {name: day.data[name].null_count / 20_000 for name in day.data.column_names}
    missing = {name: share for name, share in shares.items() if share}
    kinds = [day.data.schema.field(name).type for name in missing]
    assert kinds.count(pa.float64()) >= 3
    assert kinds.count(pa.string()) == 1
    assert all(0.02 < share < 0.04 for share in missing.values()), missing
    # and missing means missing: no NaN hides among the values
    assert not any(
        pc.any(pc.is_nan(column)).as_py() for column in day.data.itercolumns() if column.type == pa.float64()
    )


def test_orders_are_of_that_day() -> None:
    # given / when
    day = make(45)
    # then
    times = day.data["ordered_at"]
    assert {time.date() for time in (pc.min(times).as_py(), pc.max(times).as_py())} == {START + timedelta(45)}
    assert pc.count_distinct(pc.hour(times)).as_py() == 24


@pytest.mark.parametrize("seed", [0, 1])
def test_a_quarter_is_positive_all_through_the_years(seed: int) -> None:
    # given days of all seasons and weekdays / when
    shares = [labels(make(days, rows=3_000, seed=seed)).mean() for days in range(0, 1_500, 45)]
    # then
    assert 0.22 < np.mean(shares) < 0.28
    assert min(shares) > 0.15
    assert max(shares) < 0.36


@pytest.mark.parametrize("today", [31, 400])
def test_an_old_model_is_worse_than_a_fresh_one(today: int) -> None:
    # given models of yesterday and of 30 days ago
    auc = {}
    test = make(today)
    for age in (1, 30):
        train = make(today - age)
        model = HistGradientBoostingClassifier(random_state=0, max_iter=60).fit(features(train), labels(train))
        # when both predict today
        auc[age] = roc_auc_score(labels(test), model.predict_proba(features(test))[:, 1])
    # then the fresh one is good, the old one measurably worse, but no coin toss
    assert 0.85 < auc[1] < 0.92
    assert 0.01 < auc[1] - auc[30] < 0.08


def test_means_move_smoothly() -> None:
    # given days 0, 1 and 60 / when
    means = {days: np.nanmean(features(make(days)), axis=0) for days in (0, 1, 60)}
    spread = np.nanstd(features(make(0)), axis=0)
    # then the next day looks alike, two months later it does not
    assert np.max(np.abs(means[1] - means[0]) / spread) < 0.06
    assert np.max(np.abs(means[60] - means[0]) / spread) > 0.3
