"""Partitions that a run could not make: later steps leave them out, and the run fails at its end.

Dagster knows steps that fail and steps that succeed. A step that failed for one day of many would end the other days,
too, and one that failed in training would end the predictions. So such a step succeeds for the days that it made and
records the others as observations of the asset, where the UI shows them; the last step of the run fails and names them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.tags import EXTERNALLY_MANAGED_ASSETS_TAG

from mlops_assets.steps.catalog import ASSETS, days_come_from

ERROR = "error"
"""Metadata of an observation: why the partition could not be made."""

SKIPPED = "skipped"
"""Metadata of an observation: why the partition was left as it was, which is no failure."""

_DAYS_NAMED = 10
_ALIKE = 80
"""Messages that begin alike are shown once: a check that stops a day stops all that is made of it."""

_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_SKIPPED,
}


@dataclass(frozen=True)
class FailedPartitions:
    """What a run could not make.

    Attributes:
        days: Asset -> day -> message.
    """

    days: Mapping[str, Mapping[str, str]]

    def before(self, asset: str) -> set[str]:
        """The days that an asset cannot have, because something that it is made from failed."""
        return {ds for upstream in days_come_from(asset) for ds in self.days.get(upstream, {})}

    def failure(self, of: int, made: Collection[str]) -> dg.Failure:
        """Dagster's failure, which names each failed day once, with the reasons.

        Args:
            of: The run's number of days.
            made: The days that the failing step has made: what failed in training is predicted all the same.
        """
        reasons: dict[str, dict[str, tuple[str, list[str]]]] = {}  # day -> how a message begins -> message, assets
        for asset in ASSETS:
            for ds, message in self.days.get(asset, {}).items():
                same = reasons.setdefault(ds, {}).setdefault(message[:_ALIKE], (message, []))
                same[1].append(asset)
        lines = [
            f"{ds} " + "; ".join(f"({', '.join(assets)}): {message}" for message, assets in reasons[ds].values())
            for ds in sorted(reasons)
        ]
        more = f"\n… and {len(lines) - _DAYS_NAMED} more" if len(lines) > _DAYS_NAMED else ""
        shown = "\n".join(lines[:_DAYS_NAMED])
        again = "\nFix what failed, then re-execute all steps in the UI, or give the command again."
        again += " Finished days are skipped." if of > 1 else ""
        what = f"{len(lines)} of {of} days failed"
        if not reasons.keys().isdisjoint(made):
            where = "earlier steps" if reasons.keys() <= {*made} else "this or earlier steps"
            what = f"{len(made)} of {of} days were made, but {len(lines)} of {of} failed in {where}"
        text = f"{what}:\n{shown}{more}{again}"
        return dg.Failure(text, allow_retries=False)  # a retry cannot help: the input stays the same


def failed_partitions(context: dg.AssetExecutionContext) -> FailedPartitions:
    """What this run could not make so far; with what the runs that it repeats could not make in steps that stay."""
    found = {asset: dict(days) for asset, days in _recorded(context, context.run.run_id)}
    run: dg.DagsterRun | None = context.run
    repeated: set[str] = set()  # by this run or one between it and the one that is looked at
    while run is not None and run.step_keys_to_execute is not None and run.parent_run_id:
        repeated |= {key.split("__")[-1] for key in run.step_keys_to_execute}
        for asset, days in _recorded(context, run.parent_run_id):
            if asset not in repeated:
                found.setdefault(asset, days)
        run = context.instance.get_run_by_id(run.parent_run_id)
    return FailedPartitions(found)


def record_failed(context: dg.AssetExecutionContext, messages: Mapping[str, str]) -> None:
    """Record the days that this step could not make; day -> message."""
    for ds, message in sorted(messages.items()):
        context.log.error(f"{ds}: {message}")
        context.log_event(dg.AssetObservation(context.asset_key, partition=ds, metadata={ERROR: message}))


def record_skipped(context: dg.AssetExecutionContext, reasons: Mapping[str, str]) -> None:
    """Record the days that this step left as they were; day -> reason."""
    for ds, reason in sorted(reasons.items()):
        context.log.warning(f"{ds}: skipped. {reason}")
        context.log_event(dg.AssetObservation(context.asset_key, partition=ds, metadata={SKIPPED: reason}))


def last_failures(instance: dg.DagsterInstance, key: dg.AssetKey, days: Sequence[str] | None = None) -> dict[str, str]:
    """Day -> message of an asset's partitions whose last attempt failed; of the newest thousand attempts that did.

    Args:
        instance: Dagster's records.
        key: The asset.
        days: Only these; None: all.
    """
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=days)
    failed: dict[str, tuple[int, str]] = {}
    for record in instance.fetch_observations(wanted, limit=1_000).records:  # newest first
        event = record.event_log_entry.asset_observation
        if event is not None and event.partition and ERROR in event.metadata:
            failed.setdefault(event.partition, (record.storage_id, str(event.metadata[ERROR].value)))
    made = instance.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(failed)
    )  # fmt: skip
    return {ds: message for ds, (place, message) in failed.items() if made.get(ds, 0) < place}


def later_assets(context: dg.AssetExecutionContext) -> Collection[str]:
    """The assets whose steps of this run are not over, without this one."""
    layer = context.job_def.asset_layer
    names = {key.path[-1] for key in layer.executable_asset_keys}
    steps = context.run.step_keys_to_execute
    planned = names if steps is None else {name for name in names if any(key.split("__")[-1] == name for key in steps)}
    records = context.instance.get_records_for_run(context.run.run_id, of_type=_ENDS).records
    over = {record.event_log_entry.dagster_event.step_key for record in records if record.event_log_entry.dagster_event}
    return planned - {str(key).split("__")[-1] for key in over} - {context.asset_key.path[-1]}


def is_first_step(context: dg.AssetExecutionContext) -> bool:
    """Whether no step of the run is over."""
    return not context.instance.get_records_for_run(context.run.run_id, of_type=_ENDS, limit=1).records


def report_days_by_hand(context: dg.AssetExecutionContext, by_hand: bool) -> None:
    """Let the step itself report to Dagster which days it made, or not.

    By itself Dagster takes all days of the run for made when the step succeeds. This system tag turns that off; it is
    looked at in this process, when the step ends. Checked with Dagster 1.13; tests/assets/test_ranges.py fails when it
    changes.
    """
    tags: dict[str, str] = context.run.tags  # type: ignore[assignment]  # a mapping for others, a dict in truth
    tags.pop(EXTERNALLY_MANAGED_ASSETS_TAG, None)
    if by_hand:
        tags[EXTERNALLY_MANAGED_ASSETS_TAG] = "true"


def _recorded(context: dg.AssetExecutionContext, run_id: str) -> Iterator[tuple[str, dict[str, str]]]:
    found: dict[str, dict[str, str]] = {}
    records = context.instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION).records
    for record in records:
        event = record.event_log_entry.asset_observation
        if event is not None and ERROR in event.metadata and event.partition:
            found.setdefault(event.asset_key.path[-1], {})[event.partition] = str(event.metadata[ERROR].value)
    yield from found.items()
