"""The one runner: read a step's inputs, call its function, publish its outputs, partition by partition.

It runs wherever a step runs: in Dagster's process, in a worker, in a container, in a test. It knows the data root and
nothing else: no orchestrator, no tracking server, no network.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import DataError, MissingPartitionError
from mlops_assets.runtime.model_cache import ModelCache
from mlops_assets.runtime.recipes import Ingredients, ingredients, input_partitions
from mlops_assets.runtime.request import PartitionResult, Request
from mlops_assets.steps.catalog import STEPS
from mlops_assets.steps.declaration import Days, File, Kind, Step
from mlops_assets.store.disk import StorageError, storage_errors
from mlops_assets.store.layout import DATA, manifest_name
from mlops_assets.store.listing import stamp_of

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from mlops_assets.store.listing import Stamp
    from mlops_assets.store.local import LocalStore, Publication
    from mlops_assets.store.manifest import FileInfo, Manifest

PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 25


class Runner:
    """Runs steps over the partitions of one data root."""

    def __init__(self, store: LocalStore) -> None:
        """Nothing is opened or imported until first use."""
        self.store = store
        self._models = ModelCache()
        self._scanned: dict[Path, Stamp] = {}

    def run(self, request: Request) -> Generator[PartitionResult]:
        """Run a step for several partitions, oldest first.

        A partition with bad or missing input gives a result with the error, and the others go on. What may pass by
        itself (no disk space) is raised.

        Yields:
            A result a partition, when its files are published. Metadata: ``rows`` and ``columns`` (of the first table),
            ``sha256``, ``path``, ``preview`` (rows as mappings), and what the step reports.
        """
        step = STEPS[request.step]
        for partition in sorted(set(request.partitions)):
            try:
                yield self._run(step, partition, request)
            except (DataError, MissingPartitionError, StorageError) as error:
                if error.can_retry:
                    raise
                yield PartitionResult(partition, error=str(error))

    def _run(self, step: Step, partition: str, request: Request) -> PartitionResult:
        made_from = ingredients(self.store, step, partition, request)
        inputs = self._read(step, partition, request, made_from)
        outcome = step.function()(inputs, request.params, partition)
        contents = {file.name: outcome.outputs[file.name] for file in step.outputs if file.name in outcome.outputs}
        preview: list[dict[str, Any]] = []
        with self.store.publication(step.asset, partition, [file.name for file in step.outputs]) as publication:
            files = [
                self._stage(publication, file, contents[file.name], preview)
                for file in step.outputs
                if file.name in contents
            ]
            facts = request.models[partition].facts if partition in request.models else {}
            manifest = publication.commit(
                files, recipe=made_from.recipe, inputs=made_from.inputs, settings=made_from.settings,
                step_version=step.version, image=request.image, metadata={**outcome.metadata, **facts},
            )  # fmt: skip
        metadata = {**described(self.store, manifest), **({"preview": preview} if preview else {})}
        return result_of(manifest, metadata)

    def _read(self, step: Step, partition: str, request: Request, made_from: Ingredients) -> dict[str, Any]:
        """The function's inputs by file name."""
        inputs: dict[str, Any] = dict(request.inputs)
        for file in step.inputs:
            if file.kind is Kind.DELIVERED:
                folder = self.store.folder(file.asset, partition)
                with storage_errors(f"{file.asset} of {partition} cannot be read", folder):
                    inputs[file.name] = self._scan(file, partition, request)
            elif file.kind is Kind.MODEL:
                inputs[file.name] = self._model(partition, request)
            else:
                days = input_partitions(self.store, file, partition, request)
                contents = {day: self._content(file, day, partition, request) for day in days}
                if file.days is Days.OWN:
                    inputs[file.name] = contents[partition]
                else:
                    inputs[file.name] = contents if file.days is Days.REQUESTED else list(contents.values())
        if made_from != ingredients(self.store, step, partition, request):
            raise DataError(
                f"Inputs of {step.asset} of {partition} were published again while they were read. Run it again."
            )
        return inputs

    def _content(self, file: File, day: str, partition: str, request: Request) -> Any:
        if file.kind is Kind.STREAM:
            words = self._words(partition, request)
            return self.store.stream_table(file.asset, day, file.name, as_text=words)
        return self.store.read_table(file.asset, day, file.name)

    def _words(self, partition: str, request: Request) -> list[str]:
        """The columns that the model knows as words: spelled as in the file that it was trained on."""
        from mlops_assets.steps.features import STRING, kinds_of

        if partition not in request.models:
            return []
        return [name for name, kind in kinds_of(self._model(partition, request)).items() if kind == STRING]

    def _model(self, partition: str, request: Request) -> Any:
        """The model that the request names, loaded once; its file is checked before it is parsed."""
        return self._models.load(self.store.root, request.models[partition])

    def _scan(self, file: File, ds: str, request: Request) -> Any:
        from mlops_assets.steps.duplicate_ids import RepeatedIds
        from mlops_assets.store.delivered import broken, scan

        path, params = self.store.folder(file.asset, ds) / file.name, request.params
        if file.name != DATA and not path.is_file():
            return None  # the target may come later than the data
        if path.is_file():
            self._scanned[path] = stamp_of(path)
        ids = RepeatedIds(params.id_column)
        try:
            found = scan(
                path,
                self.store.relative(file.asset, ds, file.name),
                delimiter=params.csv_delimiter,
                text_columns=(params.id_column, *params.text_columns),
                missing_values=params.missing_values,
                observe=ids.add,
            )
        except DataError as error:
            if file.name == DATA:
                raise
            return broken(path, str(error))  # predictions need no target
        return replace(found, repeated_ids=ids.count())

    def _stage(self, publication: Publication, file: File, content: Any, preview: list[dict[str, Any]]) -> FileInfo:
        if file.kind is Kind.TABLE:
            preview.extend(preview_of(content) if not preview else [])
            return publication.table(file.name, content)
        if file.kind is Kind.STREAM:
            first = next(content)
            preview.extend(preview_of(first))
            return publication.batches(file.name, chain([first], content), first.schema)
        if file.kind is Kind.DELIVERED:
            preview.extend(preview_of(content.head) if not preview else [])
            path = self.store.folder(file.asset, publication.ds) / file.name
            if self._scanned.pop(path) != stamp_of(path):
                name = self.store.relative(file.asset, publication.ds, file.name)
                raise DataError(f"{name} was delivered again while it was read. Run it again when it is complete.")
            return replace(content.info, name=file.name)
        if file.kind is Kind.MODEL:
            pipeline, data = content
            info = publication.bytes(file.name, data)
            self._models.put(info.sha256, pipeline, len(data))
            return info
        return publication.json(file.name, content)


def result_of(manifest: Manifest, metadata: dict[str, Any]) -> PartitionResult:
    """The answer for a published partition."""
    files = {info.name: info.sha256 for info in manifest.files}
    return PartitionResult(manifest.partition, metadata, recipe=manifest.recipe, files=files)


def described(store: LocalStore, manifest: Manifest) -> dict[str, Any]:
    """What people see of a published partition."""
    first, folder = manifest.files[0], store.folder(manifest.asset, manifest.partition)
    table = {} if first.columns is None else {"rows": first.rows, "columns": len(first.columns)}
    return {
        **manifest.metadata,
        **table,
        "sha256": manifest.digest,
        "path": str(folder / first.name),
        "manifest": str(folder / manifest_name(manifest.asset)),
    }


def preview_of(table: pa.Table) -> list[dict[str, Any]]:
    """The first rows as JSON values, of so many columns as a person can look at."""
    from mlops_assets.steps.row_hash import as_words

    head = table.slice(0, PREVIEW_ROWS).select(table.column_names[:PREVIEW_COLUMNS])
    columns = {name: as_words(column).to_pylist() for name, column in zip(head.column_names, head.columns, strict=True)}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
