"""Runs, logged models, links, and what the package leaves untouched; on a real SQLite store."""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import mlflow
import numpy as np
import pytest
import tracking_samples as samples
from tracking_samples import REQUIREMENTS, config

from mlops_assets.tracking import Tracking, TrackingError
from mlops_assets.tracking.client import set_process_switches

# A child must not inherit an open store, and starting anew would import mlflow again.
FORK = multiprocessing.get_context("fork")


def run_of(tracking, run_id):
    return tracking._connection.client.get_run(run_id)


# Runs


def test_run_finishes_with_what_was_logged(tracking):
    # when
    with tracking.model_run("parent", tags={}) as parent:
        pass
    with tracking.model_run("train", tags={"ds": "2024-01-01"}, parent_run_id=parent) as run_id:
        tracking.log_params(run_id, {"depth": 3, "long": "x" * 9000})
        tracking.log_metrics(run_id, {"auc": np.float64(0.75)})
        tracking.log_tags(run_id, {"more": "yes"})
        tracking.log_dict(run_id, {"auc": 0.75}, "metrics.json")
        tracking.log_text(run_id, "hello", "notes/readme.txt")
    # then
    run = run_of(tracking, run_id)
    assert (run.info.run_name, run.info.status) == ("train", "FINISHED")
    assert run.info.end_time >= run.info.start_time
    assert (run.data.params["depth"], run.data.metrics) == ("3", {"auc": 0.75})
    assert run.data.tags.items() >= {"ds": "2024-01-01", "more": "yes", "mlflow.parentRunId": parent}.items()
    assert tracking._connection.client.download_artifacts(run_id, "metrics.json")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("bad"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(1), "KILLED"),
        (BaseException(), "KILLED"),
    ],
)
def test_run_ends_as_the_block_did(error, status, tracking):
    with pytest.raises(type(error)) as caught, tracking.model_run("train", tags={}) as run_id:
        raise error
    assert caught.value is error
    assert run_of(tracking, run_id).info.status == status


def test_an_error_is_not_replaced_when_the_run_cannot_be_ended(tracking, monkeypatch, caplog):
    # given
    def gone(*args):
        raise mlflow.MlflowException("server gone")

    # when
    with pytest.raises(ValueError, match="the real one"), tracking.model_run("train", tags={}):
        monkeypatch.setattr(tracking._connection.client, "set_terminated", gone)
        raise ValueError("the real one")
    # then
    assert "stays RUNNING" in caplog.text


def _die_in_a_run(store):
    with Tracking(store).model_run("train", tags={"dagster_run_id": "dead"}):
        os.kill(os.getpid(), signal.SIGKILL)


def test_close_runs_ends_what_a_kill_left(tracking):
    # given: a killed process, a run of a living Dagster run, and a run that is nobody's
    child = FORK.Process(target=_die_in_a_run, args=(tracking.config,), daemon=True)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    alive = tracking.start_run("alive", {"dagster_run_id": "alive"}, None)
    other = tracking.start_run("other", {}, None)
    # when
    closed = tracking.close_runs(lambda run: run == "dead")
    # then
    assert [run_of(tracking, run_id).data.tags["dagster_run_id"] for run_id in closed] == ["dead"]
    assert [run_of(tracking, run_id).info.status for run_id in (*closed, alive, other)] == [
        "KILLED",
        "RUNNING",
        "RUNNING",
    ]
    assert tracking.close_runs(lambda run: run == "dead") == []


# Logged models


def test_logged_model_is_a_complete_mlflow_model(tracking, train, data, monkeypatch, tmp_path):
    # given
    version = train(tracking, kind="boosting")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    monkeypatch.setattr("mlflow.utils.requirements_utils.warn_dependency_requirement_mismatches", lambda *_: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyfunc = importlib.import_module("mlflow.pyfunc")
        sklearn = importlib.import_module("mlflow.sklearn")
    folder = next(tmp_path.rglob("MLmodel")).parent
    # when
    model, flavor = pyfunc.load_model(str(folder)), sklearn.load_model(str(folder))
    # then
    expected = flavor.predict(data[0])
    np.testing.assert_array_equal(model.predict(data[0]), expected)
    np.testing.assert_array_equal(model.predict(model.input_example), expected[:5])
    signature = model.metadata.signature
    assert dict(zip(signature.inputs.input_names(), map(str, signature.inputs.input_types()), strict=True)) == {
        name: f"DataType.{kind}" for name, kind in samples.TYPES.items()
    }
    assert [str(kind) for kind in signature.outputs.input_types()] == ["DataType.long"]
    assert json.loads((folder / "input_example.json").read_text())["data"][0][0] is None
    assert (folder / "requirements.txt").read_text().splitlines() == [f"mlflow=={mlflow.__version__}", *REQUIREMENTS]
    logged = tracking._connection.client.get_logged_model(version.model_id)
    assert (logged.status.value, logged.source_run_id) == ("READY", version.run_id)
    assert run_of(tracking, version.run_id).outputs.model_outputs[0].model_id == version.model_id


def test_metrics_can_be_tied_to_the_model(tracking, train):
    version = train(tracking)
    tracking.log_metrics(version.run_id, {"auc": 0.5}, model_id=version.model_id)
    logged = tracking._connection.client.get_logged_model(version.model_id)
    assert [(metric.key, metric.value) for metric in logged.metrics] == [("auc", 0.5)]


def test_unknown_column_type_fails_the_model_and_the_run(tracking, fitted, data):
    with pytest.raises(ValueError, match="expected some of"), tracking.model_run("train", tags={}) as run_id:
        types = {**samples.TYPES, "a": "float"}
        tracking.log_model(run_id, fitted["logistic"], example=data[0], types=types, requirements=REQUIREMENTS)
    (logged,) = tracking._connection.client.search_logged_models([tracking._experiment_id])
    assert logged.status.value == "FAILED"


# Links


def test_links(tmp_path, tracking):
    server = Tracking(config(tmp_path, uri="http://me:secret@mlflow:5000/", model_name="my model"))
    assert server.version_url(3) == "http://mlflow:5000/#/models/my%20model/versions/3"
    assert (tracking.run_url("r1"), tracking.version_url(1)) == (None, None)
    with_ui = Tracking(config(tmp_path, ui_url="https://ui.example/mlflow/"))
    assert with_ui.run_url("r1") == f"https://ui.example/mlflow/#/experiments/{with_ui._experiment_id}/runs/r1"


# The experiment


def test_artifacts_go_below_the_root(tracking, tmp_path):
    with tracking.model_run("train", tags={}) as run_id:
        tracking.log_text(run_id, "x", "x.txt")
    assert list((tmp_path / "artifacts").rglob("x.txt"))


def test_a_deleted_experiment_is_a_clear_error(tracking, reopen):
    with tracking.model_run("train", tags={}):
        pass
    tracking._connection.client.delete_experiment(tracking._experiment_id)
    with pytest.raises(TrackingError, match="mlflow experiments restore"), reopen(tracking).model_run("x", tags={}):
        pass


# What is left untouched


def test_no_global_state_of_mlflow_changes(tracking, train):
    # given
    before = (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run(), threading.active_count())
    # when
    version = train(tracking)
    tracking.registry.promote(version, reason="first", by="me")
    # then
    after = (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run(), threading.active_count())
    assert after == before


@pytest.mark.parametrize(("name", "value"), [("MLFLOW_DISABLE_TELEMETRY", "false"), ("DO_NOT_TRACK", "true")])
def test_an_explicit_choice_about_telemetry_is_respected(name, value, monkeypatch):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    monkeypatch.setenv(name, value)
    set_process_switches()
    assert os.environ.get("MLFLOW_DISABLE_TELEMETRY") == (value if name == "MLFLOW_DISABLE_TELEMETRY" else None)


def test_telemetry_is_off_by_default(monkeypatch):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    set_process_switches()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")


@pytest.mark.slow
@pytest.mark.parametrize("first_call", ["registry.production()", "log_metrics(run_id, {'auc': 1.0})"])
def test_telemetry_is_off_whatever_is_called_first(first_call, tracking, tmp_path, monkeypatch):
    # given a process that has not imported MLflow, which reads its switches only then
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    with tracking.model_run("train", tags={}) as run_id:
        pass
    program = f"""
import gc
from mlops_assets.tracking import Tracking, TrackingConfig
tracking, run_id = Tracking(TrackingConfig({tracking.config.uri!r}, "e", "m")), {run_id!r}
tracking.{first_call}
from mlflow.telemetry import get_telemetry_client
assert get_telemetry_client() is None
assert gc.isenabled() and gc.get_freeze_count()
"""
    # when, then
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_importing_and_configuring_loads_nothing_heavy(tmp_path):
    code = (
        "import pkgutil, sys, importlib, mlops_assets.tracking as package\n"
        "for module in pkgutil.iter_modules(package.__path__):\n"
        "    importlib.import_module(f'mlops_assets.tracking.{module.name}')\n"
        "package.Tracking(package.TrackingConfig('http://localhost:1', 'e', 'm')).version_url(1)\n"
        "heavy = {'mlflow', 'sklearn', 'skops', 'pandas', 'numpy', 'dagster', 'sqlalchemy', 'yaml'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Opening


def _open_fresh(store, results):
    tracking = Tracking(store)
    with tracking.model_run("train", tags={}):
        results.put(tracking._experiment_id)


def test_two_processes_may_open_a_fresh_store_at_once(tmp_path):
    # given
    results = FORK.Queue()
    store = config(tmp_path / "new" / "folder")
    children = [FORK.Process(target=_open_fresh, args=(store, results), daemon=True) for _ in range(2)]
    # when
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    # then
    assert [child.exitcode for child in children] == [0, 0]
    assert results.get() == results.get()


def test_migrations_are_not_heard(tmp_path, caplog, monkeypatch):
    # given: as loud as a host application can be
    caplog.set_level(logging.DEBUG, "alembic")
    caplog.set_level(logging.INFO, "mlflow.store.db.utils")
    before = logging.getLogger("alembic").level
    # when
    Tracking(config(tmp_path)).registry.versions()
    # then
    assert not [record for record in caplog.records if record.name.startswith(("alembic", "mlflow"))]
    assert logging.getLogger("alembic").level == before


def test_making_one_is_cheap(tmp_path):
    start = time.perf_counter()
    Tracking(config(tmp_path / "nowhere"))
    assert time.perf_counter() - start < 0.1
    assert not (tmp_path / "nowhere").exists()
