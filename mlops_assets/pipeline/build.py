"""All Dagster definitions from their parts; tests pass other parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.pipeline.assets import build_assets
from mlops_assets.pipeline.checks import production_check
from mlops_assets.pipeline.resources import build_resources
from mlops_assets.pipeline.sensors import build_sensors
from mlops_assets.steps.check_rules import DEFAULT_LIMITS

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend
    from mlops_assets.steps.check_rules import CheckLimits
    from mlops_assets.tracking.tracker import Tracking


def assemble(
    days: dg.DailyPartitionsDefinition, backend: Backend, tracking: Tracking, limits: CheckLimits = DEFAULT_LIMITS
) -> dg.Definitions:
    """The code location."""
    return dg.Definitions(
        assets=[*build_assets(days, limits)],
        asset_checks=[production_check(tracking)],
        resources=build_resources(backend, tracking),
        sensors=build_sensors(tracking, backend),
        # One process a run: interpreters and heavy imports start once for all steps and days.
        executor=dg.in_process_executor,
    )
