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
    "predictions": "predictions",
}
"""The folder of each partitioned asset; ``model`` and ``metrics`` of a day share one."""

DATA = "data.csv"
TARGET = "target.csv"
TRAIN_DATA = "train_data.csv"
TRAIN = "train.csv"
VAL = "val.csv"
MODEL = "model.skops"
METRICS = "metrics.json"
PREDICTIONS = "predictions.csv"
SCORES = "scores.csv"
VERDICT = "verdict.json"

_PARTITION = re.compile(r"\d{4}-\d{2}-\d{2}")


def partition_folder(root: Path, asset: str, ds: str) -> Path:
    """The folder of one day of one asset."""
    if not _PARTITION.fullmatch(ds):
        raise ValueError(f"partition {ds!r} is not a day written as YYYY-MM-DD")
    return root / FOLDERS[asset] / ds


def manifest_name(asset: str) -> str:
    """The name of the file that makes a partition of ``asset`` complete."""
    return f"{asset}.manifest.json"


def is_partition(name: str) -> bool:
    """Whether a folder's name is a partition key."""
    return _PARTITION.fullmatch(name) is not None
