"""Days drawn from the small real data sets that come with scikit-learn.

Belongs here: loading such a data set and taking a day's sample. Nothing about the values is changed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlops_assets.sources.generate import DayOfData, random_stream

if TYPE_CHECKING:
    from datetime import date

_DAILY_SHARE = 0.6
# Part of the random key: fixed numbers, so that a new data set does not change the days of the others.
_KEYS = {"breast_cancer": 0, "wine": 1, "digits": 2, "iris": 3}
_STREAM = 20


def generate(name: str, day: date, *, seed: int, rows: int) -> DayOfData:
    """Returns a day's sample without replacement: 60 % of the data set, at most `rows` rows, in random order.

    Args:
        name: The data set: breast_cancer, wine, digits or iris.
        day: The day that is drawn.
        seed: Chooses the emulated world.
        rows: Upper limit of the number of rows.

    Returns:
        `id` is the row number in the data set, so a row keeps its identity over days. Features have the data set's own
        names. The target is the name of the class (string), for digits the digit (int64).
    """
    data, target = _load(name)
    size = min(rows, round(_DAILY_SHARE * data.num_rows))
    chosen = random_stream(seed, _STREAM, _KEYS[name], day.toordinal()).permutation(data.num_rows)[:size]
    return DayOfData(data.take(chosen), target.take(chosen))


@lru_cache(maxsize=len(_KEYS))
def _load(name: str) -> tuple[pa.Table, pa.Table]:
    """Returns (data, target) of the whole data set; kept, because a backfill asks for it once a day."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    ids = pa.array(np.arange(len(bunch.data), dtype=np.int64))
    columns = {str(column): pa.array(bunch.data[:, i]) for i, column in enumerate(bunch.feature_names)}
    labels = pa.array(bunch.target_names.tolist()).take(pa.array(bunch.target.astype(np.int64)))
    return pa.table({"id": ids, **columns}), pa.table({"id": ids, "target": labels})
