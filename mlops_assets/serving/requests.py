"""What a request brings: MLflow's forms of JSON, and CSV, as columns. Pure.

JSON has types, so it is taken at its word: text is no number, a number is no text. CSV is read as delivered files are.
The forms are those of ``mlflow/pyfunc/scoring_server`` (3.17): ``dataframe_split``, ``dataframe_records``, ``inputs``
(lists by column, or rows), ``instances`` (rows).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from mlops_assets.errors import DataError
from mlops_assets.steps.features import DATETIME, DOUBLE, EMPTY, STRING
from mlops_assets.store.csv_errors import Block, check_header, check_text, explain, unclosed_quote
from mlops_assets.store.tables import BLANKS

SOURCE = "The request"
"""What the data are called in messages; rows are counted from 1."""

FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
JSON, CSV = "application/json", "text/csv"

Columns = Mapping[str, Sequence[Any]]
"""Name -> values, all of one length: a list from JSON, an Arrow column from CSV."""

_EXPECTED = {DOUBLE: "a number", STRING: "text", DATETIME: "a date as text (YYYY-MM-DD, YYYY-MM-DDTHH:MM:SS)"}
_TYPES: dict[str, tuple[type, ...]] = {DOUBLE: (int, float), STRING: (str,), DATETIME: (str,)}
_FITS = {DOUBLE: pa.types.is_primitive, STRING: pa.types.is_string, DATETIME: pa.types.is_string}
_DATES = (pa.timestamp("us"), pa.timestamp("us", "UTC"))
_SHOWN = 80


@dataclass(frozen=True)
class CsvForm:
    """How CSV is written: as in delivered files.

    Attributes:
        delimiter: Between the cells.
        missing_values: Words that mean that a value is missing; blank cells always do.
    """

    delimiter: str = ","
    missing_values: tuple[str, ...] = ()


def columns_of(body: bytes, media_type: str, kinds: Mapping[str, str], csv: CsvForm) -> Columns:
    """The columns of a request.

    Args:
        body: Of the request.
        media_type: ``application/json`` or ``text/csv``.
        kinds: The model's features and their kinds, see :func:`mlops_assets.steps.features.feature_kinds`.
        csv: How CSV is written.

    Raises:
        DataError: It is none of the forms, or lacks a column.
    """
    columns = _of_csv(body, kinds, csv) if media_type == CSV else _of_json(body)
    if not columns:
        return dict.fromkeys(kinds, ())  # no rows
    if missing := [name for name, kind in kinds.items() if kind != EMPTY and name not in columns]:
        unknown = [name for name in columns if name not in kinds]
        others = f" These are not among the model's: {_listed(unknown)}." if unknown else ""
        raise DataError(f"{SOURCE} lacks {_listed(missing)}, which the model was trained on.{others} Send all of them.")
    return columns


def table_of(columns: Columns, kinds: Mapping[str, str]) -> pa.Table:
    """The model's columns as Arrow has them.

    Raises:
        DataError: A value is not of its column's kind.
    """
    nothing = pa.nulls(rows_in(columns))  # for columns that had no value in training: the model does not use them
    return pa.table(
        {name: nothing if kind == EMPTY else _array(columns[name], kind, name) for name, kind in kinds.items()}
    )


def rows_in(columns: Columns) -> int:
    """How many rows."""
    return len(next(iter(columns.values()), ()))


def _of_json(body: bytes) -> Columns:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{SOURCE} is not JSON: {error}. Expected an object with one of: {', '.join(FORMS)}.") from None
    forms = [name for name in FORMS if name in content] if isinstance(content, dict) else []
    if len(forms) != 1:
        raise DataError(f"{SOURCE} must be a JSON object with exactly one of: {', '.join(FORMS)}.")
    if content.get("params"):
        raise DataError(f"{SOURCE} has params, but the model takes none. Leave them out.")
    form, data = forms[0], content[forms[0]]
    if form == "dataframe_split":
        return _of_split(data)
    return _of_lists(data) if form == "inputs" and isinstance(data, dict) else _of_records(data, form)


def _of_split(data: Any) -> Columns:
    names, rows = (data.get("columns"), data.get("data")) if isinstance(data, dict) else (None, None)
    if not (
        isinstance(names, list) and isinstance(rows, list) and names and all(isinstance(name, str) for name in names)
    ):
        raise DataError(f'{SOURCE}: expected {{"dataframe_split": {{"columns": [names], "data": [rows]}}}}.')
    if len({*names}) < len(names):
        raise DataError(f"{SOURCE} names a column twice: {_listed(sorted({n for n in names if names.count(n) > 1}))}.")
    _check_rows(rows, list, f"a list of {len(names)} values", len(names))
    flat = list(chain.from_iterable(rows))
    return {name: flat[place :: len(names)] for place, name in enumerate(names)}


def _of_records(data: Any, form: str) -> Columns:
    if not isinstance(data, list):
        raise DataError(f'{SOURCE}: expected {{"{form}": [rows]}}, each row an object of column and value.')
    _check_rows(data, dict, "an object of column and value")
    return {name: [row.get(name) for row in data] for name in dict.fromkeys(chain.from_iterable(data))}


def _of_lists(data: dict[str, Any]) -> Columns:
    wrong = [name for name, values in data.items() if not isinstance(values, list)]
    if wrong or len({len(values) for values in data.values()}) > 1:
        raise DataError(f"{SOURCE}: expected inputs of a list a column, all of one length.")
    return data


def _check_rows(rows: list[Any], kind: type[Sized], expected: str, width: int | None = None) -> None:
    for row, cells in enumerate(rows, 1):
        if not isinstance(cells, kind) or (width is not None and len(cells) != width):
            raise DataError(f"{SOURCE}, row {row}: expected {expected}, found {_shown(cells)}.")


def _of_csv(body: bytes, kinds: Mapping[str, str], csv: CsvForm) -> Columns:
    check_text(body, SOURCE, 0)
    if body.count(b'"') % 2:
        raise unclosed_quote(body, SOURCE, 0)
    names, rows = check_header(body, SOURCE, csv.delimiter)
    if not rows.strip(b"\r\n"):
        return {name: [] for name in names}
    block = Block(rows, names, 0, body.count(b"\n") - rows.count(b"\n"), SOURCE, csv.delimiter)
    convert = pacsv.ConvertOptions(
        column_types={name: pa.string() for name in names if kinds.get(name, STRING) == STRING},
        null_values=[*BLANKS, *csv.missing_values],
        strings_can_be_null=True,
    )
    try:
        table = block.read(convert)
    except pa.ArrowInvalid as error:
        raise explain(error, block, convert) from error
    return dict(zip(names, table.columns, strict=True))


def _array(values: Sequence[Any], kind: str, name: str) -> pa.Array | pa.ChunkedArray:
    """A column of Arrow; of CSV, :func:`~mlops_assets.steps.features.model_columns` refuses what is not of its kind."""
    if isinstance(values, pa.ChunkedArray):
        return values.cast(pa.timestamp("s")) if pa.types.is_date(values.type) else values
    if kind == DATETIME:
        values = [None if value == "NaT" else value for value in values]  # what MLflow's clients make of missing dates
    try:
        column = pa.array(values, from_pandas=True)  # also NaN is a missing value
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        column = None
    if column is None or not (pa.types.is_null(column.type) or _FITS[kind](column.type)):
        column = _checked(values, kind, name)
    if pa.types.is_null(column.type) or kind == STRING:
        return column
    return _dates(column, name) if kind == DATETIME else column.cast(pa.float64(), safe=False)


def _checked(values: Sequence[Any], kind: str, name: str) -> pa.Array:
    """The column, value by value: slow, so only where Arrow did not take it as a whole.

    Raises:
        DataError: Names the first row that is not of the kind.
    """
    for row, value in enumerate(values, 1):
        if value is not None and not (isinstance(value, _TYPES[kind]) or value != value):  # noqa: PLR0124  # NaN
            found = _shown(value)
            raise DataError(f"{SOURCE}, row {row}, column {name!r}: expected {_EXPECTED[kind]} or null, found {found}.")
    try:
        return pa.array([float(one) if one is not None and kind == DOUBLE else one for one in values], from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{SOURCE}, column {name!r}: expected {_EXPECTED[kind]}: {error}.") from error


def _dates(texts: pa.StringArray, name: str) -> pa.TimestampArray:
    """Dates as text, with a zone (``…Z``, ``…+01:00``) or without.

    Raises:
        DataError: Names the first row that is no date.
    """
    for kind in _DATES:
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            continue
    for row, text in enumerate(texts, 1):
        if not any(_is_date(text, kind) for kind in _DATES):
            raise DataError(_message(row, name, DATETIME, text.as_py()))
    raise DataError(f"{SOURCE}, column {name!r}: some dates have a zone and some have none. Send all in one form.")


def _is_date(text: pa.StringScalar, kind: pa.DataType) -> bool:
    try:
        text.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _message(row: int, name: str, kind: str, value: Any) -> str:
    return f"{SOURCE}, row {row}, column {name!r}: expected {_EXPECTED[kind]} or null, found {_shown(value)}."


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return f"column{'s' * (len(names) > 1)} {shown}" + (f" and {len(names) - 10} more" if len(names) > 10 else "")  # noqa: PLR2004


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
