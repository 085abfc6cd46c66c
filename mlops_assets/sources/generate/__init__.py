"""Emulated daily data: what a day of each source looks like before anybody has touched it.

Belongs here: choosing the source, checking the arguments, and the few rules that all sources share (seeding, row ids).
Does not belong here: files, partitions, anything that is learned from the data. The sources live in modules of their
own and are imported when they are asked for, so this import costs next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SOURCES: tuple[str, ...] = (
    "classification",
    "sklearn:breast_cancer",
    "sklearn:wine",
    "sklearn:digits",
    "sklearn:iris",
    "transactions",
)

MAX_ROWS = 10**7
"""Most rows a day may have. Every day owns a block of this many ids, so ids of different days never meet."""

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class DayOfData:
    """What arrives on one day.

    Attributes:
        data: The id column, then the features; no target.
        target: The id column and `target`, row for row in the order of `data`.
    """

    data: pa.Table
    target: pa.Table


def generate_day(source: str, ds: str, *, seed: int, rows: int, start_date: str) -> DayOfData:
    """Returns the data of one day, a pure function of the arguments: the same in every process and on every platform.

    Args:
        source: One of `SOURCES`.
        ds: The day, `YYYY-MM-DD`.
        seed: Chooses the emulated world, 0 or more.
        rows: Rows of the day, 1 to `MAX_ROWS`. Exact for `classification`, the expected number (within a few percent)
            for `transactions`, an upper limit for `sklearn:…`.
        start_date: The first day of the emulated world, `YYYY-MM-DD`; drift and fraud start here.

    Raises:
        ValueError: The source is unknown, a date is not `YYYY-MM-DD`, `ds` is before `start_date`, or `seed` or `rows`
            is out of range.
    """
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}: expected one of {', '.join(SOURCES)}")
    day, start = _parse_date("ds", ds), _parse_date("start_date", start_date)
    if day < start:
        raise ValueError(f"ds {ds} is before start_date {start_date}: there is no data before the first day")
    if seed < 0:
        raise ValueError(f"seed is {seed}: expected 0 or more")
    if not 1 <= rows <= MAX_ROWS:
        raise ValueError(f"rows is {rows}: expected 1 to {MAX_ROWS}")

    if source == "classification":
        from mlops_assets.sources.generate import classification

        return classification.generate(day, seed=seed, rows=rows, start=start)
    if source == "transactions":
        from mlops_assets.sources.generate import transactions

        return transactions.generate(day, seed=seed, rows=rows, start=start)
    from mlops_assets.sources.generate import samples

    return samples.generate(source.removeprefix("sklearn:"), day, seed=seed, rows=rows)


def random_stream(seed: int, *key: int) -> np.random.Generator:
    """Returns the generator that belongs to (seed, key) alone, independent of all other keys.

    PCG64 is named because `default_rng` may change its algorithm between NumPy versions.
    """
    from numpy.random import PCG64, Generator, SeedSequence

    return Generator(PCG64(SeedSequence(seed, spawn_key=key)))


def row_ids(day: date, rows: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Returns int64 ids [rows], ascending: days since 1970-01-01 times `MAX_ROWS`, plus the row number."""
    import numpy as np

    return np.arange(rows, dtype=np.int64) + (day - _EPOCH).days * MAX_ROWS


def _parse_date(name: str, text: str) -> date:
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    # From Python 3.11 on fromisoformat also takes 20240101 and 2024-W01-1, which name no partition.
    if parsed is None or parsed.isoformat() != text:
        raise ValueError(f"{name} is {text!r}: expected a date as YYYY-MM-DD")
    return parsed
