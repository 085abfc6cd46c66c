"""The bodies that the assets share: run the steps for the run's days, record, report each day to Dagster."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.checks import check_results, report_checks, verdicts_on
from mlops_assets.assets.failed_partitions import (
    FailedPartitions,
    failed_partitions,
    is_first_step,
    last_failures,
    later_assets,
    record_failed,
    record_skipped,
    report_days_by_hand,
)
from mlops_assets.assets.metadata import to_dagster
from mlops_assets.assets.recording import Recorder, failing_alone, in_order
from mlops_assets.assets.retries import as_dagster_failure, message_of, note_retry, will_retry
from mlops_assets.assets.training_window import days_to_prepare
from mlops_assets.checks.column_settings import unknown_columns
from mlops_assets.checks.reference_day import Records
from mlops_assets.checks.verdicts import blockers, stopped_by
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.housekeeping.cleanup import clean_up
from mlops_assets.housekeeping.dagster_internals import add_metadata
from mlops_assets.housekeeping.dead_runs import tag_process
from mlops_assets.runtime.request import ModelFile, PartitionResult, Request
from mlops_assets.runtime.runner import described, result_of
from mlops_assets.runtime.staleness import Staleness
from mlops_assets.steps.catalog import ASSETS, days_come_from, step_of_asset
from mlops_assets.steps.declaration import Kind, Record

if TYPE_CHECKING:
    from mlops_assets.assets.production import Production
    from mlops_assets.backends.base import Backend
    from mlops_assets.checks.raw_data_rules import CheckLimits
    from mlops_assets.tracking.tracker import Tracking

FORCE_TAG = "mlops_assets/force"
"""Run tag: ``true`` makes all days of a range, also those that are up to date."""

AS_OF_TAG = "mlops_assets/as_of"
"""Run tag: ``true`` predicts each day with the newest promoted version that was trained on earlier days only."""

_NO_VERSION_THEN = (
    "No version was promoted that was trained on earlier days only. The day's files stay as they are; without --as-of"
    " it is predicted with the version in production."
)
_PROGRESS_LINES = 10
_PREVIEWS = 366
"""Runs that make more days keep no first rows of each: those of decades are gigabytes, in memory and in events."""

_USE_MLFLOW = {"model", "metrics", "production_model", "predictions"}


@dataclass(frozen=True)
class Parts:
    """What the assets work with.

    Attributes:
        backend: Where steps run.
        tracking: MLflow.
        production: Which model serves.
        limits: What the checks allow.
    """

    backend: Backend
    tracking: Tracking
    production: Production
    limits: CheckLimits


def materialize_partitions(
    context: dg.AssetExecutionContext, parts: Parts, before_recording: Callable[[], object] | None = None
) -> dg.MaterializeResult:
    """Make the run's partitions of the asset.

    Every day has metadata of its own, also in a run over many days. Of those, days that are up to date are not made
    again (save with :data:`FORCE_TAG`), and a day that fails does not stop the others
    (:mod:`~mlops_assets.assets.failed_partitions`). What is wrong in training does not stop the predictions of the run.

    Args:
        context: Dagster's.
        parts: What to work with.
        before_recording: Called before MLflow records the first day.

    Raises:
        dagster.Failure: No day is left and nothing else of the run can go on, or this is the last step of a run in
            which days failed: they are named.
    """
    begin(context, parts.backend)
    work = _Materialization(context, parts, before_recording)
    try:
        work.make()
    except Exception as error:
        if (retries := will_retry(context, error)) or not work.must_go_on:
            work.report()
            if not retries:
                work.fail_the_rest(message_of(error))
                record_failed(context, work.failed)
            raise as_dagster_failure(context, error) from error
        context.log.exception("The step failed; what the run still can make goes on")
        work.fail_the_rest(message_of(error))
    except BaseException:  # interrupted
        work.report()
        raise
    if work.skipped:
        record_skipped(context, work.skipped)
        if not (work.done or work.failed):
            raise dg.Failure(f"Nothing was made. {next(iter(work.skipped.values()))}", allow_retries=False)
    return finish(context, work.done, work.failed, check_results(context.asset_key, work.checks))


def begin(context: dg.AssetExecutionContext, backend: Backend) -> None:
    """Shared start of every step."""
    tag_process(context)
    report_days_by_hand(context, False)
    # A step that a killed run left running must not run beside this one.
    if backend.leaves_processes and is_first_step(context):
        try:
            for line in clean_up(context.instance, backend):
                context.log.warning(f"Removed what an earlier run left behind: {line}")
        except MlopsAssetsError as error:
            context.log.warning(f"Could not look for leftovers of earlier runs: {error}")


def finish(
    context: dg.AssetExecutionContext,
    done: Sequence[PartitionResult],
    failed: Mapping[str, str],
    checks: Sequence[dg.AssetCheckResult],
) -> dg.MaterializeResult:
    """Report the days that were made and those that failed; end the run if it ends here.

    Raises:
        dagster.Failure: See :func:`materialize_partitions`.
    """
    if failed:
        record_failed(context, failed)
    all_failed = failed_partitions(context)
    if not all_failed.days and len(done) >= len(context.partition_keys):
        add_metadata(context, {result.partition: to_dagster(result.metadata) for result in done})
        return dg.MaterializeResult(check_results=list(checks))
    report(context, done)
    if all_failed.days and not _goes_on(context, all_failed, done):
        report_checks(context, checks if done else ())
        note_retry(context, False)
        raise all_failed.failure(len(context.partition_keys), {result.partition for result in done})
    report_days_by_hand(context, True)
    return dg.MaterializeResult(check_results=list(checks))


def report(context: dg.AssetExecutionContext, done: Sequence[PartitionResult]) -> None:
    """Report days that were made to Dagster where the step's own event does not."""
    for result in done:
        metadata: dict[str, Any] = to_dagster(result.metadata)
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=result.partition, metadata=metadata))


def is_forced(context: dg.AssetExecutionContext) -> bool:
    """Whether up-to-date days are made again: those of a single-day run always are."""
    return len(context.partition_keys) == 1 or context.run.tags.get(FORCE_TAG) == "true"


def selected_assets(context: dg.AssetExecutionContext) -> set[str]:
    """The assets of the run."""
    return {key.path[-1] for key in context.job_def.asset_layer.executable_asset_keys}


def _goes_on(context: dg.AssetExecutionContext, failed: FailedPartitions, done: Sequence[PartitionResult]) -> bool:
    """Whether later steps of the run have something to do."""
    later = later_assets(context)
    if done and later:
        return True
    return "predictions" in later and bool(set(context.partition_keys) - failed.before("predictions"))


def _has_seen(model: ModelFile, ds: str) -> bool:
    """Whether a day lies in the window that a model was trained on."""
    return str(model.facts["trained_from"]) <= ds <= str(model.facts["trained_through"])


def _without_preview(result: PartitionResult) -> PartitionResult:
    return replace(result, metadata={name: value for name, value in result.metadata.items() if name != "preview"})


class _Materialization:
    """The days of one asset in one run: what was made, what failed."""

    def __init__(
        self, context: dg.AssetExecutionContext, parts: Parts, before_recording: Callable[[], object] | None
    ) -> None:
        self._context, self._parts, self._backend = context, parts, parts.backend
        self._before_recording = before_recording
        self._asset = context.asset_key.path[-1]
        self._step = step_of_asset(self._asset, parts.backend.params.source)
        self._recorder = Recorder(parts.tracking, parts.backend, parts.production, context.run.run_id)
        self._days = list(context.partition_keys)
        self._before = failed_partitions(context)
        self.done: list[PartitionResult] = []
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}

    def make(self) -> None:
        context, forced = self._context, is_forced(self._context)
        possible = sorted(set(self._days) - self._before.before(self._asset))
        if not possible:
            return
        if not forced:
            self.done += self._up_to_date(possible)
        missing = sorted(set(possible) - {one.partition for one in self.done})
        self.failed |= self._stopped_by_checks(missing)
        todo = [ds for ds in missing if ds not in self.failed]
        if self.done and todo:
            context.log.info(f"{len(self.done)} of {len(self._days)} days are up to date; {len(todo)} are made")
        if len(self._days) == 1 and todo:
            self._prepare_window()
        for count, result in enumerate(self._results(todo), 1):
            if result.error:
                self.failed[result.partition] = result.error
                continue
            self.done.append(result if len(todo) <= _PREVIEWS else _without_preview(result))
            if len(todo) > 1 and count % math.ceil(len(todo) / _PROGRESS_LINES) == 0:
                context.log.info(f"{result.partition}: done ({count} of {len(todo)})")
        self._name_causes()
        self._warn_of_unknown_columns()

    def _warn_of_unknown_columns(self) -> None:
        if self._asset in ("raw_data", "processed"):
            records = Records.of(self._backend.store)
            for line in unknown_columns(self._backend.params, records, (one.partition for one in self.done)):
                self._context.log.warning(line)

    def fail_the_rest(self, message: str) -> None:
        possible = set(self._days) - self._before.before(self._asset)
        rest = possible - {one.partition for one in self.done} - set(self.failed) - set(self.skipped)
        self.failed |= dict.fromkeys(rest, message)

    def report(self) -> None:
        """What was made before something went wrong for all days: Dagster's event for a failed step has none."""
        report(self._context, self.done)

    @property
    def must_go_on(self) -> bool:
        """Whether an error here is not to end the run at once.

        The run has predictions to make that do not need this, or earlier failures to name at its end.
        """
        predicts = "predictions" in later_assets(self._context) and self._asset != "raw_data"
        return predicts or bool(self._before.days)

    @property
    def checks(self) -> list[Any]:
        return verdicts_on(self._backend.store, self._asset, self.done, self._parts.limits)

    def _results(self, days: Sequence[str]) -> Generator[PartitionResult]:
        """Run the step for these days, record what it made."""
        if not days:
            return
        step, request = self._step, self._request(days)
        known = list(self._recorder.registered(step, days, request)) if step.records is Record.MODEL else []
        yield from known
        todo = [ds for ds in days if ds not in {one.partition for one in known}]
        models, errors = self._models(todo)
        yield from (PartitionResult(ds, error=message) for ds, message in errors.items())
        todo = [ds for ds in todo if ds not in errors and ds not in self.skipped]
        if not todo:
            return
        self._backend.prepare(self._from_here_on(), todo, self._context.run.run_id)
        request = replace(request.only(todo), models=models)
        with closing(self._backend.run(request, self._context)) as results:
            if not selected_assets(self._context).isdisjoint(_USE_MLFLOW):
                self._parts.tracking.connect_early()  # takes seconds, in which the step is at work elsewhere
            for result in in_order(results, todo) if step.records else results:
                if step.records is None or result.error:
                    yield result
                    continue
                if self._before_recording is not None:
                    self._before_recording()
                yield from failing_alone(result.partition, partial(self._recorder.record, step, result, request))

    def _models(self, days: Sequence[str]) -> tuple[dict[str, ModelFile], dict[str, str]]:
        """The models that the step works with, by day; and the days that have none, with the reason."""
        files = [file for file in self._step.inputs if file.kind is Kind.MODEL]
        models: dict[str, ModelFile] = {}
        errors: dict[str, str] = {}
        if not files:
            return models, errors
        if files[0].asset == "production_model":
            return self._serving(days), errors
        for ds in days:
            try:
                models[ds] = self._recorder.model_of(ds)
            except MlopsAssetsError as error:
                if error.can_retry:
                    raise
                errors[ds] = str(error)
        return models, errors

    def _serving(self, days: Sequence[str]) -> dict[str, ModelFile]:
        """The model that serves each day, with the note whether it was trained on that day."""
        production = self._parts.production
        if self._context.run.tags.get(AS_OF_TAG) == "true":
            models = production.as_of(days)
        else:
            models = dict.fromkeys(days, production.require(self._context.run.run_id).file)
        self.skipped |= dict.fromkeys([ds for ds in days if ds not in models], _NO_VERSION_THEN)
        return {
            ds: replace(model, facts={**model.facts, "in_sample": _has_seen(model, ds)}) for ds, model in models.items()
        }

    def _request(self, days: Sequence[str]) -> Request:
        image = self._backend.recipe_image(self._step.name)
        return Request(self._step.name, tuple(days), self._backend.params, image=image, run_id=self._context.run.run_id)

    def _up_to_date(self, days: Sequence[str]) -> list[PartitionResult]:
        """The days that need not be made, with what is known of them."""
        store, staleness = self._backend.store, self._staleness()
        fresh = [store.require(self._asset, ds) for ds in days if staleness.why_stale(self._asset, ds) is None]
        results = [result_of(one, {**described(store, one), "up_to_date": True}) for one in fresh]
        return list(self._recorder.complete(self._step, results))

    def _staleness(self) -> Staleness:
        return Staleness(
            self._backend.store,
            self._backend.params,
            image=self._backend.recipe_image,
            is_registered=self._recorder.is_registered,
        )

    def _stopped_by_checks(self, days: Sequence[str]) -> dict[str, str]:
        """The days that a check stops here, with the reason.

        A run of one day that does not make what was checked is a manual override.
        """
        made_here, is_range = selected_assets(self._context), len(self._days) > 1
        records = Records.of(self._backend.store)
        stopped = {}
        for ds in days:
            found = blockers(self._asset, ds, records, self._parts.limits)
            if verdicts := [one for one in found if is_range or one.asset in made_here]:
                stopped[ds] = stopped_by(verdicts)
        return stopped

    def _name_causes(self) -> None:
        """Add to the message of a day whose input is missing why an earlier run could not make that."""
        for asset in days_come_from(self._asset) if self.failed else ():
            missing = set(self.failed) - set(self._backend.store.partitions(asset))
            key = dg.AssetKey([*self._context.asset_key.path[:-1], asset])
            causes = last_failures(self._context.instance, key, sorted(missing)) if missing else {}
            for ds, cause in causes.items():
                self.failed[ds] += f" (the last attempt failed: {cause})"

    def _prepare_window(self) -> None:
        """Make earlier days, too; a day that fails is only missing in the window."""
        days = days_to_prepare(self._backend, self._staleness(), self._asset, self._days[0], self._parts.limits)
        if days:
            self._context.log.info(f"{len(days)} earlier days of the training window are made: {days[0]} … {days[-1]}")
            report(self._context, [one for one in self._results(days) if not one.error])

    def _from_here_on(self) -> list[str]:
        """This asset, and those of its run that come later."""
        selected = selected_assets(self._context)
        return [asset for asset in ASSETS[ASSETS.index(self._asset) :] if asset in selected]
