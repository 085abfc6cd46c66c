"""Sensors that keep house. When data are ready is not their concern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.housekeeping.cleanup import sweep
from mlops_assets.housekeeping.dead_runs import is_over

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend
    from mlops_assets.tracking.tracker import Tracking


SWEEP_SECONDS = 30


def build_sensors(tracking: Tracking, backend: Backend) -> list[dg.SensorDefinition]:
    """All sensors."""
    return [*_mlflow_sensors(tracking), _sweeping_sensor(backend)]


def _sweeping_sensor(backend: Backend) -> dg.SensorDefinition:
    @dg.sensor(
        name="sweep",
        description="Fails runs whose process was killed, and removes what they left at work elsewhere (containers).",
        minimum_interval_seconds=SWEEP_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sweep_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        origin = context.code_location_origin
        done = sweep(context.instance, backend, origin.location_name if origin else None)
        return dg.SkipReason("Removed " + "; ".join(done) if done else "Nothing was left behind.")

    return sweep_sensor


def _mlflow_sensors(tracking: Tracking) -> list[dg.SensorDefinition]:
    """Sensors that end the MLflow runs of Dagster runs that failed or were cancelled without ending them."""

    def ending(status: dg.DagsterRunStatus) -> dg.SensorDefinition:
        @dg.run_status_sensor(
            run_status=status,
            name=f"end_mlflow_runs_after_{status.value.lower()}",
            description="Ends MLflow runs that a killed process left RUNNING.",
            default_status=dg.DefaultSensorStatus.RUNNING,
        )
        def end_mlflow_runs(context: dg.RunStatusSensorContext) -> None:
            closed = tracking.close_runs(lambda run_id: is_over(context.instance, run_id))
            if closed:
                context.log.info(f"ended MLflow runs {', '.join(closed)}")

        return end_mlflow_runs

    return [ending(dg.DagsterRunStatus.FAILURE), ending(dg.DagsterRunStatus.CANCELED)]
