"""Copying the files of models: out of a data root, out of MLflow; always with their SHA-256."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mlops_assets.store.layout import MODEL
from mlops_assets.tracking.entities import DESCRIPTION_SHA256_TAG, SHA256_TAG
from mlops_assets.tracking.errors import TrackingError
from mlops_assets.tracking.mlflow_format import DESCRIPTION

if TYPE_CHECKING:
    from mlops_assets.tracking.client import Connection
    from mlops_assets.tracking.entities import Version

_CHUNK = 1 << 20


def fetch_files(connection: Connection, version: Version, into: Path) -> None:
    """See `Registry.fetch`."""
    wanted = {MODEL: version.sha256, DESCRIPTION: version.tags.get(DESCRIPTION_SHA256_TAG, "")}
    who = f"Version {version.number} of model {version.name!r}"
    if not all(wanted.values()):
        raise TrackingError(
            f"{who} has no tag {SHA256_TAG}, so its file cannot be verified: it was registered by hand. Use a version "
            "that mlops-assets trained."
        )
    into.mkdir(parents=True, exist_ok=True)
    missing = [name for name, sha256 in wanted.items() if not _is(into / name, sha256)]
    if not missing:
        return
    with connection.errors(f"find the files of version {version.number}"):
        uri = connection.client.get_model_version_download_uri(version.name, str(version.number))
    # In the same folder, so that a rename is all that is left to do when every file is there and verified.
    with tempfile.TemporaryDirectory(dir=into, prefix=".fetch-") as scratch:
        for name in missing:
            source = _local_file(connection, uri, name, Path(scratch))
            if not source.is_file():
                raise TrackingError(
                    f"{who} has no file {name} at {connection.config.redact(uri)}. Restore the artifacts, roll back to "
                    "another version, or train this partition again."
                )
            actual = copy_file(source, Path(scratch) / name)
            if actual != wanted[name]:
                raise TrackingError(
                    f"{who} is not what was registered: {name} has SHA-256 {actual[:12]}…, expected "
                    f"{wanted[name][:12]}…. The file was changed after training. Restore the artifacts, roll back to "
                    "another version, or train this partition again."
                )
        for name in missing:
            (Path(scratch) / name).replace(into / name)


def copy_file(source: Path, target: Path) -> str:
    """Copy a file and return the SHA-256 (hex) of the bytes that were copied."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
    return digest.hexdigest()


def local_path(uri: str) -> Path | None:
    """The directory of an artifact URI, or ``None`` when it is not on this machine."""
    parts = urlsplit(uri)
    if parts.scheme == "":
        return Path(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" and not parts.netloc else None


def _local_file(connection: Connection, uri: str, name: str, scratch: Path) -> Path:
    """Where an artifact can be read: its own place if that is on this machine, else a download."""
    if (local := local_path(uri)) is not None:
        return local / name
    from mlflow.artifacts import download_artifacts

    with connection.errors(f"download {connection.config.redact(uri)}/{name}"):
        downloads = str(scratch / "downloads")
        return Path(download_artifacts(f"{uri}/{name}", dst_path=downloads, tracking_uri=connection.config.uri))


def _is(file: Path, sha256: str) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as reader:
        digest = hashlib.sha256()
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == sha256
