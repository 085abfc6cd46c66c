"""The code location that ``workspace.yaml`` names."""

from __future__ import annotations

import dagster as dg

from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.housekeeping.retention import Retention
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_alerting, build_backend, build_launcher, build_tracking
from mlops_assets.wiring.build import assemble


def build_definitions(settings: Settings | None = None) -> dg.Definitions:
    """All definitions, from these settings or those of the environment."""
    settings = settings or Settings()
    days = daily_partitions(settings.start_date, settings.timezone)
    tracking = build_tracking(settings)
    launcher = build_launcher(settings, tracking)
    return assemble(
        days,
        build_backend(settings),
        tracking,
        limits=settings.check_limits(),
        launcher=launcher,
        retention=Retention(
            # A failed run keeps its day from being started again as long as the day is within reach.
            runs=max(settings.keep_runs_days, settings.catchup_days + 1),
            logs=settings.keep_logs_days,
        ),
        alerting=build_alerting(settings, launcher),
    )


defs = build_definitions()
