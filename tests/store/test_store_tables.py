"""Tables survive CSV exactly, whole or in pieces."""

from __future__ import annotations

import datetime as dt
import math

import pyarrow as pa
import pytest
from publishers import NOTHING

from mlops_assets.errors import DataError
from mlops_assets.store import tables
from mlops_assets.store.local import LocalStore

DS = "2024-01-01"
LATER = dt.datetime(2024, 2, 29, 23, 59, 59, 7)  # noqa: DTZ001
EARLIER = dt.datetime(1902, 1, 1, 0, 0, 1)  # noqa: DTZ001

COLUMNS = {
    "floats": pa.array([0.1 + 0.2, -0.0, 1.7976931348623157e308, 5e-324, None, math.inf, -math.inf, 1 / 3]),
    "integers": pa.array([2**53 + 1, -(2**63), 2**63 - 1, 0, None, -1, 10**17 + 1, 7]),
    "texts": pa.array(['a,b "c"', "line\nbreak", "\r\n", "", None, "ünïcode 😀", " NA ", '"']),
    "words": pa.array(["NA", "nan", "null", "", None, "1", "true", "2024-01-01"]),
    "flags": pa.array([True, False, None, True, False, True, False, True]),
    "days": pa.array([LATER.replace(microsecond=0), EARLIER, None] + [EARLIER] * 5, pa.timestamp("s")),
    "instants": pa.array([LATER, EARLIER, None] + [LATER] * 5, pa.timestamp("us")),
    "zoned": pa.array([LATER, EARLIER, None] + [LATER] * 5, pa.timestamp("us", tz="UTC")),
    "nothing": pa.nulls(8, pa.float64()),
    "no, text": pa.nulls(8, pa.string()),
}


def through_the_store(tmp_path, table: pa.Table) -> tuple[pa.Table, list[pa.Table]]:
    """The table as it is read back whole, and in blocks."""
    store = LocalStore(tmp_path)
    with store.publication("processed", DS, ["train_data.csv"]) as publication:
        info = publication.table("train_data.csv", table)
        publication.commit([info], **NOTHING)
    assert info.rows == table.num_rows
    assert info.columns == tables.type_names(table.schema)
    assert info.size == (store.folder("processed", DS) / "train_data.csv").stat().st_size
    whole = store.read_table("processed", DS, "train_data.csv")
    return whole, list(store.stream_table("processed", DS, "train_data.csv"))


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_as_it_was(tmp_path, name):
    # given a column with the hardest values of its kind
    table = pa.table({name: COLUMNS[name]})
    # when it is published and read
    whole, blocks = through_the_store(tmp_path, table)
    # then it is the same, in every bit
    assert whole.schema == table.schema
    assert whole.equals(table)
    assert pa.concat_tables(blocks).equals(table)


def test_the_sign_of_zero_survives(tmp_path):
    whole, _ = through_the_store(tmp_path, pa.table({"x": [0.0, -0.0]}))
    assert [math.copysign(1, value) for value in whole["x"].to_pylist()] == [1, -1]


def test_not_a_number_stays_apart_from_missing(tmp_path):
    whole, _ = through_the_store(tmp_path, pa.table({"x": pa.array([math.nan, None]), "y": [1, 2]}))
    assert whole["x"].null_count == 1
    assert math.isnan(whole["x"][0].as_py())


def test_a_table_of_all_kinds_comes_back(tmp_path):
    table = pa.table(COLUMNS)
    whole, blocks = through_the_store(tmp_path, table)
    assert whole.equals(table)
    assert pa.concat_tables(blocks).equals(table)


def test_a_table_without_rows_comes_back(tmp_path):
    table = pa.table(COLUMNS).slice(0, 0)
    whole, blocks = through_the_store(tmp_path, table)
    assert whole.equals(table)
    assert pa.concat_tables(blocks).equals(table)


def test_blocks_are_the_whole(tmp_path, monkeypatch):
    # given a table of many blocks, with line breaks in values
    monkeypatch.setattr(tables, "BYTES_PER_BLOCK", 1_000)
    monkeypatch.setattr(tables, "ROWS_PER_CHUNK", 100)
    rows = 2_000
    table = pa.table({"n": range(rows), "text": [f"line\n{n}, and" for n in range(rows)]})
    # when it is read
    whole, blocks = through_the_store(tmp_path, table)
    # then in pieces it is the same
    assert len(blocks) > 10
    assert whole.equals(table)
    assert pa.concat_tables(blocks).equals(table)


def test_how_a_table_is_cut_does_not_change_the_file(tmp_path, monkeypatch):
    # given a table written at once
    table = pa.table(COLUMNS)
    once = tables.write_table(table, tmp_path / "once.csv")
    # when it is written in pieces of odd sizes
    pieces = [table.slice(0, 3), table.slice(3, 0), table.slice(3, 1), table.slice(4)]
    monkeypatch.setattr(tables, "ROWS_PER_CHUNK", 2)
    again = tables.write_batches(iter(pieces), table.schema, tmp_path / "again.csv")
    # then the bytes are the same
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "once.csv").read_bytes()
    assert (again.sha256, again.rows, again.size) == (once.sha256, once.rows, once.size)


def test_a_stream_of_a_changed_file_ends_in_an_error(tmp_path):
    # given a published table, in which one digit is changed
    through_the_store(tmp_path, pa.table({"n": range(1_000)}))
    path = tmp_path / "processed" / DS / "train_data.csv"
    path.write_bytes(path.read_bytes().replace(b"\n500\n", b"\n501\n"))
    # when it is read as a stream, then the end is an error
    with pytest.raises(DataError, match=rf"processed/{DS}/train_data\.csv was changed"):
        list(LocalStore(tmp_path).stream_table("processed", DS, "train_data.csv"))


def test_a_stream_can_be_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "BYTES_PER_BLOCK", 1_000)
    through_the_store(tmp_path, pa.table({"n": range(100_000)}))
    blocks = LocalStore(tmp_path).stream_table("processed", DS, "train_data.csv")
    assert next(blocks).num_rows
    blocks.close()
