"""The data root on a local disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlops_assets.errors import DataError, MissingPartitionError
from mlops_assets.store import layout, publish
from mlops_assets.store.disk import open_regular, read_regular, storage_errors
from mlops_assets.store.manifest import FileInfo, Manifest, parsed_mapping

if TYPE_CHECKING:
    import pyarrow as pa


class LocalStore:
    """Partitions of assets as files below one directory.

    Attributes:
        root: The data root.
    """

    def __init__(self, root: Path | str) -> None:
        """Name the data root; it is made at the first publication."""
        self.root = Path(root).absolute()

    def folder(self, asset: str, ds: str) -> Path:
        """The folder of one day of one asset."""
        return layout.partition_folder(self.root, asset, ds)

    def relative(self, asset: str, ds: str, name: str) -> str:
        """A file's path below the data root: what messages and manifests call it."""
        return f"{layout.FOLDERS[asset]}/{ds}/{name}"

    def partitions(self, asset: str) -> list[str]:
        """The published days of an asset, oldest first: one listing. A day that cannot be looked into is none."""
        parent = self.root / layout.FOLDERS[asset]
        with storage_errors(f"The days of {asset} cannot be listed", parent):
            if not parent.is_dir():
                return []
            days = [day.name for day in parent.iterdir() if layout.is_partition(day.name)]
        name = layout.manifest_name(asset)
        return sorted(ds for ds in days if os.path.exists(parent / ds / name) or publish.is_begun(parent / ds, asset))  # noqa: PTH110  # which raises nothing

    def days(self, asset: str) -> list[str]:
        """The days of which an asset has a folder, published or not: names only, which is quick for thousands."""
        try:
            return [name for name in os.listdir(self.root / layout.FOLDERS[asset]) if layout.is_partition(name)]  # noqa: PTH208
        except FileNotFoundError:
            return []

    def manifest(self, asset: str, ds: str) -> Manifest | None:
        """What is published of a day, or None."""
        folder = self.folder(asset, ds)
        path = folder / layout.manifest_name(asset)
        with storage_errors(f"{asset} of {ds} cannot be read", folder):
            publish.settle(folder, asset)
            try:
                return _manifest_of(asset, ds, read_regular(path))
            except FileNotFoundError:
                return None
            except ValueError as error:
                raise DataError(
                    f"{path} is not a manifest that this version can read ({error}). {_again(asset, ds)}"
                ) from error

    def require(self, asset: str, ds: str) -> Manifest:
        """What is published of a day.

        Raises:
            MissingPartitionError: Nothing is; the message says how to make it.
        """
        manifest = self.manifest(asset, ds)
        if manifest is None:
            raise MissingPartitionError(f"{asset} of {ds} is missing under {self.root}. {_again(asset, ds)}")
        return manifest

    def read_bytes(self, asset: str, ds: str, name: str) -> tuple[bytes, FileInfo]:
        """A published file, checked against its manifest.

        Raises:
            MissingPartitionError: The partition was never published.
            DataError: The file is gone or was changed since.
        """
        with self._opened(asset, ds, name) as (file, info):
            data = file.read()
        self._check(hashlib.sha256(data).hexdigest(), info, asset, ds)
        return data, info

    def read_table(self, asset: str, ds: str, name: str) -> pa.Table:
        """A published table; see :meth:`read_bytes` for the errors."""
        from mlops_assets.store.tables import read_table

        data, info = self.read_bytes(asset, ds, name)
        with self._as_described(asset, ds, name):
            table = read_table(data, info)
            _ = table.column_names  # which are decoded here
        return table

    def read_json(self, asset: str, ds: str, name: str) -> dict[str, Any]:
        """A published JSON file, which holds a mapping; see :meth:`read_bytes` for the errors."""
        data, _ = self.read_bytes(asset, ds, name)
        with self._as_described(asset, ds, name):
            return parsed_mapping(data)

    def stream_table(self, asset: str, ds: str, name: str, *, as_text: Iterable[str] = ()) -> Iterator[pa.Table]:
        """A published table block by block, in bounded memory; its digest is checked after the last block.

        Args:
            asset: Asset name.
            ds: Partition key.
            name: File name.
            as_text: Columns to read as they are spelled, whatever their type was inferred to be.

        Raises:
            MissingPartitionError, DataError: As :meth:`read_bytes`.
        """
        from mlops_assets.store.tables import stream_table

        with self._opened(asset, ds, name) as (file, info):
            reader = _DigestReader(file)
            types = dict(info.columns or {})
            types.update({column: "string" for column in as_text if column in types})
            with self._as_described(asset, ds, name):
                for table in stream_table(reader, replace(info, columns=types)):  # type: ignore[arg-type]  # Arrow needs no more of a file
                    _ = table.column_names  # which are decoded here
                    yield table
        self._check(reader.digest.hexdigest(), info, asset, ds)

    @contextlib.contextmanager
    def publication(self, asset: str, ds: str, names: Iterable[str]) -> Iterator[Publication]:
        """Stage files of a partition; they become visible together at :meth:`Publication.commit`.

        Leaving the block without a commit, by an error or not, leaves the earlier partition as it was.
        """
        folder, names = self.folder(asset, ds), list(names)
        with storage_errors(f"{asset} of {ds} was not published", folder), publish.locked(folder):
            for name in names:
                publish.staged(folder, name).unlink(missing_ok=True)  # left by a publication that was killed
            try:
                yield Publication(self, asset, ds)
            finally:
                publish.discard(folder, asset, names)

    def is_own(self, asset: str, ds: str, name: str) -> bool:
        """Whether a file that is there was published here, not delivered.

        Others only deliver raw data; there the content decides, because they may overwrite what was made here.
        """
        if asset != "raw_data":
            return True
        try:
            manifest = self.manifest(asset, ds)
        except DataError:
            return False
        found = None if manifest is None else next((info for info in manifest.files if info.name == name), None)
        path = self.folder(asset, ds) / name
        if found is None or found.delimiter is not None:
            return False
        return path.is_file() and publish.sha256(path) == found.sha256

    def info(self, asset: str, ds: str, name: str) -> FileInfo:
        """The manifest's entry of a published file; see :meth:`read_bytes` for the errors."""
        try:
            info = self.require(asset, ds).file(name)
        except KeyError:
            raise MissingPartitionError(
                f"{self.relative(asset, ds, name)} is missing. Deliver it (as a regular file), then run: mlops-assets"
                f" materialize {asset} --partition {ds}"
            ) from None
        if info.problem:
            raise DataError(info.problem)
        return info

    @contextlib.contextmanager
    def _opened(self, asset: str, ds: str, name: str) -> Iterator[tuple[IO[bytes], FileInfo]]:
        """A published file, open, with the manifest's entry.

        A publisher may replace the file between a look at the manifest and the opening; then both are done again.
        """
        info = self.info(asset, ds, name)
        while True:
            with contextlib.ExitStack() as stack:
                file: IO[bytes] | None = None
                place = self.folder(asset, ds) / name
                with storage_errors(f"{asset} of {ds} cannot be read", place), contextlib.suppress(FileNotFoundError):
                    file = stack.enter_context(open_regular(place))
                before, info = info, self.info(asset, ds, name)
                if info != before:
                    continue
                if file is None:
                    raise self._changed(asset, ds, name, "is gone")
                yield file, info
                return

    def _check(self, digest: str, info: FileInfo, asset: str, ds: str) -> None:
        if digest != info.sha256:
            raise self._changed(asset, ds, info.name, "was changed")

    @contextlib.contextmanager
    def _as_described(self, asset: str, ds: str, name: str) -> Iterator[None]:
        """Refuse a file that is as its manifest says by its digest, and not what it says by its content."""
        try:
            yield
        except (ValueError, LookupError, NotImplementedError) as error:  # what Arrow raises, and reading JSON
            raise DataError(
                f"{self.relative(asset, ds, name)} is not what {layout.manifest_name(asset)} says of it"
                f" ({str(error).splitlines()[0]}). {_again(asset, ds)}"
            ) from error

    def _changed(self, asset: str, ds: str, name: str, how: str) -> DataError:
        return DataError(
            f"{self.relative(asset, ds, name)} {how} since {asset} of {ds} was published (its digest is not the one in"
            f" {layout.manifest_name(asset)}). {_again(asset, ds)}"
        )


def _again(asset: str, ds: str) -> str:
    """What to do about a partition that cannot be used."""
    if asset in ("scores", "verdict"):  # of no command, but of the gate
        return "Materialize production_model again, which judges anew."
    return f"Run: mlops-assets materialize {asset} --partition {ds}"


def _manifest_of(asset: str, ds: str, text: bytes) -> Manifest:
    """A manifest whose names can be trusted.

    Raises:
        ValueError: The text is none of this partition.
    """
    manifest = Manifest.from_json(text)
    if (manifest.asset, manifest.partition) != (asset, ds):
        raise ValueError(f"it is of {manifest.asset} of {manifest.partition}")
    if unknown := {info.name for info in manifest.files} - {*layout.FILES[asset]}:
        raise ValueError(f"{asset} has no {', '.join(map(str, unknown))}")
    return manifest


class Publication:
    """The files of one partition, on their way.

    Attributes:
        ds: The partition.
    """

    def __init__(self, store: LocalStore, asset: str, ds: str) -> None:
        """Made by :meth:`LocalStore.publication`."""
        self._store, self._asset, self.ds = store, asset, ds
        self._folder = store.folder(asset, ds)

    def table(self, name: str, table: pa.Table) -> FileInfo:
        """Stage a table as CSV."""
        from mlops_assets.store.tables import write_table

        return replace(write_table(table, self._staged(name)), name=name)

    def batches(self, name: str, batches: Iterable[pa.Table], schema: pa.Schema) -> FileInfo:
        """Stage a table that comes in pieces as CSV."""
        from mlops_assets.store.tables import write_batches

        return replace(write_batches(batches, schema, self._staged(name)), name=name)

    def bytes(self, name: str, data: bytes) -> FileInfo:
        """Stage any other file."""
        with self._staged(name).open("xb") as file:
            file.write(data)
        return FileInfo(name, hashlib.sha256(data).hexdigest(), len(data))

    def json(self, name: str, content: Mapping[str, Any]) -> FileInfo:
        """Stage a JSON file."""
        return self.bytes(name, (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())

    def commit(
        self,
        files: Iterable[FileInfo],
        *,
        recipe: str,
        inputs: Mapping[str, str],
        settings: Mapping[str, Any],
        step_version: str,
        image: str,
        metadata: Mapping[str, Any],
    ) -> Manifest:
        """Publish: from here on readers see these files, and no others. See :class:`Manifest` for the arguments."""
        manifest = Manifest(
            self._asset,
            self.ds,
            tuple(files),
            recipe,
            dict(inputs),
            dict(settings),
            step_version,
            image,
            dict(metadata),
        )
        publish.commit(self._folder, manifest)
        return manifest

    def _staged(self, name: str) -> Path:
        """Where to write a file.

        Raises:
            DataError: In its place lies a delivered file, which would be overwritten.
        """
        if (self._folder / name).exists() and not self._store.is_own(self._asset, self.ds, name):
            path = self._store.relative(self._asset, self.ds, name)
            raise DataError(
                f"{path} was delivered and not made here; it was not overwritten. To work with delivered"
                f" data set MLOPS_SOURCE=files; to have {self._asset} made here, move the file away first."
            )
        return publish.staged(self._folder, name)


class _DigestReader:
    """A file that takes the digest of what is read from it; Arrow reads it as any Python file."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True
