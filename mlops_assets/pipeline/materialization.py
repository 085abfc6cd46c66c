"""The body that all partitioned assets share: run the step for the run's days, report each day to Dagster."""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.errors import MlopsAssetsError
from mlops_assets.pipeline.checks import check_results, report_checks, verdicts_on
from mlops_assets.pipeline.liveness import tag_process
from mlops_assets.pipeline.metadata import to_dagster
from mlops_assets.pipeline.sweeping import sweep
from mlops_assets.steps.catalog import ASSETS
from mlops_assets.steps.runner import PartitionResult, RunInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_assets.backends.base import Backend
    from mlops_assets.steps.check_rules import CheckLimits

_DAYS_NAMED = 10
_PROGRESS_LINES = 10


def run_info(context: dg.AssetExecutionContext, parent_run_id: str | None = None) -> RunInfo:
    """On whose behalf the steps run."""
    return RunInfo(dagster_run_id=context.run.run_id, parent_run_id=parent_run_id)


def materialize_partitions(
    context: dg.AssetExecutionContext, backend: Backend, limits: CheckLimits, *, parent_run_id: str | None = None
) -> dg.MaterializeResult:
    """Make the run's partitions of the asset.

    Every day has metadata of its own, also in a run over many days. Days that were finished before a failure are
    materialized all the same: Dagster's own event for a failed step would lose them.

    Raises:
        dagster.Failure: Some days could not be made; they are named with their errors.
    """
    _begin(context, backend)
    days = context.partition_keys
    backend.prepare(_from_here_on(context), days, context.run.run_id)
    done: list[PartitionResult] = []
    failed: list[PartitionResult] = []
    run = run_info(context, parent_run_id)
    try:
        with closing(backend.materialize(context.asset_key.path[-1], days, run, context)) as results:
            for result in results:
                (failed if result.error else done).append(result)
                count = len(done) + len(failed)
                if result.error or count % math.ceil(len(days) / _PROGRESS_LINES) == 0:
                    context.log.info(f"{result.partition}: {result.error or 'done'} ({count} of {len(days)})")
    except BaseException as error:
        _report_finished(context, done)
        if isinstance(error, MlopsAssetsError):
            raise dg.Failure(str(error)) from error
        raise
    asset = context.asset_key.path[-1]
    checks = check_results(asset, verdicts_on(asset, done, limits))
    if failed:
        _report_finished(context, done)
        report_checks(context, checks)
        raise _failure(failed, len(days))
    for result in done:
        context.add_asset_metadata(to_dagster(result.metadata), partition_key=result.partition)
    return dg.MaterializeResult(check_results=checks)


def materialize_promotion(context: dg.AssetExecutionContext, backend: Backend) -> dg.MaterializeResult:
    """Let the gate decide; the materialization records what it decided.

    Raises:
        dagster.Failure: There is nothing to put into production.
    """
    _begin(context, backend)
    try:
        return dg.MaterializeResult(metadata=to_dagster(backend.promote(run_info(context), context)))
    except MlopsAssetsError as error:
        raise dg.Failure(str(error)) from error


def _begin(context: dg.AssetExecutionContext, backend: Backend) -> None:
    tag_process(context)
    if backend.runs_elsewhere:  # what a killed run left at work must not work beside this one
        try:
            for line in sweep(context.instance, backend):
                context.log.warning(f"Removed what an earlier run left behind: {line}")
        except MlopsAssetsError as error:
            context.log.warning(f"What earlier runs may have left behind could not be looked for: {error}")


def _from_here_on(context: dg.AssetExecutionContext) -> list[str]:
    """This asset, and those of its run that come later."""
    selected = {key.path[-1] for key in context.job_def.asset_layer.executable_asset_keys}
    return [asset for asset in ASSETS[ASSETS.index(context.asset_key.path[-1]) :] if asset in selected]


def _report_finished(context: dg.AssetExecutionContext, done: Sequence[PartitionResult]) -> None:
    for result in done:
        context.log_event(
            dg.AssetMaterialization(context.asset_key, partition=result.partition, metadata=to_dagster(result.metadata))
        )


def _failure(failed: Sequence[PartitionResult], days: int) -> dg.Failure:
    shown = "\n".join(f"{result.partition}: {result.error}" for result in failed[:_DAYS_NAMED])
    more = f"\n… and {len(failed) - _DAYS_NAMED} more" if len(failed) > _DAYS_NAMED else ""
    # The input is as it is: trying again cannot help.
    return dg.Failure(f"{len(failed)} of {days} days could not be made:\n{shown}{more}", allow_retries=False)
