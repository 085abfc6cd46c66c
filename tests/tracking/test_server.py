"""The same through a real `mlflow server`, and what another MLflow user sees of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tracking_samples as samples
from tracking_samples import REQUIREMENTS, config

from mlops_assets.tracking import Tracking, TrackingError
from mlops_assets.tracking.digest import model_digest

pytestmark = pytest.mark.slow

# What a colleague would write, with nothing of ours but the functions inside the model.
COLLEAGUE = """
import warnings; warnings.simplefilter("ignore")
import mlflow, tracking_samples as samples
data, _ = samples.frame()
for address in ("models:/churn/1", "models:/churn@champion"):
    model = mlflow.pyfunc.load_model(address)
    assert list(model.predict(data)) == list(mlflow.sklearn.load_model(address).predict(data))
assert model.metadata.signature.inputs.input_names() == list(samples.TYPES)
assert len(model.input_example) == 5
print("as expected")
"""


def colleague(uri):
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    switches = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    env = {**os.environ, **switches, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", COLLEAGUE], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    return done.stdout.strip() or done.stderr


def whole_life(tracking, fitted, data):
    """Train, register, promote, load."""
    model = fitted["boosting"]
    with tracking.model_run("train", tags={"dagster_run_id": "r"}) as run_id:
        tracking.log_params(run_id, {"depth": 3})
        logged = tracking.log_model(run_id, model, example=data[0], types=samples.TYPES, requirements=REQUIREMENTS)
        tracking.log_metrics(run_id, {"auc": 0.7}, model_id=logged.model_id)
        tracking.log_dict(run_id, {"auc": 0.7}, "metrics.json")
        digest = model_digest(model)
        version = tracking.registry.register(logged, run_id, digest=digest, ds="2024-01-01", tags={})
        assert tracking.registry.register(logged, run_id, digest=digest, ds="2024-01-01", tags={}) == version
        second = tracking.registry.register(logged, run_id, digest="other", ds="2024-01-02", tags={})
    for number in (version, second):
        tracking.registry.promote(number, reason="better", by="gate", scores={"auc": 0.7})
    assert tracking.registry.rollback(reason="bad", by="me").to_version == version.number
    assert tracking.registry.production().number == version.number
    assert [entry.to_version for entry in tracking.registry.history()] == [1, 2, 1]
    loaded = tracking.registry.load(version)
    np.testing.assert_array_equal(loaded.predict(data[0]), model.predict(data[0]))
    return run_id


@pytest.fixture
def server(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "files"),
    ]
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env, cwd=tmp_path, start_new_session=True)
    tracking = Tracking(config(tmp_path, uri=f"http://127.0.0.1:{port}"))
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                tracking.ping()
                break
            except TrackingError:
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "server.log").read_text()
                time.sleep(0.3)
        yield tracking
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_on_a_server(server, fitted, data, capfd):
    # when
    run_id = whole_life(server, fitted, data)
    # then: links lead there, nothing was printed, and others can use the model
    assert server.run_url(run_id) == f"{server.config.uri}/#/experiments/1/runs/{run_id}"
    assert capfd.readouterr().out == ""
    assert colleague(server.config.uri) == "as expected"


def test_on_sqlite(tracking, fitted, data):
    whole_life(tracking, fitted, data)
    assert colleague(tracking.config.uri) == "as expected"
