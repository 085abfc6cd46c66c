"""All Dagster definitions from their parts; tests pass other parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.pipeline.alerting import build_alert_sensors
from mlops_assets.pipeline.assets import build_assets
from mlops_assets.pipeline.resources import build_resources
from mlops_assets.pipeline.sensors import build_sensors

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend
    from mlops_assets.pipeline.alerting import Alerting
    from mlops_assets.tracking.tracker import Tracking


def assemble(
    days: dg.DailyPartitionsDefinition, backend: Backend, tracking: Tracking, *, alerting: Alerting | None = None
) -> dg.Definitions:
    """The code location."""
    return dg.Definitions(
        assets=[*build_assets(days)],
        resources=build_resources(backend, tracking),
        sensors=[*build_sensors(tracking, backend), *build_alert_sensors(alerting)],
        # One process a run: interpreters and heavy imports start once for all steps and days.
        executor=dg.in_process_executor,
    )
