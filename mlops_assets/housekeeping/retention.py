"""How long Dagster's records stay: runs that were superseded, and compute logs.

MLflow's runs and models, and the data root, are not touched. Ticks: see ``retention`` in ``dagster.yaml``.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.housekeeping.config import Retention
from mlops_assets.housekeeping.dagster_internals import delete_event_file
from mlops_assets.housekeeping.dead_runs import PROCESS_TAG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_assets.names import Names

BATCH = 100
"""Runs that a tick looks at."""

INTERVAL_SECONDS = 3_600
_PROMOTION_LOG = {"judged", "promoted"}
"""Metadata of the materializations of ``production_model`` that are never deleted: each verdict of the gate."""

_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Outdated:
    """What can be deleted.

    Attributes:
        runs: Ids of the runs to delete, with events and logs.
        logs: Ids of the runs that stay, but without their compute logs.
    """

    runs: list[str]
    logs: list[str]


def outdated(ages: Mapping[str, float], holders: Collection[str], retention: Retention) -> Outdated:
    """Decide.

    Args:
        ages: Run id -> days since it was made; of runs that are over.
        holders: The runs whose events must stay.
        retention: How long things stay.
    """
    runs = [run_id for run_id, age in ages.items() if age >= retention.runs and run_id not in holders]
    logs = [run_id for run_id, age in ages.items() if age >= retention.logs and run_id not in runs]
    return Outdated(runs, logs)


def delete_outdated(
    instance: dg.DagsterInstance,
    retention: Retention,
    names: Names,
    now: dt.datetime,
    cursor: str | None = None,
    batch: int = BATCH,
    location: str | None = None,
) -> tuple[Outdated, str | None]:
    """Delete what is outdated among the next runs, oldest first.

    Args:
        instance: Where the runs are.
        retention: How long things stay.
        names: Of the pipeline.
        now: The time.
        cursor: From the call before.
        batch: How many runs to look at.
        location: The code location whose runs are meant, beside those of the pipeline's commands.

    Returns:
        What was deleted, and the cursor for the next call; None: begin again with the oldest run.
    """
    before = now - dt.timedelta(days=min(retention.runs, retention.logs))
    old = dg.RunsFilter(statuses=_OVER, created_before=before)
    records = instance.get_run_records(old, limit=batch, ascending=True, cursor=cursor)
    ours = [one for one in records if _is_of(one.dagster_run, names, location)]
    ages = {one.dagster_run.run_id: (now - one.create_timestamp) / dt.timedelta(days=1) for one in ours}
    candidates = [run_id for run_id, age in ages.items() if age >= retention.runs]
    found = outdated(ages, _holders(instance, candidates), retention)
    for run_id in found.logs:
        instance.compute_log_manager.delete_logs(prefix=[run_id, "compute_logs"])
    for run_id in found.runs:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
        delete_event_file(instance, run_id)
    if len(records) < batch:
        return found, None
    # A run that was deleted cannot be a cursor.
    ids = [one.dagster_run.run_id for one in records]
    return found, next((run_id for run_id in reversed(ids) if run_id not in found.runs), cursor)


def _is_of(run: dg.DagsterRun, names: Names, location: str | None) -> bool:
    if run.remote_job_origin is None:  # of a command that could not know its code location
        return PROCESS_TAG in run.tags and names.owns(run)
    return run.remote_job_origin.location_name == location


def build_retention_sensor(names: Names, retention: Retention) -> dg.SensorDefinition:
    """The sensor ``retention``, which looks at some runs an hour."""

    @dg.sensor(
        name=names.of("retention"),
        description=f"Deletes runs that are over and superseded after {retention.runs} days, and compute logs after"
        f" {retention.logs} days.",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def retention_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = dt.datetime.now(dt.timezone.utc)
        origin = context.code_location_origin
        location = origin.location_name if origin else None
        found, cursor = delete_outdated(
            context.instance, retention, names, now, context.cursor or None, location=location
        )
        context.update_cursor(cursor or "")
        return dg.SkipReason(f"Deleted {len(found.runs)} runs, and the compute logs of {len(found.logs)} others.")

    return retention_sensor


def _holders(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> set[str]:
    """The runs that made the latest materialization of a partition, or a verdict of the gate."""
    holders: set[str] = set()
    made: defaultdict[dg.AssetKey, set[str]] = defaultdict(set)
    for run_id in run_ids:
        events = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
        for event in events:
            metadata = event.asset_materialization.metadata if event.asset_materialization else {}
            if _PROMOTION_LOG & metadata.keys() or event.partition_key is None:
                holders.add(run_id)
            elif event.asset_key is not None:
                made[event.asset_key].add(event.partition_key)
    for asset, partitions in made.items():
        holders |= _makers_of_latest(instance, asset, partitions)
    return holders


def _makers_of_latest(instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: set[str]) -> set[str]:
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(asset, kind, partitions)
    if not latest:
        return set()
    of_latest = dg.AssetRecordsFilter(asset, storage_ids=list(latest.values()))
    return {record.run_id for record in instance.fetch_materializations(of_latest, limit=len(latest)).records}
