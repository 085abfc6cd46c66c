"""The resources: the parts that the assets work with, and the MLflow run of a Dagster run (dagster-mlflow).

They are built from plain objects, not from run configuration: a tracking URI may hold a password, and run configuration
is stored and shown.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.failures import MLFLOW_RUN_URL_TAG
from mlops_assets.housekeeping.dead_runs import is_over, tag_process
from mlops_assets.tracking.global_state import end_active_run, fluent_state_restored

if TYPE_CHECKING:
    from mlops_assets.assets.materialization import Parts
    from mlops_assets.tracking.tracker import Tracking


def build_resources(parts: Parts) -> dict[str, Any]:
    """All resources that the assets need."""
    return {"parts": parts_resource(parts), "mlflow": mlflow_run_resource(parts.tracking)}


def parts_resource(parts: Parts) -> dg.ResourceDefinition:
    """The parts, which all assets need: so a run says which process executes it before its first step begins."""

    @dg.resource(description="Where the steps run, MLflow, and which model serves.")
    def in_tagged_run(context: dg.InitResourceContext) -> Parts:
        tag_process(context)
        return parts

    return in_tagged_run


def mlflow_run_resource(tracking: Tracking) -> dg.ResourceDefinition:
    """``dagster_mlflow.mlflow_tracking``: one MLflow run for a Dagster run that trains, in an experiment of its own.

    The resource is a function that starts the run at its first call, with the tags to set: importing MLflow takes
    seconds, and steps before training need not wait for it. The run is ended whatever way the Dagster run ends, and
    runs that a killed process left open are, too.
    """

    @dg.resource(description="The MLflow run of this Dagster run.")
    def mlflow(context: dg.InitResourceContext) -> Iterator[Callable[[], Any]]:
        with _ended(context, tracking) as start:
            yield start

    return mlflow


@contextmanager
def _ended(context: dg.InitResourceContext, tracking: Tracking) -> Iterator[Callable[[], Any]]:
    instance, run, stack = context.instance, context.run, ExitStack()
    assert instance is not None  # noqa: S101  # a run always has one
    assert run is not None  # noqa: S101  # likewise

    @cache
    def start() -> Any:
        stack.enter_context(fluent_state_restored())
        with _quiet(), tracking.errors("start the run of the Dagster run"):
            from dagster_mlflow import mlflow_tracking

            # Made here, with the place of their artifacts: dagster-mlflow would make the second without, and report it.
            for experiment in (tracking.config.experiment, tracking.config.runs_experiment):
                tracking.experiment_id(experiment)
            config: dict[str, Any] = {
                "experiment_name": tracking.config.runs_experiment,
                "mlflow_tracking_uri": tracking.config.uri,
                "parent_run_id": None, "mlflow_run_id": None, "env": {}, "env_to_tag": None, "extra_tags": {},
            }  # fmt: skip
            parent = next(mlflow_tracking.resource_fn(context.replace_config(config)))  # type: ignore[call-arg]
            if tracking.config.ui_base:
                info = parent.active_run().info
                url = f"{tracking.config.ui_base}/#/experiments/{info.experiment_id}/runs/{info.run_id}"
                instance.add_run_tags(run.run_id, {MLFLOW_RUN_URL_TAG: url})
            return parent

    try:
        yield start
    finally:
        with stack:
            if start.cache_info().currsize:
                with tracking.errors("end the run of the Dagster run"):
                    end_active_run(_final_status(context))
                tracking.close_runs(lambda run_id: run_id == run.run_id or is_over(instance, run_id))


@contextmanager
def _quiet() -> Iterator[None]:
    """All of dagster-mlflow is beta and calls deprecated parts of Dagster; the lock file pins both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _final_status(context: dg.InitResourceContext) -> str:
    instance, run = context.instance, context.run
    assert instance is not None  # noqa: S101  # a run always has one
    assert run is not None  # noqa: S101  # likewise
    current = instance.get_run_by_id(run.run_id)
    if current is not None and current.status in {dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED}:
        return "KILLED"
    failures = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1).records
    return "FAILED" if failures else "FINISHED"
