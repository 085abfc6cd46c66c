"""The processes of :mod:`~mlops_assets.runtime.pool`: take requests, run steps, send results.

Started as ``python -m mlops_assets.runtime.worker PARENT DESCRIPTOR…``: the process that must not be outlived, and an
inherited socket for each worker. The process imports what its work needs and then forks, so that the libraries are
imported, and lie in memory, once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from mlops_assets.runtime.parent import end_with
from mlops_assets.runtime.preload import preload
from mlops_assets.runtime.runner import Runner
from mlops_assets.steps.threads import limit_openmp_threads
from mlops_assets.store.local import LocalStore


@dataclass(frozen=True)
class Setup:
    """The first message to the processes: the data root, and the steps to import for at once."""

    data_dir: str
    steps: Sequence[str]


class Reply(NamedTuple):
    """An answer.

    Attributes:
        kind: ``result``, ``done`` or ``failed``.
        content: A PartitionResult; nothing; the exception and its traceback.
    """

    kind: str
    content: Any


def main() -> None:
    """Become one worker for each descriptor; serve until the other end is closed."""
    signal.signal(signal.SIGTERM, _interrupt)
    # Killed, so that a run that is started again meets no half of the old one. Where the system cannot do that, a
    # worker ends with the partition that it works on, when it cannot send the result.
    end_with(int(sys.argv[1]), signal.SIGKILL)
    connections = [Connection(int(descriptor)) for descriptor in sys.argv[2:]]
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        setup: Setup = connections[0].recv()
        preload(setup.steps)
        _serve(_forked(connections), Runner(LocalStore(setup.data_dir)))
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()  # the death of this process would kill the others before they have published their partition
    # Taking half a gigabyte of libraries down in good order takes seconds, and nothing is left to be written.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _forked(connections: list[Connection]) -> Connection:
    """Fork a process for each further connection; gives each process its own. Nothing may have started a thread."""
    process = os.getpid()
    for place, connection in enumerate(connections[1:], start=1):
        if os.fork() == 0:
            end_with(process, signal.SIGKILL)
            for other in connections[:place] + connections[place + 1 :]:
                other.close()
            return connection
        connection.close()
    return connections[0]


def _serve(connection: Connection, runner: Runner) -> None:
    while True:
        request, openmp_threads = connection.recv()
        limit_openmp_threads(openmp_threads)
        try:
            for result in runner.run(request):
                connection.send(Reply("result", result))
            connection.send(Reply("done", None))
        except Exception as error:  # whatever it is, the parent must know
            connection.send(Reply("failed", (error, traceback.format_exc())))


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    # What is sent must be of the module that the parent knows, not of one called __main__.
    from mlops_assets.runtime.worker import main as work

    work()
