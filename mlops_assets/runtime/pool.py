"""Steps in processes beside the calling one: partitions in parallel, and imports while the caller imports its own.

A cold start is nearly all imports, and partitions are independent of each other; both leave the second core idle in one
process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection, wait

from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime.request import PartitionResult, Request
from mlops_assets.runtime.worker import Reply, Setup

_SECONDS_TO_END = 20


class WorkerDiedError(MlopsAssetsError):
    """A worker ended in the middle of its work."""

    can_retry = True  # the machine may have been short of memory for a while


class Pool:
    """Runs steps in up to ``count`` processes, which are started when they are needed and stay until :meth:`close`."""

    def __init__(self, data_dir: str, count: int) -> None:
        """No process is started until first use."""
        self._data_dir, self._count = data_dir, count
        self._workers: list[_Worker] = []

    def prepare(self, steps: Sequence[str], partitions: int) -> None:
        """Start the processes for so many partitions; they import what these steps need while the caller goes on."""
        self._grow(partitions, steps)

    def run(self, request: Request) -> Generator[PartitionResult]:
        """As :meth:`mlops_assets.runtime.runner.Runner.run`; results come as they are ready.

        The processes are at work when this returns. Whatever interrupts the iteration ends them.
        """
        results = self._run(request)
        next(results)  # the requests are sent
        return results  # type: ignore[return-value]  # from here on it gives results only

    def _run(self, request: Request) -> Generator[PartitionResult | None]:
        partitions = sorted(set(request.partitions))
        # The same partitions go to the same worker in every step: it still has the models that it trained. A further
        # process costs seconds of imports: only `prepare` knows whether that pays.
        workers = self._grow(1, (request.step,))[: len(partitions)]
        shares = [partitions[place :: len(workers)] for place in range(len(workers))]
        threads = max(1, (os.cpu_count() or 1) // len(workers))
        busy = {worker.connection: worker for worker in workers}
        try:
            for worker, share in zip(workers, shares, strict=True):
                worker.connection.send((request.only(share), threads))
            yield None
            while busy:
                for connection in wait(list(busy)):
                    worker = busy[connection]  # type: ignore[index]  # wait() gives back what it was given
                    reply = worker.receive()
                    if reply.kind == "result":
                        yield reply.content
                    elif reply.kind == "done":
                        del busy[worker.connection]
                    else:
                        _raise(*reply.content)
        except BaseException:
            self.close(at_once=True)
            raise

    def close(self, *, at_once: bool = False) -> None:
        """End the processes, by interruption if they are at work."""
        workers, self._workers = self._workers, []
        if at_once:
            for process_of_its_own in {worker.group: worker for worker in workers}.values():
                process_of_its_own.interrupt()
        for worker in workers:
            worker.connection.close()
        for worker in workers:
            worker.wait()

    def _grow(self, partitions: int, steps: Sequence[str]) -> list[_Worker]:
        wanted = max(1, min(self._count, partitions))
        if (missing := wanted - len(self._workers)) > 0:
            self._workers += _started(missing, Setup(self._data_dir, tuple(steps)))
        return self._workers


class _Worker:
    """The connection to one worker, and the process that it was forked from (or is)."""

    def __init__(self, connection: Connection, process: subprocess.Popen[bytes]) -> None:
        self.connection, self._process = connection, process

    def receive(self) -> Reply:
        try:
            reply: Reply = self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise WorkerDiedError(
                f"The worker process that ran the step ended{self._how()}. If the machine is out of memory, run it"
                " again with fewer processes (MLOPS_WORKERS). Finished days are kept."
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
        [sys.executable, "-m", "mlops_assets.runtime.worker", str(os.getpid()), *map(str, theirs)],
        pass_fds=theirs,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the parent, which ends its workers properly
    )
    for _, end in pairs:
        end.close()
    workers = [_Worker(Connection(end.detach()), process) for end, _ in pairs]
    workers[0].connection.send(setup)
    return workers


def _raise(error: Exception, trace: str) -> None:
    raise error from _WorkerTracebackError(trace)


class _WorkerTracebackError(Exception):
    """The traceback of a worker, as the cause of the error that it sent."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"
