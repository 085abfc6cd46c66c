"""CSV tables, read and written by Arrow with an exact round trip.

A table that the pipeline wrote is read back with the column types of its manifest: an empty cell is a missing
value, a quoted one never is, floats are written with as many digits as they need. The types of a table that
was delivered are found by :mod:`mlops_assets.store.delivered`.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv as pacsv

from mlops_assets.store.manifest import FileInfo

ROWS_PER_CHUNK = 65_536
BYTES_PER_BLOCK = 2 << 20

BLANKS = [" " * count for count in range(65)] + ["\t"]
"""Cells of these are missing values in a delivered file, in every column."""

_WRITE = {"quoting_style": "needed", "batch_size": ROWS_PER_CHUNK}


def write_table(table: pa.Table, path: Path) -> FileInfo:
    """Write a whole table; see :func:`write_batches`."""
    return write_batches(_chunks(table), table.schema, path)


def write_batches(batches: Iterable[pa.Table], schema: pa.Schema, path: Path) -> FileInfo:
    """Write tables of one schema below one header into a new file; the digest is taken on the way.

    Chunks are turned to text in threads (Arrow lets go of the interpreter meanwhile) and written in order, a few
    at a time, so that memory stays bounded.
    """
    digest, rows, size = hashlib.sha256(), 0, 0
    with path.open("xb") as file, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        waiting: deque[Future[bytes]] = deque()

        def drain(keep: int) -> None:
            nonlocal size
            while len(waiting) > keep:
                text = waiting.popleft().result()
                digest.update(text)
                size += file.write(text)

        waiting.append(pool.submit(_text, pa.Table.from_batches([], schema), True))
        for batch in batches:
            for chunk in _chunks(batch):
                rows += chunk.num_rows
                waiting.append(pool.submit(_text, chunk, False))
                drain(keep=2)
        drain(keep=0)
    return FileInfo(path.name, digest.hexdigest(), size, rows, type_names(schema))


def read_table(data: bytes, info: FileInfo) -> pa.Table:
    """Read a table whose column types are known.

    Args:
        data: The file's bytes, already checked against the manifest's digest.
        info: The file's entry in the manifest.
    """
    # Without a quote no value holds a line break, and Arrow may cut the text at any line: twice as fast.
    parse = _parsing(info, newlines_in_values=b'"' in data)
    return pacsv.read_csv(pa.BufferReader(data), parse_options=parse, convert_options=_conversion(info))


def stream_table(file: IO[bytes], info: FileInfo) -> Iterator[pa.Table]:
    """As :func:`read_table`, block by block in bounded memory; at least one block, if an empty one."""
    reader = pacsv.open_csv(
        file,
        read_options=pacsv.ReadOptions(block_size=BYTES_PER_BLOCK),
        parse_options=_parsing(info, newlines_in_values=True),
        convert_options=_conversion(info),
    )
    is_empty = True
    for batch in reader:
        is_empty = False
        yield pa.Table.from_batches([batch])
    if is_empty:
        yield reader.schema.empty_table()


def type_names(schema: pa.Schema) -> dict[str, str]:
    """Column name -> the type's name, as manifests hold them."""
    return {field.name: str(field.type) for field in schema}


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a name that :func:`type_names` gave."""
    if name.endswith(", tz=UTC]"):
        return pa.timestamp(name.removeprefix("timestamp[").removesuffix(", tz=UTC]"), tz="UTC")
    return pa.type_for_alias(name)


def _parsing(info: FileInfo, *, newlines_in_values: bool) -> pacsv.ParseOptions:
    return pacsv.ParseOptions(
        delimiter=info.delimiter or ",",
        newlines_in_values=newlines_in_values,
        # The only column's missing value is an empty line; between several columns it is none.
        ignore_empty_lines=len(info.columns or ()) != 1,
    )


def _conversion(info: FileInfo) -> pacsv.ConvertOptions:
    delivered = info.delimiter is not None
    return pacsv.ConvertOptions(
        column_types={name: arrow_type(kind) for name, kind in (info.columns or {}).items()},
        null_values=[*BLANKS, *info.missing_values] if delivered else [""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=delivered,
    )


def _chunks(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, ROWS_PER_CHUNK):
        yield table.slice(start, ROWS_PER_CHUNK)


def _text(table: pa.Table, header: bool) -> bytes:
    sink = io.BytesIO()
    pacsv.write_csv(table, sink, pacsv.WriteOptions(include_header=header, **_WRITE))
    return sink.getvalue()
