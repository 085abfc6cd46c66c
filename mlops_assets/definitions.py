"""The code location that ``workspace.yaml`` names."""

from __future__ import annotations

import dagster as dg

from mlops_assets.assembly import build_backend, build_tracking
from mlops_assets.pipeline.build import assemble
from mlops_assets.pipeline.partitions import daily_partitions
from mlops_assets.settings import Settings


def build_definitions(settings: Settings | None = None) -> dg.Definitions:
    """All definitions, from these settings or those of the environment."""
    settings = settings or Settings()
    days = daily_partitions(settings.start_date, settings.timezone)
    return assemble(days, build_backend(settings), build_tracking(settings), settings.check_limits())


defs = build_definitions()
