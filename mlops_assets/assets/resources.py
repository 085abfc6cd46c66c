"""The resources: the backend that runs the steps, and the MLflow run of a Dagster run (dagster-mlflow).

Both are plain objects or built from them, not from run configuration: a tracking URI may hold a password, and run
configuration is stored and shown.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.failures import MLFLOW_RUN_URL_TAG
from mlops_assets.housekeeping.dead_runs import is_over, tag_process
from mlops_assets.tracking.global_state import end_active_run, fluent_state_restored

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend
    from mlops_assets.tracking.tracker import Tracking


def build_resources(backend: Backend, tracking: Tracking) -> dict[str, Any]:
    """All resources that the assets need."""
    return {"backend": backend_resource(backend), "mlflow": mlflow_run_resource(tracking)}


def backend_resource(backend: Backend) -> dg.ResourceDefinition:
    """The backend, which all assets need: so a run says which process executes it before its first step begins."""

    @dg.resource(description="Where the steps run.")
    def in_tagged_run(context: dg.InitResourceContext) -> Backend:
        tag_process(context)
        return backend

    return in_tagged_run


def mlflow_run_resource(tracking: Tracking) -> dg.ResourceDefinition:
    """``dagster_mlflow.mlflow_tracking``: one MLflow run for a Dagster run, under which the runs of its models lie.

    It adds what the library leaves open: the run is started when it is used (importing MLflow takes seconds, and other
    steps need not wait for it, nor fail with it); it is always ended, whatever way the Dagster run ends; runs that a
    killed process left open are ended; MLflow's global tracking URI is put back.
    """

    @dg.resource(description="The MLflow run of this Dagster run.")
    def mlflow(context: dg.InitResourceContext) -> Iterator[Any]:
        with ExitStack() as stack:
            yield _StartedWhenUsed(lambda: stack.enter_context(_mlflow_run(context, tracking)))

    return mlflow


class _StartedWhenUsed:
    """Stands for the library's resource until somebody asks it for something."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start

    @cached_property
    def _run(self) -> Any:
        return self._start()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)


@contextmanager
def _mlflow_run(context: dg.InitResourceContext, tracking: Tracking) -> Iterator[Any]:
    instance = context.instance
    assert instance is not None  # noqa: S101  # a run always has one
    tracking.close_runs(lambda run_id: is_over(instance, run_id))
    with _quiet():
        from dagster_mlflow import mlflow_tracking
    config: dict[str, Any] = {
        "experiment_name": tracking.config.experiment,
        "mlflow_tracking_uri": tracking.config.uri,
        "parent_run_id": None,
        "mlflow_run_id": None,
        "env": {},
        "env_to_tag": None,
        "extra_tags": {},
    }
    with fluent_state_restored():
        try:
            with _quiet(), tracking.errors("start the run of the Dagster run"):
                run = next(mlflow_tracking.resource_fn(context.replace_config(config)))  # type: ignore[call-arg]
                if url := tracking.run_url(run.active_run().info.run_id):
                    instance.add_run_tags(str(context.run_id), {MLFLOW_RUN_URL_TAG: url})
            yield run
        finally:
            with tracking.errors("end the run of the Dagster run"):
                end_active_run(_final_status(context))
            # A worker that was killed could not end its model's run.
            tracking.close_runs(lambda run_id: run_id == context.run_id)


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
