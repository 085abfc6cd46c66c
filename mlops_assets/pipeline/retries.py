"""Which failures are tried again: only what can heal. Bad input fails at once."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from mlops_assets.errors import MlopsAssetsError

_PASSING = {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ENOSPC, errno.ESTALE, errno.ENETUNREACH, errno.EHOSTUNREACH}


def retry_policy(retries: int, seconds: float) -> dg.RetryPolicy:
    """Exponential backoff with jitter: about 1, 3, 7, … times so many seconds."""
    return dg.RetryPolicy(
        max_retries=retries, delay=seconds, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
    )


@contextmanager
def told_to_dagster() -> Iterator[None]:
    """Turn errors into Dagster's failure, with the message for the user and whether it is worth another try.

    Raises:
        dagster.Failure: In the place of any exception.
    """
    try:
        yield
    except dg.Failure:
        raise
    except MlopsAssetsError as error:
        raise dg.Failure(str(error), allow_retries=error.can_heal) from error
    except Exception as error:
        if can_heal(error):
            raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=True) from error
        raise dg.Failure(
            f"Unexpected {type(error).__name__}: {error}. The traceback is in the run's log.", allow_retries=False
        ) from error


def can_heal(error: BaseException) -> bool:
    """Whether the same may succeed later: the network, a file server, a full disk."""
    return isinstance(error, (ConnectionError, TimeoutError)) or (
        isinstance(error, OSError) and error.errno in _PASSING
    )
