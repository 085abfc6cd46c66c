"""The gate is asked after each training, and by a schedule about models that nobody has judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from mlops_assets.cadence.rules import PROMOTE, Cadence
from mlops_assets.steps.catalog import UNPARTITIONED

if TYPE_CHECKING:
    from mlops_assets.tracking.tracker import Tracking


def build_promotion_sensor(
    cadence: Cadence, train: UnresolvedAssetJobDefinition, promote: UnresolvedAssetJobDefinition
) -> dg.SensorDefinition:
    """Starts ``promote`` for each training that has succeeded."""

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="promote_after_training",
        description="Asks the gate about a model that has just been trained.",
        monitored_jobs=[train],
        request_job=promote,
        minimum_interval_seconds=cadence.sensor_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if cadence.automate else dg.DefaultSensorStatus.STOPPED,
    )
    def promote_after_training(context: dg.RunStatusSensorContext) -> dg.RunRequest:
        return dg.RunRequest(run_key=f"{PROMOTE}/{context.dagster_run.run_id}")

    return promote_after_training


def nothing_to_judge(tracking: Tracking) -> Callable[[dg.DagsterInstance], str | None]:
    """Why the gate has nothing to decide; the function gives None where it has."""

    def reason(instance: dg.DagsterInstance) -> str | None:
        newest = tracking.registry.latest()
        if newest is None:
            return f"No version of model {tracking.config.model_name!r} is registered."
        event = instance.get_latest_materialization_event(dg.AssetKey(UNPARTITIONED))
        decided = event.asset_materialization.metadata if event and event.asset_materialization else {}
        judged = decided.get("challenger_version")
        if judged is not None and int(str(judged.value)) >= newest.number:
            return f"Version {newest.number} is the newest model and was judged already."
        return None

    return reason
