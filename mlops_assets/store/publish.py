"""Publishing a partition so that a crash at any instant leaves the old one or the new one.

Protocol, in the partition's folder, under a lock on it:

1. every file is written as ``.NAME.staged`` and flushed to the disk;
2. the manifest is written as ``.ASSET.manifest.json.next``: this rename is the commit;
3. each staged file is renamed over its place, the manifest last.

A crash before 2 leaves the old partition, and staged files that the next publication overwrites. A crash after 2
is finished by whoever reads or publishes the partition next (:func:`settle`). Renames are atomic, so no file is
ever half-written under its final name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mlops_assets.store.layout import manifest_name
from mlops_assets.store.manifest import Manifest


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process: one publisher at a time, no lock file left behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def staged(folder: Path, name: str) -> Path:
    """Where a file is written before it is published."""
    return folder / f".{name}.staged"


def commit(folder: Path, manifest: Manifest) -> None:
    """Publish the staged files that ``manifest`` lists, and the manifest.

    A listed file that was not staged must already be in its place (a file that somebody else delivered).
    """
    for info in manifest.files:
        path = staged(folder, info.name)
        if path.exists():
            _flush(path)
    draft = folder / f".{manifest_name(manifest.asset)}.staged"
    draft.write_text(manifest.to_json(), encoding="utf-8")
    _flush(draft)
    draft.replace(_intent(folder, manifest.asset))
    _flush(folder)
    _finish(folder, manifest)


def settle(folder: Path, asset: str) -> None:
    """Finish a publication that was committed and then cut off. Cheap where there is none."""
    intent = _intent(folder, asset)
    if not intent.exists():
        return
    with locked(folder):
        if intent.exists():  # another process may have finished it while this one waited for the lock
            _finish(folder, Manifest.from_json(intent.read_text(encoding="utf-8")))


def discard(folder: Path, names: list[str]) -> None:
    """Remove what a publication that was given up has staged."""
    for name in names:
        staged(folder, name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()  # only succeeds where the publication made the folder


def _intent(folder: Path, asset: str) -> Path:
    return folder / f".{manifest_name(asset)}.next"


def _finish(folder: Path, manifest: Manifest) -> None:
    for info in manifest.files:
        path = staged(folder, info.name)
        if path.exists():
            path.replace(folder / info.name)
    _intent(folder, manifest.asset).replace(folder / manifest_name(manifest.asset))
    _flush(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
