"""Which failures are retried: only those that may pass by themselves. Bad input fails at once."""

from __future__ import annotations

import errno

import dagster as dg

from mlops_assets.errors import MlopsAssetsError

RETRY_TAG = ".dagster/mlops_assets_can_retry"
"""Run tag: ``true`` where the last failure of a step may pass by itself."""

_PASSING = {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ENOSPC, errno.ESTALE, errno.ENETUNREACH, errno.EHOSTUNREACH}


def retry_policy(retries: int, seconds: float) -> dg.RetryPolicy:
    """Exponential backoff with jitter: about 1, 3, 7, … times so many seconds."""
    return dg.RetryPolicy(
        max_retries=retries, delay=seconds, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
    )


def as_dagster_failure(context: dg.AssetExecutionContext, error: Exception) -> dg.Failure:
    """Dagster's failure with the message for the user, retried only if that can help."""
    retry = can_retry(error)
    note_retry(context, retry)
    return dg.Failure(message_of(error), allow_retries=retry)


def note_retry(context: dg.AssetExecutionContext, can_help: bool) -> None:
    """Set :data:`RETRY_TAG`: every failure of a step says it anew, so that the last one counts."""
    context.instance.add_run_tags(context.run.run_id, {RETRY_TAG: str(can_help).lower()})


def will_retry(context: dg.AssetExecutionContext, error: Exception) -> bool:
    """Whether Dagster runs the step again if it fails with this error."""
    policy = context.op_def.retry_policy if context.op_def else None
    return can_retry(error) and policy is not None and context.retry_number < policy.max_retries


def message_of(error: Exception) -> str:
    """The message for the user."""
    if isinstance(error, MlopsAssetsError):
        return str(error)
    if can_retry(error):
        return f"{type(error).__name__}: {error}"
    return f"Unexpected {type(error).__name__}: {error}. The traceback is in the run's log."


def can_retry(error: BaseException) -> bool:
    """Whether the same may succeed later: an engine, the network, a server, a full disk."""
    if isinstance(error, MlopsAssetsError):
        return error.can_retry
    return isinstance(error, (ConnectionError, TimeoutError)) or (
        isinstance(error, OSError) and error.errno in _PASSING
    )
