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


def start(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "MLOPS_ROWS_PER_DAY": "400"}
    return subprocess.Popen(COMMAND, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(folder: Path) -> None:
    process = start(folder)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()


def csv_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "data").rglob("[!.]*.csv")}


def registered(folder: Path) -> list[tuple[str, str]]:
    """Version number and content digest of every version."""
    client = MlflowClient(f"sqlite:///{folder}/.mlops/mlflow/mlflow.db")
    versions = client.search_model_versions("name = 'mlops-assets'")
    return sorted((str(one.version), one.tags["mlops.digest"]) for one in versions)


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
    expected = csv_files(reference)
    instants = random.Random(seed)
    for _ in range(KILLS_A_ROUND):
        process = start(tmp_path)
        time.sleep(instants.uniform(0.1 * duration, duration))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        # then no file is ever half-written under its final name
        for name, content in csv_files(tmp_path).items():
            assert content == expected[name], name
    # when it is started again and left alone
    finish(tmp_path)
    # then all files are those of the undisturbed run, and nothing else lies there
    assert csv_files(tmp_path) == expected
    assert not list((tmp_path / "data").rglob(".*"))
    # and each day's model is registered once, with the same content
    assert registered(tmp_path) == registered(reference)
    # and no run is left open, in MLflow or in Dagster
    client = MlflowClient(f"sqlite:///{tmp_path}/.mlops/mlflow/mlflow.db")
    experiments = [one.experiment_id for one in client.search_experiments()]
    assert client.search_runs(experiments, "attributes.status = 'RUNNING'") == []
    with dg.DagsterInstance.from_config(str(tmp_path / ".mlops" / "dagster")) as instance:
        assert {run.status for run in instance.get_runs()} <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
