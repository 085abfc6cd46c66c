"""The parts of Dagster that are used and are not public. Checked with Dagster 1.13.27.

``tests/housekeeping/test_dagster_internals.py`` fails when one of them changes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob
from dagster._core.scheduler.instigation import TickStatus
from dagster._utils.schedules import cron_string_iterator, get_latest_completed_cron_tick, is_valid_cron_string

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.scheduler.instigation import InstigatorTick

__all__ = [
    "AssetJob",
    "delete_event_file",
    "failed_ticks",
    "is_switched_on",
    "is_valid_cron_string",
    "latest_cron_tick",
    "next_cron_tick",
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


def delete_event_file(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete the file that SQLite storage has for each run; ``DagsterInstance.delete_run`` leaves it behind."""
    from dagster._core.storage.event_log import SqliteEventLogStorage  # SQLAlchemy: 0.2 s of every code server's start

    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        file = Path(storage.path_for_shard(run_id))
        for one in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
            one.unlink(missing_ok=True)
