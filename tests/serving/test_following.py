"""Which version answers: promotion and rollback under load, versions that cannot serve, MLflow away, a stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
from alert_servers import web_sink
from mlflow_server import mlflow_server
from model_servers import Server, running, settings_of, split
from projects import DS, NEXT, mixed, with_labels

from mlops_assets.serving import following
from mlops_assets.tracking.entities import LIBRARIES_TAG, SHA256_TAG

NOWHERE = "http://127.0.0.1:1"


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def promote(made, number: int) -> None:
    made.tracking.registry.promote(number, reason="by hand", by="a test")


def set_tag(made, number: int, tag: str, value: str) -> None:
    made.tracking._connection.client.set_model_version_tag("mlops-assets", str(number), tag, value)


@contextmanager
def clients(server: Server, bodies):
    """Threads that send without a pause; gives the list of status and version of each answer so far."""
    answers, stopped = [[] for _ in bodies], threading.Event()

    def send(body, mine):
        with requests.Session() as session:
            while not stopped.is_set():
                answer = session.post(f"{server.url}/invocations", json=body, timeout=30)
                mine.append((answer.status_code, answer.json().get("model_version")))

    threads = [threading.Thread(target=send, args=pair) for pair in zip(bodies, answers, strict=True)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def test_promotion_and_rollback_under_load_fail_no_request(project, rows):
    # given clients that send all the time, small and large requests
    made = project()
    bodies = [split(rows[:1]), split(rows[:2]), {"dataframe_records": rows}, split(rows * 100)]
    with running(made.settings) as server, clients(server, bodies) as answers:

        def all_get(number):
            return lambda: all(mine and mine[-1] == (200, number) for mine in answers)

        wait_for(all_get(1))
        # when another version is promoted, and rolled back
        promote(made, 2)
        wait_for(all_get(2))
        made.tracking.registry.rollback(reason="bad", by="a test")
        wait_for(all_get(1))
        assert server.health() == {"status": "ok", "model_name": "mlops-assets", "model_version": 1}
    # then no request failed, and each client saw the versions in this order
    for mine in answers:
        assert {status for status, _ in mine} == {200}
        seen = [number for _, number in mine]
        assert [one for place, one in enumerate(seen) if place == 0 or one != seen[place - 1]] == [1, 2, 1]


@pytest.mark.parametrize(
    ("tag", "value", "why"),
    [
        (SHA256_TAG, "0" * 64, "is not what was registered"),
        (LIBRARIES_TAG, json.dumps({"scikit-learn": "0.9.1"}), "trained with scikit-learn 0.9.1"),
    ],
)
def test_a_version_that_cannot_serve_does_not_replace_the_one_that_does(tag, value, why, project, rows, monkeypatch):
    # given a version whose file is not the registered one, or that was trained with another library
    monkeypatch.setattr(following, "RETRY_SECONDS", 0.1)
    with web_sink() as sink:
        made = project(alert_urls=sink.url)
        before = {one.number: one.tags[tag] for one in made.tracking.registry.versions()}
        set_tag(made, 2, tag, value)
        with running(made.settings) as server:
            # when it is promoted
            promote(made, 2)
            # then the old one serves, and health and metrics say so
            wait_for(lambda: server.health()["status"] == "degraded")
            assert server.get("/ping").status_code == server.get("/health").status_code == 200
            assert server.health()["model_version"] == 1
            assert "Version 2 of model 'mlops-assets' is in production and cannot serve" in server.health()["problem"]
            assert why in server.health()["problem"]
            assert server.post(split(rows)).json()["model_version"] == 1
            # and an alert goes out, one however often it is tried
            wait_for(lambda: sink.posts)
            failures = float(metric(server, "mlops_serve_load_failures"))
            wait_for(lambda: float(metric(server, "mlops_serve_load_failures")) > failures + 2)
            assert len(sink.posts) == 1
            assert "version 1 goes on serving" in json.dumps(sink.posts[0])
            assert why in json.dumps(sink.posts[0])
            # when the reason is gone, then it serves
            set_tag(made, 2, tag, before[2])
            wait_for(lambda: server.health() == {"status": "ok", "model_name": "mlops-assets", "model_version": 2})


def metric(server: Server, name: str) -> str:
    return next(line for line in server.get("/metrics").text.splitlines() if line.startswith(f"{name} ")).split()[1]


def test_after_a_restart_the_version_that_served_last_stands_in_for_one_that_cannot(project, rows):
    # given a server that served version 1, and is started again when one is in production that cannot serve
    made = project()
    with running(made.settings):
        pass
    set_tag(made, 2, SHA256_TAG, "0" * 64)
    promote(made, 2)
    with running(made.settings) as server:
        # then version 1 serves
        assert server.post(split(rows)).json()["model_version"] == 1
        assert "version 1 goes on serving" in server.health()["problem"]


def test_an_example_that_is_not_scored_as_the_pipeline_does_keeps_a_version_out(project, monkeypatch):
    # given a model whose answers are not those of its pipeline
    monkeypatch.setattr("mlops_assets.serving.model.ServedModel._probabilities", lambda self, _: [[0.5, 0.5]] * 3)
    with running(project().settings) as server:
        # then it does not serve
        assert server.get("/ping").status_code == 503
        assert "not those of its pipeline" in server.health()["problem"]


def test_a_server_without_a_model_waits_for_the_first_one(project, rows):
    # given a registry in which nothing is in production
    made = project()
    client = made.tracking._connection.client
    with pytest.warns(FutureWarning):
        client.transition_model_version_stage("mlops-assets", "1", "Archived")
    with running(made.settings) as server:
        answer = server.post(split(rows))
        assert (answer.status_code, server.get("/health").status_code) == (503, 503)
        assert "No version is in stage Production" in answer.json()["message"]
        # when a version is promoted / then it serves
        promote(made, 1)
        wait_for(lambda: server.get("/ping").status_code == 200)
        assert server.post(split(rows)).status_code == 200
        # when it is withdrawn / then it does not
        with pytest.warns(FutureWarning):
            client.transition_model_version_stage("mlops-assets", "1", "Archived")
        wait_for(lambda: server.post(split(rows)).status_code == 503)
    # also after a restart without MLflow
    with running(settings_of(made.settings.home.parent, tracking_uri=NOWHERE)) as server:
        assert server.post(split(rows)).status_code == 503


@pytest.mark.parametrize(
    ("estimator", "labels"), [("logistic_regression", ["100 %", 'say "no"']), ("random_forest", [0, 1])]
)
def test_each_estimator_and_label_is_answered_as_it_predicts_the_day(estimator, labels, project, rows):
    # given a version of another estimator, with labels of another kind
    made = project(estimator=estimator, check_schema=False)
    data, target = mixed(seed=2, first_id=5_000)
    made.deliver(NEXT, data, with_labels(target, labels))
    assert made.materialize("raw_data", "processed", "split", "model", ds=NEXT).success
    promote(made, 3)
    assert made.materialize("production_model", "predictions").success
    predicted = made.store.read_table("predictions", DS, "predictions.csv").drop_columns(["id"]).to_pylist()[:8]
    # when it is asked
    with running(made.settings) as server:
        answer = server.post(split(rows)).json()
    # then it says what it said of the day
    assert answer["model_version"] == 3
    assert [one["prediction"] for one in answer["predictions"]] == [one["prediction"] for one in predicted]
    for got, expected in zip(answer["predictions"], predicted, strict=True):
        assert list(got) == ["prediction", *(f"score_{label}" for label in labels)] == list(expected)
        assert got == pytest.approx(expected)


def test_a_pinned_version_serves_whatever_is_promoted(project, rows):
    made = project(model_version=2)
    with running(made.settings) as server:
        assert server.post(split(rows)).json()["model_version"] == 2


def test_without_mlflow_the_remembered_champion_serves(project, rows):
    # given a server that starts while MLflow is away
    folder = project().settings.home.parent
    with running(settings_of(folder, tracking_uri=NOWHERE)) as server:
        # then the champion that was resolved last serves, and health says what is wrong
        assert server.post(split(rows)).json()["model_version"] == 1
        assert server.health()["status"] == "degraded"
        assert "MLflow cannot be reached" in server.health()["problem"]


def test_mlflow_goes_and_comes_back(project, rows):
    # given a server that serves
    made = project()
    database = made.settings.home / "mlflow" / "mlflow.db"
    with running(made.settings) as server:
        # when MLflow's database is gone
        made.tracking._connection._client = None
        database.parent.rename(made.settings.home / "gone")
        (made.settings.home / "mlflow").write_text("no folder")
        wait_for(lambda: server.health()["status"] == "degraded")
        # then it goes on serving
        assert server.post(split(rows)).json()["model_version"] == 1
        # and follows again when it is back
        (made.settings.home / "mlflow").unlink()
        (made.settings.home / "gone").rename(database.parent)
        wait_for(lambda: server.health()["status"] == "ok")
        promote(made, 2)
        wait_for(lambda: server.health()["model_version"] == 2)


@pytest.mark.slow
def test_a_real_server_of_mlflow_is_followed_and_not_needed(project, rows, tmp_path):
    # given the registry behind `mlflow server`
    shutil.copy(project().settings.home / "mlflow" / "mlflow.db", tmp_path / "server.db")
    with ExitStack() as stack:
        made = project(tracking_uri=stack.enter_context(mlflow_server(tmp_path)))
        with running(made.settings) as server:
            # when a version is promoted there / then it serves
            assert server.health() == {"status": "ok", "model_name": "mlops-assets", "model_version": 1}
            promote(made, 2)
            wait_for(lambda: server.post(split(rows)).json()["model_version"] == 2)
            # when MLflow ends / then the model server does not
            stack.close()
            wait_for(lambda: "MLflow cannot be reached" in server.health().get("problem", ""))
            assert server.post(split(rows)).json()["model_version"] == 2
        # also when it is started again
        with running(made.settings) as server:
            assert server.post(split(rows)).json()["model_version"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("signal_sent", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_when_what_runs_is_answered(signal_sent, project, rows, tmp_path):
    # given the command, and a request that it is reading
    project()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment |= {"MLOPS_SOURCE": "files", "MLOPS_START_DATE": DS}
    command = [sys.executable, "-m", "mlops_assets.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    server = Server(f"http://127.0.0.1:{port}")
    with process, socket.socket() as client:
        try:
            wait_for(lambda: reachable(server), 60)
            body = json.dumps(split(rows * 1_000)).encode()
            client.connect(("127.0.0.1", port))
            head = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
            client.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body[:1000])
            wait_for(lambda: metric(server, "mlops_serve_requests_running") == "1.0")
            # when it gets the signal, and refuses new connections
            process.send_signal(signal_sent)
            wait_for(lambda: not reachable(server))
            client.sendall(body[1000:])
            # then the request is answered
            answer = b""
            while data := client.recv(1 << 20):
                answer += data
            assert answer.startswith(b"HTTP/1.1 200")
            assert answer.count(b'"prediction"') == 8_000
            # and the command ends well
            assert process.wait(30) == 0
            assert process.stdout.read() == f"Model server: http://127.0.0.1:{port}\n"
        finally:
            process.kill()


def test_a_port_that_is_taken_is_named(project, tmp_path):
    project()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "mlops_assets.cli", "serve", "--port", str(port)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use" in done.stderr


def reachable(server: Server) -> bool:
    try:
        return server.get("/ping").status_code == 200
    except requests.ConnectionError:
        return False
