"""Doing what an order says, and answering: in Dagster Pipes messages, or as JSON lines for a person.

The order is the first line of standard input. With Pipes the input then stays open as long as the process that started
the container lives; its end means stop. So a container never outlives a Dagster that was killed.

Standard output carries answers and nothing else: what libraries print goes to standard error, so that no line of
theirs can tear a message.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime.pool import Pool
from mlops_assets.runtime.preload import preload
from mlops_assets.runtime.request import PartitionResult, Request
from mlops_assets.runtime.runner import Runner
from mlops_assets.store.local import LocalStore

if TYPE_CHECKING:
    from dagster_pipes import PipesContext

CONTRACT = 1
"""Version of the step contract: the form of orders and answers, see docs/step-contract.md."""
RESULT, FAILURE = "result", "failure"
"""Keys of the custom messages: a partition's result; an error that concerns all partitions."""

_SECONDS_TO_END = 10
_HEARTBEAT_SECONDS = 30


@dataclass(frozen=True)
class Order:
    """What a container is to do.

    Attributes:
        request: The step and its partitions.
        data_root: Absolute path.
        workers: Processes that share the partitions; None: a core each, four at most.
        umask: Of the files that are written; None: this process's.
        pipes: Bootstrap parameters of Dagster Pipes; None: answers are JSON lines.
    """

    request: Request
    data_root: str
    workers: int | None = None
    umask: int | None = None
    pipes: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        return {"contract": CONTRACT, **values, "request": self.request.to_json()}

    @classmethod
    def from_line(cls, line: bytes) -> Order:
        """Read what :meth:`to_json` gave.

        Raises:
            ValueError: It is no order of this version.
        """
        try:
            content = json.loads(line)
            if content.pop("contract") != CONTRACT:
                raise ValueError("another version")  # noqa: TRY301
            return cls(**{**content, "request": Request.from_json(content["request"])})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"standard input: expected one line of JSON with contract {CONTRACT} (docs/step-contract.md);"
                f" {type(error).__name__}: {error}"
            ) from error


class Work:
    """One runner, or a pool where there are several partitions."""

    def __init__(self) -> None:
        """Nothing is imported or started until first use."""
        self._pool: Pool | None = None

    def prepare(self, step: str, data_root: str, workers: int) -> None:
        """Import what a step uses, in so many processes."""
        if workers > 1:
            self._pool = Pool(data_root, workers)
            self._pool.prepare([step], workers)
        else:
            preload([step])

    def run(self, order: Order) -> Iterator[PartitionResult]:
        """The results of an order's partitions."""
        request = order.request
        workers = workers_for(len(request.partitions), order.workers)
        if self._pool is None:
            self.prepare(request.step, order.data_root, workers)
        return (self._pool or Runner(LocalStore(order.data_root))).run(request)

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.close()


def workers_for(partitions: int, workers: int | None) -> int:
    """How many processes share partitions; each holds up to half a gigabyte of libraries."""
    return max(1, min(partitions, min(os.cpu_count() or 1, 4) if workers is None else workers))


def serve(order: Order, work: Work, messages: TextIO) -> int:
    """Carry out an order; gives the exit code.

    Args:
        order: What to do.
        work: What does it.
        messages: Where answers go.
    """
    if order.umask is not None:
        os.umask(order.umask)
    return _print(order, work, messages) if order.pipes is None else _report(order, work, messages)


def _print(order: Order, work: Work, messages: TextIO) -> int:
    """Answer as lines of JSON: 0 done, 1 a partition failed."""
    code = 0
    try:
        for result in work.run(order):
            print(json.dumps(asdict(result), ensure_ascii=False), file=messages, flush=True)
            code = 1 if result.error else code
    except MlopsAssetsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return code


def _report(order: Order, work: Work, messages: TextIO) -> int:
    """Answer in messages of Dagster Pipes: 0 all partitions have answered, 1 an error that concerns all of them."""
    from dagster_pipes import PipesMappingParamsLoader, open_dagster_pipes

    _stop_when_input_ends()
    _beat(messages)
    sys.stdout = messages  # where Pipes writes to what is standard output now
    with open_dagster_pipes(params_loader=PipesMappingParamsLoader(order.pipes or {})) as pipes:
        sys.stdout = sys.stderr
        logging.getLogger().addHandler(_warnings_of(pipes))
        try:
            for result in work.run(order):
                pipes.report_custom_message({RESULT: asdict(result)})
        except MlopsAssetsError as error:
            pipes.report_custom_message({FAILURE: _described(error)})
            return 1
        except Exception as error:
            traceback.print_exc()
            text = "".join(traceback.format_exception_only(error)).strip()
            pipes.report_custom_message({FAILURE: {"type": None, "message": text}})
            return 1
    return 0


def _described(error: MlopsAssetsError) -> dict[str, str]:
    kind = type(error)
    return {"type": f"{kind.__module__}:{kind.__qualname__}", "message": str(error)}


@contextmanager
def answers() -> Iterator[TextIO]:
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
                level = logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING
                pipes.log.log(level, record.getMessage())
            except Exception:  # a log message must not end a step
                self.handleError(record)

    return ToDagster(logging.WARNING)


def _beat(messages: TextIO) -> None:
    """Write an empty line now and then: a proxy between Dagster and the engine may end connections that are silent."""

    def beat() -> None:
        while True:
            time.sleep(_HEARTBEAT_SECONDS)
            try:
                messages.write("\n")
            except (OSError, ValueError):  # the output is closed: the step is done
                return

    threading.Thread(target=beat, daemon=True).start()


def _stop_when_input_ends() -> None:
    def watch() -> None:
        while os.read(0, 1 << 16):
            pass
        print("The process that started this container is gone: stopping.", file=sys.stderr, flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_SECONDS_TO_END)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
