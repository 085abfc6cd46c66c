"""The connection to the Docker engine, and its errors as messages for the user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.addresses import shown, without_credentials
from mlops_assets.errors import MlopsAssetsError

if TYPE_CHECKING:
    from docker import DockerClient

SECONDS_TO_ANSWER = 60
_DEFAULT = "unix:///var/run/docker.sock"


class EngineError(MlopsAssetsError):
    """The Docker engine cannot be reached, or refused."""


class EngineAwayError(EngineError):
    """The Docker engine cannot be reached, or failed itself."""

    can_retry = True


class Engine:
    """A lazily opened connection, configured by Docker's own variables (``DOCKER_HOST``, …)."""

    @cached_property
    def client(self) -> DockerClient:
        """Docker's client.

        Raises:
            EngineError: The engine cannot be reached.
        """
        import docker

        with self.errors("answer"):
            try:
                client = docker.from_env(timeout=SECONDS_TO_ANSWER)
            except ValueError:  # whose message may quote a part of a password
                raise EngineError(
                    f"DOCKER_HOST is {self.address!r}: host or port is malformed, or a password in it is not"
                    " percent-encoded. Expected unix:///path, tcp://host:port or ssh://host."
                ) from None
            client.ping()
        return client

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        if "client" in vars(self):
            self.client.close()
            del self.client

    @property
    def address(self) -> str:
        """Where the engine is, without credentials: ``DOCKER_HOST``, else the context of Docker's command line."""
        if given := os.environ.get("DOCKER_HOST"):
            return shown(given)
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
            EngineError: The engine refused, or cannot be reached.
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
            reason = str(error).replace(os.environ.get("DOCKER_HOST") or self.address, self.address)
            reason = without_credentials(reason)
            where = f"The Docker engine at {self.address}"
            if "Permission denied" in reason:
                raise EngineError(
                    f"{where} may not be used by this user (uid {os.getuid()}): add the user to the group docker and"
                    " log in again, or set DOCKER_HOST to a rootless engine."
                ) from error
            raise EngineAwayError(
                f"{where} could not be reached: {reason}. Start it (systemctl start docker), or set DOCKER_HOST. To run"
                " the steps without containers, set MLOPS_BACKEND=inprocess."
            ) from error
