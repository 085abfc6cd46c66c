"""Where each asset's partitions lie under the data root.

The layout is a contract with the users, who drop and pick up files there: only add to it.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDERS = {
    "raw_data": "raw",
    "processed": "processed",
    "split": "split",
    "model": "models",
    "metrics": "models",
    "production_model": "production",
    "predictions": "predictions",
    "scores": "production/scores",
    "verdict": "production",
}
"""The folder of each asset, and of the two steps of ``production_model``; ``model`` and ``metrics`` share one."""

MODEL_FILES = "production/models"
"""The folder of the registry's models that steps work with: one folder a version, named by :func:`version_key`."""

DATA = "data.csv"
TARGET = "target.csv"
TRAIN_DATA = "train_data.csv"
TRAIN = "train.csv"
VAL = "val.csv"
MODEL = "model.skops"
MODEL_DESCRIPTION = "model.json"
METRICS = "metrics.json"
PRODUCTION = "production.json"
SCORES = "scores.csv"
VERDICT = "verdict.json"
PREDICTIONS = "predictions.csv"

FILES = {
    "raw_data": (DATA, TARGET),
    "processed": (TRAIN_DATA,),
    "split": (TRAIN, VAL),
    "model": (MODEL, MODEL_DESCRIPTION),
    "metrics": (METRICS,),
    "production_model": (PRODUCTION,),
    "predictions": (PREDICTIONS,),
    "scores": (SCORES,),
    "verdict": (VERDICT,),
}
"""The names that the files of a partition of each asset may have; no other name in a manifest is ever used."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_VERSION = re.compile(r"v[1-9]\d{0,9}")


def partition_folder(root: Path, asset: str, ds: str) -> Path:
    """The folder of one partition of one asset: a day, or for ``scores`` a model version."""
    if not (_VERSION if asset == "scores" else _DAY).fullmatch(ds):
        raise ValueError(f"partition {ds!r} is not a day written as YYYY-MM-DD")
    return root / FOLDERS[asset] / ds


def manifest_name(asset: str) -> str:
    """The name of the file that makes a partition of ``asset`` complete."""
    return f"{asset}.manifest.json"


def is_partition(name: str) -> bool:
    """Whether a folder's name is a day."""
    return _DAY.fullmatch(name) is not None


def version_key(number: int) -> str:
    """What a model version is called among partitions and folders: ``v7``."""
    return f"v{number}"
