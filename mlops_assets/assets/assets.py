"""The seven assets. Each body calls the shared materialization and returns its result."""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions as objects.
import warnings
from typing import Any, NamedTuple

import dagster as dg

from mlops_assets.assets.checks import check_specs
from mlops_assets.assets.materialization import Parts, materialize_partitions
from mlops_assets.assets.production_model import materialize_production_model
from mlops_assets.names import Names
from mlops_assets.steps.catalog import TRAINING_ASSETS, steps_of

OWNERS = ["team:data"]
DATA, TRAINING, SERVING = "data", "training", "serving"

_THE_ONLY_PIPELINE = Names()


class Assets(NamedTuple):
    """The asset graph, upstream first."""

    raw_data: dg.AssetsDefinition
    processed: dg.AssetsDefinition
    split: dg.AssetsDefinition
    model: dg.AssetsDefinition
    metrics: dg.AssetsDefinition
    production_model: dg.AssetsDefinition
    predictions: dg.AssetsDefinition


def build_assets(
    days: dg.DailyPartitionsDefinition,
    names: Names = _THE_ONLY_PIPELINE,
    retries: dg.RetryPolicy | None = None,
) -> Assets:
    """The assets of a pipeline over these days; failures that may pass by themselves are retried by the policy."""
    with warnings.catch_warnings():
        # backfill_policy and kinds are beta in Dagster 1.13; the lock file pins it.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _declare(days, names, retries)


def _declare(days: dg.DailyPartitionsDefinition, names: Names, retries: dg.RetryPolicy | None) -> Assets:
    def declared(name: str, group: str, kinds: set[str], deps: tuple[str, ...]) -> dict[str, Any]:
        """What the declarations of all assets have in common."""
        steps = steps_of(name, "files")
        return {
            "key": names.asset_key(name),
            "partitions_def": days,
            "backfill_policy": dg.BackfillPolicy.single_run(),
            "group_name": names.of(group),
            # One training at a time. Nothing that predictions need is in a pool: a run holds its pools until it ends.
            "pool": names.of("training") if name in TRAINING_ASSETS else None,
            "kinds": kinds,
            "deps": [names.asset_key(dep) for dep in deps],
            "owners": OWNERS,
            "retry_policy": retries,
            "check_specs": check_specs(name, names.asset_key(name)),
            "code_version": "-".join(step.version for step in steps),
        }

    @dg.asset(**declared("raw_data", DATA, {"csv"}, ()))
    def raw_data(context: dg.AssetExecutionContext, parts: dg.ResourceParam[Parts]) -> dg.MaterializeResult:
        """The data of a day: `raw/{ds}/data.csv` and `raw/{ds}/target.csv`, generated or delivered by others."""
        return materialize_partitions(context, parts)

    @dg.asset(**declared("processed", DATA, {"csv", "pyarrow"}, ("raw_data",)))
    def processed(context: dg.AssetExecutionContext, parts: dg.ResourceParam[Parts]) -> dg.MaterializeResult:
        """Data and target joined, checked, typed, without duplicates: `processed/{ds}/train_data.csv`."""
        return materialize_partitions(context, parts)

    @dg.asset(**declared("split", TRAINING, {"csv", "pyarrow"}, ("processed",)))
    def split(context: dg.AssetExecutionContext, parts: dg.ResourceParam[Parts]) -> dg.MaterializeResult:
        """Rows to train on and rows held out, by row hash: `split/{ds}/train.csv`, `split/{ds}/val.csv`."""
        return materialize_partitions(context, parts)

    @dg.asset(**declared("model", TRAINING, {"scikitlearn", "mlflow"}, ("split",)))
    def model(
        context: dg.AssetExecutionContext, parts: dg.ResourceParam[Parts], mlflow: dg.ResourceParam[Any]
    ) -> dg.MaterializeResult:
        """A scikit-learn pipeline with its preprocessing inside, logged and registered in MLflow."""
        return materialize_partitions(context, parts, before_recording=mlflow)

    @dg.asset(**declared("metrics", TRAINING, {"scikitlearn", "mlflow"}, ("split", "model")))
    def metrics(context: dg.AssetExecutionContext, parts: dg.ResourceParam[Parts]) -> dg.MaterializeResult:
        """The model's scores on the held-out rows: `models/{ds}/metrics.json`, and in the model's MLflow run."""
        return materialize_partitions(context, parts)

    @dg.asset(**declared("production_model", SERVING, {"mlflow"}, ("metrics",)))
    def production_model(context: dg.AssetExecutionContext, parts: dg.ResourceParam[Parts]) -> dg.MaterializeResult:
        """The version that serves a day: `production/{ds}/production.json`. After a training the gate judges first."""
        return materialize_production_model(context, parts)

    @dg.asset(**declared("predictions", SERVING, {"csv", "scikitlearn"}, ("raw_data", "production_model")))
    def predictions(context: dg.AssetExecutionContext, parts: dg.ResourceParam[Parts]) -> dg.MaterializeResult:
        """Every row of a day scored by the model in production: `predictions/{ds}/predictions.csv`."""
        return materialize_partitions(context, parts)

    return Assets(raw_data, processed, split, model, metrics, production_model, predictions)
