"""All steps and what each reads and writes: the one place that says so."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from mlops_assets.steps.declaration import Days, File, Kind, Record, Step
from mlops_assets.store import layout


def _function(module: str, name: str) -> Callable[[], Any]:
    """A step's function, imported at first use: only training and prediction import scikit-learn."""
    return lambda: getattr(import_module(f"mlops_assets.steps.{module}"), name)


_DATA = File("raw_data", layout.DATA)
_TARGET = File("raw_data", layout.TARGET)
_TRAIN_DATA = File("processed", layout.TRAIN_DATA)
_VAL = File("split", layout.VAL)
_MODEL = File("model", layout.MODEL, Kind.MODEL)
_SCORES = File("scores", layout.SCORES)
_SERVING_MODEL = File("production_model", layout.MODEL, Kind.MODEL, in_recipe=False)

_TABLES = ("pyarrow.compute", "pyarrow.csv")
# While skops is imported it looks for each function of numpy and scipy.special in all modules that are loaded, in
# their order: a third of a second when these are the first, three when they come after four thousand others.
_MODELS = ("scipy.special", "skops.io", "sklearn.ensemble", *_TABLES)

_READING = ("steps.declaration", "store.tables")
_FEATURES = ("steps.features", "steps.row_hash", "steps.skops_io", *_READING)

GENERATE = Step(
    name="generate",
    asset="raw_data",
    function=_function("raw_data", "generate"),
    inputs=(),
    outputs=(_DATA, _TARGET),
    settings=("source", "seed", "rows_per_day", "start_date"),
    libraries=_TABLES,
    code=("steps.raw_data", "sources.generate", "sources.generate.classification", "sources.generate.samples",
          "sources.generate.transactions", *_READING),
)  # fmt: skip
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
    settings=("csv_delimiter", "id_column", "text_columns", "missing_values", "target_column"),
    libraries=_TABLES,
    code=(
        "steps.raw_data",
        "steps.duplicate_ids",
        "store.delivered",
        "store.mixed_columns",
        "store.csv_errors",
        *_READING,
    ),
)
PROCESS = Step(
    name="process",
    asset="processed",
    function=_function("process", "process"),
    inputs=(_DATA, _TARGET),
    outputs=(_TRAIN_DATA,),
    settings=("id_column", "target_column", "drop_columns"),
    libraries=_TABLES,
    code=("steps.process", "steps.raw_data", "steps.row_hash", *_READING),
)
SPLIT = Step(
    name="split",
    asset="split",
    function=_function("split", "split"),
    inputs=(_TRAIN_DATA,),
    outputs=(File("split", layout.TRAIN), _VAL),
    settings=("id_column", "target_column", "validation_share"),
    libraries=_TABLES,
    code=("steps.split", "steps.row_hash", *_READING),
)
TRAIN = Step(
    name="train",
    asset="model",
    function=_function("train", "train"),
    inputs=(File("split", layout.TRAIN, days=Days.WINDOW),),
    outputs=(_MODEL, File("model", layout.MODEL_DESCRIPTION, Kind.JSON)),
    settings=("id_column", "target_column", "estimator", "imputation", "seed", "train_window_days", "model_name"),
    libraries=_MODELS,
    code=("steps.train", "steps.model_description", *_FEATURES),
    records=Record.MODEL,
)
EVALUATE = Step(
    name="evaluate",
    asset="metrics",
    function=_function("evaluate", "evaluate"),
    inputs=(_VAL, _MODEL),
    outputs=(File("metrics", layout.METRICS, Kind.JSON),),
    settings=("target_column", "positive_label"),
    libraries=(*_MODELS, "sklearn.metrics"),
    code=("steps.evaluate", "steps.judging", *_FEATURES),
    records=Record.METRICS,
)
SCORE = Step(
    name="score",
    asset="scores",
    function=_function("score", "score"),
    inputs=(File("split", layout.VAL, days=Days.REQUESTED), File("production_model", layout.MODEL, Kind.MODEL)),
    outputs=(_SCORES,),
    settings=("target_column",),
    libraries=_MODELS,
    code=("steps.score", *_FEATURES),
)
GATE = Step(
    name="gate",
    asset="verdict",
    function=_function("gate", "gate"),
    inputs=(File("scores", layout.SCORES, days=Days.REQUESTED),),
    outputs=(File("verdict", layout.VERDICT, Kind.JSON),),
    settings=("gate_metric", "gate_min_score", "gate_confidence", "gate_samples", "positive_label", "seed"),
    libraries=_TABLES,
    code=("steps.gate", "steps.advantage", "steps.judging", *_READING),
)
PREDICT = Step(
    name="predict",
    asset="predictions",
    function=_function("predict", "predict"),
    inputs=(File("raw_data", layout.DATA, Kind.STREAM), _SERVING_MODEL),
    outputs=(File("predictions", layout.PREDICTIONS, Kind.STREAM),),
    settings=("id_column",),
    libraries=_MODELS,
    code=("steps.predict", *_FEATURES),
)

ASSETS = ("raw_data", "processed", "split", "model", "metrics", "production_model", "predictions")
"""All assets, upstream first."""

TRAINING_ASSETS = ("processed", "split", "model", "metrics")
"""Those that end in a judgement."""

STEPS = {step.name: step for step in (GENERATE, REGISTER, PROCESS, SPLIT, TRAIN, EVALUATE, SCORE, GATE, PREDICT)}
"""All steps by name."""

_OF_ASSET = {step.asset: step for step in STEPS.values() if step not in (GENERATE, REGISTER)}


def steps_of(asset: str, source: str) -> tuple[Step, ...]:
    """The steps that an asset runs under this ``source`` of raw data, in their order."""
    if asset == "raw_data":
        return (REGISTER if source == "files" else GENERATE,)
    return (SCORE, GATE) if asset == "production_model" else (_OF_ASSET[asset],)


def step_of_asset(asset: str, source: str) -> Step:
    """The step that makes an asset's partitions under this ``source`` of raw data; see :func:`steps_of`."""
    return steps_of(asset, source)[0]


def days_come_from(asset: str) -> tuple[str, ...]:
    """The assets whose partition of a day an asset's partition of that day is made from, directly or not.

    What serves a day does not depend on what was trained on it.
    """
    if asset in ("raw_data", "production_model"):
        return ()
    direct = tuple(dict.fromkeys(file.asset for file in step_of_asset(asset, "").inputs if file.in_recipe))
    return tuple(dict.fromkeys([*(further for one in direct for further in days_come_from(one)), *direct]))
