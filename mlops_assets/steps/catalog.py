"""All steps and what each reads and writes: the one place that says so."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from mlops_assets.steps.declaration import File, Kind, Step
from mlops_assets.store import layout


def _function(module: str, name: str) -> Callable[[], Any]:
    """A step's function, imported at first use: only training and prediction import scikit-learn."""
    return lambda: getattr(import_module(f"mlops_assets.steps.{module}"), name)


_RAW_DATA = File("raw_data", layout.DATA)
_RAW_TARGET = File("raw_data", layout.TARGET)
_TRAIN_DATA = File("processed", layout.TRAIN_DATA)
_TRAIN = File("split", layout.TRAIN)
_VAL = File("split", layout.VAL)
_MODEL = File("model", layout.MODEL, Kind.MODEL)

GENERATE = Step(
    name="generate",
    asset="raw_data",
    function=_function("raw_data", "generate"),
    inputs=(),
    outputs=(File("raw_data", layout.DATA), File("raw_data", layout.TARGET)),
    settings=("source", "seed", "rows_per_day", "start_date"),
)
REGISTER = Step(
    name="register",
    asset="raw_data",
    function=_function("raw_data", "register"),
    inputs=(
        File("raw_data", layout.DATA, Kind.DELIVERED),
        File("raw_data", layout.TARGET, Kind.DELIVERED),
    ),
    outputs=(
        File("raw_data", layout.DATA, Kind.DELIVERED),
        File("raw_data", layout.TARGET, Kind.DELIVERED),
    ),
    settings=("csv_delimiter", "id_column", "text_columns", "target_column"),
)
PROCESS = Step(
    name="process",
    asset="processed",
    function=_function("process", "process"),
    inputs=(_RAW_DATA, _RAW_TARGET),
    outputs=(_TRAIN_DATA,),
    settings=("id_column", "target_column", "drop_columns"),
)
SPLIT = Step(
    name="split",
    asset="split",
    function=_function("split", "split"),
    inputs=(_TRAIN_DATA,),
    outputs=(_TRAIN, _VAL),
    settings=("id_column", "target_column", "validation_share"),
)
TRAIN = Step(
    name="train",
    asset="model",
    function=_function("train", "train"),
    inputs=(File("split", layout.TRAIN, window=True),),
    outputs=(_MODEL,),
    settings=("id_column", "target_column", "estimator", "imputation", "seed", "train_window_days", "model_name"),
    uses_tracking=True,
)
EVALUATE = Step(
    name="evaluate",
    asset="metrics",
    function=_function("evaluate", "evaluate"),
    inputs=(_VAL, _MODEL),
    outputs=(File("metrics", layout.METRICS, Kind.JSON),),
    settings=("target_column", "positive_label", "model_name"),
    uses_tracking=True,
)
PREDICT = Step(
    name="predict",
    asset="predictions",
    function=_function("predict", "predict"),
    inputs=(File("raw_data", layout.DATA, Kind.STREAM),),
    outputs=(File("predictions", layout.PREDICTIONS, Kind.STREAM),),
    settings=("id_column", "model_name", "model_version"),
    uses_production_model=True,
    uses_tracking=True,
)

ASSETS = ("raw_data", "processed", "split", "model", "metrics", "production_model", "predictions")
"""All assets, upstream first."""

UNPARTITIONED = "production_model"
"""The one without days."""

STEPS = {step.name: step for step in (GENERATE, REGISTER, PROCESS, SPLIT, TRAIN, EVALUATE, PREDICT)}
"""The steps that make a partition, by name."""

PROMOTE = "promote"
"""The step that makes no partition: the gate over the registry (see :mod:`mlops_assets.assets.promotion`)."""

PROMOTE_READS = ("split",)
"""The assets whose partitions the gate reads."""


def step_of_asset(asset: str, source: str) -> Step:
    """The step that makes an asset's partitions under this ``source`` of raw data."""
    if asset == "raw_data":
        return REGISTER if source == "files" else GENERATE
    return next(step for step in STEPS.values() if step.asset == asset)


def days_come_from(asset: str) -> tuple[str, ...]:
    """The assets whose partition of a day an asset's partition of that day is made from, directly or not."""
    files = () if asset in ("raw_data", UNPARTITIONED) else step_of_asset(asset, "").inputs
    direct = tuple(dict.fromkeys(file.asset for file in files))
    return tuple(dict.fromkeys([*(further for one in direct for further in days_come_from(one)), *direct]))
