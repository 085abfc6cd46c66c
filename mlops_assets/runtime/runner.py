"""The one runner: read a step's inputs, call its function, publish and record its outputs, day by day.

It runs wherever a step runs: in Dagster's process, in a container, in a test. It knows the store and the tracking
server, never the orchestrator.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import DataError, MissingPartitionError, MlopsAssetsError
from mlops_assets.runtime.input_digests import input_days, input_digest, input_digests, settings_digest
from mlops_assets.runtime.staleness import SETTINGS_DIGEST
from mlops_assets.steps.catalog import STEPS
from mlops_assets.steps.declaration import File, Kind, Outcome, Step
from mlops_assets.store.layout import DATA, MODEL, manifest_name
from mlops_assets.store.listing import stamp_of

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.listing import Stamp
    from mlops_assets.store.local import LocalStore, Publication
    from mlops_assets.store.manifest import FileInfo, Manifest
    from mlops_assets.tracking.tracker import Tracking

PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 25


class NoProductionModelError(MlopsAssetsError):
    """There is no model to predict with."""


@dataclass(frozen=True)
class RunInfo:
    """On whose behalf steps run.

    Attributes:
        dagster_run_id: Empty where there is no Dagster.
        parent_run_id: The MLflow run of the Dagster run; model runs become its children.
    """

    dagster_run_id: str = ""
    parent_run_id: str | None = None


@dataclass(frozen=True)
class PartitionResult:
    """How one day went.

    Attributes:
        partition: The day.
        metadata: JSON values for people (see :meth:`Runner.run`); empty after an error.
        error: The message, or None.
    """

    partition: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


class Runner:
    """Runs steps over the partitions of one data root."""

    def __init__(
        self,
        store: LocalStore,
        tracking: Tracking,
        params: Parameters,
        run: RunInfo | None = None,
        *,
        before_recording: Callable[[str], None] | None = None,
    ) -> None:
        """Name the parts; nothing is opened or imported before it is needed.

        Args:
            store: The data root.
            tracking: The tracking server.
            params: Of the steps.
            run: On whose behalf.
            before_recording: Called with the day before a model is logged and registered; may wait, so that models
                that are trained at the same time are registered in the order of their days.
        """
        self.store, self.tracking, self.params, self.run_info = store, tracking, params, run or RunInfo()
        self._before_recording = before_recording
        self._production: tuple[Any, Any] | None = None
        self._scanned: dict[Path, Stamp] = {}

    def run(self, name: str, partitions: Iterable[str]) -> Generator[PartitionResult]:
        """Run a step for several days, oldest first.

        A day with bad or missing input gives a result with the error, and the others go on. Whatever concerns all days
        (no tracking server, no disk space, no model in production) is raised.

        Args:
            name: Of the step.
            partitions: Days, ``YYYY-MM-DD``.

        Yields:
            A result a day, when its files are published. Metadata: ``rows`` and ``columns`` (of the first table),
            ``sha256``, ``path``, ``preview`` (rows as mappings), and what the step reports.
        """
        step = STEPS[name]
        for ds in sorted(set(partitions)):
            try:
                yield PartitionResult(ds, self._run_day(step, ds))
            except (DataError, MissingPartitionError) as error:
                yield PartitionResult(ds, error=str(error))

    def _run_day(self, step: Step, ds: str) -> dict[str, Any]:
        inputs, digests = self._read(step, ds)
        outcome = step.function()(inputs, self.params, ds)
        contents = {
            file.name: _dumped(file, outcome.outputs[file.name])
            for file in step.outputs
            if file.name in outcome.outputs
        }
        if self._before_recording and step.asset == "model":
            self._before_recording(ds)
        preview: list[dict[str, Any]] = []
        with self.store.publication(step.asset, ds, [file.name for file in step.outputs]) as publication:
            files = [
                self._stage(publication, file, contents[file.name], preview)
                for file in step.outputs
                if file.name in contents
            ]
            metadata = {
                **outcome.metadata,
                **self._record(step, ds, outcome, inputs, digests, contents),
                SETTINGS_DIGEST: settings_digest(step, self.params),
            }
            manifest = publication.commit(files, inputs=digests, code_version=step.version, metadata=metadata)
        return {**described(self.store, manifest), **({"preview": preview} if preview else {})}

    def _read(self, step: Step, ds: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The function's inputs by file name, and the digest of each file by its path below the data root."""
        inputs: dict[str, Any] = {}
        digests = input_digests(self.store, self.params, step, ds)
        if step.uses_production_model:
            _, inputs["production"] = self._production_model()
        for file in step.inputs:
            if file.kind is Kind.DELIVERED:
                inputs[file.name] = self._scan(file, ds)
                continue
            contents = [self._content(file, day) for day in input_days(self.store, self.params, file, ds)]
            inputs[file.name] = contents if file.window else contents[0]
        if digests != input_digests(self.store, self.params, step, ds):
            raise DataError(f"Inputs of {step.asset} of {ds} were published anew while they were read. Run it again.")
        if step.uses_production_model:
            version, _ = self._production_model()
            digests[f"models:/{version.name}/{version.number}"] = version.digest
        return inputs, digests

    def _content(self, file: File, ds: str) -> Any:
        if file.kind is Kind.STREAM:
            return self.store.stream_table(file.asset, ds, file.name, as_text=self._words())
        if file.kind is Kind.MODEL:
            return self._model(file, ds)
        return self.store.read_table(file.asset, ds, file.name)

    def _words(self) -> list[str]:
        """The columns that the model in production knows as words: spelled as in the file they were trained on."""
        from mlops_assets.steps.features import STRING, kinds_of

        return [name for name, kind in kinds_of(self._production_model()[1]).items() if kind == STRING]

    def _model(self, file: File, ds: str) -> Any:
        from mlops_assets.steps.skops_io import load_model

        content, _ = self.store.read_bytes(file.asset, ds, file.name)
        digest, recent = input_digest(self.store, file, ds), self.tracking.registry.recent
        pipeline = recent.get(digest) or load_model(content)
        recent.put(digest, pipeline, len(content))
        return pipeline

    def _scan(self, file: File, ds: str) -> Any:
        from mlops_assets.steps.duplicate_ids import RepeatedIds
        from mlops_assets.store.delivered import scan

        path = self.store.folder(file.asset, ds) / file.name
        if file.name != DATA and not path.exists():
            return None  # the target may come later than the data
        if path.exists():
            self._scanned[path] = stamp_of(path)
        ids = RepeatedIds(self.params.id_column)
        found = scan(
            path,
            self.store.relative(file.asset, ds, file.name),
            delimiter=self.params.csv_delimiter,
            text_columns=(self.params.id_column, *self.params.text_columns),
            observe=ids.add,
        )
        return replace(found, repeated_ids=ids.count())

    def _stage(self, publication: Publication, file: File, content: Any, preview: list[dict[str, Any]]) -> FileInfo:
        if file.kind is Kind.TABLE:
            preview.extend(_preview(content) if not preview else [])
            return publication.table(file.name, content)
        if file.kind is Kind.STREAM:
            first = next(content)
            preview.extend(_preview(first))
            return publication.batches(file.name, chain([first], content), first.schema)
        if file.kind is Kind.DELIVERED:
            preview.extend(_preview(content.head) if not preview else [])
            path = self.store.folder(file.asset, publication.ds) / file.name
            if self._scanned.pop(path) != stamp_of(path):
                name = self.store.relative(file.asset, publication.ds, file.name)
                raise DataError(f"{name} was delivered anew while it was read. Run it again when it is complete.")
            return replace(content.info, name=file.name)
        if file.kind is Kind.MODEL:
            return publication.bytes(file.name, content)
        return publication.json(file.name, content)

    def _record(
        self,
        step: Step,
        ds: str,
        outcome: Outcome,
        inputs: Mapping[str, Any],
        digests: Mapping[str, str],
        contents: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Log what belongs on the tracking server; what it answers becomes metadata."""
        if not step.uses_tracking:
            return {}
        from mlops_assets.assets import recording

        if step.asset == "model":
            return recording.record_model(
                self, ds, outcome, inputs, digests, contents[MODEL], code_version=step.version
            )
        if step.asset == "metrics":
            model = self.store.require("model", ds).metadata
            return recording.record_metrics(self.tracking, model, outcome)
        return recording.model_metadata(self.tracking, self._production_model()[0])

    def _production_model(self) -> tuple[Any, Any]:
        """The version to predict with and its pipeline, loaded once."""
        if self._production is None:
            pinned, registry = self.params.model_version, self.tracking.registry
            version = registry.production() if pinned is None else registry.version(pinned)
            if version is None:
                raise NoProductionModelError(
                    f"No version of model {self.tracking.config.model_name!r} is in stage Production, so there is"
                    " nothing to predict with. Materialize model, metrics and production_model, or run:"
                    " mlops-assets models promote VERSION"
                )
            self._production = version, registry.load(version)
        return self._production


def described(store: LocalStore, manifest: Manifest) -> dict[str, Any]:
    """What is told to people of a published partition."""
    first, folder = manifest.files[0], store.folder(manifest.asset, manifest.partition)
    table = {} if first.columns is None else {"rows": first.rows, "columns": len(first.columns)}
    return {
        **table,
        "sha256": manifest.digest,
        "path": str(folder / first.name),
        "manifest": str(folder / manifest_name(manifest.asset)),
        **manifest.metadata,
    }


def _dumped(file: File, content: Any) -> Any:
    """What is written of an output: a model as its file's bytes, all else as it is."""
    if file.kind is not Kind.MODEL:
        return content
    from mlops_assets.steps.skops_io import dump_model

    return dump_model(content)


def _preview(table: pa.Table) -> list[dict[str, Any]]:
    """The first rows as JSON values, of so many columns as a person can look at."""
    head = table.slice(0, PREVIEW_ROWS).select(table.column_names[:PREVIEW_COLUMNS])
    plain = (int, float, str, bool, type(None))
    rows: list[dict[str, Any]] = head.to_pylist()
    return [{name: value if isinstance(value, plain) else str(value) for name, value in row.items()} for row in rows]
