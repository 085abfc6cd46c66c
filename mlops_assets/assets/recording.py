"""What MLflow records of a finished partition: a run and a registered version of each model, and its metrics.

Recording is idempotent by recipe and follows the order of the days. The step's answer vouches for the model's file, not
the data root.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import DataError, MissingPartitionError, MlopsAssetsError
from mlops_assets.runtime.recipes import ingredients
from mlops_assets.runtime.request import ModelFile, PartitionResult, Request
from mlops_assets.runtime.runner import described, result_of
from mlops_assets.steps.declaration import Record
from mlops_assets.store.layout import METRICS, MODEL, MODEL_DESCRIPTION, is_partition
from mlops_assets.store.publish import sha256
from mlops_assets.tracking.entities import TRAINED_FROM_TAG, TRAINED_THROUGH_TAG, TrainedModel

if TYPE_CHECKING:
    from mlops_assets.assets.production import Production
    from mlops_assets.backends.base import Backend
    from mlops_assets.steps.declaration import Step
    from mlops_assets.tracking.entities import Version
    from mlops_assets.tracking.tracker import Tracking


class Recorder:
    """Records what the steps of one run have made."""

    def __init__(self, tracking: Tracking, backend: Backend, production: Production, run_id: str) -> None:
        """Nothing is opened until first use."""
        self._tracking, self._backend, self._production, self._run_id = tracking, backend, production, run_id
        self._store = backend.store
        self._versions: dict[str, Version] | None = None

    @property
    def versions(self) -> dict[str, Version]:
        """Recipe -> version: one search, kept up to date by what is recorded here."""
        if self._versions is None:
            self._versions = dict(self._tracking.registry.recipes())
        return self._versions

    def is_registered(self, recipe: str, sha256: str) -> bool:
        """Whether the registry has a version of this recipe whose file has this digest."""
        return recipe in self.versions and self.versions[recipe].sha256 == sha256

    def model_of(self, ds: str) -> ModelFile:
        """The model of a day, as the registry vouches for it.

        Raises:
            MissingPartitionError: The day has no model, or none that is registered.
        """
        recipe = self._store.require("model", ds).recipe
        version = self.versions.get(recipe)
        if version is None:
            raise MissingPartitionError(
                f"The model of {ds} is not registered in MLflow, so its file cannot be verified. Run: mlops-assets"
                f" materialize model --partition {ds}"
            )
        return self._production.described(version, self._store.relative("model", ds, MODEL))

    def registered(self, step: Step, days: Iterable[str], request: Request) -> Generator[PartitionResult]:
        """The days whose model is registered already, with its file put back where it is missing or another one.

        A model is trained once for a recipe: the bytes of its file would differ from those that are registered.
        """
        versions = self.versions
        for ds in days:
            try:
                version = versions.get(ingredients(self._store, step, ds, request).recipe)
            except MlopsAssetsError:
                continue  # the step says so
            if version is not None:
                yield from failing_alone(ds, partial(self._restored, step, ds, request, version))

    def record(self, step: Step, result: PartitionResult, request: Request) -> PartitionResult:
        """Record a finished partition; gives the result with what MLflow calls it."""
        if step.records is Record.METRICS:
            version = self._record_metrics(result)
        else:
            version = self._record_model(step, result)
            if version.sha256 != result.files[MODEL]:  # another run was first
                return self._restored(step, result.partition, request, version)
        return replace(result, metadata={**result.metadata, **self._facts(version)})

    def complete(self, step: Step, results: Sequence[PartitionResult]) -> Sequence[PartitionResult]:
        """Partitions that are up to date, after the metrics were logged that a killed run did not come to log."""
        if step.records is not Record.METRICS or not results:
            return results
        recorded = self._tracking.recorded_metrics()
        for one in results:
            if one.recipe not in recorded:
                self._record_metrics(one)
        return results

    def _record_model(self, step: Step, result: PartitionResult) -> Version:
        ds, params = result.partition, self._backend.params
        folder = self._store.folder(step.asset, ds)
        data, info = self._store.read_bytes(step.asset, ds, MODEL_DESCRIPTION)
        if info.sha256 != result.files[MODEL_DESCRIPTION]:
            raise DataError(f"{MODEL_DESCRIPTION} of {ds} was changed after training. Train the model again.")
        description = json.loads(data)
        manifest = self._store.require(step.asset, ds)
        tags = {
            "mlops.image": self._backend.image_id(step.name),
            "mlops.engine": description["engine"],
            TRAINED_FROM_TAG: min(filter(is_partition, "/".join(manifest.inputs).split("/")), default=ds),
            TRAINED_THROUGH_TAG: ds,
            "mlops.libraries": json.dumps(description["libraries"]),
            "mlops.step_version": step.version,
            "mlops.data_digest": " ".join(manifest.inputs.values())[:5_000],
        }
        model = TrainedModel(
            ds=ds,
            recipe=result.recipe,
            sha256=result.files[MODEL],
            file=folder / MODEL,
            description=description,
            params={
                **description["parameters"],
                "imputation": params.imputation,
                "seed": params.seed,
                "train_window_days": params.train_window_days,
                "validation_share": params.validation_share,
            },
            tags={name: value for name, value in tags.items() if value},
            dagster_run_id=self._run_id,
        )
        version = self._tracking.record_model(model, known=self.versions)
        self.versions[version.recipe] = version
        return version

    def _record_metrics(self, result: PartitionResult) -> Version:
        content = self._store.read_json("metrics", result.partition, METRICS)
        version = self.versions[self._store.require("model", result.partition).recipe]
        defined = {name: value for name, value in content["metrics"].items() if value is not None}
        self._tracking.record_metrics(version, defined, content, METRICS, recipe=result.recipe)
        return version

    def _restored(self, step: Step, ds: str, request: Request, version: Version) -> PartitionResult:
        try:
            manifest = self._store.manifest(step.asset, ds)
        except DataError:  # it is written anew
            manifest = None
        path = self._store.folder(step.asset, ds) / MODEL
        digests = {version.sha256, manifest.files[0].sha256 if manifest else "", sha256(path) if path.is_file() else ""}
        if manifest is None or len(digests) > 1:
            made_from = ingredients(self._store, step, ds, request)
            with (
                tempfile.TemporaryDirectory() as scratch,
                self._store.publication(step.asset, ds, [file.name for file in step.outputs]) as publication,
            ):
                self._tracking.registry.fetch(version, Path(scratch))
                files = [
                    publication.bytes(file.name, (Path(scratch) / file.name).read_bytes()) for file in step.outputs
                ]
                manifest = publication.commit(
                    files, recipe=made_from.recipe, inputs=made_from.inputs, settings=made_from.settings,
                    step_version=step.version, image=request.image, metadata={"restored": True},
                )  # fmt: skip
        return result_of(manifest, {**described(self._store, manifest), **self._facts(version)})

    def _facts(self, version: Version) -> Mapping[str, Any]:
        """What traces a partition back to a model."""
        return {
            "model_name": version.name,
            "model_version": version.number,
            "mlflow_run_id": version.run_id,
            **self._tracking.links(version),
        }


def failing_alone(ds: str, make: Callable[[], PartitionResult]) -> Generator[PartitionResult]:
    """The result for one day; what is wrong with it alone becomes its error, and the other days go on."""
    try:
        yield make()
    except MlopsAssetsError as error:
        if error.can_retry:
            raise
        yield PartitionResult(ds, error=str(error))


def in_order(results: Iterable[PartitionResult], days: Iterable[str]) -> Generator[PartitionResult]:
    """The results in the order of the days, each as soon as all before it are there."""
    waiting, order = {}, iter(sorted(days))
    expected = next(order, None)
    for result in results:
        waiting[result.partition] = result
        while expected in waiting:
            yield waiting.pop(expected)
            expected = next(order, None)
    yield from waiting.values()
