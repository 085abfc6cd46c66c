"""Programs of the user's own in the place of a step: what they are asked, and the checks on what they made.

This is the Dagster side of docs/step-contract.md. The program reads input files, writes output files into a scratch
directory and answers a line of JSON a partition. Nothing that it says or writes is trusted: only files that the step
declares are taken, copied before they are checked, and published here under the partition's lock. It may have put links
wherever it writes: below ``scratch`` none is followed.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import DataError, MissingPartitionError, MlopsAssetsError
from mlops_assets.runtime.pipes import CONTRACT
from mlops_assets.runtime.recipes import ingredients, input_partitions, settings_of
from mlops_assets.runtime.request import PartitionResult
from mlops_assets.runtime.runner import described, preview_of, result_of
from mlops_assets.steps.catalog import STEPS
from mlops_assets.steps.declaration import Days, Kind
from mlops_assets.store.disk import storage_errors
from mlops_assets.store.publish import locked, sha256, staged

if TYPE_CHECKING:
    from mlops_assets.runtime.recipes import Ingredients
    from mlops_assets.runtime.request import Request
    from mlops_assets.store.local import LocalStore
    from mlops_assets.store.manifest import FileInfo

SCRATCH = "scratch"
"""The folder, below the data root, of the scratch directories: ``scratch/RECIPE/PARTITION``."""

_OUTPUTS = "outputs"
_TABLES = (Kind.TABLE, Kind.STREAM)


class ForeignProgramError(MlopsAssetsError):
    """A program in the place of a step does not keep the step contract."""


class ForeignWork:
    """One request to a foreign program."""

    def __init__(self, store: LocalStore, request: Request) -> None:
        """Look at the inputs; nothing is written.

        Raises:
            ForeignProgramError: The step cannot be replaced.
        """
        self._store, self._request, self._step = store, request, STEPS[request.step]
        if not all(one.kind in (*_TABLES, Kind.JSON) for one in self._step.inputs) or not all(
            one.kind in _TABLES for one in self._step.outputs
        ):
            raise ForeignProgramError(
                f"Step {request.step} cannot be replaced by a program without our code: it reads or writes more than"
                f" tables. Build its image FROM ours (docs/containers.md), or remove it from MLOPS_IMAGES."
            )
        self._made_from: dict[str, Ingredients] = {}
        self.failed: list[PartitionResult] = []
        """Partitions whose inputs are missing."""
        for partition in sorted(set(request.partitions)):
            try:
                self._made_from[partition] = ingredients(store, self._step, partition, request)
            except (DataError, MissingPartitionError) as error:
                self.failed.append(PartitionResult(partition, error=str(error)))
        self.still_open = set(self._made_from)
        """Partitions that were not answered yet."""

    @property
    def folders(self) -> list[Path]:
        """The directories that the program writes to: nothing else below ``scratch`` is for it to see."""
        return [self._scratch(one) for one in self._made_from]

    @contextmanager
    def scratch(self, owner: tuple[int, int] | None = None) -> Iterator[None]:
        """Hold the step's scratch directories, which are made here: two programs must not write to the same one.

        Args:
            owner: Uid and gid that directories of root's are handed over to.
        """
        place = self._store.root / SCRATCH
        with locked(place / f".{self._step.name}"):
            for one in self._made_from:
                with storage_errors(f"the scratch directory of {one} was not made", self._scratch(one)):
                    self._make(one, owner)
            yield

    def _make(self, partition: str, owner: tuple[int, int] | None) -> None:
        with ExitStack() as stack:
            place = stack.enter_context(_folder(self._store.root / SCRATCH))
            for name in (self._made_from[partition].recipe, partition, _OUTPUTS):
                place = stack.enter_context(_folder(name, place, is_made=True))
                if owner is not None and name != self._made_from[partition].recipe and os.fstat(place).st_uid == 0:
                    os.fchown(place, *owner)

    def _remove(self, partition: str) -> None:
        """Remove a partition's scratch directory, as far as it goes: what the program left may be anything."""
        recipe = self._made_from[partition].recipe
        with suppress(OSError, RecursionError), _folder(self._store.root / SCRATCH) as root:
            with _folder(recipe, root) as place:
                for _, folders, files, within in os.fwalk(partition, topdown=False, dir_fd=place):
                    for name in (*folders, *files):
                        _remove(name, within)
                os.rmdir(partition, dir_fd=place)
            os.rmdir(recipe, dir_fd=root)

    def order(self) -> dict[str, Any]:
        """What the program gets as its line of JSON."""
        params = {**settings_of(self._step, self._request.params), "csv_delimiter": self._request.params.csv_delimiter}
        partitions = [
            {
                "partition": one,
                "inputs": self._inputs(one),
                "outputs": {file.name: str(self._scratch(one) / _OUTPUTS / file.name) for file in self._step.outputs},
                "scratch": str(self._scratch(one)),
            }
            for one in self._made_from
        ]
        return {"contract": CONTRACT, "step": self._step.name, "params": params, "partitions": partitions}

    def publish(self, line: str) -> PartitionResult:
        """Check an answer and the files that it speaks of, and publish them.

        Raises:
            ForeignProgramError: The line is no answer to what was asked.
        """
        partition, metadata, error = self._checked(line)
        self.still_open.discard(partition)
        if error is not None:
            return PartitionResult(partition, error=error)
        try:
            return self._publish(partition, metadata)
        except (DataError, MissingPartitionError) as problem:
            return PartitionResult(partition, error=str(problem))

    def _checked(self, line: str) -> tuple[str, dict[str, Any], str | None]:
        try:
            answer = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            partition, error, metadata = answer.get("partition"), answer.get("error"), answer.get("metadata", {})
            is_answer = (isinstance(error, str) and error) or (error is None and isinstance(metadata, dict))
            if isinstance(partition, str) and partition in self.still_open and is_answer:
                return partition, metadata, error
        raise ForeignProgramError(
            f"The program in the place of step {self._step.name} printed {line[:200]!r}, which is no answer for a"
            ' partition that is still open. Expected {"partition": …, "metadata": {…}} or {"partition": …, "error":'
            ' "…"} (docs/step-contract.md); logs belong on standard error.'
        )

    def _publish(self, partition: str, metadata: dict[str, Any]) -> PartitionResult:
        made_from, step, store = self._made_from[partition], self._step, self._store
        if made_from != ingredients(store, step, partition, self._request):
            raise DataError(f"Inputs of {step.asset} of {partition} were published again meanwhile. Run it again.")
        preview: list[dict[str, Any]] = []
        with store.publication(step.asset, partition, [file.name for file in step.outputs]) as publication:
            files = [self._taken(partition, file.name, preview) for file in step.outputs]
            manifest = publication.commit(
                files, recipe=made_from.recipe, inputs=made_from.inputs, settings=made_from.settings,
                step_version=step.version, image=self._request.image, metadata=metadata,
            )  # fmt: skip
        self._remove(partition)
        return result_of(manifest, {**described(store, manifest), "preview": preview})

    def _taken(self, partition: str, name: str, preview: list[dict[str, Any]]) -> FileInfo:
        """Copy an output, so that it cannot change any more, and find out what it holds."""
        from mlops_assets.store.delivered import scan

        self._refuse_delivered(partition, name)
        path = staged(self._store.folder(self._step.asset, partition), name)
        self._copy(partition, name, path)
        known = self._known_types(partition)
        text = [column for column, kind in known.items() if kind == "string"]
        params = self._request.params
        source = f"{self._store.relative(self._step.asset, partition, name)}, as the program wrote it"
        found = scan(path, source, text_columns=[*text, *params.text_columns, *self._unknown_id(known)])
        preview.extend(preview_of(found.head) if not preview else [])
        columns = {column: _wider(kind, known.get(column)) for column, kind in (found.info.columns or {}).items()}
        return replace(found.info, name=name, columns=columns)

    def _copy(self, partition: str, name: str, target: Path) -> None:
        """Copy a regular file from the scratch directory, in which the program may have put links and devices."""
        with ExitStack() as stack:
            try:
                place = stack.enter_context(_folder(self._store.root / SCRATCH))
                for folder in (self._made_from[partition].recipe, partition, _OUTPUTS):
                    place = stack.enter_context(_folder(folder, place))
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
            except OSError as error:
                raise DataError(f"The program has not written {name} of {partition}: {error.strerror}.") from error
            stack.callback(os.close, file)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise DataError(f"The program's {name} of {partition} is not a regular file.")
            with open(file, "rb", closefd=False) as content, target.open("xb") as copy:  # a descriptor
                shutil.copyfileobj(content, copy, 1 << 20)

    def _refuse_delivered(self, partition: str, name: str) -> None:
        """Refuse to overwrite raw data that others delivered."""
        asset, store = self._step.asset, self._store
        path = store.folder(asset, partition) / name
        if not path.exists() or store.is_own(asset, partition, name):
            return
        before = store.manifest(asset, partition)
        digests = {info.name: info.sha256 for info in before.files} if before else {}
        if before is None or set(before.settings) != set(self._step.settings) or digests.get(name) != sha256(path):
            raise DataError(
                f"{store.relative(asset, partition, name)} was delivered and not made here; it was not overwritten. Set"
                " MLOPS_SOURCE=files to work with delivered data, or move the file away."
            )

    def _inputs(self, partition: str) -> dict[str, str | list[str]]:
        """File name -> its path; of an input with several partitions all paths, in their order."""
        paths: dict[str, str | list[str]] = {}
        for file in self._step.inputs:
            days = input_partitions(self._store, file, partition, self._request)
            found = [str(self._store.folder(file.asset, day) / file.name) for day in days]
            paths[file.name] = found[0] if file.days is Days.OWN else found
        return paths

    def _known_types(self, partition: str) -> dict[str, str]:
        """Column -> type in the inputs: a column that goes through a step keeps its type."""
        types: dict[str, str] = {}
        for file in self._step.inputs:
            for day in input_partitions(self._store, file, partition, self._request):
                types.update(self._store.info(file.asset, day, file.name).columns or {})
        return types

    def _unknown_id(self, known: Mapping[str, str]) -> list[str]:
        """The id is text (``007``) unless the inputs say otherwise."""
        return [] if self._request.params.id_column in known else [self._request.params.id_column]

    def _scratch(self, partition: str) -> Path:
        return self._store.root / SCRATCH / self._made_from[partition].recipe / partition


@contextmanager
def _folder(path: Path | str, within: int | None = None, *, is_made: bool = False) -> Iterator[int]:
    """A descriptor of a directory; of one in a directory that is open (``within``) without following a link.

    Args:
        path: Where it is, or its name in ``within``.
        within: Descriptor of the directory that it is in.
        is_made: Whether it is made, in the place of whatever else has its name.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | (0 if within is None else os.O_NOFOLLOW)
    if is_made and not _is_directory(path, within):
        with suppress(FileNotFoundError):
            os.unlink(path, dir_fd=within)
        os.mkdir(path, dir_fd=within)
    descriptor = os.open(path, flags, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_directory(path: Path | str, within: int | None) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISDIR(os.stat(path, dir_fd=within, follow_symlinks=False).st_mode)
    return False


def _remove(name: str, within: int) -> None:
    if _is_directory(name, within):
        os.rmdir(name, dir_fd=within)
    else:
        os.unlink(name, dir_fd=within)


def _wider(found: str, known: str | None) -> str:
    """The type of a column whose values on this day would also fit into a narrower one than its input has."""
    if known is not None and (found, known) == ("int64", "double"):
        return known
    times = ("timestamp[s]", "timestamp[us]", "timestamp[ns]")
    if found in times and known in times:
        return max(found, known, key=times.index)
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
