"""The sensor that cleans up after killed runs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.housekeeping.cleanup import clean_up, close_mlflow_runs

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend
    from mlops_assets.names import Names
    from mlops_assets.tracking.tracker import Tracking

INTERVAL_SECONDS = 60
_OVERLAP = dt.timedelta(seconds=INTERVAL_SECONDS)
"""A run's time is taken before it is written."""


def build_cleanup_sensor(names: Names, tracking: Tracking, backend: Backend) -> dg.SensorDefinition:
    """The sensor ``cleanup``."""

    @dg.sensor(
        name=names.of("cleanup"),
        description="Fails runs whose process was killed; removes the containers and ends the MLflow runs that they"
        " left behind.",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def cleanup(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = dt.datetime.now(dt.timezone.utc)
        since = dt.datetime.fromisoformat(context.cursor) - _OVERLAP if context.cursor else None
        origin = context.code_location_origin
        done = clean_up(context.instance, backend, origin.location_name if origin else None)
        done += close_mlflow_runs(context.instance, tracking, since)
        context.update_cursor(now.isoformat())  # not reached when MLflow is away: asked again at the next look
        return dg.SkipReason("Removed " + "; ".join(done) if done else "Nothing was left behind.")

    return cleanup
