"""``score``: what one version of the model says of the held-out rows of the gate's days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mlops_assets.errors import DataError
from mlops_assets.steps.declaration import Outcome
from mlops_assets.steps.features import class_probabilities, fitting_rows, kinds_of, model_frame
from mlops_assets.steps.row_hash import mask_array
from mlops_assets.store.layout import MODEL, SCORES, VAL

if TYPE_CHECKING:
    from mlops_assets.steps.parameters import Parameters


def score(inputs: Mapping[str, Any], params: Parameters, key: str) -> Outcome:
    """Score the held-out rows with one version.

    Each day is brought into the model's form by itself, as ``predict`` does: a cell that is not of the model's kind
    (or types that differ between days) costs rows, not the day.

    Args:
        inputs: ``val.csv``, day -> table, oldest first; ``model.skops``, the fitted pipeline.
        params: ``target_column``.
        key: The version (``v7``), for messages.

    Returns:
        ``scores.csv``: a row for each held-out row, in order: ``target`` (the label as a string), ``fits`` (whether all
        cells are of the kinds that the model knows) and ``score_CLASS``, the probability of each class, null where the
        row does not fit.

    Raises:
        DataError: A day lacks a column that the model needs, or the model failed.
    """
    tables, pipeline = list(inputs[VAL].values()), inputs[MODEL]
    source, kinds = f"The held-out data to score with version {key.removeprefix('v')}", kinds_of(pipeline)
    masks = [fitting_rows(table, kinds, source) for table in tables]
    frames = [
        model_frame(table.filter(mask_array(mask)), kinds, source) for table, mask in zip(tables, masks, strict=True)
    ]
    fits, frame = np.concatenate(masks), pd.concat(frames, ignore_index=True)
    proba = np.full((len(fits), len(pipeline.classes_)), np.nan)
    if len(frame):
        try:
            proba[fits] = class_probabilities(pipeline, frame)
        except Exception as error:  # of a pipeline that may be a user's own: the other versions are judged all the same
            raise DataError(f"Version {key.removeprefix('v')} cannot score: {type(error).__name__}: {error}") from error
    columns = {
        "target": pa.array([str(label) for table in tables for label in table[params.target_column].to_pylist()]),
        "fits": pa.array(fits),
        **{f"score_{label}": pa.array(proba[:, k], mask=~fits) for k, label in enumerate(pipeline.classes_)},
    }
    return Outcome({SCORES: pa.table(columns)}, {"rows": len(fits), "rows_that_do_not_fit": int((~fits).sum())})
