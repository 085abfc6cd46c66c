"""Dagster's Pipes client for Docker, with what it leaves open: containers that stream, are hardened and always go."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_docker import PipesDockerClient
from dagster_pipes import PIPES_PROTOCOL_VERSION_FIELD, PipesDefaultMessageWriter

from mlops_assets.backends.docker.container import ENDED_FROM_OUTSIDE, StepContainer

if TYPE_CHECKING:
    from dagster import PipesMessageHandler

    from mlops_assets.backends.docker.engine import Engine


class _Lines(dg.PipesMessageReader):
    """Messages are the lines of the container's standard output."""

    def __init__(self) -> None:
        self._handler: PipesMessageHandler | None = None

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[Mapping[str, Any]]:
        self._handler = handler
        yield {PipesDefaultMessageWriter.STDIO_KEY: PipesDefaultMessageWriter.STDOUT}

    def read(self, line: str) -> Any:
        """Handle a line; gives the payload of a custom message, which is for the caller."""
        assert self._handler is not None  # noqa: S101  # the session is open
        message = _message(line)
        if message is None:
            sys.stdout.write(line + "\n")  # of an image whose process prints beside its messages
            return None
        try:
            if message["method"] == "report_custom_message":
                return message["params"]["payload"]
            self._handler.handle_message(message)  # type: ignore[arg-type]  # checked by the handler
        except Exception as error:  # an image that is not ours may say anything
            sys.stderr.write(f"A message of the container was not understood ({error}): {line}\n")
        return None

    @property
    def expected_writer_count(self) -> int:
        return 1  # as the base says, without its warning that the property is new

    def no_messages_debug_text(self) -> str:
        return "Read messages from the container's standard output."


class StepClient(PipesDockerClient):
    """Runs one step in one container, streaming.

    Its base waits for the end before it gives results, breaks lines at the 16 KiB of Docker's log files, says "non-zero
    status" of every failure, and leaves the container behind.
    """

    def __init__(self, engine: Engine, stop_seconds: int) -> None:
        """Nothing is connected yet."""
        super().__init__()
        self._engine, self._stop_seconds = engine, stop_seconds

    def launch(
        self,
        image: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        secrets: Mapping[str, str],
        options: Mapping[str, Any],
    ) -> StepContainer:
        """Start a container, which then gets ready and waits for :meth:`stream`.

        Args:
            image: Image, which must be there: nothing is pulled.
            command: Arguments of the image's entry point.
            environment: Variables of the process.
            secrets: Further ones, which the engine is not to know.
            options: What else the container is made with (``docker.models.containers.ContainerCollection.create``).

        Raises:
            EngineError: The engine refused.
        """
        with self._engine.errors("make a container"):
            made = self._engine.client.containers.create(
                image,
                list(command),
                environment=dict(environment),
                # Not detached: the container's input closes when this process is gone.
                detach=False,
                stdin_open=True,
                auto_remove=True,
                **options,
            )
        container = StepContainer(self._engine, made, self._stop_seconds)
        try:
            container.start()
            container.say(json.dumps(dict(secrets)))
        except BaseException:
            container.remove(at_once=True)
            raise
        return container

    def stream(
        self,
        context: dg.AssetExecutionContext,
        container: StepContainer,
        extras: Mapping[str, Any],
        when_begun: Callable[[], None],
    ) -> Iterator[Mapping[str, Any]]:
        """Tell a container what to do and listen to its end. The caller removes it.

        Args:
            context: Dagster's; log messages of the step go there.
            container: From :meth:`launch`.
            extras: Of the Pipes context.
            when_begun: Called when the container knows what to do.

        Yields:
            The payloads of the custom messages, as they come.

        Raises:
            EngineError: The engine went away.
            ContainerFailedError: The container ended with another exit code than 0 (after all payloads).
        """
        reader = _Lines()
        with ExitStack() as stack:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of Dagster's own calls
                session = stack.enter_context(
                    dg.open_pipes_session(context, self.context_injector, reader, extras=dict(extras))
                )
            container.say(json.dumps(session.get_bootstrap_env_vars()))
            when_begun()
            for line in container.lines():
                if isinstance(payload := reader.read(line), dict):
                    yield payload
            code = container.exit_code()
            if code:
                raise ContainerFailedError(
                    container.how_it_ended(code), container.was_out_of_memory(), code in ENDED_FROM_OUTSIDE
                )


class ContainerFailedError(Exception):
    """The container ended with another exit code than 0: how, whether by want of memory, whether from outside."""


def _message(line: str) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    is_message = isinstance(message, dict) and PIPES_PROTOCOL_VERSION_FIELD in message
    return message if is_message else None
