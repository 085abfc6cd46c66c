"""CSV files that somebody else delivers: checked and described in one pass, in bounded memory.

The pass takes the digest, counts rows and missing values, infers the column types over the whole file (not only its
beginning) and refuses what is broken. Later readers use the types that were found here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from mlops_assets.errors import DataError
from mlops_assets.store.diagnosis import Block, check_header, check_utf8, explain, unclosed_quote
from mlops_assets.store.manifest import FileInfo
from mlops_assets.store.tables import FOREIGN_NULLS

BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class Scan:
    """What a delivered file holds.

    Attributes:
        info: Digest, size, rows and column types (int64, double, bool, string, timestamp[s|us], the latter with UTC
            where the text has a zone).
        missing: Column name -> number of missing values.
        head: The first block of rows.
        ends_with_newline: False may mean that the file was cut off inside its last value.
    """

    info: FileInfo
    missing: dict[str, int]
    head: pa.Table
    ends_with_newline: bool


def scan(path: Path, source: str, *, delimiter: str = ",", text_columns: Iterable[str] = ()) -> Scan:
    """Check and describe a delivered CSV file.

    Args:
        path: UTF-8, one header line, at least one row.
        source: What to call the file in messages.
        delimiter: Between the cells.
        text_columns: Columns to keep as text whatever they look like (identifiers: ``007`` stays ``007``).

    Raises:
        DataError: Missing, empty, no rows, not UTF-8, a broken row, an unclosed quote, a wrong delimiter, bad column
            names; the message says where and what to do.
    """
    digest, rows, size, last = hashlib.sha256(), 0, 0, b""
    names: list[str] = []
    types: dict[str, pa.DataType] = {}
    missing: dict[str, int] = {}
    head: pa.Table | None = None
    for text in _blocks(path, source):
        digest.update(text)
        size, last = size + len(text), text[-1:]
        body = text
        if head is None:
            check_utf8(text, source, 0)
            names, body = check_header(text, source, delimiter)
        else:
            check_utf8(text, source, rows + 1)
        table = _parse(Block(body, names, rows, source, delimiter), text_columns)
        rows += table.num_rows
        for name, column in zip(names, table.columns, strict=True):
            types[name] = _wider(types.get(name, pa.null()), column.type)
            missing[name] = missing.get(name, 0) + column.null_count
        head = table if head is None else head
    if head is None or not rows:
        raise DataError(f"{source} has a header and no rows. Expected at least one row. Deliver the file again.")
    plain = {name: str(_plain(kind)) for name, kind in types.items()}
    return Scan(FileInfo(path.name, digest.hexdigest(), size, rows, plain, delimiter), missing, head, last == b"\n")


def _blocks(path: Path, source: str) -> Iterator[bytes]:
    """The file in pieces that end at the end of a row."""
    if not path.is_file():
        raise DataError(f"{source} is missing. Expected a CSV file; deliver it, then run this again.")
    with path.open("rb") as file:
        rest = b""
        while data := file.read(BLOCK_BYTES):
            rest += data
            if end := _last_row_end(rest):
                yield rest[:end]
                rest = rest[end:]
    if rest.count(b'"') % 2:
        raise unclosed_quote(rest, source)
    if rest.strip() or not path.stat().st_size:
        yield rest


def _last_row_end(data: bytes) -> int:
    """Length of the part of ``data`` that ends with a line break outside quotes; 0 where there is none."""
    end = data.rfind(b"\n") + 1
    while end and data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, end - 1) + 1
    return end


def _parse(block: Block, text_columns: Iterable[str]) -> pa.Table:
    if not block.body.strip():
        return pa.table({name: pa.nulls(0) for name in block.names})
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(text_columns, pa.string()), null_values=FOREIGN_NULLS, strings_can_be_null=True
    )
    try:
        return block.read(convert)
    except pa.ArrowInvalid as error:
        raise explain(error, block, convert) from error


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that holds the values of both blocks."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    kinds = {one, other}
    if kinds == {pa.int64(), pa.float64()}:
        return pa.float64()
    if all(pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.tz is None) for kind in kinds):
        return pa.timestamp("s" if kinds <= {pa.date32(), pa.timestamp("s")} else "us")
    return pa.string()


def _plain(kind: pa.DataType) -> pa.DataType:
    """Only the types that the pipeline works with (Arrow infers a few more)."""
    if pa.types.is_null(kind):
        return pa.float64()
    if pa.types.is_date(kind):
        return pa.timestamp("s")
    if pa.types.is_timestamp(kind):
        return pa.timestamp("s" if kind.unit == "s" else "us", kind.tz)
    return kind if kind in {pa.int64(), pa.float64(), pa.bool_()} else pa.string()
