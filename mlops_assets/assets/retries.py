"""Which failures are tried again: only what can heal. Bad input fails at once."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from mlops_assets.errors import MlopsAssetsError

HEAL_TAG = "mlops_assets/can_retry"
"""Run tag: ``true`` where the last failure of a step was of a kind that can heal."""

_PASSING = {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ENOSPC, errno.ESTALE, errno.ENETUNREACH, errno.EHOSTUNREACH}


def retry_policy(retries: int, seconds: float) -> dg.RetryPolicy:
    """Exponential backoff with jitter: about 1, 3, 7, … times so many seconds."""
    return dg.RetryPolicy(
        max_retries=retries, delay=seconds, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
    )


@contextmanager
def told_to_dagster(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Turn errors into Dagster's failure, with the message for the user and whether it is worth another try.

    Raises:
        dagster.Failure: In the place of any exception.
    """
    try:
        yield
    except dg.Failure:
        raise
    except Exception as error:
        heals = can_retry(error)
        if heals or HEAL_TAG in context.run.tags:
            context.instance.add_run_tags(context.run.run_id, {HEAL_TAG: str(heals).lower()})
        raise dg.Failure(_message(error, heals), allow_retries=heals) from error


def _message(error: Exception, heals: bool) -> str:
    if isinstance(error, MlopsAssetsError):
        return str(error)
    if heals:
        return f"{type(error).__name__}: {error}"
    return f"Unexpected {type(error).__name__}: {error}. The traceback is in the run's log."


def can_retry(error: BaseException) -> bool:
    """Whether the same may succeed later: an engine, the network, a server, a full disk."""
    if isinstance(error, MlopsAssetsError):
        return error.can_retry
    return isinstance(error, (ConnectionError, TimeoutError)) or (
        isinstance(error, OSError) and error.errno in _PASSING
    )
