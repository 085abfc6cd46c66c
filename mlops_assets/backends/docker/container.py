"""One container of one step: created, listened to, and removed in the end, whatever happens."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any

from mlops_assets.backends.docker.attachment import Attachment
from mlops_assets.backends.docker.engine import SECONDS_TO_ANSWER, Engine, EngineAwayError, EngineError
from mlops_assets.backends.docker.lines import MESSAGE_BYTES, Lines, Log

if TYPE_CHECKING:
    from docker.models.containers import Container
    from requests import Response

_KILLED = 128 + signal.SIGKILL
_STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
_SECONDS_TO_VANISH = 30


@dataclass(frozen=True)
class Ending:
    """How a container ended.

    Attributes:
        code: Exit code of its process.
        was_out_of_memory: Whether the kernel killed a process of the container for its memory.
        last_lines: Of its standard error.
    """

    code: int
    was_out_of_memory: bool
    last_lines: Sequence[str]

    @property
    def was_from_outside(self) -> bool:
        """Whether it was stopped or killed, by a person or with the engine."""
        return self.code in (_KILLED, *_STOPPED) and not self.was_out_of_memory

    def __str__(self) -> str:
        """Exit code, the reason where it is known, and the last lines of output."""
        reason = f"exit code {self.code}"
        if self.was_from_outside:
            reason += ", stopped from outside" if self.code in _STOPPED else ", killed from outside"
        lines = "\n".join(self.last_lines)
        return f"{reason}. Its last lines:\n{lines}" if lines else f"{reason}, no output"


class StepContainer:
    """A container whose standard input this process holds.

    The engine removes it as soon as it ends, and the step in it ends when its input is closed; so nothing is left even
    if this process is killed.
    """

    def __init__(
        self, engine: Engine, image: str, command: Sequence[str], options: Mapping[str, Any], stop_seconds: int, *,
        echo: bool = True,
    ) -> None:  # fmt: skip
        """Create and start it.

        Args:
            engine: Where.
            image: Image, which must be there: nothing is pulled.
            command: Arguments of the image's entry point.
            options: What else it is created with (``docker.models.containers.ContainerCollection.create``).
            stop_seconds: How long it may take to end when it is stopped.
            echo: Whether its standard error is passed on to ours.

        Raises:
            EngineError: The engine refused.
        """
        self._engine, self._api, self._stop_seconds = engine, engine.client.api, stop_seconds
        self.name = f"mlops-assets-{uuid.uuid4().hex[:16]}"
        self._log = Log(echo=echo)
        self._attachment: Attachment | None = None
        self._removal: Response | None = None
        self._is_started = self._is_gone = False
        try:
            with engine.errors("create a container"):
                _uninterrupted(lambda: self._create(image, command, options))
            with engine.errors("start a container"):
                self._start()
        except BaseException:
            self.remove(at_once=True)
            raise

    def _create(self, image: str, command: Sequence[str], options: Mapping[str, Any]) -> Container:
        return self._engine.client.containers.create(
            image,
            list(command),
            name=self.name,
            detach=False,  # its input closes when this process is gone
            stdin_open=True,
            auto_remove=True,
            **options,
        )

    def _start(self) -> None:
        """Attach first, so that no output is missed, and ask for its end: afterwards it may be gone already."""
        self._attachment = Attachment(self._api, self.name)
        url = f"{self._api.base_url}/v{self._api.api_version}/containers/{self.name}/wait"
        self._removal = self._api.post(url, params={"condition": "removed"}, stream=True, timeout=None)
        self._api.start(self.name)
        self._is_started = True

    @property
    def is_running(self) -> bool:
        """Whether it can take an order: a proxy may have ended its silent connection, and with it its input."""
        import docker.errors
        import requests

        if self._attachment is None or not self._attachment.is_open:
            return False
        with suppress(docker.errors.APIError, requests.RequestException):
            return bool(self._api.inspect_container(self.name)["State"]["Running"])
        return False

    def send(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._attachment is not None  # noqa: S101  # it was started
        self._attachment.send(line)

    def lines(self) -> Iterator[str]:
        """Lines of standard output as they come, to the container's end; standard error goes to ours.

        Raises:
            EngineAwayError: The connection to the engine broke.
        """
        assert self._attachment is not None  # noqa: S101  # it was started
        output = Lines(MESSAGE_BYTES)
        try:
            for is_output, piece in self._attachment.frames():
                if is_output:
                    yield from output.ended(piece)
                else:
                    self._log.add(piece)
        except OSError as error:
            raise EngineAwayError(
                f"The connection to the Docker engine at {self._engine.address} broke while the step was at work:"
                f" {error}. What was published stays; run it again when the engine is back."
            ) from error
        yield from output.rest()
        self._log.end()

    def ending(self) -> Ending:
        """Wait until the container is gone.

        Raises:
            EngineAwayError: The engine went away, or could not remove it.
        """
        code = self._exit_code()
        self._is_gone = True
        return Ending(code, code != 0 and any(self._events("oom")), tuple(self._log.last))

    def _exit_code(self) -> int:
        assert self._removal is not None  # noqa: S101  # it was started
        with suppress(EngineError, ValueError, KeyError), self._engine.errors("wait for the container"):
            return int(self._removal.json()["StatusCode"])
        # A proxy ends connections that are silent for long, such as the one that waited.
        for event in self._events("die"):
            return int(event["Actor"]["Attributes"]["exitCode"])
        raise EngineAwayError(
            f"The Docker engine at {self._engine.address} does not say how the container ended. What was published"
            " stays; run it again."
        )

    def _events(self, kind: str) -> list[dict[str, Any]]:
        """What the engine remembers of this container."""
        with self._engine.errors("list events"):
            found: Any = self._engine.client.events(
                since=1, until=int(time.time()) + 1, decode=True, filters={"container": self.name, "event": kind}
            )
            with closing(found):
                return list(found)

    def remove(self, *, at_once: bool = False) -> None:
        """Stop it if it runs, and wait until it is gone. Safe at any time, also if the engine has removed it already.

        Args:
            at_once: Kill it: it has done nothing yet.
        """
        import docker.errors
        import requests

        try:
            with suppress(docker.errors.APIError, requests.RequestException):
                if self._is_started and not self._is_gone and not at_once:
                    self._api.stop(self.name, timeout=self._stop_seconds)
        finally:  # if the wait is interrupted, the container is left without input and ends by itself
            for held in (self._attachment, self._removal):
                if held is not None:
                    with suppress(OSError):
                        held.close()
        deadline = time.monotonic() + _SECONDS_TO_VANISH
        while not self._is_gone and time.monotonic() < deadline:
            try:
                self._api.remove_container(self.name, force=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError:  # it is being removed
                time.sleep(0.02)
            except requests.RequestException:
                return  # the engine is gone; the clean-up removes what it still has when it is back


def _uninterrupted(create: Callable[[], Any]) -> None:
    """Call a function in a thread and wait for its end even if this thread is interrupted.

    The engine creates a container whether or not anybody waits for its answer. An interruption (Ctrl-C, SIGTERM) is
    raised when the container is there, so that it can be removed.
    """
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            create()
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    try:
        Thread(target=run, daemon=True).start()
        outcome.result()
    except BaseException:
        wait([outcome], timeout=SECONDS_TO_ANSWER)
        raise
