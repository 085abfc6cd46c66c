"""What lies in the data root, for deciding what to do: one listing an asset, and manifests that are read once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from mlops_assets.errors import DataError
from mlops_assets.store import layout
from mlops_assets.store.publish import sha256

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_assets.store.local import LocalStore
    from mlops_assets.store.manifest import Manifest


class Stamp(NamedTuple):
    """What tells a file from its successor.

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
        try:
            with os.scandir(self.store.root / layout.FOLDERS[asset]) as days:
                return {day.name: _files(day.path) for day in days if layout.is_partition(day.name) and day.is_dir()}
        except FileNotFoundError:
            return {}

    def manifest(self, asset: str, ds: str, files: dict[str, Stamp]) -> Manifest | None:
        """What is published of a day whose files were listed; None where nothing is, or nothing that can be read."""
        stamp = files.get(layout.manifest_name(asset))
        if stamp is None:
            return None
        known = self._manifests.get((asset, ds))
        if known is None or known[0] != stamp:
            try:
                known = stamp, self.store.manifest(asset, ds)
            except DataError:
                known = stamp, None
            self._manifests[asset, ds] = known
        return known[1]

    def digest(self, ds: str, name: str, stamp: Stamp) -> str:
        """The SHA-256 of a delivered file of raw data."""
        known = self._digests.get((ds, name))
        if known is None or known[0] != stamp:
            known = stamp, sha256(self.store.folder("raw_data", ds) / name)
            self._digests[ds, name] = known
        return known[1]


def _files(folder: str) -> dict[str, Stamp]:
    try:
        with os.scandir(folder) as files:
            return {one.name: _stamp(one.stat()) for one in files if not one.name.startswith(".")}
    except FileNotFoundError:  # it was removed while we looked
        return {}


def stamp_of(path: Path) -> Stamp:
    """The stamp of one file."""
    return _stamp(path.stat())


def _stamp(stat: os.stat_result) -> Stamp:
    return Stamp(stat.st_size, max(stat.st_mtime_ns, stat.st_ctime_ns))
