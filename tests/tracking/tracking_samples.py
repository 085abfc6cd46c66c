"""Mixed columns and small pipelines over them; also imported by the fresh interpreters that tests start."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from mlops_assets.tracking import TrackingConfig

FEATURES = "mlops_assets.steps.features"
TYPES = {"a": "double", "b": "double", "c": "string", "d": "datetime", "e": "boolean", "f": "string"}
KINDS = ("boosting", "forest", "logistic")


def _stand_in() -> types.ModuleType:
    """The two functions of the steps package, if this checkout does not have them (yet)."""

    def date_parts(frame):
        return np.column_stack([pd.to_datetime(frame[name]).dt.dayofweek.astype(float) for name in frame.columns])

    def date_part_names(_transformer, names):
        return np.array([f"{name}_dayofweek" for name in names], dtype=object)

    module = types.ModuleType(FEATURES)
    for function in (date_parts, date_part_names):
        function.__module__, function.__qualname__ = FEATURES, function.__name__
        setattr(module, function.__name__, function)
    sys.modules.setdefault("mlops_assets.runtime", types.ModuleType("mlops_assets.runtime"))
    sys.modules[FEATURES] = module
    return module


def _features() -> types.ModuleType:
    try:
        found = importlib.util.find_spec(FEATURES)
    except ModuleNotFoundError:
        found = None
    module = importlib.import_module(FEATURES) if found else None
    return module if hasattr(module, "date_parts") and hasattr(module, "date_part_names") else _stand_in()


features = _features()


def frame(rows: int = 240) -> tuple[pd.DataFrame, pd.Series]:
    """Numbers, strings, dates, booleans and holes in them, with a target that depends on them."""
    random = np.random.default_rng(0)
    days = pd.to_timedelta(random.integers(0, 300, rows), unit="D")
    data = pd.DataFrame(
        {
            "a": random.normal(size=rows),
            "b": random.normal(size=rows),
            "c": random.choice(["x", "y", "z"], rows),
            "d": pd.Timestamp("2024-01-01") + days,
            "e": random.random(rows) > 0.5,
            "f": random.choice(list("pqrs"), rows),
        }
    )
    data.loc[::7, "a"] = np.nan
    data.loc[::11, "c"] = None
    return data, ((data["b"] + (data["c"] == "x")) > 0).astype(int)


def _target_encoder() -> TargetEncoder:
    # The argument that makes it repeatable changed in scikit-learn 1.9.
    if tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9):
        return TargetEncoder(random_state=0)
    return TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=0))


def pipeline(kind: str, **changes: object) -> Pipeline:
    """An unfitted pipeline of one of `KINDS`; its encoder differs from kind to kind so that all are covered."""
    encoder, estimator = {
        "boosting": (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            HistGradientBoostingClassifier(max_iter=10, random_state=0),
        ),
        "categorical": (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            HistGradientBoostingClassifier(max_iter=10, random_state=0, categorical_features=[2, 3]),
        ),
        "forest": (_target_encoder(), RandomForestClassifier(n_estimators=10, random_state=0)),
        "logistic": (OneHotEncoder(handle_unknown="ignore", sparse_output=False), LogisticRegression(max_iter=500)),
    }[kind]
    parts = FunctionTransformer(features.date_parts, feature_names_out=features.date_part_names)
    columns = ColumnTransformer(
        [
            ("numbers", Pipeline([("impute", SimpleImputer()), ("scale", StandardScaler())]), ["a", "b"]),
            ("texts", Pipeline([("impute", SimpleImputer(strategy="most_frequent")), ("encode", encoder)]), ["c", "f"]),
            ("flags", FunctionTransformer(feature_names_out="one-to-one"), ["e"]),
            ("dates", Pipeline([("parts", parts), ("scale", StandardScaler())]), ["d"]),
        ]
    )
    return Pipeline([("columns", columns), ("model", estimator.set_params(**changes))])


REQUIREMENTS = ["scikit-learn", "skops"]


def config(folder: Path, **changes: object) -> TrackingConfig:
    fields = {
        "uri": f"sqlite:///{folder}/mlflow.db",
        "experiment": "tests",
        "model_name": "churn",
        "artifact_root": str(folder / "artifacts"),
        "ui_url": None,
    }
    return TrackingConfig(**{**fields, **changes})
