"""The seven assets. A body resolves the partitions, calls the backend and reports metadata."""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions as objects.
import warnings
from typing import Any, NamedTuple

import dagster as dg

from mlops_assets.assets.checks import check_specs
from mlops_assets.assets.materialization import materialize_partitions, materialize_promotion
from mlops_assets.backends.base import Backend
from mlops_assets.checks.raw_data_rules import DEFAULT_LIMITS, CheckLimits
from mlops_assets.steps.catalog import step_of_asset

OWNERS = ["team:data"]
DATA, TRAINING, SERVING = "data", "training", "serving"


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
    days: dg.DailyPartitionsDefinition, limits: CheckLimits = DEFAULT_LIMITS, retries: dg.RetryPolicy | None = None
) -> Assets:
    """The assets over these days, whose checks allow these limits; what can heal is tried again by the policy."""
    with warnings.catch_warnings():
        # backfill_policy and kinds are beta in Dagster 1.13; the lock file pins it.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _declare(days, limits, retries)


def _declare(days: dg.DailyPartitionsDefinition, limits: CheckLimits, retries: dg.RetryPolicy | None) -> Assets:
    def declared(name: str, group: str, kinds: set[str], deps: tuple[str, ...]) -> dict[str, Any]:
        """What the declarations of all partitioned assets have in common."""
        return {
            "partitions_def": days,
            "backfill_policy": dg.BackfillPolicy.single_run(),
            "group_name": group,
            "pool": name,  # dagster.yaml: one run at a time
            "kinds": kinds,
            "deps": list(deps),
            "owners": OWNERS,
            "retry_policy": retries,
            "check_specs": check_specs(name),
            "code_version": step_of_asset(name, "files").version,
            "tags": {"step": step_of_asset(name, "").name} if name != "raw_data" else {"step": "generate_or_register"},
        }

    @dg.asset(**declared("raw_data", DATA, {"csv"}, ()))
    def raw_data(context: dg.AssetExecutionContext, backend: dg.ResourceParam[Backend]) -> dg.MaterializeResult:
        """What arrived on a day: `raw/{ds}/data.csv` and `raw/{ds}/target.csv`, generated or delivered by others."""
        return materialize_partitions(context, backend, limits)

    @dg.asset(**declared("processed", DATA, {"csv", "pyarrow"}, ("raw_data",)))
    def processed(context: dg.AssetExecutionContext, backend: dg.ResourceParam[Backend]) -> dg.MaterializeResult:
        """Data and target joined, checked, typed, without duplicates: `processed/{ds}/train_data.csv`."""
        return materialize_partitions(context, backend, limits)

    @dg.asset(**declared("split", TRAINING, {"csv", "pyarrow"}, ("processed",)))
    def split(context: dg.AssetExecutionContext, backend: dg.ResourceParam[Backend]) -> dg.MaterializeResult:
        """Rows to train on and rows held out, by row hash: `split/{ds}/train.csv`, `split/{ds}/val.csv`."""
        return materialize_partitions(context, backend, limits)

    @dg.asset(**declared("model", TRAINING, {"scikitlearn", "mlflow"}, ("split",)))
    def model(
        context: dg.AssetExecutionContext, backend: dg.ResourceParam[Backend], mlflow: dg.ResourceParam[Any]
    ) -> dg.MaterializeResult:
        """A scikit-learn pipeline with its preprocessing inside, logged and registered in MLflow."""
        return materialize_partitions(context, backend, limits, parent_run_id=lambda: mlflow.active_run().info.run_id)

    @dg.asset(**declared("metrics", TRAINING, {"scikitlearn", "mlflow"}, ("split", "model")))
    def metrics(context: dg.AssetExecutionContext, backend: dg.ResourceParam[Backend]) -> dg.MaterializeResult:
        """The model's scores on the held-out rows: `models/{ds}/metrics.json`, and in the model's MLflow run."""
        return materialize_partitions(context, backend, limits)

    @dg.asset(
        group_name=SERVING,
        pool="production_model",
        kinds={"mlflow"},
        deps=["metrics"],
        owners=OWNERS,
        retry_policy=retries,
        tags={"step": "promote"},
    )
    def production_model(context: dg.AssetExecutionContext, backend: dg.ResourceParam[Backend]) -> dg.MaterializeResult:
        """The model in MLflow's stage Production. Each materialization is a decision of the gate."""
        return materialize_promotion(context, backend)

    @dg.asset(**declared("predictions", SERVING, {"csv", "scikitlearn"}, ("raw_data", "production_model")))
    def predictions(context: dg.AssetExecutionContext, backend: dg.ResourceParam[Backend]) -> dg.MaterializeResult:
        """Every row of a day scored by the model in production: `predictions/{ds}/predictions.csv`."""
        return materialize_partitions(context, backend, limits)

    return Assets(raw_data, processed, split, model, metrics, production_model, predictions)
