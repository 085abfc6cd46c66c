"""Configuration, credentials and servers that are not there."""

from __future__ import annotations

import os
import socket
import threading
import traceback
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow
import pytest
from tracking_samples import config

from mlops_assets.tracking import Tracking, TrackingConfig, TrackingError
from mlops_assets.tracking.client import Connection
from mlops_assets.tracking.ping import ping

PASSWORD = "s3cr3t-Pa%40ss"


@pytest.fixture
def dead_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_dead_server_is_reported_without_the_password(scheme, dead_port, tmp_path):
    # given
    tracking = Tracking(config(tmp_path, uri=f"{scheme}://me:{PASSWORD}@127.0.0.1:{dead_port}/db"))
    # when
    with pytest.raises(TrackingError) as caught:
        tracking.ping()
    with pytest.raises(TrackingError):
        tracking.registry.versions()
    # then
    assert caught.value.can_retry
    text = "".join(traceback.format_exception(caught.value))
    assert "MLFLOW_TRACKING_URI" in text
    assert f"127.0.0.1:{dead_port}" in text
    assert "s3cr3t" not in text


def test_a_server_that_never_answers_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TrackingError, match="timed out"):
            ping(config(tmp_path, uri=address), timeout=0.2)


def test_a_server_that_stops_after_it_was_connected_is_reported_at_once(dead_port, tmp_path):
    # given a client that was connected, to a server that is gone since
    connection = Connection(config(tmp_path, uri=f"http://127.0.0.1:{dead_port}"))
    connection._client = mlflow.MlflowClient(connection.config.uri)
    # when it is used, then it is not left to MLflow's retries, which take minutes
    with pytest.raises(TrackingError, match="cannot be reached"):
        _ = connection.client


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
    os.mkfifo(tmp_path / "fifo.db")  # which MLflow would try to open for 100 seconds
    with pytest.raises(TrackingError, match="a directory or a device, expected a file"):
        Tracking(config(tmp_path, uri=f"sqlite:///{tmp_path}/fifo.db")).ping()
    Tracking(config(tmp_path, uri=f"sqlite:///{tmp_path}/new/mlflow.db")).ping()
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is not a database, and long enough to be told apart from an empty one")
    with pytest.raises(TrackingError, match="could not open the store"):
        Tracking(config(tmp_path)).registry.versions()


def test_errors_of_mlflow_are_shown_without_the_password(tmp_path):
    # given: a server error that quotes the address
    secret = f"postgresql+psycopg://me:{PASSWORD}@db/mlflow"
    tracking = Tracking(config(tmp_path, uri=secret))
    error = mlflow.MlflowException(f"cannot connect to {secret}, tried 's3cr3t-Pa@ss'")
    # when
    with pytest.raises(TrackingError) as caught, tracking.errors("do something"):
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
    [
        {"uri": "mlruns"},
        {"uri": f"me:{PASSWORD}@host"},
        {"experiment": " "},
        {"model_name": ""},
        {"model_name": "a/b"},
        {"uri": "http://"},
        {"uri": f"http://me:{PASSWORD}@"},
        {"uri": f"http://me:{PASSWORD}@host:port"},
        {"uri": f"http://me:{PASSWORD}@host:99999"},
        {"uri": f"http://me:{PASSWORD}@[::1:5000"},
        {"uri": f"http://me:{PASSWORD}@ho st:5000"},
        {"uri": " http://host:5000"},
        {"uri": "http://host:5000\n"},
        {"uri": f"postgresql://me:a/{PASSWORD}@host/db"},
        {"uri": f"http://me:a#{PASSWORD}@host"},
        {"uri": f"http://me:a?{PASSWORD}@host"},
        {"uri": "sqlite://"},
        {"uri": "sqlite:///"},
        {"uri": "sqlite:///?mode=ro"},
        {"ui_url": "mlflow:5000"},
        {"ui_url": "http://"},
        {"ui_url": f"http://me:{PASSWORD}@host:x"},
    ],
    ids=str,
)
def test_config_refuses_what_mlflow_would_refuse(changes, tmp_path):
    with pytest.raises(ValueError, match=r"[Ee]xpected|empty") as caught:
        config(tmp_path, **changes)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("uri", "shown", "secret"),
    [
        ("postgresql://db:5432/mlflow?user=me&password=s3cr3t", "postgresql://db:5432/mlflow?…", "s3cr3t"),
        ("https://mlflow.example/base?token=s3cr3t", "https://mlflow.example/base?…", "s3cr3t"),
        ("https://mlflow.example?x=1&key=s3cr3t%26more", "https://mlflow.example?…", "s3cr3t&more"),
        ("https://me:s3cr3t@with@it@mlflow.example/base", "https://mlflow.example/base", "s3cr3t@with@it"),
        ("https://s3cr3t@mlflow.example/base", "https://mlflow.example/base", "s3cr3t"),
        ("postgresql+psycopg://me:s3cr3t%40@db/mlflow", "postgresql+psycopg://db/mlflow", "s3cr3t@"),
        ("sqlite:////home/mlflow.db?key=s3cr3t", "sqlite:////home/mlflow.db?…", "s3cr3t"),
    ],
)
def test_credentials_are_hidden_wherever_they_stand(uri, shown, secret, tmp_path):
    # given
    target = config(tmp_path, uri=uri, ui_url=uri if uri.startswith("http") else None, artifact_root=uri)
    # then
    assert target.safe_uri == shown
    assert target.ui_base == (shown.removesuffix("?…") if uri.startswith("http") else None)
    assert "s3cr3t" not in repr(target)
    # and in messages of libraries
    assert "s3cr3t" not in target.redact(f"cannot open '{uri}' (tried {uri} and {secret})")


def test_an_at_sign_in_a_path_is_no_password(tmp_path):
    target = config(tmp_path, uri="sqlite:////home/me@work/a b/mlflow.db")
    assert target.safe_uri == target.uri


def test_redacting_keeps_what_is_no_secret(tmp_path):
    target = config(tmp_path, uri="http://me:s3cr3t@host:5000")
    text = "no such run at http://host:5000/#/experiments/1 (see https://docs.example/page)"
    assert target.redact(text) == text


def test_parent_runs_have_an_experiment_of_their_own(tmp_path):
    assert config(tmp_path).runs_experiment == "tests-dagster-runs"
