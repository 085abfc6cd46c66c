"""One container of one step: made, listened to, and gone in the end, whatever happens."""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from mlops_assets.backends.docker.engine import Engine, EngineAwayError

if TYPE_CHECKING:
    import socket

    from docker.models.containers import Container
    from requests import Response

_LAST_LINES = 20
_LINE_SHOWN = 500
_KILLED = 128 + signal.SIGKILL
_STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
ENDED_FROM_OUTSIDE = (_KILLED, *_STOPPED)
"""Exit codes of a container that somebody ended."""
_SECONDS_TO_VANISH = 30


class StepContainer:
    """A container that was created and not yet started.

    It is removed by the engine as soon as it ends, and it ends when nobody holds its standard input any more; so
    nothing is left even if this process is killed.
    """

    def __init__(self, engine: Engine, container: Container, stop_seconds: int, *, echo: bool = True) -> None:
        """Name the parts.

        Args:
            engine: Where it is.
            container: What was created, with its input open and to be removed by the engine.
            stop_seconds: How long it may take to end when it is told to.
            echo: Whether its standard error is passed on to ours.
        """
        self._echo = echo
        self._engine, self._api, self._id = engine, engine.client.api, str(container.id)
        self._stop_seconds = stop_seconds
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._began = 0.0
        self._reader: socket.SocketIO | None = None
        self._socket: socket.socket | None = None
        self._removal: Response | None = None
        self._is_gone = False

    def start(self) -> None:
        """Attach to it, so that no output is lost, and start it.

        Raises:
            EngineError: The engine refused.
        """
        with self._engine.errors("start a container"):
            attached = self._api.attach_socket(self._id, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            self._socket = getattr(attached, "_sock", attached)  # a SocketIO cannot be written to
            self._socket.settimeout(None)
            self._reader = attached
            # Asked before the start: afterwards the container may be gone already.
            url = f"{self._api.base_url}/v{self._api.api_version}/containers/{self._id}/wait"
            self._removal = self._api.post(url, params={"condition": "removed"}, stream=True, timeout=None)
            self._began = time.time()
            self._api.start(self._id)

    def say(self, line: str) -> None:
        """Write a line to its standard input. A container that is gone cannot hear it, and its end tells why."""
        assert self._socket is not None  # noqa: S101  # it was started
        with suppress(OSError):
            self._socket.sendall(line.encode() + b"\n")

    def lines(self) -> Iterator[str]:
        """Lines of standard output as they come, to the container's end; standard error is passed on to ours.

        The engine's stream comes in frames that end anywhere; lines are whole, however long.
        """
        from docker.utils.socket import STDERR, STDOUT, frames_iter

        pending = {STDOUT: _Lines(), STDERR: _Lines()}
        try:
            for stream, data in frames_iter(self._reader, tty=False):
                if stream == STDOUT:
                    yield from pending[STDOUT].ended(data)
                else:
                    self._pass_on(pending[STDERR].ended(data))
        except OSError as error:
            raise EngineAwayError(
                f"The connection to the Docker engine at {self._engine.address} broke while the step was at work:"
                f" {error}. What was published stays; run it again when the engine is back."
            ) from error
        yield from pending[STDOUT].rest()
        self._pass_on(pending[STDERR].rest())

    @property
    def last_line(self) -> str:
        """The last line of its standard error, if there was one."""
        return self._last_lines[-1] if self._last_lines else ""

    def exit_code(self) -> int:
        """Wait until the container is gone; gives the exit code of its process.

        Raises:
            EngineAwayError: The engine went away, or could not remove it.
        """
        assert self._removal is not None  # noqa: S101  # it was started
        with self._engine.errors("tell how the container ended"):
            answer = self._removal.json()
            if "StatusCode" not in answer:
                raise EngineAwayError(
                    f"The Docker engine at {self._engine.address} does not tell how it ended: {answer!r}"
                )
        self._is_gone = True
        return int(answer["StatusCode"])

    def how_it_ended(self, code: int) -> str:
        """Exit code, the reason where it is known, and the last lines of output: for an error message."""
        reason = f"exit code {code}"
        if code in _STOPPED:
            reason += ", stopped from outside"
        elif code == _KILLED:
            reason += ", killed from outside"
        lines = "\n".join(self._last_lines)
        return f"{reason}. Its last lines:\n{lines}" if lines else f"{reason}, without a word"

    def remove(self, *, at_once: bool = False) -> None:
        """Stop it if it runs, and see it gone. Safe at any time, also if the engine has removed it already.

        Args:
            at_once: Without a chance to end properly: it has done nothing yet.
        """
        import docker.errors
        import requests

        try:
            with suppress(docker.errors.APIError, requests.RequestException):
                if self._began and not self._is_gone and not at_once:
                    self._api.stop(self._id, timeout=self._stop_seconds)
        finally:  # whoever cannot wait any longer leaves the container without input, and it ends by itself
            for held in (self._socket, self._reader, self._removal):
                if held is not None:
                    with suppress(OSError):
                        held.close()
        deadline = time.monotonic() + _SECONDS_TO_VANISH
        while not self._is_gone and time.monotonic() < deadline:
            try:
                self._api.remove_container(self._id, force=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError:  # it is being removed
                time.sleep(0.02)
            except requests.RequestException:
                return  # the engine is gone; the sweep removes what it still has when it is back

    def _pass_on(self, lines: Sequence[str]) -> None:
        """To where Dagster keeps what a step prints, and not line by line into its database."""
        if lines:
            if self._echo:
                sys.stderr.write("\n".join((*lines, "")))
            self._last_lines.extend(line[:_LINE_SHOWN] for line in lines[-_LAST_LINES:] if line.strip())

    def was_out_of_memory(self) -> bool:
        """Whether the kernel killed a process of the container for its memory; not always the one waited for."""
        with self._engine.errors("tell why the container was killed"):
            events: Any = self._engine.client.events(
                since=int(self._began), until=int(time.time()) + 1, filters={"container": self._id, "event": "oom"}
            )
            with closing(events):
                return any(True for _ in events)


class _Lines:
    """Whole lines from pieces that end anywhere."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def ended(self, piece: bytes) -> list[str]:
        """The lines that end in this piece, without their ends."""
        first, *more = piece.split(b"\n")
        self._pieces.append(first)
        if not more:
            return []
        lines = [b"".join(self._pieces), *more[:-1]]
        self._pieces = [more[-1]]
        return [line.decode(errors="replace") for line in lines]

    def rest(self) -> list[str]:
        """What has no end."""
        rest = b"".join(self._pieces).decode(errors="replace")
        return [rest] if rest else []
