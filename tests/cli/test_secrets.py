"""Passwords in addresses: on no console, in no JSON, and in no byte of Dagster's, MLflow's or our files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlflow_server import mlflow_server

SECRET = "hunter2secret"
OTHERS = {
    "MLOPS_MLFLOW_UI_URL": f"http://me:ab@{SECRET}@ui.example?token={SECRET}",
    "MLOPS_DAGSTER_URL": f"http://me:ab@{SECRET}@dagster.example",
    "MLOPS_RETRIES": "0",
    "MLOPS_ROWS_PER_DAY": "600",
}
COMMANDS = (
    ("doctor",),
    ("doctor", "--json"),
    ("models", "list", "--json"),
    ("materialize", "--from", "2026-01-01", "--to", "2026-01-02"),
)


@contextmanager
def refusing() -> Iterator[str]:
    """Host and port of a server that answers every question but the one for its health with 404, quoting it."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.send_response(200 if self.path.startswith("/health") else 404)
            self.end_headers()
            self.wfile.write(f"{self.path} {self.headers.get('Authorization')}".encode())

        do_GET = do_POST = answer  # noqa: N815  # names of http.server

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def assert_nothing_leaks(cli, tmp_path, uri):
    codes = []
    for command in COMMANDS:
        done = cli(*command, **OTHERS, MLFLOW_TRACKING_URI=uri)
        codes.append(done.code)
        assert SECRET not in done.out + done.err, command
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "server" not in path.name]
    assert any("history/runs" in str(path) for path in written)
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []
    return codes


@pytest.mark.slow
@pytest.mark.parametrize(
    "uri",
    [
        "http://{refusing}?password={secret}",
        "http://me:ab@{secret}@{refusing}",
        "postgresql://me:ab@{secret}@127.0.0.1:1/db",
        "postgresql://127.0.0.1:1/db?user=me&password={secret}",
        "sqlite:///{folder}/mlflow.db?password={secret}",
    ],
)
def test_secrets_of_addresses_that_fail_are_nowhere(cli, tmp_path, capfd, uri):
    # given an MLflow that cannot be used / when commands run
    with refusing() as address:
        codes = assert_nothing_leaks(cli, tmp_path, uri.format(refusing=address, secret=SECRET, folder=tmp_path))
    # then what needs it fails, and no secret is shown
    assert codes[-1] == 1
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.slow
def test_secrets_of_an_address_that_works_are_nowhere(cli, tmp_path, capfd):
    # given a server that takes any password / when commands run
    with mlflow_server(tmp_path) as address:
        codes = assert_nothing_leaks(cli, tmp_path, address.replace("://", f"://me:ab@{SECRET}@"))
    # then they work and show no secret
    assert set(codes) == {0}
    assert SECRET not in "".join(capfd.readouterr())
