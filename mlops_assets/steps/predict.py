"""``predict``: score a day's rows with the model in production, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlops_assets.steps.declaration import Outcome
from mlops_assets.steps.features import class_probabilities, kinds_of, model_frame
from mlops_assets.store.layout import DATA, MODEL, PREDICTIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from mlops_assets.steps.parameters import Parameters

PREDICTION = "prediction"
ROW = "row"
_ROUNDING = 1e-6


def predict(inputs: Mapping[str, Any], params: Parameters, ds: str) -> Outcome:
    """Score every row of ``data.csv``, in its order.

    Args:
        inputs: ``data.csv`` as a stream of blocks; ``model.skops``, the fitted pipeline.
        params: ``id_column``.
        ds: The day, for messages.

    Returns:
        ``predictions.csv`` as a stream: the id (or ``row``, counted from 1, where data have none), ``prediction``, and
        ``score_CLASS``, the probability of each class.

    Raises:
        DataError: A column that the model needs is missing or of another kind (while the stream is read).
    """
    pipeline, blocks = inputs[MODEL], inputs[DATA]
    report: dict[str, Any] = {}
    return Outcome({PREDICTIONS: _scored(blocks, pipeline, params.id_column, f"raw/{ds}/{DATA}", report)}, report)


def _scored(
    blocks: Iterator[pa.Table], pipeline: Pipeline, id_column: str, source: str, report: dict[str, Any]
) -> Iterator[pa.Table]:
    """The scored blocks; ``report`` is complete when the last one was taken."""
    kinds = kinds_of(pipeline)
    classes = np.asarray(pipeline.classes_)
    rows, invalid, balance = 0, 0, Counter[str]()
    for block in blocks:
        if not rows:
            report["columns_ignored"] = [name for name in block.column_names if name not in {*kinds, id_column}]
        frame = model_frame(block, kinds, source, rows_before=rows)
        proba = class_probabilities(pipeline, frame) if len(frame) else np.zeros((0, len(classes)))
        winners = proba.argmax(axis=1)
        has_id = id_column in block.column_names
        identity = block[id_column] if has_id else pa.array(np.arange(rows + 1, rows + block.num_rows + 1))
        scores = {f"score_{label}": pa.array(proba[:, k]) for k, label in enumerate(classes)}
        rows += block.num_rows
        invalid += _invalid(proba)
        for k, count in zip(*np.unique(winners, return_counts=True), strict=True):
            balance[str(classes[k])] += int(count)
        yield pa.table({id_column if has_id else ROW: identity, PREDICTION: pa.array(classes[winners]), **scores})
    report["invalid_scores"] = invalid
    report["class_balance"] = {str(label): balance[str(label)] for label in classes}


def _invalid(proba: NDArray[np.float64]) -> int:
    """The number of rows that hold no probabilities: not finite, outside [0, 1], or of another sum than 1."""
    in_range = ((proba >= -_ROUNDING) & (proba <= 1 + _ROUNDING)).all(axis=1)  # nothing compares with NaN
    return int((~(in_range & (np.abs(proba.sum(axis=1) - 1) <= _ROUNDING))).sum())
