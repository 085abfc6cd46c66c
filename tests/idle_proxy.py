"""A TCP proxy in front of a Unix socket that ends connections which are silent for a while, as load balancers do."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def idle_proxy(path: str, seconds: float) -> Iterator[tuple[int, list[None]]]:
    """Its port on the loopback interface, and a list that grows by one with each connection that it ends."""
    ended: list[None] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, path, seconds, ended), daemon=True).start()
        yield server.getsockname()[1], ended
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, path: str, seconds: float, ended: list[None]) -> None:
    with suppress(OSError):  # the server was closed
        while True:
            client, _ = server.accept()
            threading.Thread(target=_relay, args=(client, path, seconds, ended), daemon=True).start()


def _relay(client: socket.socket, path: str, seconds: float, ended: list[None]) -> None:
    with client, socket.socket(socket.AF_UNIX) as engine, suppress(OSError):
        engine.connect(path)
        others = {client: engine, engine: client}
        while others:
            ready, _, _ = select.select(list(others), [], [], seconds)
            if not ready:
                ended.append(None)
                return
            for one in ready:
                if data := one.recv(1 << 16):
                    others[one].sendall(data)
                else:  # this direction is done; the other one may go on
                    others.pop(one).shutdown(socket.SHUT_WR)
