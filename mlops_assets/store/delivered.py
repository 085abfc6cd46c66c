"""CSV files that others deliver: checked and described in one pass, in bounded memory.

The pass takes the digest, counts rows and missing values, infers the column types over the whole file (not only its
beginning) and refuses what is broken. Later readers use the types that were found here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from mlops_assets.errors import DataError
from mlops_assets.store.csv_errors import Block, check_header, check_text, explain, unclosed_quote
from mlops_assets.store.disk import open_regular
from mlops_assets.store.manifest import FileInfo
from mlops_assets.store.mixed_columns import MixedColumns
from mlops_assets.store.publish import sha256
from mlops_assets.store.tables import BLANKS

BLOCK_BYTES = 32 << 20
MAX_ROW_BYTES = 64 << 20
"""A quote that is never closed makes one row of the rest of the file; this bounds the memory until it is noticed."""

_UNITS = ("s", "us", "ns")


@dataclass(frozen=True)
class Scan:
    """What a delivered file holds.

    Attributes:
        info: Digest, size, rows and column types (int64, double, bool, string, timestamp[s|us|ns], the latter with UTC
            where the text has a zone).
        missing: Column name -> number of missing values.
        head: The first block of rows.
        ends_with_newline: False may mean that the file was cut off inside its last value.
        empty_lines_at_end: Of a file of one column: rows of a missing value, or nothing that anybody meant.
        repeated_ids: Rows whose id stands in an earlier row; None where nobody counted or there is no id.
    """

    info: FileInfo
    missing: dict[str, int]
    head: pa.Table
    ends_with_newline: bool
    empty_lines_at_end: int = 0
    repeated_ids: int | None = None


@dataclass(frozen=True)
class Broken:
    """A delivered file that cannot be used; its entry in the manifest says why."""

    info: FileInfo


def broken(path: Path, problem: str) -> Broken:
    """Describe a delivered file that was refused; one that cannot even be read has no digest."""
    try:
        digest, size = sha256(path), path.stat().st_size
    except PermissionError:
        digest, size = "", -1
    return Broken(FileInfo(path.name, digest, size, delimiter=",", problem=problem))


def scan(
    path: Path,
    source: str,
    *,
    delimiter: str = ",",
    text_columns: Iterable[str] = (),
    missing_values: Iterable[str] = (),
    observe: Callable[[pa.Table], None] | None = None,
) -> Scan:
    """Check and describe a delivered CSV file.

    Args:
        path: UTF-8, one header line, at least one row.
        source: What to call the file in messages.
        delimiter: Between the cells.
        text_columns: Columns to keep as text whatever they look like (identifiers: ``007`` stays ``007``).
        missing_values: Words that mean that a value is missing; blank cells always do.
        observe: Called with each block of rows, in order: what else is to be known from the one pass.

    Raises:
        DataError: Missing, empty, no rows, not UTF-8, a broken row, an unclosed quote, a wrong delimiter, bad column
            names, a column of numbers with few other cells; the message says where and what to do.
    """
    digest, rows, lines, size, last = hashlib.sha256(), 0, 0, 0, b""
    names: list[str] = []
    types: dict[str, pa.DataType] = {}
    missing: dict[str, int] = {}
    head: pa.Table | None = None
    mixed, empty_lines = MixedColumns(text_columns), 0
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(text_columns, pa.string()),
        null_values=[*BLANKS, *missing_values],
        strings_can_be_null=True,
    )
    for text in _blocks(path, source):
        digest.update(text)
        size, last = size + len(text), text[-1:]
        check_text(text, source, lines)
        if text.count(b'"') % 2:
            raise unclosed_quote(text, source, lines)
        body = text
        if head is None:
            names, body = check_header(text, source, delimiter)
        lines += text.count(b"\n", 0, len(text) - len(body))
        table = _parse(Block(body, names, rows, lines, source, delimiter), convert)
        lines += body.count(b"\n")
        mixed.add(table, rows)
        rows += table.num_rows
        empty_lines = _empty_lines_at_end(body, empty_lines) if len(names) == 1 else 0
        if observe is not None:
            observe(table)
        for name, column in zip(names, table.columns, strict=True):
            types[name] = _wider(types.get(name, pa.null()), _plain(column))
            missing[name] = missing.get(name, 0) + column.null_count
        head = table if head is None else head
    if head is None or not rows:
        raise DataError(f"{source} has a header and no rows. Expected at least one row. Deliver the file again.")
    mixed.refuse(source)
    # A column without any value is read as numbers.
    columns = {name: str(pa.float64() if pa.types.is_null(kind) else kind) for name, kind in types.items()}
    info = FileInfo(path.name, digest.hexdigest(), size, rows, columns, delimiter, tuple(missing_values))
    return Scan(info, missing, head, last == b"\n", empty_lines)


def _blocks(path: Path, source: str) -> Iterator[bytes]:
    """The file in pieces that end at the end of a row."""
    if not path.is_file():
        found = "is no regular file" if os.path.lexists(path) else "is missing"
        raise DataError(f"{source} {found}. Expected a CSV file; deliver it, then run this again.")
    try:
        file = open_regular(path)
    except OSError as error:
        raise DataError(
            f"{source} cannot be read: {error.strerror}. Give the user that runs mlops-assets the rights to read it."
        ) from error
    with file:
        rest = b""
        while data := file.read(BLOCK_BYTES):
            rest += data
            if (end := _last_row_end(rest)) or len(rest) > MAX_ROW_BYTES:
                yield rest[: end or None]
                rest = rest[end:] if end else b""
    if rest or not path.stat().st_size:
        yield rest


def _last_row_end(data: bytes) -> int:
    """Length of the part of ``data`` that ends with a line break outside quotes; 0 where there is none."""
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while end and quotes % 2:
        start = data.rfind(b"\n", 0, end - 1) + 1
        quotes -= data.count(b'"', start, end)
        end = start
    return end


def _empty_lines_at_end(body: bytes, before: int) -> int:
    """How many empty lines the file ends with, after the further lines of ``body``."""
    content = body.rstrip(b"\r\n")
    return body.count(b"\n") + before if not content else max(0, body.count(b"\n", len(content)) - 1)


def _parse(block: Block, convert: pacsv.ConvertOptions) -> pa.Table:
    if not block.body or (len(block.names) > 1 and not block.body.strip(b"\r\n")):
        return pa.table({name: pa.nulls(0) for name in block.names})
    try:
        table = block.read(convert)
        kinds = {name: _plain(column) for name, column in zip(block.names, table.columns, strict=True)}
        if dates := {name: kind for name, kind in kinds.items() if pa.types.is_timestamp(kind)}:
            # Arrow finds dates with blanks around them, and cannot read them when it knows that they are dates.
            convert = pacsv.ConvertOptions(
                column_types=dates,
                include_columns=[*dates],
                null_values=convert.null_values,
                strings_can_be_null=True,
            )
            block.read(convert)
    except pa.ArrowInvalid as error:
        raise explain(error, block, convert) from error
    return table


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that holds the values of both blocks."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and one.tz == other.tz:
        return pa.timestamp(max(one.unit, other.unit, key=_UNITS.index), one.tz)
    return pa.string()


def _plain(column: pa.ChunkedArray) -> pa.DataType:
    """The type of a column, of the few types that the pipeline works with (Arrow infers some more)."""
    kind = column.type
    if pa.types.is_date(kind):
        return pa.timestamp("s")
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        microseconds = pa.timestamp("us", kind.tz)  # they reach further than the years 1677 to 2262
        return microseconds if column.cast(microseconds, safe=False).cast(kind).equals(column) else kind
    keeps = pa.types.is_timestamp(kind) or kind in {pa.null(), pa.int64(), pa.float64(), pa.bool_()}
    return kind if keeps else pa.string()
