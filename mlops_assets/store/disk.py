"""Opening files that others may have put there, and what the disk refuses, as errors that say what to do."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mlops_assets.errors import DataError, MlopsAssetsError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_PASSING = {*_FULL, errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ESTALE, errno.ETIMEDOUT}
_REMEDIES = {
    **dict.fromkeys(_FULL, "Free some space on the disk (mlops-assets doctor shows it); earlier files are unharmed."),
    errno.EROFS: "The disk is mounted read-only: mount it for writing, or set MLOPS_DATA_DIR to another folder.",
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        "Give the user that runs mlops-assets (in containers: the user of the container) the rights to this path.",
    ),
}
_OTHER_REMEDY = "Check the path and the disk, then run it again."


class StorageError(MlopsAssetsError):
    """The disk refused to read or to write; earlier partitions are as they were."""


class TemporaryStorageError(StorageError):
    """There is no space left, or the disk is busy or away."""

    can_retry = True


@contextmanager
def storage_errors(what: str, path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a :class:`StorageError`.

    Args:
        what: That is read or written: an asset and its day.
        path: Where, if the error itself does not say it.
    """
    try:
        yield
    except OSError as error:
        kind = TemporaryStorageError if error.errno in _PASSING else StorageError
        place, remedy = error.filename2 or error.filename or path, _REMEDIES.get(error.errno or 0, _OTHER_REMEDY)
        raise kind(f"{what}: {place}: {error.strerror or error}. {remedy}") from error


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading, unbuffered. Never waits for the writer of a fifo, and reads no device.

    Raises:
        OSError: It cannot be opened.
        DataError: It is no regular file.
    """
    if path.is_file():
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb", buffering=0)
        os.close(descriptor)
    elif not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    raise DataError(f"{path} is no regular file. Expected one; remove what is there, then run this again.")


def read_regular(path: Path) -> bytes:
    """The content of a regular file; see :func:`open_regular` for the errors."""
    with open_regular(path) as file:
        return file.read()
