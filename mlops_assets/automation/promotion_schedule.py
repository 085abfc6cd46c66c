"""The gate is asked after each training, and by a schedule about models that nobody has judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from mlops_assets.automation.config import PROMOTE, Cadence
from mlops_assets.steps.catalog import UNPARTITIONED

if TYPE_CHECKING:
    from mlops_assets.tracking.tracker import Tracking


CHALLENGER_TAG = "mlops_assets/challenger"
"""Run tag: the version that a run was started to judge."""

_DECISIONS = 100


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


@dataclass(frozen=True)
class Unjudged:
    """The newest model, if the gate has not looked at it.

    Attributes:
        version: Its number; None if there is nothing to decide.
        reason: Why there is nothing to decide.
    """

    version: int | None
    reason: str = ""


def unjudged(tracking: Tracking, instance: dg.DagsterInstance) -> Unjudged:
    """What the gate has to decide: nothing about a version twice, so that it never overrules a person."""
    newest = tracking.registry.latest()
    if newest is None:
        return Unjudged(None, f"No version of model {tracking.config.model_name!r} is registered.")
    records = instance.fetch_materializations(dg.AssetKey(UNPARTITIONED), limit=_DECISIONS).records
    decided = [one.asset_materialization.metadata for one in records if one.asset_materialization]
    if any(_number(one, "challenger_version") == newest.number for one in decided):
        return Unjudged(None, f"Version {newest.number} is the newest model and was judged already.")
    if any(
        _number(one, "to_version") == newest.number or _number(one, "from_version") == newest.number for one in decided
    ):
        return Unjudged(None, f"Version {newest.number} is the newest model, and a person has decided about it.")
    asked = instance.get_runs(dg.RunsFilter(tags={CHALLENGER_TAG: str(newest.number)}), limit=1)
    if asked:  # a refusal with nothing in production fails, and is no materialization
        return Unjudged(None, f"Run {asked[0].run_id[:8]} was started to judge version {newest.number}.")
    return Unjudged(newest.number)


def _number(metadata: Mapping[str, dg.MetadataValue], name: str) -> int | None:
    value = metadata.get(name)
    return None if value is None else int(str(value.value))
