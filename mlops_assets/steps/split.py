"""``split``: which rows train a model and which are held out to judge it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlops_assets.steps.declaration import Outcome
from mlops_assets.steps.row_hash import class_balance, mask_array, row_hashes
from mlops_assets.store.layout import TRAIN, TRAIN_DATA, VAL

if TYPE_CHECKING:
    from mlops_assets.steps.parameters import Parameters


def split(inputs: Mapping[str, Any], params: Parameters, _ds: str) -> Outcome:
    """Divide the rows by their hash.

    A row is on the same side on every day and in every run, whatever other rows there are: so a model of any day can be
    judged on held-out rows of any other day. The threshold is on the hash of the row: of its id where it has one, else
    of its features; never of its target, which may change for the same customer. So each class is divided in the same
    proportion up to chance; a class of a handful of rows may fall to one side.

    Returns:
        ``train.csv`` and ``val.csv``, in the order of the input.
    """
    table: pa.Table = inputs[TRAIN_DATA]
    target = params.target_column
    features = [name for name in table.column_names if name != target]
    key = [params.id_column] if params.id_column in features else features
    hashes = row_hashes(table.select(key))
    held_out = hashes < np.uint64(int(params.validation_share * 2**64))
    train, val = table.filter(mask_array(~held_out)), table.filter(mask_array(held_out))
    return Outcome(
        {TRAIN: train, VAL: val},
        {
            "rows_train": train.num_rows,
            "rows_val": val.num_rows,
            "class_balance": class_balance(train[target]),
            "class_balance_val": class_balance(val[target]),
        },
    )
