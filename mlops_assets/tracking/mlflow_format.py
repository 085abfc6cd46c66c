"""The files of an MLflow model: MLmodel, skops file, environment, input example.

`mlflow.sklearn.save_model` writes the same files, but loads the model again to guess at it, imports autologging and
needs MLflow's global state; this takes a tenth of the time. Format: ``mlflow/sklearn/__init__.py`` and
``mlflow/models/model.py`` (3.17).
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.steps.skops_io import TRUSTED_TYPES

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from sklearn.pipeline import Pipeline

MODEL_FILE = "model.skops"
_EXAMPLE_ROWS = 5
# numpy's dtype kinds in MLflow's words.
_KINDS = {"i": "long", "u": "long", "f": "double", "b": "boolean", "M": "datetime"}


def write_model(
    directory: Path,
    model: Model,
    content: bytes,
    output: str,
    *,
    example: pd.DataFrame,
    types: Mapping[str, str],
    requirements: Sequence[str],
) -> None:
    """Write a complete MLflow model.

    Args:
        directory: Where to; created when missing.
        model: MLflow's description with its ids set; completed here.
        content: The fitted pipeline as `dump_model` gives it.
        output: See `output_type`.
        example: Some rows of input; the first five are kept.
        types: Input column to ``double``, ``string``, ``boolean`` or ``datetime``, in the order of the columns.
        requirements: What ``pip install`` needs to load the model; MLflow itself is added when missing.

    Raises:
        ValueError: ``types`` holds something else than these words.
    """
    files = {
        MODEL_FILE: content,
        **_environment(tuple(requirements)),
        **_example(example[list(types)].head(_EXAMPLE_ROWS)),
    }
    model.signature = _signature(output, types)
    model.saved_input_example_info = {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        "type": "dataframe",
        "pandas_orient": "split",
    }
    model.model_size_bytes = sum(map(len, files.values()))
    model.add_flavor(
        "python_function",
        loader_module="mlflow.sklearn",
        python_version=platform.python_version(),
        model_path=MODEL_FILE,
        predict_fn="predict",
        env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    )
    model.add_flavor(
        "sklearn",
        pickled_model=MODEL_FILE,
        sklearn_version=importlib.metadata.version("scikit-learn"),
        serialization_format="skops",
        code=None,
        skops_trusted_types=list(TRUSTED_TYPES),
    )
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (directory / name).write_bytes(data)
    # Last: a directory without MLmodel is no model.
    model.save(str(directory / "MLmodel"))


def _signature(output: str, types: Mapping[str, str]) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    allowed = {"double", "string", "boolean", "datetime"}
    if not set(types.values()) <= allowed:
        raise ValueError(f"Column types are {sorted(set(types.values()))}; expected some of {sorted(allowed)}.")
    inputs = Schema([ColSpec(DataType[kind], name) for name, kind in types.items()])
    return ModelSignature(inputs=inputs, outputs=Schema([ColSpec(DataType[output])]))


def output_type(pipeline: Pipeline) -> str:
    """MLflow's word for what a classifier's ``predict`` returns: the type of its classes."""
    import numpy as np

    return _KINDS.get(np.asarray(pipeline.classes_).dtype.kind, "string")


def _example(rows: pd.DataFrame) -> dict[str, bytes]:
    import pandas as pd

    # Cell by cell: a frame would turn None back into NaN, which is not JSON.
    data = [[None if pd.isna(cell) else cell for cell in row] for row in rows.itertuples(index=False)]
    content = {"columns": list(rows.columns), "data": data}
    return {
        "input_example.json": json.dumps(content, default=_jsonable).encode(),
        "serving_input_example.json": json.dumps({"dataframe_split": content}, default=_jsonable, indent=2).encode(),
    }


def _jsonable(value: Any) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value.item()


@functools.lru_cache
def _environment(requirements: tuple[str, ...]) -> Mapping[str, bytes]:
    """requirements.txt, conda.yaml and python_env.yaml; the same for every model of a process."""
    import mlflow
    import yaml

    if not any(requirement.startswith("mlflow") for requirement in requirements):
        requirements = (f"mlflow=={mlflow.__version__}", *requirements)
    python = platform.python_version()
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", _pinned("pip", "<="), {"pip": list(requirements)}],
    }
    build = [_pinned(name, "==") for name in ("pip", "setuptools", "wheel")]
    virtualenv = {"python": python, "build_dependencies": build, "dependencies": ["-r requirements.txt"]}
    return {
        "requirements.txt": "\n".join(requirements).encode(),
        "conda.yaml": yaml.safe_dump(conda, default_flow_style=False).encode(),
        "python_env.yaml": yaml.safe_dump(virtualenv, sort_keys=False, default_flow_style=False).encode(),
    }


def _pinned(name: str, operator: str) -> str:
    """A requirement on the installed version; on any version if there is none."""
    try:
        return f"{name}{operator}{importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name
