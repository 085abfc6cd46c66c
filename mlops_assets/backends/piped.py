"""The step's side of Dagster Pipes: what ``python -m mlops_assets.steps --pipes`` does in its container.

Standard output carries the messages and nothing else: what libraries print goes to standard error, so that no line of
theirs can tear a message. Standard input carries nothing: it stays open as long as the process that started the
container lives, and its end is the order to stop. So a container never outlives a Dagster that was killed.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from dagster_pipes import PipesContext, open_dagster_pipes

from mlops_assets.errors import MlopsAssetsError
from mlops_assets.steps.runner import RunInfo

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend

ASSET, PARTITIONS, PARENT_RUN, LIFELINE = "asset", "partitions", "parent_run_id", "lifeline"
"""Extras of the Pipes context: what to make, for which days, under which MLflow run, whether to stop with the input."""
RESULT, PROMOTION, FAILURE = "result", "promotion", "failure"
"""Keys of the custom messages: a day's result; the gate's decision; an error that concerns all days."""

_SECONDS_TO_END = 10


def serve(backend: Backend) -> int:
    """Do what the Pipes context asks for; returns the exit code: 0 done (days may have failed), 1 an error."""
    signal.signal(signal.SIGTERM, _interrupt)
    with _messages(), open_dagster_pipes() as pipes:
        sys.stdout = sys.stderr
        logging.getLogger().addHandler(_warnings_of(pipes))
        if pipes.extras.get(LIFELINE):
            threading.Thread(target=_end_with_input, daemon=True).start()
        try:
            _answer(pipes, backend)
        except MlopsAssetsError as error:
            pipes.report_custom_message({FAILURE: _described(error)})
            return 1
        except Exception as error:
            traceback.print_exc()
            text = "".join(traceback.format_exception_only(error)).strip()
            pipes.report_custom_message({FAILURE: {"type": None, "message": text}})
            return 1
    return 0


def _answer(pipes: PipesContext, backend: Backend) -> None:
    run = RunInfo(pipes.run_id, pipes.extras[PARENT_RUN])
    if not pipes.extras[PARTITIONS]:
        pipes.report_custom_message({PROMOTION: dict(backend.promote(run))})
        return
    for result in backend.materialize(pipes.extras[ASSET], pipes.extras[PARTITIONS], run):
        pipes.report_custom_message({RESULT: asdict(result)})


def _described(error: MlopsAssetsError) -> dict[str, str]:
    kind = type(error)
    return {"type": f"{kind.__module__}:{kind.__qualname__}", "message": str(error)}


@contextmanager
def _messages() -> Iterator[None]:
    """Make ``sys.stdout`` the only way to the real standard output; descriptor 1 leads to standard error."""
    real = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(real, "w", buffering=1, encoding="utf-8") as stream:
        sys.stdout = stream
        try:
            yield
        finally:
            sys.stdout = sys.stderr


def _warnings_of(pipes: PipesContext) -> logging.Handler:
    """Warnings of all libraries become log messages of the Dagster run."""

    class ToDagster(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            pipes.log.log(record.levelno, record.getMessage())

    return ToDagster(logging.WARNING)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _end_with_input() -> None:
    while os.read(0, 1 << 16):
        pass
    print("The process that started this container is gone: stopping.", file=sys.stderr, flush=True)  # noqa: T201
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_END)
    os._exit(128 + signal.SIGTERM)
