"""Runs, links, opening, and what the package leaves untouched; on a real SQLite store."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import mlflow
import pytest
from tracking_samples import config, trained

from mlops_assets.tracking import Tracking, TrackingError
from mlops_assets.tracking.client import set_process_switches

# A child must not inherit an open store, and starting anew would import mlflow again.
FORK = multiprocessing.get_context("fork")


# Runs


def test_a_run_finishes(tracking, client):
    # when
    with tracking.run("train", tags={"ds": "2024-01-01"}) as run_id:
        pass
    # then
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("train", "FINISHED")
    assert run.info.end_time >= run.info.start_time
    assert run.data.tags["ds"] == "2024-01-01"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("bad"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(1), "KILLED"),
        (BaseException(), "KILLED"),
    ],
)
def test_a_run_ends_as_the_block_did(error, status, tracking, client):
    with pytest.raises(type(error)) as caught, tracking.run("train", tags={}) as run_id:
        raise error
    assert caught.value is error
    assert client.get_run(run_id).info.status == status


def test_an_error_is_not_replaced_when_the_run_cannot_be_ended(tracking, tmp_path, caplog):
    # when
    with pytest.raises(ValueError, match="the real one"), tracking.run("train", tags={}):
        (tmp_path / "mlflow.db").write_bytes(b"not a database any more" * 1000)
        raise ValueError("the real one")
    # then
    assert "stays RUNNING" in caplog.text


def _die_in_a_run(store):
    with Tracking(store).run("train", tags={"dagster_run_id": "dead"}):
        os.kill(os.getpid(), signal.SIGKILL)


def test_close_runs_ends_what_a_kill_left(tracking, client):
    # given: a killed process, a parent run of dagster-mlflow, a run of a living Dagster run, and one by hand
    child = FORK.Process(target=_die_in_a_run, args=(tracking.config,), daemon=True)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    models, parents = (
        tracking.experiment_id(name) for name in (tracking.config.experiment, tracking.config.runs_experiment)
    )
    parent = client.create_run(parents, tags={"dagster_run_id": "dead"}).info.run_id
    alive = client.create_run(models, tags={"dagster_run_id": "alive"}).info.run_id
    other = client.create_run(models).info.run_id
    # when
    closed = tracking.close_runs(lambda run: run == "dead")
    # then
    assert len(closed) == 2
    assert parent in closed
    assert {client.get_run(run_id).info.status for run_id in closed} == {"KILLED"}
    assert [client.get_run(run_id).info.status for run_id in (alive, other)] == ["RUNNING", "RUNNING"]
    assert tracking.close_runs(lambda run: run == "dead") == []


# Links


def test_links(tmp_path, tracking):
    server = Tracking(config(tmp_path, uri="http://me:secret@mlflow:5000/", model_name="my model"))
    assert server.version_url(3) == "http://mlflow:5000/#/models/my%20model/versions/3"
    assert (tracking.run_url("r1"), tracking.version_url(1)) == (None, None)
    with_ui = Tracking(config(tmp_path, ui_url="https://ui.example/mlflow/"))
    number = with_ui.experiment_id("tests")
    assert (
        with_ui.models_url() == f"https://ui.example/mlflow/#/experiments/{number}/models?workflowType=machine_learning"
    )
    assert with_ui.run_url("r1") == f"https://ui.example/mlflow/#/experiments/{number}/runs/r1"


# The experiment


def test_artifacts_go_below_the_root(tracking, file, tmp_path):
    tracking.record_model(trained(file))
    assert list((tmp_path / "artifacts").rglob("model.skops"))


def test_a_deleted_experiment_is_a_clear_error(tracking, client, reopen):
    client.delete_experiment(tracking.experiment_id("tests"))
    with pytest.raises(TrackingError, match="mlflow experiments restore"), reopen(tracking).run("x", tags={}):
        pass


# What is left untouched


def test_no_global_state_of_mlflow_changes(tracking, file):
    # given
    before = (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run(), threading.active_count())
    # when
    version = tracking.record_model(trained(file))
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
@pytest.mark.parametrize("first_call", ["registry.production()", "close_runs(bool)", "connect_early()"])
def test_telemetry_is_off_whatever_is_called_first(first_call, tracking, monkeypatch):
    # given a process that has not imported MLflow, which reads its switches only then
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    program = f"""
import gc
from mlops_assets.tracking import Tracking, TrackingConfig
tracking = Tracking(TrackingConfig({tracking.config.uri!r}, "e", "m"))
tracking.{first_call}
tracking.connect()
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
        "heavy.add('mlops_assets.steps')\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Opening


def _open_fresh(store, results):
    results.put(Tracking(store).experiment_id("tests"))


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


def test_a_failure_to_connect_early_is_raised_by_the_first_call(tmp_path):
    # given
    (tmp_path / "mlflow.db").mkdir()
    tracking = Tracking(config(tmp_path))
    # when
    tracking.connect_early()
    # then
    with pytest.raises(TrackingError, match="is a directory"):
        tracking.registry.versions()


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


def test_making_one_opens_nothing(tmp_path):
    Tracking(config(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_a_disk_without_shared_memory_gets_a_database_without_a_log_of_its_own(tmp_path, monkeypatch):
    # given a disk on which SQLite cannot write ahead
    def refuse(*_, **__):
        raise sqlite3.OperationalError("locking protocol")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    # when the store is made / then it can be used
    assert Tracking(config(tmp_path)).registry.versions() == []
