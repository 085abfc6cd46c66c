"""What lies in the data root, for deciding what to do: one listing an asset, and manifests that are read once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlops_assets.store import layout
from mlops_assets.store.disk import storage_errors
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.publish import sha256

if TYPE_CHECKING:
    from mlops_assets.store.local import LocalStore


class Stamp(NamedTuple):
    """What distinguishes a file from its successor.

    Attributes:
        size: Bytes.
        changed: When its content or its name last changed, in nanoseconds since 1970. A copy that keeps the time of its
            original (``cp -p``, ``rsync -t``) is still noticed.
    """

    size: int
    changed: int


Listing = dict[str, dict[str, Stamp]]
"""Day -> file name -> stamp, hidden files not counted."""


class Survey:
    """Looks at a data root again and again; remembers the manifests and digests of files that have not changed."""

    def __init__(self, store: LocalStore) -> None:
        """Name the data root; nothing is read yet."""
        self.store = store
        self._manifests: dict[tuple[str, str], tuple[Stamp, Manifest | None]] = {}
        self._digests: dict[tuple[str, str], tuple[Stamp, str]] = {}

    def listing(self, asset: str) -> Listing:
        """All files of all days of an asset's folder."""
        folder = self.store.root / layout.FOLDERS[asset]
        with storage_errors(f"The days of {asset} cannot be listed", folder):
            try:
                with os.scandir(folder) as days:
                    found = [day for day in days if layout.is_partition(day.name) and day.is_dir()]
            except FileNotFoundError:
                return {}
            return {day.name: _files(day.path) for day in found}

    def manifest(self, asset: str, ds: str, files: dict[str, Stamp]) -> Manifest | None:
        """What is published of a day whose files were listed; None where nothing is, or nothing that can be read.

        Columns and metadata are left out.
        """
        stamp = files.get(layout.manifest_name(asset))
        if stamp is None:
            return None
        known = self._manifests.get((asset, ds))
        if known is None or known[0] != stamp:
            known = self._manifests[asset, ds] = stamp, self._read(asset, ds)
        return known[1]

    def _read(self, asset: str, ds: str) -> Manifest | None:
        # Thousands are read at the first look: plain strings and bytes are half of the time.
        path = os.path.join(self.store.root, layout.FOLDERS[asset], ds, layout.manifest_name(asset))  # noqa: PTH118
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                return _slim(Manifest.from_json(file.read()))
        except (OSError, ValueError):
            return None

    def digest(self, ds: str, name: str, stamp: Stamp) -> str:
        """The SHA-256 of a delivered file of raw data."""
        known = self._digests.get((ds, name))
        if known is None or known[0] != stamp:
            known = stamp, sha256(self.store.folder("raw_data", ds) / name)
            self._digests[ds, name] = known
        return known[1]


def _slim(manifest: Manifest) -> Manifest:
    """Without columns and metadata: thousands of manifests stay in memory."""
    files = tuple(replace(info, columns=None, missing_values=()) for info in manifest.files)
    return replace(manifest, files=files, metadata={})


def _files(folder: str) -> dict[str, Stamp]:
    try:
        with os.scandir(folder) as files:
            return {one.name: _stamp(one.stat()) for one in files if not one.name.startswith(".") and _is_file(one)}
    except (FileNotFoundError, PermissionError):  # removed while we looked; or its run says what is wrong
        return {}


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return Path(entry.path).is_file()  # a link in a loop, or through a file, is none; other errors are raised


def stamp_of(path: Path) -> Stamp:
    """The stamp of one file."""
    return _stamp(path.stat())


def _stamp(stat: os.stat_result) -> Stamp:
    return Stamp(stat.st_size, max(stat.st_mtime_ns, stat.st_ctime_ns))
