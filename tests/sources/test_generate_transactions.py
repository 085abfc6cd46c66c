"""The card transactions: plausible people, and fraud as the published scenarios have it."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from mlops_assets.sources.generate import DayOfData, generate_day

START = date(2018, 4, 1)


def make(days: int, rows: int = 10_000, seed: int = 0, start: date = START) -> DayOfData:
    ds = (START + timedelta(days)).isoformat()
    return generate_day("transactions", ds, seed=seed, rows=rows, start_date=start.isoformat())


def fraud(day: DayOfData) -> NDArray[np.bool_]:
    return np.asarray(day.target["target"].to_numpy() == 1)


@pytest.fixture(scope="module")
def month() -> list[DayOfData]:
    """The first 42 days."""
    return [make(days) for days in range(42)]


@pytest.fixture(scope="module")
def all_days(month: list[DayOfData]) -> pa.Table:
    """The same in one table, with the target."""
    return pa.concat_tables(day.data.append_column("target", day.target["target"]) for day in month)


def test_columns_are_the_published_ones_and_nothing_leaks(month: list[DayOfData]) -> None:
    # given / when
    schema = month[0].data.schema
    # then neither fraud nor its scenario is among them
    assert dict(zip(schema.names, schema.types, strict=True)) == {
        "TRANSACTION_ID": pa.int64(),
        "TX_DATETIME": pa.timestamp("s"),
        "CUSTOMER_ID": pa.int64(),
        "TERMINAL_ID": pa.int64(),
        "TX_AMOUNT": pa.float64(),
        "TX_TIME_SECONDS": pa.int64(),
        "TX_TIME_DAYS": pa.int64(),
    }
    assert month[0].target.schema.field("target").type == pa.int64()


def test_the_three_clocks_agree(month: list[DayOfData]) -> None:
    # given / when
    data = month[5].data
    # then
    seconds = data["TX_TIME_SECONDS"].to_numpy()
    assert (data["TX_TIME_DAYS"].to_numpy() == 5).all()
    assert (seconds // 86_400 == 5).all()
    assert (np.diff(seconds) >= 0).all()
    expected = np.datetime64("2018-04-01", "s") + seconds.astype("timedelta64[s]")
    assert (data["TX_DATETIME"].to_numpy() == expected).all()


@pytest.mark.parametrize("rows", [100, 1_000, 10_000, 50_000])
def test_about_the_asked_number_of_rows(rows: int) -> None:
    # given a size of the world / when
    sizes = [make(days, rows=rows).data.num_rows for days in range(6)]
    # then days vary around a little less: purchases beyond midnight are dropped
    assert np.mean(sizes) == pytest.approx(0.97 * rows, rel=max(0.05, 2 / np.sqrt(rows)))
    assert len(set(sizes)) > 1


def test_amounts_and_times_follow_the_design(month: list[DayOfData]) -> None:
    # given / when
    amount = month[0].data["TX_AMOUNT"].to_numpy()
    second = month[0].data["TX_TIME_SECONDS"].to_numpy()
    # then the moments are those of the design: U(5, 100) has mean 52.5, redrawing negative amounts adds a little;
    # a normal distribution of 20,000 s around midday that is cut off at both midnights is left with 18,190 s
    assert amount.min() >= 0
    assert 50 < np.mean(amount) < 58
    np.testing.assert_array_equal(amount, np.round(amount, 2))
    assert np.mean(second) == pytest.approx(43_200, abs=1_000)
    assert np.std(second) == pytest.approx(18_190, abs=400)


def test_customers_keep_their_habits(all_days: pa.Table) -> None:
    # given all genuine purchases of 42 days
    genuine = all_days.filter(pc.equal(all_days["target"], 0))
    # when they are grouped by customer
    kinds = [("TERMINAL_ID", "count_distinct"), ("TX_AMOUNT", "mean"), ("TX_AMOUNT", "count")]
    habits = genuine.group_by("CUSTOMER_ID").aggregate(kinds)
    # then everybody shops at the few dozen terminals in reach, and spends what suits him
    assert 4_900 < habits.num_rows <= 5_000
    assert np.quantile(habits["TERMINAL_ID_count_distinct"].to_numpy(), 0.99) < 100
    regulars = habits.filter(pc.greater(habits["TX_AMOUNT_count"], 50))
    assert np.std(regulars["TX_AMOUNT_mean"].to_numpy()) > 20


def test_fraud_is_rare_and_rises_as_compromises_pile_up(month: list[DayOfData]) -> None:
    # given / when
    shares = np.array([fraud(day).mean() for day in month])
    # then as in the published data: 0.03 % on the first day, about 0.9 % from the fifth week on
    assert shares[:2].mean() < 0.002
    assert 0.003 < shares[7:14].mean() < 0.008
    assert 0.006 < shares[28:].mean() < 0.013


def test_every_big_amount_is_fraud(month: list[DayOfData]) -> None:
    for day in month[:5]:
        big = day.data["TX_AMOUNT"].to_numpy() > 220
        assert big.any()
        assert fraud(day)[big].all()


def test_a_compromised_terminal_stays_so_for_28_days(all_days: pa.Table) -> None:
    # given the terminals with more than ten frauds: those that were compromised
    frauds = all_days.filter(pc.equal(all_days["target"], 1)).group_by("TERMINAL_ID")
    spells = frauds.aggregate([("target", "count"), ("TX_TIME_DAYS", "min"), ("TX_TIME_DAYS", "max")])
    spells = spells.filter(pc.greater(spells["target_count"], 10))
    # when the first and the last fraud of each are compared
    spans = np.subtract(spells["TX_TIME_DAYS_max"].to_numpy(), spells["TX_TIME_DAYS_min"].to_numpy()) + 1
    # then about two begin every day (one that begins late has no ten yet), and few exceed 28 days, by another fraud
    assert 30 < len(spans) <= 84
    assert np.median(spans) > 14
    assert np.mean(spans <= 28) > 0.9
    # and within such a spell everything that happens there is fraud
    during = all_days.join(spells, "TERMINAL_ID", join_type="inner")
    after_begin = pc.greater_equal(during["TX_TIME_DAYS"], during["TX_TIME_DAYS_min"])
    before_end = pc.less_equal(during["TX_TIME_DAYS"], during["TX_TIME_DAYS_max"])
    assert pc.mean(during.filter(pc.and_(after_begin, before_end))["target"]).as_py() > 0.9


def test_a_stolen_card_has_some_frauds_of_five_times_the_amount(all_days: pa.Table) -> None:
    # given the usual amount of each customer
    genuine = all_days.filter(pc.equal(all_days["target"], 0))
    usual = genuine.group_by("CUSTOMER_ID").aggregate([("TX_AMOUNT", "mean")])
    # when frauds are compared with it
    frauds = all_days.filter(pc.equal(all_days["target"], 1)).join(usual, "CUSTOMER_ID", join_type="inner")
    ratio = np.divide(frauds["TX_AMOUNT"].to_numpy(), frauds["TX_AMOUNT_mean"].to_numpy())
    # then a part of them is far beyond (3 customers x 14 days x 2 purchases / 3: about 28 a day in the end)
    inflated = frauds.filter(pa.array(ratio > 3))
    assert 8 < inflated.num_rows / 42 < 28
    # and such a customer shops on with the usual amounts, which are genuine
    cards = inflated["CUSTOMER_ID"].unique()
    assert genuine.filter(pc.is_in(genuine["CUSTOMER_ID"], cards)).num_rows > 3 * inflated.num_rows


def test_a_day_needs_no_other_day_but_knows_them() -> None:
    # given a world that began long ago and one that begins today
    old, new = make(40), make(40, start=START + timedelta(40))
    # when the same day is compared
    # then people, places and times are the same, but only the old world has a history of compromises
    assert old.data["CUSTOMER_ID"].equals(new.data["CUSTOMER_ID"])
    assert old.data["TERMINAL_ID"].equals(new.data["TERMINAL_ID"])
    assert fraud(old).sum() > 5 * fraud(new).sum()


@pytest.mark.parametrize("rows", [1_000, 100_000])
def test_the_share_of_fraud_does_not_depend_on_the_size(rows: int) -> None:
    shares = [fraud(make(days, rows=rows)).mean() for days in range(30, 60, 3)]
    assert 0.004 < np.mean(shares) < 0.016
