"""The processes of :class:`~mlops_assets.backends.workers.WorkersBackend`: take requests, run steps, send results.

Started as ``python -m mlops_assets.backends.worker PARENT DESCRIPTOR…``: the process that must not be outlived, and an
inherited socket for each worker. The process imports what its work needs and then forks, so that the libraries are
imported, and lie in memory, once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from mlops_assets.backends.inprocess import InProcessBackend
from mlops_assets.backends.messages import Reply, Request, Setup
from mlops_assets.backends.remote_tracking import RemoteTracking
from mlops_assets.runtime.preload import preload
from mlops_assets.steps.threads import limit_openmp_threads
from mlops_assets.store.local import LocalStore

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Become one worker for each descriptor; serve until the other end is closed."""
    signal.signal(signal.SIGTERM, _interrupt)
    _end_with(int(sys.argv[1]))
    connections = [Connection(int(descriptor)) for descriptor in sys.argv[2:]]
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        setup: Setup = connections[0].recv()
        preload(setup.assets)
        _serve(_forked(connections), setup)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()  # the death of this process would kill the others before they have ended their MLflow runs
    # Taking half a gigabyte of libraries down in good order takes seconds, and nothing is left to be written.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _forked(connections: list[Connection]) -> Connection:
    """Fork a process for each further connection; gives each process its own. Nothing may have started a thread."""
    process = os.getpid()
    for place, connection in enumerate(connections[1:], start=1):
        if os.fork() == 0:
            _end_with(process)
            for other in connections[:place] + connections[place + 1 :]:
                other.close()
            return connection
        connection.close()
    return connections[0]


def _serve(connection: Connection, setup: Setup) -> None:
    def wait_for_turn(ds: str) -> None:
        connection.send(Reply("turn", ds))
        connection.recv()

    def call(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        connection.send(Reply("call", (name, arguments, named)))
        value, error = connection.recv()
        if error is not None:
            raise error
        return value

    tracking: Any = RemoteTracking(setup.tracking, call)
    backend = InProcessBackend(LocalStore(setup.data_dir), tracking, setup.params, before_recording=wait_for_turn)
    while True:
        request: Request = connection.recv()
        limit_openmp_threads(request.openmp_threads)
        try:
            connection.send(Reply("done", _answer(connection, backend, request)))
        except Exception as error:  # whatever it is, the parent must hear of it
            connection.send(Reply("failed", (error, traceback.format_exc())))


def _answer(connection: Connection, backend: InProcessBackend, request: Request) -> Any:
    if request.asset is None:
        return dict(backend.promote(request.run))
    for result in backend.materialize(request.asset, request.partitions, request.run):
        connection.send(Reply("result", result))
    return None


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _end_with(parent: int) -> None:
    """Be killed when the parent dies, so that a run that is started again meets no half of the old one.

    Linux only; elsewhere a worker ends with the day that it is at, when it cannot send the result.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this worker is gone")


if __name__ == "__main__":
    main()
