"""What every source promises: pure days, ids, shapes and clear errors."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest

from mlops_assets.sources.generate import MAX_ROWS, SOURCES, DayOfData, generate_day

START = "2024-01-01"
ID_COLUMN = {"transactions": "TRANSACTION_ID"}

# The first 12 digits of `digest` for the days below. A change here means that users who recompute a past day get other
# data than they had: say so in the changelog.
PUBLISHED = {
    "classification": "5707fa0cda1b",
    "sklearn:breast_cancer": "c2b5d3ae0f2d",
    "sklearn:wine": "3a3a5edd61c5",
    "sklearn:digits": "f8da34023ed3",
    "sklearn:iris": "8778513c0b7f",
    "transactions": "a5f54ac1b438",
}


def digest(day: DayOfData) -> str:
    """SHA-256 of what a user would find in the two CSV files."""
    text = io.BytesIO()
    pyarrow.csv.write_csv(day.data, text)
    pyarrow.csv.write_csv(day.target, text)
    return hashlib.sha256(text.getvalue()).hexdigest()[:12]


def make(source: str, ds: str = "2024-02-10", *, seed: int = 7, rows: int = 60, start_date: str = START) -> DayOfData:
    return generate_day(source, ds, seed=seed, rows=rows, start_date=start_date)


@pytest.fixture(scope="module")
def digests_elsewhere() -> dict[str, str]:
    """The digests as a fresh interpreter with another hash seed finds them, sources in another order."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_generate_day import SOURCES, digest, make\n"
        "for source in reversed(SOURCES): print(source, digest(make(source)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "4242"},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split() for line in result.stdout.splitlines())


@pytest.mark.parametrize("source", SOURCES)
def test_a_day_is_the_same_in_every_process_and_release(source: str, digests_elsewhere: dict[str, str]) -> None:
    # given another process made the day / when it is made here
    here = digest(make(source))
    # then both are what earlier releases made
    assert here == digests_elsewhere[source]
    assert here == PUBLISHED[source]


@pytest.mark.parametrize("source", SOURCES)
def test_days_and_seeds_differ(source: str) -> None:
    # given a day / when the next day, or the same day of another seed, is made
    digests = {digest(make(source)), digest(make(source, "2024-02-11")), digest(make(source, seed=8))}
    # then all three differ
    assert len(digests) == 3


@pytest.mark.parametrize("source", SOURCES)
def test_target_belongs_to_data_by_id(source: str) -> None:
    # given / when
    day = make(source)
    # then the id leads both tables, has no duplicates, and the target is nowhere in the data
    name = ID_COLUMN.get(source, "id")
    assert day.data.column_names[0] == name
    assert day.data.schema.field(name).type == pa.int64()
    assert day.target.column_names == [name, "target"]
    assert day.data[name].equals(day.target[name])
    assert pc.count_distinct(day.data[name]).as_py() == day.data.num_rows > 0
    assert "target" not in day.data.column_names
    assert day.target["target"].null_count == 0


@pytest.mark.parametrize("source", SOURCES)
def test_column_names_need_no_quotes_in_csv(source: str) -> None:
    for name in make(source).data.column_names:
        assert not set(name) & set(",\"'\n\r"), name
        assert name == name.strip()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tiny_days_work(source: str, rows: int) -> None:
    # given the smallest limits / when
    day = make(source, rows=rows)
    # then the schema is the usual one, even if nobody bought anything
    assert day.data.schema == make(source).data.schema
    assert day.target.num_rows == day.data.num_rows


@pytest.mark.parametrize("source", ["classification", "transactions"])
def test_ids_are_unique_over_days(source: str) -> None:
    # given days on both sides of a year's end, and of different size / when
    days = [make(source, ds, rows=rows) for ds, rows in (("2024-12-31", 500), ("2025-01-01", 90), ("2025-01-02", 500))]
    # then no id is used twice
    ids = pa.concat_tables(day.target for day in days).column(0)
    assert pc.count_distinct(ids).as_py() == len(ids)


@pytest.mark.parametrize("source", ["classification", "transactions"])
def test_ids_do_not_depend_on_the_start_of_the_world(source: str) -> None:
    earlier, later = make(source), make(source, start_date="2024-02-01")
    assert earlier.data.column(0).equals(later.data.column(0))


def test_unknown_source_lists_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match="sklearn:boston") as error:
        make("sklearn:boston")
    assert all(source in str(error.value) for source in SOURCES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ds": "2024-1-5"}, "ds is '2024-1-5': expected a date as YYYY-MM-DD"),
        ({"ds": "20240105"}, "ds is '20240105'"),
        ({"start_date": "yesterday"}, "start_date is 'yesterday'"),
        ({"ds": "2023-12-31"}, "2023-12-31 is before start_date 2024-01-01"),
        ({"rows": 0}, "rows is 0: expected 1 to"),
        ({"rows": MAX_ROWS + 1}, "rows is"),
        ({"seed": -1}, "seed is -1"),
    ],
)
@pytest.mark.parametrize("source", ["classification", "sklearn:iris", "transactions"])
def test_impossible_arguments_are_refused(source: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(source, **arguments)  # type: ignore[arg-type] # each case overrides one argument


def test_importing_the_package_is_cheap() -> None:
    # given a fresh interpreter / when only the package is imported
    heavy = {"numpy", "pyarrow", "sklearn", "pandas"}
    code = f"import sys, mlops_assets.sources.generate; print(*{heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # then nothing heavy came with it
    assert result.stdout.strip() == ""
