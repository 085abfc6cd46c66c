"""The files of an MLflow model: MLmodel, model file, description, environment, input example.

`mlflow.sklearn.save_model` writes the same files, but needs the fitted object and MLflow's global state; here there is
only its file and a description. Format: ``mlflow/sklearn/__init__.py`` and ``mlflow/models/model.py`` (3.17).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.store.layout import MODEL

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

DESCRIPTION = "model.json"
# MLflow's constants; importing the modules that hold them loads all agents of MLflow, and warns.
PYFUNC, SKLEARN, SKOPS, LOADER = "python_function", "sklearn", "skops", "mlflow.sklearn"
_COLUMN_TYPES = {"double", "string", "datetime", "boolean"}
_OUTPUT_TYPES = {"long", "double", "boolean", "string"}


def check_description(description: Mapping[str, Any]) -> None:
    """Refuse a description that does not say what an MLflow model needs.

    Raises:
        ValueError: A key is missing or a type is unknown.
    """
    needed = {"columns", "output", "example", "requirements", "python", "libraries", "engine", "trusted_types"}
    if missing := needed - set(description):
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    if unknown := set(description["columns"].values()) - _COLUMN_TYPES:
        raise ValueError(f"unknown column types {sorted(unknown)}, expected some of {sorted(_COLUMN_TYPES)}")
    if description["output"] not in _OUTPUT_TYPES:
        raise ValueError(f"unknown output {description['output']!r}, expected one of {sorted(_OUTPUT_TYPES)}")


def write_model(directory: Path, model: Model, description: Mapping[str, Any], description_text: bytes) -> None:
    """Complete a directory that holds the model's file to an MLflow model.

    Args:
        directory: Where ``model.skops`` is and all else goes.
        model: MLflow's description with its ids set; completed here.
        description: A checked description.
        description_text: The same as it is written into ``model.json``.
    """
    example = description["example"]
    files = {
        DESCRIPTION: description_text,
        "input_example.json": json.dumps(example).encode(),
        "serving_input_example.json": json.dumps({"dataframe_split": example}, indent=2).encode(),
        **_environment(description["python"], tuple(description["requirements"])),
    }
    model.signature = _signature(description)
    model.saved_input_example_info = {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        "type": "dataframe",
        "pandas_orient": "split",
    }
    model.model_size_bytes = sum(map(len, files.values())) + (directory / MODEL).stat().st_size
    if description["engine"] == SKLEARN:
        model.add_flavor(
            PYFUNC,
            loader_module=LOADER,
            python_version=description["python"],
            model_path=MODEL,
            predict_fn="predict",
            env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        )
        model.add_flavor(
            SKLEARN,
            pickled_model=MODEL,
            sklearn_version=description["libraries"].get("scikit-learn"),
            serialization_format=SKOPS,
            code=None,
            skops_trusted_types=list(description["trusted_types"]),
        )
    for name, data in files.items():
        (directory / name).write_bytes(data)
    # Last: a directory without MLmodel is not a model.
    model.save(str(directory / "MLmodel"))


def _signature(description: Mapping[str, Any]) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = Schema([ColSpec(DataType[kind], name) for name, kind in description["columns"].items()])
    return ModelSignature(inputs=inputs, outputs=Schema([ColSpec(DataType[description["output"]])]))


@functools.lru_cache
def _environment(python: str, requirements: tuple[str, ...]) -> Mapping[str, bytes]:
    """requirements.txt, conda.yaml and python_env.yaml; the same for every model of an image."""
    import mlflow
    import yaml

    if not any(requirement.startswith("mlflow") for requirement in requirements):
        requirements = (f"mlflow=={mlflow.__version__}", *requirements)
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": list(requirements)}],
    }
    build = ["pip", "setuptools", "wheel"]
    virtualenv = {"python": python, "build_dependencies": build, "dependencies": ["-r requirements.txt"]}
    return {
        "requirements.txt": "\n".join(requirements).encode(),
        "conda.yaml": yaml.safe_dump(conda, default_flow_style=False).encode(),
        "python_env.yaml": yaml.safe_dump(virtualenv, sort_keys=False, default_flow_style=False).encode(),
    }
