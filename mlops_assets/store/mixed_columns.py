"""Columns of numbers in which few cells are something else: words by type, and almost certainly not by intention."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.errors import DataError

FEW = 0.05
"""Up to this share of a column's values that are no numbers are taken for errors."""

_NUMBER = r"(?i)^\s*-?(\d+\.?\d*(e[-+]?\d+)?|\.\d+(e[-+]?\d+)?|inf|infinity|nan)\s*$"
_SAMPLE = 1_000
_SHOWN = 5


@dataclass
class _Column:
    """What is known of a column; ``is_text`` when it is sure to be no column of numbers."""

    numbers: int = 0
    others: int = 0
    rows: list[int] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    is_text: bool = False


class MixedColumns:
    """Counts, block by block, the cells of each column that are numbers and those that are not."""

    def __init__(self, text_columns: Iterable[str]) -> None:
        """Name the columns that are text in any case."""
        self._exempt = {*text_columns}
        self._columns: dict[str, _Column] = {}

    def add(self, block: pa.Table, rows_before: int) -> None:
        """Take the next rows of the file, with the types that they have by themselves."""
        for name, values in zip(block.column_names, block.columns, strict=True):
            column = self._columns.setdefault(name, _Column(is_text=name in self._exempt))
            if not column.is_text:
                _count(column, values, rows_before)

    def refuse(self, source: str) -> None:
        """Refuse a file that has such a column.

        Raises:
            DataError: With columns and rows, and what to set.
        """
        wrong = {
            name: one
            for name, one in self._columns.items()
            if not one.is_text and 0 < one.others <= FEW * (one.numbers + one.others)
        }
        if wrong:
            places = "; ".join(_described(name, one) for name, one in [*wrong.items()][:_SHOWN])
            raise DataError(
                f"{source}, {places}. Correct the values and deliver the file again; or, if they mean that a value is"
                " missing, add them to MLOPS_MISSING_VALUES; or, if this is no column of numbers, add it to"
                " MLOPS_TEXT_COLUMNS."
            )


def _count(column: _Column, values: pa.ChunkedArray, rows_before: int) -> None:
    present = len(values) - values.null_count
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        column.numbers += present
    elif pa.types.is_string(values.type):
        sample = values.slice(0, _SAMPLE)
        # Looking at all cells of all columns of words would take longer than reading them.
        if len(values) > _SAMPLE and _others(sample) > len(sample) / 2:
            column.is_text = True
            return
        others = pc.invert(pc.match_substring_regex(values, _NUMBER))
        places = pc.indices_nonzero(others)
        column.others += len(places)
        column.numbers += present - len(places)
        for place in places.slice(0, _SHOWN - len(column.rows)).to_pylist():
            column.rows.append(rows_before + place + 1)
            column.words.append(values[place].as_py())
    elif present:
        column.is_text = True  # dates, or true and false


def _others(values: pa.ChunkedArray) -> int:
    return pc.sum(pc.invert(pc.match_substring_regex(values, _NUMBER))).as_py() or 0


def _described(name: str, column: _Column) -> str:
    rows = ", ".join(f"{row:,}" for row in column.rows)
    found = ", ".join(dict.fromkeys(repr(word) for word in column.words))
    more = f" and {column.others - len(column.rows):,} more" if column.others > len(column.rows) else ""
    return (
        f"row{'s' if column.others > 1 else ''} {rows}{more} below the header, column {name!r}: expected a number, as"
        f" in the other {column.numbers:,} rows that have a value, found {found}"
    )
