"""Commands that meet on a fresh home, are interrupted, or cannot write: no traceback, no broken state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mlops_assets.cli.instance import dagster_home
from mlops_assets.settings import Settings

ROOT = Path(__file__).parents[2]


def start(folder, *arguments, **environment):
    command = [sys.executable, "-m", "mlops_assets.cli", *arguments]
    settings = {"MLOPS_ROWS_PER_DAY": "300", "MLOPS_WORKERS": "0", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def runs(folder):
    with dg.DagsterInstance.from_config(str(folder / ".mlops" / "dagster")) as instance:
        return instance.get_runs()


@pytest.mark.slow
def test_two_commands_at_once_on_a_fresh_home(tmp_path):
    # given no home / when two commands start at once
    days = ("2026-01-01", "2026-01-02")
    training = ("raw_data", "processed", "split", "model")
    processes = [start(tmp_path, "materialize", *training, "--partition", ds) for ds in days]
    said = [process.communicate()[0] for process in processes]
    # then neither stands in the other's way, in Dagster's databases or in MLflow's
    assert [process.returncode for process in processes] == [0, 0], said
    assert len(runs(tmp_path)) == 2
    # and the configuration is whole
    assert yaml.safe_load((tmp_path / ".mlops/dagster/dagster.yaml").read_text())["telemetry"] == {"enabled": False}
    assert not list((tmp_path / ".mlops/dagster").glob(".dagster.yaml.*"))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_ends_its_run_as_canceled(tmp_path, how):
    # given a command at work, with worker processes
    span = ("--from", "2026-01-01", "--to", "2026-03-31")
    process = start(tmp_path, "materialize", "raw_data", *span, MLOPS_ROWS_PER_DAY="20000", MLOPS_WORKERS="2")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("data/raw/*/data.csv")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # when it is interrupted, with all of its helpers, as a terminal does
    os.killpg(process.pid, how)
    said, _ = process.communicate()
    # then it says so, without a traceback, and Dagster has the run as cancelled
    assert process.returncode == 130, said
    assert "interrupted; finished days are kept" in said
    assert "Traceback" not in said
    assert [run.status for run in runs(tmp_path)] == [dg.DagsterRunStatus.CANCELED]


@pytest.mark.slow
def test_an_interruption_while_dagster_records_many_days(tmp_path):
    # given a command that has made many days, of which Dagster records one day after the other
    span = {"MLOPS_START_DATE": "2020-01-01", "MLOPS_ROWS_PER_DAY": "20"}
    process = start(tmp_path, "materialize", "raw_data", "--from", "2020-01-01", "--to", "2021-06-30", **span)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("data/raw/2021-06-30")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    with dg.DagsterInstance.from_config(str(tmp_path / ".mlops" / "dagster")) as instance:
        while not instance.fetch_materializations(dg.AssetKey("raw_data"), limit=1).records:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
    # when it is interrupted
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    # then it ends, and not only after the last day
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert [run.status for run in runs(tmp_path)] == [dg.DagsterRunStatus.CANCELED]
    with dg.DagsterInstance.from_config(str(tmp_path / ".mlops" / "dagster")) as instance:
        assert len(instance.get_materialized_partitions(dg.AssetKey("raw_data"))) < 547


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("MLOPS_HOME", "/proc/nothing", "MLOPS_HOME"),
        ("MLOPS_HOME", "a_file", "a_file is a file"),
        ("DAGSTER_HOME", "/proc/nothing", "DAGSTER_HOME"),
        ("DAGSTER_HOME", "a_file", "DAGSTER_HOME"),
        ("MLOPS_START_DATE", "0001-01-01", "MLOPS_START_DATE"),
        ("MLFLOW_TRACKING_URI", "http://[", "MLFLOW_TRACKING_URI"),
        ("MLFLOW_TRACKING_URI", "sqlite:///", "MLFLOW_TRACKING_URI"),
    ],
)
def test_places_that_cannot_be_used_are_named(cli, tmp_path, variable, value, expected):
    # given a place that cannot be used / when a command needs it
    (tmp_path / "a_file").touch()
    done = cli("materialize", "raw_data", "--partition", "2026-01-01", **{variable: value})
    # then the error names it and the setting
    assert done.code != 0
    assert expected in done.err


def test_a_database_server_in_the_projects_dagster_yaml_is_used(tmp_path, monkeypatch):
    # given a project whose runs are kept by a server, and its logs in a folder
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    storage = {"postgres": {"postgres_url": {"env": "DAGSTER_DATABASE"}}}
    logs = {"module": "team.logs", "class": "Logs", "config": {"base_dir": "logs"}}
    Path("dagster.yaml").write_text(yaml.safe_dump({"storage": storage, "compute_logs": logs}))
    # when the commands make Dagster's folder
    home = dagster_home(Settings(home=tmp_path / "home"))
    # then their runs are kept by the server, too, and the logs lie in that folder
    made = yaml.safe_load((home / "dagster.yaml").read_text())
    assert made["storage"] == storage
    assert "compute_logs" not in made
