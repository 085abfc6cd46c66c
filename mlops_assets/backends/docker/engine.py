"""The connection to the Docker engine, and its errors in words for the user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.errors import MlopsAssetsError

if TYPE_CHECKING:
    from docker import DockerClient

_SECONDS_TO_ANSWER = 60
_DEFAULT = "unix:///var/run/docker.sock"


class EngineError(MlopsAssetsError):
    """The Docker engine cannot be reached, or refused."""


class EngineAwayError(EngineError):
    """The Docker engine cannot be reached, or has trouble of its own."""

    can_retry = True


class Engine:
    """A lazily opened connection, configured by Docker's own variables (``DOCKER_HOST``, …)."""

    @cached_property
    def client(self) -> DockerClient:
        """Docker's client.

        Raises:
            EngineError: Nobody answers.
        """
        import docker

        with self.errors("say that it is there"):
            client = docker.from_env(timeout=_SECONDS_TO_ANSWER)
            client.ping()
        return client

    def close(self) -> None:
        """Let go of the connections; the next use opens new ones."""
        if "client" in vars(self):
            self.client.close()
            del self.client

    @property
    def address(self) -> str:
        """Where the engine is: ``DOCKER_HOST``, else the current context of Docker's command line."""
        if given := os.environ.get("DOCKER_HOST"):
            return given
        from docker.context import ContextAPI
        from docker.errors import DockerException

        with suppress(DockerException, OSError, ValueError):
            if current := ContextAPI.get_current_context():
                return str(current.Host or _DEFAULT)
        return _DEFAULT

    @property
    def is_local(self) -> bool:
        """Whether the engine's host is taken to be this one: it answers on a socket here, and this is no container."""
        return self.address.startswith("unix:") and not Path("/.dockerenv").exists()

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn the errors of Docker's client in a block of code into an `EngineError`.

        Args:
            doing: What was tried, to follow "could not".

        Raises:
            EngineError: The engine refused, or is not there.
        """
        import docker.errors
        import requests

        try:
            yield
        except docker.errors.APIError as error:
            reason = error.explanation or str(error)
            kind = EngineAwayError if error.is_server_error() else EngineError
            raise kind(f"The Docker engine at {self.address} could not {doing}: {reason}") from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise EngineAwayError(
                f"The Docker engine at {self.address} could not be reached: {error}. Start it (systemctl start"
                " docker), let this user use it (group docker), or set DOCKER_HOST. To run the steps without"
                " containers, set MLOPS_BACKEND=inprocess."
            ) from error
