"""Configuration, credentials and servers that are not there."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow
import pytest
from tracking_samples import config

from mlops_assets.tracking import Tracking, TrackingConfig, TrackingError
from mlops_assets.tracking.ping import ping

PASSWORD = "s3cr3t-Pa%40ss"


@pytest.fixture
def dead_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_dead_server_is_reported_quickly_and_without_the_password(scheme, dead_port, tmp_path):
    # given
    tracking = Tracking(config(tmp_path, uri=f"{scheme}://me:{PASSWORD}@127.0.0.1:{dead_port}/db"))
    start = time.perf_counter()
    # when
    with pytest.raises(TrackingError) as caught:
        tracking.ping()
    with pytest.raises(TrackingError), tracking.model_run("train", tags={}):
        pass
    # then
    assert time.perf_counter() - start < 3
    text = "".join(traceback.format_exception(caught.value))
    assert "MLFLOW_TRACKING_URI" in text
    assert f"127.0.0.1:{dead_port}" in text
    assert "s3cr3t" not in text


def test_a_server_that_never_answers_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TrackingError, match="timed out"):
            ping(config(tmp_path, uri=address), timeout=0.2)


def _server(status):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server, seen


@pytest.mark.parametrize(("status", "reachable"), [(200, True), (401, True), (404, True), (503, False)])
def test_who_answers_is_reachable_unless_it_is_broken(status, reachable, tmp_path):
    server, seen = _server(status)
    try:
        target = config(tmp_path, uri=f"http://me:pw@127.0.0.1:{server.server_port}/base/")
        if reachable:
            ping(target)
        else:
            with pytest.raises(TrackingError, match="HTTP 503"):
                ping(target)
    finally:
        server.shutdown()
        server.server_close()
    assert seen == [("/base/health", "Basic bWU6cHc=")]


def test_a_sqlite_file_that_cannot_be_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="is not a directory"):
        Tracking(config(tmp_path, uri=f"sqlite:///{tmp_path}/file/mlflow.db")).ping()
    with pytest.raises(TrackingError, match="is a directory"):
        Tracking(config(tmp_path, uri=f"sqlite:///{tmp_path}")).ping()
    Tracking(config(tmp_path, uri=f"sqlite:///{tmp_path}/new/mlflow.db")).ping()
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is not a database, and long enough to be told apart from an empty one")
    with pytest.raises(TrackingError, match="could not open the store"):
        Tracking(config(tmp_path)).registry.versions()


def test_errors_of_mlflow_are_told_without_the_password(tmp_path):
    # given: a server error that quotes the address
    secret = f"postgresql+psycopg://me:{PASSWORD}@db/mlflow"
    connection = Tracking(config(tmp_path, uri=secret))._connection
    error = mlflow.MlflowException(f"cannot connect to {secret}, tried 's3cr3t-Pa@ss'")
    # when
    with pytest.raises(TrackingError) as caught, connection.errors("do something"):
        raise error
    # then
    text = "".join(traceback.format_exception(caught.value))
    assert "could not do something" in text
    assert "s3cr3t" not in text
    assert caught.value.__cause__ is None


def test_config_is_plain_data_that_hides_its_password(tmp_path):
    target = config(tmp_path, uri=f"https://me:{PASSWORD}@mlflow.example:8443/base", ui_url=f"https://me:{PASSWORD}@ui")
    assert TrackingConfig(**asdict(target)) == target
    assert "s3cr3t" not in repr(target)
    assert "s3cr3t" not in f"{target}"
    assert (target.safe_uri, target.ui_base) == ("https://mlflow.example:8443/base", "https://ui")


@pytest.mark.parametrize(
    "changes",
    [{"uri": "mlruns"}, {"uri": f"me:{PASSWORD}@host"}, {"experiment": " "}, {"model_name": ""}, {"model_name": "a/b"}],
)
def test_config_refuses_what_mlflow_would_refuse(changes, tmp_path):
    with pytest.raises(ValueError, match=r"expected|empty") as caught:
        config(tmp_path, **changes)
    assert "s3cr3t" not in str(caught.value)
