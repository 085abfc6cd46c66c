"""Card transactions with fraud, after a published simulator.

The design (distributions, fraud scenarios, column names) is that of the transaction data simulator in Le Borgne,
Siblini, Lebichot, Bontempi: "Reproducible Machine Learning for Credit Card Fraud Detection - Practical Handbook"
(2022), chapter 3, https://fraud-detection-handbook.github.io/fraud-detection-handbook/. The code is our own.

What differs, because here a day must be computable without the days before it and for any number of rows:

* With 10,000 rows the world has the published size: 5,000 customers, 10,000 terminals, a grid of 100 x 100. Another
  number of rows scales the population, the grid's area and the number of compromises alike, so that the terminals
  within reach of a customer and the share of fraud stay as published.
* A compromised customer's transaction is fraudulent with probability 1/3, rather than exactly a third of fourteen days.
* Transaction ids ascend with time but leave gaps between days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlops_assets.sources.generate import DayOfData, random_stream, row_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

_SECONDS_PER_DAY = 86_400
_TRANSACTIONS_PER_CUSTOMER = 2  # the mean of U(0, 4)
_TERMINALS_PER_CUSTOMER = 2
_TERMINALS_PER_AREA = 1.0  # 10,000 terminals on 100 x 100
_RADIUS = 5.0
_SUSPICIOUS_AMOUNT = 220.0
_FRAUDULENT_SHARE = 1 / 3  # of a compromised customer's transactions
_FRAUDULENT_FACTOR = 5.0


@dataclass(frozen=True)
class _Compromise:
    """How often customers or terminals fall into wrong hands, and for how long."""

    stream: int  # part of the random key
    daily_rate: float  # new ones a day, as a share of the population
    days: int  # from the day of the draw on


# Parts of the random key. Their numbers are fixed: changing one changes every day.
_PROFILES, _DAY = 30, 31
_TERMINALS_LOST = _Compromise(stream=32, daily_rate=2 / 10_000, days=28)
_CARDS_LOST = _Compromise(stream=33, daily_rate=3 / 5_000, days=14)


def generate(day: date, *, seed: int, rows: int, start: date) -> DayOfData:
    """Returns one day of transactions in the order of time.

    Args:
        day: The day, `start` or later.
        seed: Chooses customers, terminals, and everything that happens.
        rows: The expected number of transactions, within a few percent (the published design loses 3 % at midnight).
        start: The first day of the world; nobody is compromised before it.

    Returns:
        Data: TRANSACTION_ID, TX_DATETIME (timestamp[s]), CUSTOMER_ID, TERMINAL_ID, TX_AMOUNT, TX_TIME_SECONDS (since
        midnight of `start`) and TX_TIME_DAYS (since `start`). Target: TRANSACTION_ID and `target`, 1 for fraud.
    """
    world = _World.build(seed, rows)
    rng = random_stream(seed, _DAY, day.toordinal())
    customer, second = _purchases(world, rng)
    terminal = _choose_terminals(world, customer, rng)
    amount = _amounts(world, customer, rng)

    terminal_lost = _lost(_TERMINALS_LOST, len(world.terminal_xy), day, seed=seed, start=start)
    card_lost = _lost(_CARDS_LOST, len(world.customer_xy), day, seed=seed, start=start)
    stolen = card_lost[customer] & (rng.random(len(customer)) < _FRAUDULENT_SHARE)
    fraud = (amount > _SUSPICIOUS_AMOUNT) | terminal_lost[terminal] | stolen
    amount = np.where(stolen, np.round(amount * _FRAUDULENT_FACTOR, 2), amount)

    days = (day - start).days
    midnight = np.datetime64(day.isoformat(), "s")
    ids = pa.array(row_ids(day, len(customer)))
    data = {
        "TRANSACTION_ID": ids,
        "TX_DATETIME": pa.array(midnight + second.astype("timedelta64[s]")),
        "CUSTOMER_ID": pa.array(customer),
        "TERMINAL_ID": pa.array(terminal),
        "TX_AMOUNT": pa.array(amount),
        "TX_TIME_SECONDS": pa.array(second + days * _SECONDS_PER_DAY),
        "TX_TIME_DAYS": pa.array(np.full(len(customer), days, dtype=np.int64)),
    }
    return DayOfData(pa.table(data), pa.table({"TRANSACTION_ID": ids, "target": pa.array(fraud.astype(np.int64))}))


@dataclass(frozen=True)
class _World:
    """Who lives where and spends what; the same on all days of a seed. Arrays are [customers] or [terminals]."""

    customer_xy: Floats  # [customers, 2]
    terminal_xy: Floats  # [terminals, 2]
    mean_amount: Floats
    mean_daily: Floats
    side: float  # of the square that all live on

    @classmethod
    def build(cls, seed: int, rows: int) -> _World:
        customers = max(1, round(rows / _TRANSACTIONS_PER_CUSTOMER))
        terminals = customers * _TERMINALS_PER_CUSTOMER
        side = float(np.sqrt(terminals / _TERMINALS_PER_AREA))
        rng = random_stream(seed, _PROFILES)
        return cls(
            customer_xy=rng.uniform(0, side, (customers, 2)),
            terminal_xy=rng.uniform(0, side, (terminals, 2)),
            mean_amount=rng.uniform(5, 100, customers),
            mean_daily=rng.uniform(0, 4, customers),
            side=side,
        )


def _purchases(world: _World, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Returns who buys and the second of the day, both [transactions], in the order of time."""
    counts = rng.poisson(world.mean_daily).astype(np.int64)
    customer = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    second = rng.normal(_SECONDS_PER_DAY / 2, 20_000, len(customer)).astype(np.int64)
    inside = np.flatnonzero((second > 0) & (second < _SECONDS_PER_DAY))
    order = inside[np.argsort(second[inside], kind="stable")]
    return customer[order], second[order]


def _amounts(world: _World, customer: Ints, rng: np.random.Generator) -> Floats:
    mean = world.mean_amount[customer]
    amount = rng.normal(mean, mean / 2)
    negative = amount < 0
    amount[negative] = rng.uniform(0, 2 * mean[negative])
    return np.round(amount, 2)


def _choose_terminals(world: _World, customer: Ints, rng: np.random.Generator) -> Ints:
    """Returns a terminal for each transaction, uniform among those within the radius of the customer's place.

    Rejection sampling: a candidate is drawn from the 3 x 3 cells around the customer and kept if it is near enough
    (about one in three is). That costs time and memory in proportion to the transactions, unlike lists of all terminals
    near all customers.
    """
    near = _Neighbourhoods.build(world)
    chosen = np.empty(len(customer), dtype=np.int64)
    pending = np.arange(len(customer))
    # A customer with terminals in reach needs 64 rounds less than once in 10^11; one without keeps a neighbouring one.
    for _ in range(64):
        who = customer[pending]
        chosen[pending] = near.draw(who, rng.random(len(pending)))
        offset = world.terminal_xy[chosen[pending]] - world.customer_xy[who]
        pending = pending[(offset**2).sum(axis=1) >= _RADIUS**2]
        if not len(pending):
            break
    return chosen


@dataclass(frozen=True)
class _Neighbourhoods:
    """The terminals in the 3 x 3 cells around each customer, as three runs of a list that is sorted by cell."""

    terminals: Ints  # sorted by cell, row by row
    begin: Ints  # [customers, 3]: where the runs begin in `terminals`
    before: Ints  # [customers, 4]: how many terminals lie in the runs before this one; last: in all

    @classmethod
    def build(cls, world: _World) -> _Neighbourhoods:
        cells = max(1, int(np.ceil(world.side / _RADIUS)))  # along one side
        home = _cell_of(world.customer_xy, cells)
        cell = _cell_of(world.terminal_xy, cells) @ np.array([1, cells])
        ends = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=cells * cells))])

        row = home[:, 1:] + np.array([-1, 0, 1])
        left = np.maximum(home[:, :1] - 1, 0)
        right = np.minimum(home[:, :1] + 1, cells - 1)
        outside = (row < 0) | (row >= cells)
        row = np.clip(row, 0, cells - 1)
        begin = ends[row * cells + left]
        length = np.where(outside, 0, ends[row * cells + right + 1] - begin)
        before = np.concatenate([np.zeros((len(home), 1), dtype=np.int64), np.cumsum(length, axis=1)], axis=1)
        return cls(np.argsort(cell, kind="stable"), begin, before)

    def draw(self, customer: Ints, uniform: Floats) -> Ints:
        """Returns a terminal for each customer [n], chosen by uniform numbers [n] in [0, 1)."""
        before = self.before[customer]
        nth = (uniform * before[:, 3]).astype(np.int64)
        run = (nth >= before[:, 1]).astype(np.int64) + (nth >= before[:, 2])
        position = self.begin[customer, run] + nth - np.take_along_axis(before, run[:, None], axis=1)[:, 0]
        # A neighbourhood without any terminal (next to impossible) may point one past the end.
        chosen: Ints = self.terminals[np.minimum(position, len(self.terminals) - 1)]
        return chosen


def _cell_of(xy: Floats, cells: int) -> Ints:
    """Returns (column, row) of the cells that points [n, 2] lie in, [n, 2]."""
    return np.minimum((xy / _RADIUS).astype(np.int64), cells - 1)


def _lost(kind: _Compromise, size: int, day: date, *, seed: int, start: date) -> Bools:
    """Returns who is compromised on `day` [size]: whoever was drawn on it or one of the days before it.

    Every day has its own draw from (seed, stream, that day), so no other day needs to be generated first.
    """
    hit = np.zeros(size, dtype=np.bool_)
    for ago in range(min(kind.days, (day - start).days + 1)):
        rng = random_stream(seed, kind.stream, (day - timedelta(days=ago)).toordinal())
        # Exact when the product is whole, right on average when it is not (small worlds).
        count = int(kind.daily_rate * size + rng.random())
        hit[rng.choice(size, count, replace=False)] = True
    return hit
