"""A real pipeline over mixed columns, recorded as the training step does; also imported by fresh interpreters."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mlops_assets.steps.features import build_pipeline, feature_kinds, model_frame
from mlops_assets.steps.skops_io import dump_model, held_types
from mlops_assets.tracking import TrackingConfig, TrainedModel

KINDS = {"a": "double", "b": "double", "c": "string", "d": "datetime", "f": "string"}


def table(rows: int = 240) -> pa.Table:
    """Numbers, strings of low and high cardinality, dates, and holes in them."""
    random = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "a": random.normal(size=rows),
            "b": random.normal(size=rows),
            "c": random.choice(["x", "y", "z"], rows),
            "d": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 300, rows), unit="D"),
            "f": random.choice([f"city {k}" for k in range(20)], rows),
        }
    )
    data.loc[::7, "a"] = np.nan
    data.loc[::11, "c"] = None
    return pa.Table.from_pandas(data, preserve_index=False)


def frame(rows: int = 240) -> pd.DataFrame:
    """What a model of `KINDS` is given."""
    found = table(rows)
    assert feature_kinds(found.schema, without=()) == KINDS
    return model_frame(found, KINDS, "test data")


def fit(estimator: str) -> Any:
    """A fitted pipeline, as the training step makes it."""
    data = frame()
    target = ((data["b"] + (data["c"] == "x")) > 0).astype(int)
    return build_pipeline(data, KINDS, estimator=estimator, imputation="mean", seed=0).fit(data, target)


def description(content: bytes, **changes: Any) -> dict[str, Any]:
    """What the training step writes into model.json."""
    rows = json.loads(frame().head(3).to_json(orient="split", date_format="iso", index=False))
    return {
        "columns": KINDS,
        "output": "long",
        "classes": ["0", "1"],
        "example": rows,
        "requirements": ["scikit-learn==1.6.0", "skops==0.13.0"],
        "python": "3.10.2",
        "libraries": {"scikit-learn": "1.6.0"},
        "engine": "sklearn",
        "trusted_types": held_types(content),
        "parameters": {},
        **changes,
    }


def trained(file: Path, *, recipe: str = "r1", ds: str = "2024-01-01", **changes: Any) -> TrainedModel:
    """A trained model whose file exists."""
    content = file.read_bytes()
    values = {
        "ds": ds,
        "recipe": recipe,
        "sha256": hashlib.sha256(content).hexdigest(),
        "file": file,
        "description": {"columns": KINDS, "output": "long", "example": {"columns": [], "data": []}}
        | {"requirements": [], "python": "3.10.2", "libraries": {}, "engine": "sklearn", "trusted_types": []},
        "params": {"depth": 3, "long": "x" * 9000},
        "tags": {
            "mlops.image": "sha256:abc",
            "mlops.engine": "sklearn",
            "mlops.trained_through": ds,
            "mlops.libraries": json.dumps({"scikit-learn": "1.6.0"}),
        },
        "dagster_run_id": "run-1",
    }
    return TrainedModel(**{**values, **changes})


def real(estimator: str, file: Path, **changes: Any) -> TrainedModel:
    """A fitted pipeline, dumped into a file, with its description."""
    content = dump_model(fit(estimator))
    file.write_bytes(content)
    return trained(file, **{"description": description(content), **changes})


def config(folder: Path, **changes: object) -> TrackingConfig:
    fields = {
        "uri": f"sqlite:///{folder}/mlflow.db",
        "experiment": "tests",
        "model_name": "churn",
        "artifact_root": str(folder / "artifacts"),
        "ui_url": None,
    }
    return TrackingConfig(**{**fields, **changes})
