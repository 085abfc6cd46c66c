"""``process``: from what arrived to one clean table of features and target.

Nothing here learns from the data: what is learned (means, categories, scales) lives inside the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.errors import DataError
from mlops_assets.steps.declaration import Outcome
from mlops_assets.steps.raw_data import lengths_differ, target_name
from mlops_assets.steps.row_hash import (
    LARGEST,
    as_words,
    class_balance,
    duplicates_of,
    mask_array,
    numbers_in,
    valid_in,
)
from mlops_assets.store.layout import DATA, TARGET, TRAIN_DATA

if TYPE_CHECKING:
    from mlops_assets.steps.parameters import Parameters

MAX_CLASSES = 100
_ROWS_SHOWN = 5
_EXACT_IN_FLOAT = 2.0**53


def process(inputs: Mapping[str, Any], params: Parameters, ds: str) -> Outcome:
    """Join data and target; fix types; drop exact duplicates and rows without target.

    Args:
        inputs: ``data.csv`` and ``target.csv``.
        params: ``id_column``, ``target_column``, ``drop_columns``.
        ds: The day, for messages.

    Returns:
        ``train_data.csv``: the id where there is one, the features, the target last.

    Raises:
        DataError: Lengths differ, an id is missing or stands twice with different content, the target is no class label
            or among the features, or no row is left.
    """
    data, target = inputs[DATA], inputs[TARGET]
    by_id = params.id_column in data.column_names and params.id_column in target.column_names
    label = target_name(target.column_names, params, ds)
    table = _fix_types(_without(data, label, params, ds))
    joined, unmatched = (
        _join_by_id(table, target, label, params, ds)
        if by_id
        else (_join_by_position(table, target, label, params, ds), 0)
    )
    labelled = joined.filter(joined[params.target_column].is_valid())
    distinct = labelled.filter(mask_array(~duplicates_of(labelled)))
    if params.id_column in distinct.column_names:
        _refuse_bad_ids(distinct[params.id_column], data[params.id_column], params, ds, DATA)
    if not distinct.num_rows:
        raise DataError(
            f"raw/{ds}/{TARGET}: no row of raw/{ds}/{DATA} has a target. Deliver the targets of the day again."
        )
    result = _with_class_labels(distinct, params, ds)
    return Outcome(
        {TRAIN_DATA: result},
        {
            "rows_without_target": joined.num_rows - labelled.num_rows,
            "rows_duplicate": labelled.num_rows - distinct.num_rows,
            "targets_without_row": unmatched,
            "columns_dropped": [name for name in params.drop_columns if name in data.column_names],
            "infinite_values": _infinite_values(result),
            "class_balance": class_balance(result[params.target_column]),
        },
    )


def _without(data: pa.Table, label: str, params: Parameters, ds: str) -> pa.Table:
    table = data.drop_columns([name for name in params.drop_columns if name in data.column_names])
    if leaks := [name for name in (params.target_column, label) if name in table.column_names]:
        raise DataError(
            f"raw/{ds}/{DATA} has a column {leaks[0]!r}, which is what the target is called. Add it to"
            " MLOPS_DROP_COLUMNS (it would leak the target); if it is a feature, give it another name."
        )
    if not set(table.column_names) - {params.id_column}:
        raise DataError(f"raw/{ds}/{DATA} has no column left to learn from. Check MLOPS_DROP_COLUMNS.")
    return table


def _join_by_position(table: pa.Table, target: pa.Table, label: str, params: Parameters, ds: str) -> pa.Table:
    rows = table.num_rows
    # Further empty lines at the end of a file of one column are no targets.
    if target.num_rows < rows or target[label].null_count - target[label][:rows].null_count < target.num_rows - rows:
        raise lengths_differ(rows, target.num_rows, params, ds)
    return table.append_column(params.target_column, target[label][:rows])


def _join_by_id(table: pa.Table, target: pa.Table, label: str, params: Parameters, ds: str) -> tuple[pa.Table, int]:
    """The rows of ``table`` in their order with their target, and how many targets have no row."""
    delivered = target[params.id_column]
    target = target.select([params.id_column, label])
    target = target.filter(mask_array(~duplicates_of(target)))
    ids = target[params.id_column].combine_chunks()
    _refuse_bad_ids(target[params.id_column], delivered, params, ds, TARGET)
    place = pc.index_in(table[params.id_column], value_set=ids)
    column = target[label].combine_chunks().take(place)
    unmatched = len(ids) - pc.count_distinct(place.drop_null()).as_py()
    return table.append_column(params.target_column, column), unmatched


def _refuse_bad_ids(ids: pa.ChunkedArray, delivered: pa.ChunkedArray, params: Parameters, ds: str, name: str) -> None:
    """Refuse missing and repeated ids.

    Args:
        ids: Of the distinct rows.
        delivered: Of all rows of the file, to say in which rows the fault is.
        params: ``id_column``.
        ds: The day.
        name: The file.
    """
    if ids.null_count:
        row = pc.index(delivered.is_null(), True).as_py() + 1
        raise DataError(
            f"raw/{ds}/{name}, row {row} below the header, column {params.id_column!r}: the id is missing. Expected one"
            " in every row. Deliver the file again, or set MLOPS_ID_COLUMN to a column that identifies a row."
        )
    counts = pc.value_counts(ids.combine_chunks())
    repeated = counts.filter(mask_array(numbers_in(counts.field("counts")) > 1))
    if len(repeated):
        value = repeated[0]["values"].as_py()
        rows = [str(row) for row, one in enumerate(delivered.to_pylist(), 1) if one == value]
        raise DataError(
            f"raw/{ds}/{name}, rows {', '.join(rows[:_ROWS_SHOWN])} below the header: {params.id_column} {value!r}"
            f" stands there with different content; {len(repeated):,} ids are repeated. Expected each id once. Deliver"
            " the file again, or set MLOPS_ID_COLUMN to a column that identifies a row."
        )


def _fix_types(table: pa.Table) -> pa.Table:
    """One type a kind: zones are dropped (values stay UTC)."""
    schema = [
        (field.name, pa.timestamp(field.type.unit) if pa.types.is_timestamp(field.type) else field.type)
        for field in table.schema
    ]
    return table.cast(pa.schema(schema))


def _with_class_labels(table: pa.Table, params: Parameters, ds: str) -> pa.Table:
    """Check that the target holds class labels; whole floats (``1.0``) become integers."""
    place = table.column_names.index(params.target_column)
    target = table.column(place)
    if pa.types.is_floating(target.type):
        whole = pc.and_(pc.equal(pc.floor(target), target), pc.less(pc.abs(target), _EXACT_IN_FLOAT))
        if not pc.all(whole).as_py():
            raise _no_labels(target.filter(pc.invert(whole)), ds)
        target = target.cast(pa.int64())
    if pa.types.is_timestamp(target.type):
        raise _no_labels(target, ds)
    if (classes := pc.count_distinct(target).as_py()) > MAX_CLASSES:
        raise DataError(
            f"raw/{ds}/{TARGET}: the target has {classes:,} distinct values; expected at most {MAX_CLASSES} classes. Is"
            " this the target column? Set MLOPS_TARGET_COLUMN, or turn the numbers into classes."
        )
    return table.set_column(place, params.target_column, target)


def _no_labels(values: pa.ChunkedArray, ds: str) -> DataError:
    return DataError(
        f"raw/{ds}/{TARGET}: the target has values such as {as_words(values[0])}; expected class labels (integers,"
        " words, true/false). Only classification is supported: turn the values into classes."
    )


def _infinite_values(table: pa.Table) -> int:
    columns = [
        column.combine_chunks().cast(pa.float64()) for column in table.columns if pa.types.is_floating(column.type)
    ]
    return sum(int(((np.abs(numbers_in(column)) > LARGEST) & valid_in(column)).sum()) for column in columns)
