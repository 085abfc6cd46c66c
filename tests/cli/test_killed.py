"""`kill -9` at any instant: starting again ends in the same bytes as a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from mlflow import MlflowClient

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
COMMAND = [sys.executable, "-m", "mlops_assets.cli", "materialize", "--from", DAYS[0], "--to", DAYS[-1], "--json"]
ROUNDS, KILLS_A_ROUND = 5, 4


def start(folder: Path, backend: str = "inprocess") -> subprocess.Popen:
    environment = {**os.environ, "MLOPS_ROWS_PER_DAY": "400", "MLOPS_BACKEND": backend}
    return subprocess.Popen(COMMAND, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(folder: Path, backend: str = "inprocess") -> None:
    process = start(folder, backend)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()


def csv_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "data").rglob("[!.]*.csv")}


def registered(folder: Path) -> list[tuple[str, str]]:
    """Version number and recipe of every version."""
    client = MlflowClient(f"sqlite:///{folder}/.mlops/mlflow/mlflow.db")
    versions = client.search_model_versions("name = 'mlops-assets'")
    return sorted((str(one.version), one.tags["mlops.recipe"]) for one in versions)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder after an undisturbed run, and how long that took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    finish(folder)
    return folder, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_killed_at_random_instants(undisturbed, tmp_path, seed):
    # given a run that is killed at four random instants
    reference, duration = undisturbed
    instants = random.Random(seed)
    for _ in range(KILLS_A_ROUND):
        kill_at(instants.uniform(0.1 * duration, duration), tmp_path, reference)
    # when it is started again and left alone
    finish(tmp_path)
    # then it is as if nothing had happened
    assert_undisturbed(tmp_path, reference)


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.parametrize("step", ["process", "train", "evaluate", "score"])
def test_killed_while_a_container_is_at_work(undisturbed, tmp_path, ours, step):
    # given a run in containers that is killed while a certain step is at work
    reference, _ = undisturbed
    process = start(tmp_path, "docker")
    deadline = time.monotonic() + 120
    while not any(one.labels["io.mlops-assets.step"] == step for one in ours()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(random.Random(step).uniform(0, 3))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # when it is started again at once and left alone
    finish(tmp_path, "docker")
    # then it is as if nothing had happened
    assert_undisturbed(tmp_path, reference)


def kill_at(seconds: float, folder: Path, reference: Path) -> None:
    process = start(folder)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # no file is ever half-written under its final name
    expected = csv_files(reference)
    for name, content in csv_files(folder).items():
        assert content == expected[name], name


def assert_undisturbed(tmp_path: Path, reference: Path) -> None:
    # all files are those of the undisturbed run, and nothing else lies there
    assert csv_files(tmp_path) == csv_files(reference)
    assert not list((tmp_path / "data").rglob(".*"))
    # each day's model is registered once, with the same content
    assert registered(tmp_path) == registered(reference)
    # no run is left open, in MLflow or in Dagster
    client = MlflowClient(f"sqlite:///{tmp_path}/.mlops/mlflow/mlflow.db")
    experiments = [one.experiment_id for one in client.search_experiments()]
    assert client.search_runs(experiments, "attributes.status = 'RUNNING'") == []
    with dg.DagsterInstance.from_config(str(tmp_path / ".mlops" / "dagster")) as instance:
        assert {run.status for run in instance.get_runs()} <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
