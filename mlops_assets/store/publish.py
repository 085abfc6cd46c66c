"""Publishing a partition so that a crash at any instant leaves the old one or the new one.

Protocol, in the partition's folder, under a lock on it:

1. every file is written as ``.NAME.staged`` and flushed to the disk;
2. the manifest is written as ``.ASSET.manifest.json.next``: this rename is the commit;
3. each staged file is renamed over its place, the manifest last.

A crash before 2 leaves the old partition, and staged files that the next publication removes. A crash after 2
is finished by whoever reads or publishes the partition next (:func:`settle`, :func:`locked`). Renames are atomic, so
no file is ever half-written under its final name.

Others may write to the folder, too: a draft is always a new file and follows no link, and of a publication that was cut
off only the files that the layout knows are moved, to their own places.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from mlops_assets.errors import DataError
from mlops_assets.store.disk import open_regular, read_regular
from mlops_assets.store.layout import FILES, manifest_name
from mlops_assets.store.manifest import Manifest


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder (made where it is missing): one publisher at a time, no lock file left behind.

    Publications that were committed and cut off are finished first, those of the folder's other assets too: whoever
    holds the folder would wait for himself if he read one of them.
    """
    descriptor = _locked_descriptor(folder)
    try:
        for asset in FILES:
            if is_begun(folder, asset):
                _resume(folder, asset)
        yield
    finally:
        os.close(descriptor)


def staged(folder: Path, name: str) -> Path:
    """Where a file is written before it is published."""
    return folder / f".{name}.staged"


def commit(folder: Path, manifest: Manifest) -> None:
    """Publish the staged files that ``manifest`` lists, and the manifest.

    A listed file that was not staged must already be in its place (a delivered file).
    """
    for info in manifest.files:
        path = staged(folder, info.name)
        if path.exists():
            _flush(path)
    draft = staged(folder, manifest_name(manifest.asset))
    draft.unlink(missing_ok=True)
    with draft.open("xb") as file:
        file.write(manifest.to_json().encode())
    _flush(draft)
    draft.replace(_intent(folder, manifest.asset))
    _flush(folder)
    _finish(folder, manifest)


def settle(folder: Path, asset: str) -> None:
    """Finish a publication that was committed and then cut off. Cheap where there is none."""
    if is_begun(folder, asset):
        with locked(folder):
            pass


def is_begun(folder: Path, asset: str) -> bool:
    """Whether a publication was committed and not finished."""
    return os.path.lexists(_intent(folder, asset))


def discard(folder: Path, asset: str, names: list[str]) -> None:
    """Remove what a publication that was given up has staged; the caller holds the folder."""
    if is_begun(folder, asset):
        return  # interrupted after the commit: the staged files are the partition
    for name in (*names, manifest_name(asset)):
        staged(folder, name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()  # only succeeds where the publication made the folder


def _intent(folder: Path, asset: str) -> Path:
    return folder / f".{manifest_name(asset)}.next"


def _locked_descriptor(folder: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), folder.stat()):
                    return descriptor
            os.close(descriptor)  # a publisher that gave up has removed the folder while this one waited


def _resume(folder: Path, asset: str) -> None:
    """Finish a publication that was cut off; drop it if others have put files there since, or if it is none of ours."""
    manifest = _intended(folder, asset)
    if manifest is not None and not _has_foreign_file(folder, manifest):
        _finish(folder, manifest)
        return
    for name in FILES[asset]:
        staged(folder, name).unlink(missing_ok=True)
    _intent(folder, asset).unlink()


def _intended(folder: Path, asset: str) -> Manifest | None:
    """What a publication was about to publish, if it can have been ours.

    In ``raw_data`` others deliver: there only what was generated here is finished; a delivery is registered again.
    """
    try:
        manifest = Manifest.from_json(read_regular(_intent(folder, asset)))
        is_ours = manifest.asset == asset and {info.name for info in manifest.files} <= {*FILES[asset]}
        is_ours = is_ours and not any(info.delimiter for info in manifest.files)
    except (OSError, DataError, ValueError):
        return None
    return manifest if is_ours else None


def _has_foreign_file(folder: Path, manifest: Manifest) -> bool:
    """Whether a staged file would overwrite one that the partition before did not have."""
    places = [folder / info.name for info in manifest.files if staged(folder, info.name).exists()]
    try:
        before = Manifest.from_json(read_regular(folder / manifest_name(manifest.asset)))
        is_raw = before.asset == "raw_data"  # where a file with a delimiter was delivered
        known = {info.name: info.sha256 for info in before.files if not (is_raw and info.delimiter)}
    except (OSError, DataError, ValueError):
        known = {}
    return any(
        os.path.lexists(place) and (not place.is_file() or sha256(place) != known.get(place.name)) for place in places
    )


def sha256(path: Path) -> str:
    """Hex digest of a regular file."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


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
