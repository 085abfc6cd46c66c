"""Executing assets from a command: one Dagster run in this process, with progress, on the shared instance."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import AssetKey, DagsterInstance

from mlops_assets.assets import failures
from mlops_assets.assets.materialization import FORCE_TAG
from mlops_assets.assets.partitions import RANGE_END_TAG, RANGE_START_TAG, daily_partitions
from mlops_assets.backends.process_id import process_tag
from mlops_assets.housekeeping.dead_runs import PROCESS_TAG
from mlops_assets.steps.catalog import UNPARTITIONED
from mlops_assets.wiring.assembly import build_tracking
from mlops_assets.wiring.build import assemble

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend
    from mlops_assets.runtime.runner import PartitionResult, RunInfo
    from mlops_assets.settings import Settings

_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

INTERRUPTED = failures.INTERRUPTED

OnResult = Callable[[str, str, str | None], None]
"""Called with asset, partition (or ``""``) and error after each day."""


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        run_id: Dagster's.
        success: Whether all steps succeeded.
        results: What each (asset, partition) reported that was made; the partition of an unpartitioned asset is ``""``.
        up_to_date: How many (asset, partition) need not be made again.
        failures: Asset -> message.
    """

    run_id: str
    success: bool
    results: Mapping[tuple[str, str], Mapping[str, Any]]
    up_to_date: int
    failures: Mapping[str, str]


class _Observed:
    """A backend that tells about each result."""

    def __init__(self, backend: Backend, on_result: OnResult) -> None:
        self._backend, self._on_result = backend, on_result
        self.runs_elsewhere, self.store, self.params = backend.runs_elsewhere, backend.store, backend.params
        self.results: dict[tuple[str, str], Mapping[str, Any]] = {}

    def materialize(
        self, asset: str, partitions: Sequence[str], run: RunInfo, context: dg.AssetExecutionContext | None = None
    ) -> Generator[PartitionResult]:
        with closing(self._backend.materialize(asset, partitions, run, context)) as results:
            for result in results:
                if not result.error:
                    self.results[asset, result.partition] = result.metadata
                self._on_result(asset, result.partition, result.error)
                yield result

    def prepare(self, assets: Sequence[str], partitions: Sequence[str], run_id: str = "") -> None:
        self._backend.prepare(assets, partitions, run_id)

    def sweep(self, is_over: Callable[[str], bool]) -> list[str]:
        return self._backend.sweep(is_over)

    def close(self) -> None:
        self._backend.close()

    def promote(self, run: RunInfo, context: dg.AssetExecutionContext | None = None) -> Mapping[str, Any]:
        metadata = self._backend.promote(run, context)
        self.results[UNPARTITIONED, ""] = metadata
        self._on_result(UNPARTITIONED, "", None)
        return metadata


def run_assets(
    settings: Settings,
    backend: Backend,
    instance: DagsterInstance,
    assets: Sequence[str],
    days: Sequence[str],
    on_result: OnResult,
    run_id: str | None = None,
    *,
    force: bool = False,
) -> RunOutcome:
    """Materialize assets for consecutive days in one run.

    Args:
        settings: Of the whole system.
        backend: Where steps run.
        instance: Where the run is recorded.
        assets: Names; only what is named is made.
        days: Consecutive partition keys, oldest first; may be empty if only the unpartitioned asset is named.
        on_result: Called after each day of each asset.
        run_id: Of the run, if the backend was prepared for one.
        force: Of several days, make also those that are up to date.
    """
    for one in (signal.SIGINT, signal.SIGTERM):  # both end the run properly, also where the shell had SIGINT ignored
        signal.signal(one, signal.default_int_handler)
    observed = _Observed(backend, on_result)
    definitions = assemble(
        daily_partitions(settings.start_date, settings.timezone),
        observed,
        build_tracking(settings),
        limits=settings.check_limits(),
    )
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        run_config=_SILENT,
        instance=instance,
        asset_selection=[AssetKey(name) for name in assets],
        partition_key=days[0] if len(days) == 1 else None,
        tags={
            PROCESS_TAG: process_tag(),
            "dagster/max_retries": "0",  # only the command knows how to run again
            **({RANGE_START_TAG: days[0], RANGE_END_TAG: days[-1]} if len(days) > 1 else {}),
            **({FORCE_TAG: "true"} if force else {}),
        },
        raise_on_error=False,
        run_id=run_id,
    )
    messages = {
        str(event.step_key): failures.message_of_step(event)
        for event in result.all_node_events
        if event.is_step_failure
    }
    if not result.success and not messages:  # a resource could not be made, say
        ends = [event.job_failure_data for event in result.all_events if event.is_job_failure]
        messages = {"run": failures.root_message(ends[-1].error if ends else None)}
    events = result.filter_events(lambda event: event.is_step_materialization)
    known = sum("up_to_date" in event.step_materialization_data.materialization.metadata for event in events)
    return RunOutcome(result.run_id, result.success, observed.results, known, messages)
