"""Executing assets from a command: one Dagster run in this process, with progress, on the shared instance."""

from __future__ import annotations

import logging
import signal
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import DagsterInstance

from mlops_assets.assets import failures
from mlops_assets.assets.failed_partitions import SKIPPED
from mlops_assets.assets.materialization import AS_OF_TAG, FORCE_TAG
from mlops_assets.assets.partitions import RANGE_END_TAG, RANGE_START_TAG
from mlops_assets.assets.resources import build_resources
from mlops_assets.backends.process_id import process_tag
from mlops_assets.cli.console import FAILED, STOPPED
from mlops_assets.cli.instance import code_location
from mlops_assets.housekeeping.dagster_internals import runs_of_location, was_interrupted
from mlops_assets.housekeeping.dead_runs import PROCESS_TAG
from mlops_assets.steps.catalog import ASSETS, STEPS

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend
    from mlops_assets.runtime.request import PartitionResult, Request
    from mlops_assets.wiring.pipeline import Pipeline

_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

_REPORTS = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}
INTERRUPTED, _RUN = failures.INTERRUPTED, "run"

OnResult = Callable[[str, str, str | None], None]
"""Called with asset, partition (or ``""``) and error after each day."""

OnEvent = Callable[[str, str, str], None]
"""Called with `PLANNING` or `RECORDING`, asset and partition."""

PLANNING, RECORDING = "planning", "recording"
"""What Dagster does with each day of each asset before the first step, and when its step is done.

On SQLite each takes milliseconds: minutes for a range of decades.
"""
_EVENTS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED: PLANNING,
    dg.DagsterEventType.ASSET_MATERIALIZATION: RECORDING,
}


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        run_id: Dagster's.
        success: Whether all steps succeeded.
        results: What each (asset, partition) reported that was made.
        up_to_date: How many (asset, partition) need not be made again.
        skipped: (asset, partition) -> why it was left as it was.
        failures: Step -> message; ``run`` for what happened outside of steps.
    """

    run_id: str
    success: bool
    results: Mapping[tuple[str, str], Mapping[str, Any]]
    up_to_date: int
    skipped: Mapping[tuple[str, str], str]
    failures: Mapping[str, str]

    @property
    def error(self) -> str:
        """What went wrong, for people."""
        return "\n".join(text if step == _RUN else f"{step}: {text}" for step, text in self.failures.items())

    @property
    def exit_code(self) -> int:
        """Of a command whose run did not succeed."""
        return STOPPED if INTERRUPTED in self.failures.values() else FAILED


class _Observed:
    """A backend that reports each result."""

    def __init__(self, backend: Backend, on_result: OnResult) -> None:
        self._backend, self._on_result = backend, on_result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def run(self, request: Request, context: dg.AssetExecutionContext | None = None) -> Generator[PartitionResult]:
        results = self._run(request, context)
        next(results)  # the step is at work
        return results  # type: ignore[return-value]  # from here on it gives results only

    def _run(self, request: Request, context: dg.AssetExecutionContext | None) -> Generator[PartitionResult | None]:
        asset = STEPS[request.step].asset
        with closing(self._backend.run(request, context)) as results:
            yield None
            for result in results:
                if asset in ASSETS:
                    self._on_result(asset, result.partition, result.error)
                yield result


def _plain(value: dg.MetadataValue[Any]) -> Any:
    """A value of Dagster's metadata as JSON has it."""
    if isinstance(value, dg.TableMetadataValue):
        return [dict(record.data) for record in value.records]
    return value.value


def run_assets(
    pipeline: Pipeline,
    instance: DagsterInstance,
    assets: Sequence[str],
    days: Sequence[str],
    on_result: OnResult,
    run_id: str | None = None,
    *,
    force: bool = False,
    as_of: bool = False,
    on_event: OnEvent = lambda _doing, _asset, _ds: None,
) -> RunOutcome:
    """Materialize assets for consecutive days in one run.

    Args:
        pipeline: Whose assets.
        instance: Where the run is recorded.
        assets: Names; only what is named is made.
        days: Consecutive partition keys, oldest first.
        on_result: Called after each day of each asset.
        run_id: Of the run, if the backend was prepared for one.
        force: Of several days, make also those that are up to date.
        as_of: Predict each day with a version that has not seen it.
        on_event: Called before and after each asset's day is made, too.
    """
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # an interruption while it closes a connection
    run_id = run_id or str(uuid.uuid4())
    instance.add_event_listener(run_id, partial(_listen, instance, on_event))
    logs = instance.compute_log_manager
    logs.capture_logs = partial(_captured, logs.capture_logs)  # type: ignore[method-assign]
    try:
        return _executed(pipeline, instance, assets, days, on_result, run_id, force=force, as_of=as_of)
    except KeyboardInterrupt:  # before the first step or after the last one
        return RunOutcome(run_id, False, {}, 0, {}, {_RUN: INTERRUPTED})
    finally:
        del logs.capture_logs
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_canceled(run)


def _listen(instance: DagsterInstance, on_event: OnEvent, entry: dg.EventLogEntry) -> None:
    """Pass on what Dagster does with a day; say that the run is cancelled before Dagster takes it for failed.

    Raises:
        KeyboardInterrupt: It was interrupted while it records what a step made, at which it does not look by itself.
    """
    event = entry.dagster_event
    if event is None:
        return
    if event.is_step_failure and failures.message_of_step(event) == INTERRUPTED:
        _cancel(instance, entry.run_id)
    elif event.event_type in _EVENTS and event.asset_key is not None:
        on_event(_EVENTS[event.event_type], event.asset_key.path[-1], event.partition or "")
        if was_interrupted():
            _cancel(instance, entry.run_id)
            raise KeyboardInterrupt


@contextmanager
def _captured(capture: Callable[..., AbstractContextManager[Any]], *given: Any) -> Iterator[Any]:
    """Capture a step's output by Dagster's helper processes, which do not die, with tracebacks, of a Ctrl-C for us.

    They inherit which signals are blocked when they are started.
    """
    with ExitStack() as stack:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            captured = stack.enter_context(capture(*given))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield captured


def _cancel(instance: DagsterInstance, run_id: str) -> None:
    run = instance.get_run_by_id(run_id)
    if run is not None:
        instance.report_run_canceling(run)


def _executed(
    pipeline: Pipeline,
    instance: DagsterInstance,
    assets: Sequence[str],
    days: Sequence[str],
    on_result: OnResult,
    run_id: str,
    *,
    force: bool,
    as_of: bool,
) -> RunOutcome:
    parts = replace(pipeline.parts, backend=_Observed(pipeline.backend, on_result))  # one by its attributes
    definitions = dg.Definitions(
        assets=[*pipeline.assets], resources=build_resources(parts), executor=dg.in_process_executor
    )
    tags = {
        **pipeline.names.tags,
        PROCESS_TAG: process_tag(),
        "dagster/max_retries": "0",  # only the command knows how to run again
        **({RANGE_START_TAG: days[0], RANGE_END_TAG: days[-1]} if len(days) > 1 else {}),
        **({FORCE_TAG: "true"} if force else {}),
        **({AS_OF_TAG: "true"} if as_of else {}),
    }
    with runs_of_location(instance, code_location()):
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            run_config=_SILENT,
            instance=instance,
            asset_selection=[pipeline.names.asset_key(name) for name in assets],
            partition_key=days[0] if len(days) == 1 else None,
            tags=tags,
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
        messages = {_RUN: failures.root_message(ends[-1].error if ends else None)}
    made: dict[tuple[str, str], dict[str, Any]] = {}
    skipped: dict[tuple[str, str], str] = {}
    # From the instance: the result lacks what a step reported that failed at its end.
    for entry in instance.all_logs(run_id, of_type=_REPORTS):
        event = entry.asset_materialization or entry.asset_observation
        assert event is not None  # noqa: S101  # these types have one
        facts = {name: _plain(value) for name, value in event.metadata.items()}
        key = event.asset_key.path[-1], event.partition or ""
        if entry.asset_materialization:
            made[key] = facts
        elif SKIPPED in facts:
            skipped[key] = facts[SKIPPED]
    known = [key for key, metadata in made.items() if "up_to_date" in metadata]
    results = {key: metadata for key, metadata in made.items() if key not in known}
    return RunOutcome(result.run_id, result.success, results, len(known), skipped, messages)
