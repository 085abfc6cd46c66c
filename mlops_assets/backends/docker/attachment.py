"""The raw connection to a container's standard input and output.

docker-py has no public way to write to an attached container. What is used here of its inside was checked with
docker-py 7.2: ``attach_socket`` gives a ``SocketIO`` whose ``_sock`` is the socket, except over SSH, where it gives the
channel itself. ``tests/backends/test_docker_access.py`` fails when this changes.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import APIClient


def socket_of(attached: Any) -> Any:
    """The socket below what ``attach_socket`` gave."""
    return getattr(attached, "_sock", attached)


class Attachment:
    """Standard input, output and error of one container; open as long as this process lives or until :meth:`close`."""

    def __init__(self, api: APIClient, container: str) -> None:
        """Attach to a container, by name or ID, that was created with its input open."""
        self._reader = api.attach_socket(container, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        self._socket = socket_of(self._reader)
        self._socket.settimeout(None)

    def send(self, line: str) -> None:
        """Write a line to standard input. A container that is gone does not read it; how it ended says why."""
        with suppress(OSError):
            self._socket.sendall(line.encode() + b"\n")

    @property
    def is_open(self) -> bool:
        """Whether the other end has not closed the connection, as far as can be seen without reading from it."""
        try:
            readable, _, _ = select.select([self._socket], [], [], 0)
            return not readable or self._socket.recv(1, socket.MSG_PEEK) != b""
        except OSError:
            return False
        except (TypeError, ValueError):  # over TLS and SSH nothing can be read in advance
            return True

    def frames(self) -> Iterator[tuple[bool, bytes]]:
        """Pieces of output as they come, which end anywhere; whether each is of standard output (else of error)."""
        from docker.utils.socket import STDOUT, frames_iter

        return ((stream == STDOUT, data) for stream, data in frames_iter(self._reader, tty=False))

    def close(self) -> None:
        """Close the connection: the container's input ends."""
        for held in (self._socket, self._reader):
            with suppress(OSError):
                held.close()
