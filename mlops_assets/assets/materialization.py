"""The bodies that the assets share: run the step for the run's days, report each day to Dagster."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.checks import check_results, report_checks, verdicts_on
from mlops_assets.assets.failed_partitions import is_last_step, lose_days, lost_days, report_days_by_hand
from mlops_assets.assets.metadata import to_dagster
from mlops_assets.assets.retries import told_to_dagster
from mlops_assets.assets.training_window import days_to_prepare
from mlops_assets.checks.reference_day import Records
from mlops_assets.checks.verdicts import blockers
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.housekeeping.cleanup import sweep
from mlops_assets.housekeeping.dead_runs import tag_process
from mlops_assets.runtime.runner import PartitionResult, RunInfo, described
from mlops_assets.runtime.staleness import Freshness
from mlops_assets.steps.catalog import ASSETS

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend
    from mlops_assets.checks.raw_data_rules import CheckLimits

FORCE_TAG = "mlops_assets/force"
"""Run tag: ``true`` makes all days of a range, also those that are up to date."""

_PROGRESS_LINES = 10


def materialize_partitions(
    context: dg.AssetExecutionContext,
    backend: Backend,
    limits: CheckLimits,
    *,
    parent_run_id: Callable[[], str] | None = None,
) -> dg.MaterializeResult:
    """Make the run's partitions of the asset.

    Every day has metadata of its own, also in a run over many days. Of those, days that are up to date are not made
    again (save with :data:`FORCE_TAG`), and a day that cannot be made does not lose the others
    (:mod:`~mlops_assets.assets.failed_partitions`).

    Raises:
        dagster.Failure: No day is left, or this is the last step of a run that lost some: they are named.
    """
    with told_to_dagster(context):
        _begin(context, backend)
        asset, days = context.asset_key.path[-1], context.partition_keys
        lost = lost_days(context)
        possible = sorted(set(days) - lost.before(asset))
        done = _up_to_date(context, backend, asset, possible) if len(days) > 1 else []
        missing = sorted(set(possible) - {one.partition for one in done})
        failed = _stopped_by_checks(context, backend, asset, missing, limits)
        todo = [ds for ds in missing if ds not in failed]
        if done and todo:
            context.log.info(f"{len(done)} of {len(days)} days are up to date; {len(todo)} are made")
        run = RunInfo(context.run.run_id, parent_run_id() if parent_run_id and todo else None)
        if len(days) == 1 and todo:
            _prepare_window(context, backend, asset, days_to_prepare(backend, asset, days[0], limits), run)
        failed |= _make(context, backend, asset, todo, run, done) if todo else {}
        if failed:
            lost = lose_days(context, asset, failed, len(days))
        checks = check_results(asset, verdicts_on(backend.store, asset, done, limits))
        if not lost.days:
            for result in done:
                context.add_asset_metadata(to_dagster(result.metadata), partition_key=result.partition)
            return dg.MaterializeResult(check_results=checks)
        _report(context, done)
        if not done or is_last_step(context):
            report_checks(context, checks if done else ())
            raise lost.failure()
        report_days_by_hand(context, True)
        return dg.MaterializeResult(check_results=checks)


def materialize_promotion(context: dg.AssetExecutionContext, backend: Backend) -> dg.MaterializeResult:
    """Let the gate decide; the materialization records what it decided.

    Raises:
        dagster.Failure: There is nothing to put into production; or this is the last step of a run that lost days.
    """
    with told_to_dagster(context):
        _begin(context, backend)
        metadata = to_dagster(backend.promote(RunInfo(context.run.run_id), context))
        lost = lost_days(context)
        if lost.days and is_last_step(context):
            context.log_event(dg.AssetMaterialization(context.asset_key, metadata=metadata))
            raise lost.failure()
        return dg.MaterializeResult(metadata=metadata)


def _begin(context: dg.AssetExecutionContext, backend: Backend) -> None:
    tag_process(context)
    report_days_by_hand(context, False)
    if backend.runs_elsewhere:  # what a killed run left at work must not work beside this one
        try:
            for line in sweep(context.instance, backend):
                context.log.warning(f"Removed what an earlier run left behind: {line}")
        except MlopsAssetsError as error:
            context.log.warning(f"What earlier runs may have left behind could not be looked for: {error}")


def _up_to_date(
    context: dg.AssetExecutionContext, backend: Backend, asset: str, days: Sequence[str]
) -> list[PartitionResult]:
    """The days that need not be made, with what is known of them."""
    if context.run.tags.get(FORCE_TAG) == "true":
        return []
    store, freshness = backend.store, Freshness(backend.store, backend.params)
    fresh = [ds for ds in days if freshness.why_stale(asset, ds) is None]
    return [PartitionResult(ds, {**described(store, store.require(asset, ds)), "up_to_date": True}) for ds in fresh]


def _stopped_by_checks(
    context: dg.AssetExecutionContext, backend: Backend, asset: str, days: Sequence[str], limits: CheckLimits
) -> dict[str, str]:
    """The days that a check stops here, with the reason.

    A run of one day that does not make what was checked is somebody's decision to work with it all the same.
    """
    made_here = {key.path[-1] for key in context.job_def.asset_layer.executable_asset_keys}
    is_range = len(context.partition_keys) > 1
    records = Records.of(backend.store)
    stopped = {}
    for ds in days:
        verdicts = [one for one in blockers(asset, ds, records, limits) if is_range or one.asset in made_here]
        if verdicts:
            stopped[ds] = " ".join(
                f"Stopped by the check {one.check} of {one.asset}: {one.message}" for one in verdicts
            )
            context.log.error(f"{ds}: {stopped[ds]}")
    return stopped


def _prepare_window(
    context: dg.AssetExecutionContext, backend: Backend, asset: str, days: Sequence[str], run: RunInfo
) -> None:
    """Make earlier days, too; one that cannot be made is missing in the window, and that is all."""
    if days:
        done: list[PartitionResult] = []
        context.log.info(f"{len(days)} earlier days of the training window are made, too: {days[0]} … {days[-1]}")
        _make(context, backend, asset, days, run, done)
        _report(context, done)


def _make(
    context: dg.AssetExecutionContext,
    backend: Backend,
    asset: str,
    days: Sequence[str],
    run: RunInfo,
    done: list[PartitionResult],
) -> dict[str, str]:
    """Run the step; adds the days that were made to ``done`` and gives the others with their errors.

    What was finished before something went wrong for all days is reported all the same: Dagster's own event for a
    failed step would lose it.
    """
    failed: dict[str, str] = {}
    backend.prepare(_from_here_on(context), days, context.run.run_id)
    try:
        with closing(backend.materialize(asset, days, run, context)) as results:
            for count, result in enumerate(results, 1):
                if result.error:
                    failed[result.partition] = result.error
                    context.log.error(f"{result.partition}: {result.error} ({count} of {len(days)})")
                else:
                    done.append(result)
                    if count % math.ceil(len(days) / _PROGRESS_LINES) == 0:
                        context.log.info(f"{result.partition}: done ({count} of {len(days)})")
    except BaseException:
        _report(context, done)
        raise
    return failed


def _from_here_on(context: dg.AssetExecutionContext) -> list[str]:
    """This asset, and those of its run that come later."""
    selected = {key.path[-1] for key in context.job_def.asset_layer.executable_asset_keys}
    return [asset for asset in ASSETS[ASSETS.index(context.asset_key.path[-1]) :] if asset in selected]


def _report(context: dg.AssetExecutionContext, done: Sequence[PartitionResult]) -> None:
    for result in done:
        metadata: dict[str, Any] = to_dagster(result.metadata)
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=result.partition, metadata=metadata))
