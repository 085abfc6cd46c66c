"""Steps run in processes beside the calling one: days in parallel, and imports while Dagster is imported.

A cold start is nearly all imports, and days are independent of each other; both leave the second core idle in one
process. What is made is the same as in process: models are recorded in the order of their days.
"""

from __future__ import annotations

import contextlib
import operator
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from mlops_assets.backends.messages import Reply, Request, Setup
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime.runner import PartitionResult, RunInfo

if TYPE_CHECKING:
    from dagster import AssetExecutionContext

    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore
    from mlops_assets.tracking.tracker import Tracking

_SECONDS_TO_END = 20


class WorkerDiedError(MlopsAssetsError):
    """A worker ended in the middle of its work."""

    can_heal = True  # the machine may have been short of memory for a while


class _Worker:
    """The connection to one worker, and the process that it was forked from (or is)."""

    def __init__(self, connection: Connection, process: subprocess.Popen[bytes]) -> None:
        self.connection, self._process = connection, process

    def receive(self) -> Reply:
        try:
            reply: Reply = self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise WorkerDiedError(
                f"The process that ran the step is gone{self._how()}. If the machine is out of memory, run it"
                " again with fewer processes (MLOPS_WORKERS). What was published stays."
            ) from None
        return reply

    def interrupt(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def wait(self) -> None:
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def group(self) -> int:
        return self._process.pid

    def _how(self) -> str:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return ""  # it was one of the forked ones
        return f" (killed by signal {-code})" if code < 0 else f" (exit code {code})"


def _started(count: int, setup: Setup) -> list[_Worker]:
    """Start workers in one process group of their own, which forks them once the libraries are imported."""
    pairs = [socket.socketpair() for _ in range(count)]
    theirs = [end.fileno() for _, end in pairs]
    process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
        [sys.executable, "-m", "mlops_assets.backends.worker", str(os.getpid()), *map(str, theirs)],
        pass_fds=theirs,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the parent, which ends its workers properly
    )
    for _, end in pairs:
        end.close()
    workers = [_Worker(Connection(end.detach()), process) for end, _ in pairs]
    workers[0].connection.send(setup)
    return workers


class WorkersBackend:
    """Runs steps in up to ``count`` processes, which are started when they are needed and stay until :meth:`close`."""

    runs_elsewhere = False

    def __init__(self, store: LocalStore, tracking: Tracking, params: Parameters, count: int) -> None:
        """Name the parts; no process is started yet."""
        self.store, self.params, self._tracking, self._count = store, params, tracking, count
        self._workers: list[_Worker] = []

    def prepare(self, assets: Sequence[str], partitions: Sequence[str], run_id: str = "") -> None:  # noqa: ARG002  # part of the interface
        """Start the processes; they import what these assets need while the caller goes on."""
        self._grow(len(partitions), assets)

    def materialize(
        self,
        asset: str,
        partitions: Sequence[str],
        run: RunInfo,
        context: AssetExecutionContext | None = None,  # noqa: ARG002  # part of the interface
    ) -> Generator[PartitionResult]:
        """See :meth:`mlops_assets.backends.base.Backend.materialize`."""
        days = sorted(set(partitions))
        # The same days go to the same worker in every step: it still has the models that it trained.
        workers = self._grow(len(days), (asset,))
        shares = [days[place :: len(workers)] for place in range(len(workers))]
        yield from self._asked(workers, [self._request(asset, share, run, len(workers)) for share in shares], days)

    def promote(
        self,
        run: RunInfo,
        context: AssetExecutionContext | None = None,  # noqa: ARG002  # part of the interface
    ) -> Mapping[str, Any]:
        """See :meth:`mlops_assets.backends.base.Backend.promote`."""
        workers = self._grow(1, ("production_model",))
        decision: dict[str, Any] = {}
        for _ in self._asked(workers, [self._request(None, (), run, 1)], (), decision):
            pass
        return decision

    def sweep(self, is_over: Callable[[str], bool]) -> list[str]:  # noqa: ARG002  # part of the interface
        """See :meth:`mlops_assets.backends.base.Backend.sweep`; processes end with the one that started them."""
        return []

    def close(self) -> None:
        """End the processes; none is at work."""
        self._end(at_once=False)

    def _grow(self, days: int, assets: Sequence[str]) -> list[_Worker]:
        wanted = max(1, min(self._count, days))
        if (missing := wanted - len(self._workers)) > 0:
            setup = Setup(str(self.store.root), self._tracking.config, self.params, tuple(assets))
            self._workers += _started(missing, setup)
        return self._workers[:wanted]

    def _request(self, asset: str | None, days: Sequence[str], run: RunInfo, workers: int) -> Request:
        return Request(asset, tuple(days), run, max(1, (os.cpu_count() or 1) // workers))

    def _asked(
        self,
        workers: Sequence[_Worker],
        requests: Sequence[Request],
        days: Sequence[str],
        value: dict[str, Any] | None = None,
    ) -> Generator[PartitionResult]:
        """Send the requests and pass the results on as they come. Whatever interrupts this ends the processes."""
        busy = {worker.connection: worker for worker in workers}
        turns = _Turns(days)
        try:
            for worker, request in zip(workers, requests, strict=True):
                worker.connection.send(request)
            while busy:
                for connection in wait(list(busy)):
                    worker = busy[connection]  # type: ignore[index]  # wait() gives back what it was given
                    reply = worker.receive()
                    if reply.kind == "turn":
                        turns.ask(reply.content, worker.connection)
                    elif reply.kind == "call":
                        worker.connection.send(self._called(*reply.content))
                    elif reply.kind == "result":
                        turns.finish(reply.content.partition)
                        yield reply.content
                    elif reply.kind == "done":
                        del busy[worker.connection]
                        if value is not None:
                            value.update(reply.content)
                    else:
                        _raise(*reply.content)
        except BaseException:
            self._end(at_once=True)
            raise

    def _called(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Exception | None]:
        """The value of a call of the tracking server, or its error, for the worker that asked."""
        try:
            return operator.attrgetter(name)(self._tracking)(*arguments, **named), None
        except Exception as error:  # it is raised in the worker, which knows what it was doing
            return None, error

    def _end(self, *, at_once: bool) -> None:
        workers, self._workers = self._workers, []
        if at_once:
            for process_of_its_own in {worker.group: worker for worker in workers}.values():
                process_of_its_own.interrupt()
        for worker in workers:
            worker.connection.close()
        for worker in workers:
            worker.wait()


def _raise(error: Exception, trace: str) -> None:
    raise error from _WorkerTracebackError(trace)


class _Turns:
    """Lets days be recorded one after the other: a day's turn comes when all days before it are finished."""

    def __init__(self, days: Sequence[str]) -> None:
        self._open = set(days)
        self._asking: dict[str, Connection] = {}

    def ask(self, ds: str, connection: Connection) -> None:
        self._asking[ds] = connection
        self._grant()

    def finish(self, ds: str) -> None:
        self._open.discard(ds)
        self._grant()

    def _grant(self) -> None:
        first = min(self._open, default=None)
        if first in self._asking:
            self._asking.pop(first).send(None)


class _WorkerTracebackError(Exception):
    """The traceback of a worker, as the cause of the error that it sent."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"
