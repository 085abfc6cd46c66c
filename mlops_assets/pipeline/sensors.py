"""Sensors that keep house. When data are ready is not their concern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.pipeline.resources import is_over

if TYPE_CHECKING:
    from mlops_assets.tracking.tracker import Tracking


def build_sensors(tracking: Tracking) -> list[dg.SensorDefinition]:
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
