"""``model.json``: what is known of a trained model without loading it.

From it and the model's file the Dagster side makes a complete MLflow model: signature, input example, environment.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets import __version__
from mlops_assets.steps.features import DOUBLE, EMPTY, model_frame
from mlops_assets.steps.skops_io import held_types

if TYPE_CHECKING:
    import pyarrow as pa
    from sklearn.pipeline import Pipeline

EXAMPLE_ROWS = 3
ENGINE = "sklearn"
_LIBRARIES = ("scikit-learn", "skops", "numpy", "pandas")
_OUTPUTS = {"i": "long", "u": "long", "f": "double", "b": "boolean"}
"""numpy's kinds of dtypes in the words of MLflow's signatures."""


def describe(
    pipeline: Pipeline, data: bytes, kinds: Mapping[str, str], example: pa.Table, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe a fitted pipeline.

    Args:
        pipeline: The pipeline.
        data: Its file.
        kinds: Feature -> ``double``, ``string`` or ``datetime``, in the order of the columns.
        example: Some training rows.
        facts: What the training reports.

    Returns:
        JSON values: ``engine``, ``columns``, ``output`` (the type of a prediction), ``classes``, ``example``
        (``columns`` and ``data``), ``requirements`` (of pip), ``python``, ``libraries``, ``trusted_types`` (that a
        loader of the file must allow), ``parameters`` (for MLflow).
    """
    libraries = {name: version(name) for name in _LIBRARIES}
    frame = model_frame(example, kinds, "the input example")
    estimator = pipeline.named_steps["estimator"]
    return {
        "engine": ENGINE,
        # A signature knows no empty columns: numbers, which the model never looks at.
        "columns": {name: DOUBLE if kind == EMPTY else kind for name, kind in kinds.items()},
        "output": _OUTPUTS.get(np.asarray(pipeline.classes_).dtype.kind, "string"),
        "classes": [str(one) for one in pipeline.classes_],
        "example": {
            "columns": list(kinds),
            "data": [[_json(cell) for cell in row] for row in frame.itertuples(index=False)],
        },
        # The package, because the date features of the preprocessing are its functions.
        "requirements": [*(f"{name}=={number}" for name, number in libraries.items()), f"mlops-assets=={__version__}"],
        "python": platform.python_version(),
        "libraries": libraries,
        "trusted_types": held_types(data),
        "parameters": {
            "estimator": type(estimator).__name__,
            "features": facts["features"],
            "rows_train": facts["rows_train"],
            **{f"estimator__{name}": _json(value) for name, value in estimator.get_params().items()},
        },
    }


def _json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "isoformat"):
        return None if value != value else value.isoformat()  # noqa: PLR0124  # NaT
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else str(value)
