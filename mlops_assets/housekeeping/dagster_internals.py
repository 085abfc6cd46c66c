"""The parts of Dagster that are used and are not public. Checked with Dagster 1.13.27.

``tests/housekeeping/test_dagster_internals.py`` fails when one of them changes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.interrupts import pop_captured_interrupt
from dagster._utils.schedules import cron_string_iterator, get_latest_completed_cron_tick, is_valid_cron_string

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.scheduler.instigation import InstigatorTick

__all__ = [
    "AssetJob",
    "add_metadata",
    "delete_event_file",
    "failed_ticks",
    "is_switched_on",
    "is_valid_cron_string",
    "latest_cron_tick",
    "next_cron_tick",
    "runs_of_location",
    "was_interrupted",
]


def latest_cron_tick(cron: str, at: dt.datetime, zone: str) -> dt.datetime:
    """The last tick of the scheduler at or before an instant."""
    return get_latest_completed_cron_tick(cron, at, zone)


def next_cron_tick(cron: str, at: dt.datetime, zone: str) -> dt.datetime:
    """The first tick of the scheduler at or after an instant."""
    return next(tick for tick in cron_string_iterator(at.timestamp(), cron, zone) if tick >= at)


def is_switched_on(instance: dg.DagsterInstance, name: str, *, by_default: bool) -> bool:
    """Whether the schedule or sensor of that name is switched on; the default where it was never switched."""
    states = (one for one in instance.all_instigator_state() if one.instigator_name == name)
    return next((state.is_running for state in states), by_default)


def failed_ticks(instance: dg.DagsterInstance, after: float) -> Iterator[InstigatorTick]:
    """The failed ticks of all schedules and sensors that began after a time (seconds since 1970)."""
    for state in instance.all_instigator_state():
        yield from instance.get_ticks(
            state.instigator_origin_id, state.selector_id, after=after, statuses=[TickStatus.FAILURE]
        )


def add_metadata(context: dg.AssetExecutionContext, metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """``context.add_asset_metadata`` for many partitions of the step's asset; partition -> metadata.

    Each call of Dagster's own goes through all partitions of the run: twenty minutes for those of 57 years.
    """
    step = context.get_step_execution_context()
    found = dict(step._metadata_accumulator.per_output_metadata)  # noqa: SLF001
    for ds, one in metadata.items():
        found[AssetMetadataHandle(asset_key=context.asset_key, partition_key=ds)] = one
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata=found)  # noqa: SLF001


@contextmanager
def runs_of_location(instance: dg.DagsterInstance, name: str) -> Iterator[None]:
    """Runs that are created meanwhile belong to a code location: the UI's timeline shows no others.

    ``execute_in_process`` cannot say so itself. Without a name they belong to none.
    """
    if not name:
        yield
        return
    module = LoadableTargetOrigin(module_name="mlops_assets.definitions")
    location = ManagedGrpcPythonEnvCodeLocationOrigin(module, name)
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), IMPLICIT_ASSET_JOB_NAME)
    create = instance.create_run_for_job
    instance.create_run_for_job = partial(create, remote_job_origin=origin)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del instance.create_run_for_job  # that of the class again


def was_interrupted() -> bool:
    """Whether there was a Ctrl-C or SIGTERM since the last call that Dagster keeps until the next step begins."""
    return pop_captured_interrupt()


def delete_event_file(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete the file that SQLite storage has for each run; ``DagsterInstance.delete_run`` leaves it behind."""
    from dagster._core.storage.event_log import SqliteEventLogStorage  # SQLAlchemy: 0.2 s of every code server's start

    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        file = Path(storage.path_for_shard(run_id))
        for one in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
            one.unlink(missing_ok=True)
