"""The same through a real `mlflow server`, and what another MLflow user sees of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow_server import mlflow_server
from tracking_samples import config, real, trained

from mlops_assets.tracking import Tracking, TrackingError, Verdict

pytestmark = pytest.mark.slow

# What a colleague would write, with nothing of ours but the functions inside the model.
COLLEAGUE = """
import warnings; warnings.simplefilter("ignore")
import mlflow, tracking_samples as samples
data = samples.frame()
for address in ("models:/churn/1", "models:/churn@champion"):
    model = mlflow.pyfunc.load_model(address)
    assert list(model.predict(data)) == list(mlflow.sklearn.load_model(address).predict(data))
assert model.metadata.signature.inputs.input_names() == list(samples.KINDS)
assert len(model.input_example) == 3
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


def whole_life(tracking, folder):
    """Train, record, judge, promote, fetch."""
    model = real("hist_gradient_boosting", folder / "file")
    version = tracking.record_model(model)
    assert tracking.record_model(model) == version
    tracking.record_metrics(version, {"auc": 0.7}, {"auc": 0.7}, "metrics.json", recipe="m1")
    second = tracking.record_model(trained(folder / "file", recipe="r2", ds="2024-01-02"))
    assert tracking.registry.unjudged("rows") == [version, second]
    for one in (version, second):
        tracking.registry.promote(one, reason="better", by="gate", scores={"auc": 0.7})
        verdict = Verdict("promoted", "better", "rows", "2024-01-02T00:00:00", {"auc": 0.7})
        tracking.registry.record_verdict(one.number, verdict)
    assert tracking.registry.rollback(reason="bad", by="me").to_version == version.number
    assert tracking.registry.production().number == version.number
    assert [entry.to_version for entry in tracking.registry.history()] == [1, 2, 1]
    tracking.registry.fetch(version, folder / "fetched")
    assert (folder / "fetched" / "model.skops").read_bytes() == model.file.read_bytes()
    assert sorted(path.name for path in (folder / "fetched").iterdir()) == ["model.json", "model.skops"]
    with pytest.raises(TrackingError, match="has SHA-256"):
        tracking.record_model(trained(folder / "file", recipe="r3", sha256="0" * 64))
    assert set(tracking.registry.recipes()) == {"r1", "r2"}
    return version.run_id


@pytest.fixture
def server(tmp_path):
    with mlflow_server(tmp_path) as address:
        yield Tracking(config(tmp_path, uri=address))


def test_on_a_server(server, tmp_path, capfd):
    # when
    run_id = whole_life(server, tmp_path)
    # then: links lead there, nothing was printed, and others can use the model
    assert server.run_url(run_id) == f"{server.config.uri}/#/experiments/1/runs/{run_id}"
    assert capfd.readouterr().out == ""
    assert colleague(server.config.uri) == "as expected"


def test_on_sqlite(tracking, tmp_path):
    whole_life(tracking, tmp_path)
    assert colleague(tracking.config.uri) == "as expected"
