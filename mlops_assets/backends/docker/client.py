"""Dagster's Pipes client for Docker, with what it lacks: streaming, and orders by standard input."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_docker import PipesDockerClient
from dagster_pipes import PIPES_PROTOCOL_VERSION_FIELD, PipesDefaultMessageWriter

from mlops_assets.backends.docker.lines import PassedOn

if TYPE_CHECKING:
    from dagster import PipesMessageHandler

    from mlops_assets.backends.docker.container import StepContainer


class StepClient(PipesDockerClient):
    """Talks to one step in one container.

    Its base waits for the end before it gives results, breaks lines at the 16 KiB of Docker's log files and leaves the
    container behind.
    """

    def stream(
        self,
        context: dg.AssetExecutionContext,
        container: StepContainer,
        order: Mapping[str, Any],
    ) -> Generator[Mapping[str, Any]]:
        """Send a container its order and listen until its output ends.

        Args:
            context: Dagster's; log messages of the step go there.
            container: That waits for its order.
            order: See :class:`mlops_assets.runtime.pipes.Order`.

        Yields:
            An empty mapping when the order is sent, then the payloads of the custom messages, as they come.

        Raises:
            EngineError: The engine went away.
        """
        reader = _Lines()
        with ExitStack() as stack:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of Dagster's own calls
                pipes = stack.enter_context(dg.open_pipes_session(context, self.context_injector, reader))
            container.send(json.dumps({**order, "pipes": pipes.get_bootstrap_env_vars()}))
            yield {}
            for line in container.lines():
                if isinstance(payload := reader.read(line), dict):
                    yield payload


class _Lines(dg.PipesMessageReader):
    """Messages are the lines of the container's standard output."""

    def __init__(self) -> None:
        self._handler: PipesMessageHandler | None = None
        self._beside = PassedOn()

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[Mapping[str, Any]]:
        self._handler = handler
        yield {PipesDefaultMessageWriter.STDIO_KEY: PipesDefaultMessageWriter.STDOUT}

    def read(self, line: str) -> Any:
        """Handle a line; gives the payload of a custom message, which is for the caller."""
        assert self._handler is not None  # noqa: S101  # the session is open
        if not line:
            return None  # a heartbeat
        message = _message(line)
        if message is None:
            self._beside.write([line], sys.stdout)  # an image whose process prints beside its messages
            return None
        try:
            if message["method"] == "report_custom_message":
                return message["params"]["payload"]
            self._handler.handle_message(message)  # type: ignore[arg-type]  # checked by the handler
        except Exception as error:  # an image that is not ours may send anything
            said = f"A message of the container was not understood ({error}): {line:.500}"
            self._beside.write([said], sys.stderr)
        return None

    @property
    def expected_writer_count(self) -> int:
        return 1  # as the base says, without its warning that the property is new

    def no_messages_debug_text(self) -> str:
        return "Read messages from the container's standard output."


def _message(line: str) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_message = isinstance(message, dict) and PIPES_PROTOCOL_VERSION_FIELD in message
    return message if is_message else None
