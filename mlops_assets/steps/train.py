"""``train``: fit the pipeline on training rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlops_assets.errors import DataError
from mlops_assets.steps.declaration import Outcome
from mlops_assets.steps.features import EMPTY, build_pipeline, feature_kinds, model_frame
from mlops_assets.steps.model_description import EXAMPLE_ROWS, describe
from mlops_assets.steps.row_hash import class_balance
from mlops_assets.steps.skops_io import dump_model
from mlops_assets.steps.threads import openmp_threads_for
from mlops_assets.store.layout import MODEL, MODEL_DESCRIPTION, TRAIN

if TYPE_CHECKING:
    from mlops_assets.steps.parameters import Parameters


def train(inputs: Mapping[str, Any], params: Parameters, ds: str) -> Outcome:
    """Fit a model on the training rows of one day or of a window of days.

    Args:
        inputs: ``train.csv`` of each day of the window, oldest first.
        params: ``estimator``, ``imputation``, ``seed``, ``id_column``, ``target_column``.
        ds: The window's last day.

    Returns:
        ``model.skops``, the fitted ``sklearn.pipeline.Pipeline``, and ``model.json``, what others need to know of it
        without loading it (:func:`mlops_assets.steps.model_description.describe`).

    Raises:
        DataError: The rows have fewer than two classes or no values, the days' columns do not fit together, or
            scikit-learn refuses the rows.
    """
    table = stacked(inputs[TRAIN], f"split/{ds}/{TRAIN}", params.target_column)
    balance = class_balance(table[params.target_column])
    if len(balance) < 2:  # noqa: PLR2004
        found = (
            f"all {table.num_rows:,} rows are of class {next(iter(balance))!r}"
            if balance
            else "there is no row to train on: all were held out"
        )
        raise DataError(
            f"split/{ds}/{TRAIN}: a model needs rows of at least two classes, and {found}. Train on more days"
            f" (MLOPS_TRAIN_WINDOW_DAYS, now {params.train_window_days}) or on another day; the model in production"
            " stays."
        )
    kinds = feature_kinds(table.schema, without=(params.id_column, params.target_column))
    kinds |= {name: EMPTY for name in kinds if table[name].null_count == len(table)}
    if all(kind == EMPTY for kind in kinds.values()):
        raise DataError(
            f"split/{ds}/{TRAIN}: no column has a value, so there is nothing to learn from. Deliver the day again, or"
            f" train on more days (MLOPS_TRAIN_WINDOW_DAYS, now {params.train_window_days})."
        )
    frame = model_frame(table, kinds, f"split/{ds}/{TRAIN}")
    pipeline = build_pipeline(frame, kinds, estimator=params.estimator, imputation=params.imputation, seed=params.seed)
    with openmp_threads_for(frame.size), warnings.catch_warnings():
        # A class of fewer rows than the target encoder has folds: it still encodes, over fewer rows.
        warnings.filterwarnings("ignore", message="The least populated class")
        # A column of infinite numbers only is kept and filled with zeros, on purpose.
        warnings.filterwarnings("ignore", message="Skipping features without any observed values")
        try:
            pipeline.fit(frame, table[params.target_column].to_numpy())
        except ValueError as error:  # such as more folds than rows of any class
            raise DataError(
                f"split/{ds}/{TRAIN}: no model can be fitted to these {table.num_rows:,} rows of {len(balance):,}"
                f" classes ({str(error).splitlines()[0]}). Train on more days (MLOPS_TRAIN_WINDOW_DAYS, now"
                f" {params.train_window_days}); the model in production stays."
            ) from error
    metadata = {
        "rows_train": table.num_rows,
        "days": len(inputs[TRAIN]),
        "features": len(kinds),
        "classes": list(balance),
        "class_balance": balance,
    }
    data = dump_model(pipeline)
    description = describe(pipeline, data, kinds, inputs[TRAIN][-1].slice(0, EXAMPLE_ROWS), metadata)
    return Outcome({MODEL: (pipeline, data), MODEL_DESCRIPTION: description}, metadata)


def stacked(tables: list[pa.Table], source: str, target: str) -> pa.Table:
    """Tables of several days below each other.

    Columns must be the same. A column that is integer (or boolean, but for the target) on one day and float on another
    becomes float; a day on which it has no value at all says nothing of its type.

    Args:
        tables: Of the days, the newest last.
        source: What to call them in messages.
        target: Name of the target column.

    Raises:
        DataError: The columns differ between the days.
    """
    if len(tables) == 1:
        return tables[0]
    names = tables[-1].column_names
    for table in tables:
        if differing := set(names) ^ set(table.column_names):
            raise DataError(
                f"{source}: the days of the training window differ in the columns {', '.join(sorted(differing))}. Set"
                " MLOPS_DROP_COLUMNS, or shorten MLOPS_TRAIN_WINDOW_DAYS to the days since the change."
            )
    return pa.table({name: _stacked_column([table[name] for table in tables], name, source, target) for name in names})


def _stacked_column(columns: list[pa.ChunkedArray], name: str, source: str, target: str) -> pa.ChunkedArray:
    types = list(dict.fromkeys(column.type for column in columns if column.null_count < len(column)))
    wanted = types[0] if types else columns[-1].type
    if len(types) > 1 and all(pa.types.is_timestamp(one) for one in types):
        wanted = pa.timestamp("us")
    elif len(types) > 1 and name != target and not any(_is_text_or_date(one) for one in types):
        wanted = pa.float64()
    elif len(types) > 1:
        raise DataError(
            f"{source}, column {name!r}: it is {' on one day and '.join(map(str, types))} on another. Correct the days"
            " that differ, or shorten MLOPS_TRAIN_WINDOW_DAYS to the days since the change."
        )
    parts = [
        pa.chunked_array([pa.nulls(len(column), wanted)])
        if column.null_count == len(column)
        else column.cast(wanted, safe=False)
        for column in columns
    ]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], wanted)


def _is_text_or_date(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_timestamp(kind)
