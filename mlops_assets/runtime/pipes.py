"""The step's side of Dagster Pipes: what ``python -m mlops_assets.runtime --pipes`` does in its container.

Standard input carries two lines of JSON. The first are variables that only this process is to know: passwords. The
second are the bootstrap parameters of Pipes, which come when it is the step's turn: until then the process imports what
the step will need. Then the input stays open as long as the process that started
the container lives, and its end is the order to stop. So a container never outlives a Dagster that was killed.

Standard output carries the messages and nothing else: what libraries print goes to standard error, so that no line of
theirs can tear a message.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from dagster_pipes import PipesContext, PipesMappingParamsLoader, open_dagster_pipes

from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime.runner import RunInfo

if TYPE_CHECKING:
    from mlops_assets.backends.base import Backend

ASSET, PARTITIONS, PARENT_RUN = "asset", "partitions", "parent_run_id"
"""Extras of the Pipes context: what to make, for which days, under which MLflow run."""
RESULT, PROMOTION, FAILURE = "result", "promotion", "failure"
"""Keys of the custom messages: a day's result; the gate's decision; an error that concerns all days."""

UMASK = "STEP_UMASK"
"""Variable: the umask of who started the container, so that files have the rights that they have without one."""

_SECONDS_TO_END = 10


def serve(build: Callable[[], tuple[Backend, Callable[[], None]]]) -> int:
    """Do what the Pipes context asks for when it comes.

    Args:
        build: Gives the backend of this process, and a function that imports and opens what will be needed; an error
            of that comes again when it matters.

    Returns:
        Exit code: 0 done (days may have failed) or nothing was asked for, 1 an error.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    orders = _Orders()
    os.environ.update(orders.wait() or {})
    if umask := os.environ.get(UMASK):
        os.umask(int(umask, 8))
    with _messages() as messages:
        backend, get_ready = build()
        with closing(backend):
            with suppress(Exception):
                get_ready()
            parameters = orders.wait()
            return 0 if parameters is None else _serve(backend, parameters, messages)


def _serve(backend: Backend, parameters: dict[str, str], messages: TextIO) -> int:
    sys.stdout = messages  # where Pipes writes to what is standard output now
    with open_dagster_pipes(params_loader=PipesMappingParamsLoader(parameters)) as pipes:
        sys.stdout = sys.stderr
        logging.getLogger().addHandler(_warnings_of(pipes))
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
def _messages() -> Iterator[TextIO]:
    """The only way to the real standard output, for this process alone; descriptor 1 leads to standard error."""
    real = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(real, "w", buffering=1, encoding="utf-8") as stream:
        yield stream


def _warnings_of(pipes: PipesContext) -> logging.Handler:
    """Warnings of all libraries become log messages of the Dagster run."""

    class ToDagster(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                pipes.log.log(
                    logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING, record.getMessage()
                )
            except Exception:  # a log message must not end a step
                self.handleError(record)

    return ToDagster(logging.WARNING)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


class _Orders:
    """Standard input, watched from the start: its two lines, and its end."""

    def __init__(self) -> None:
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._watch, daemon=True).start()

    def wait(self) -> dict[str, str] | None:
        """The next line's variables or parameters; None if the input ended before they came."""
        line = self._lines.get()
        return json.loads(line) if line else None

    def _watch(self) -> None:
        with open(0, "rb", closefd=False) as orders:  # a descriptor
            for _ in range(2):
                line = orders.readline()
                self._lines.put(line)
            orders.read()
        if line:
            print("The process that started this container is gone: stopping.", file=sys.stderr, flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_SECONDS_TO_END)
        os._exit(128 + signal.SIGTERM)
