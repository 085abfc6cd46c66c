"""A real daemon: a run survives `kill -9` of its process and of everything."""

from __future__ import annotations

import os
import signal

import pytest
from daemon import Daemon, wait_until
from dagster import DagsterRunStatus as Status
from databases import copy_database

from mlops_assets.housekeeping.dead_runs import PROCESS_TAG

ASSETS = ("raw_data", "processed", "split", "model", "metrics", "production_model", "predictions")
SOON = {"run_monitoring": {"poll_interval_seconds": 2}, "run_queue": {"dequeue_interval_seconds": 1}}


@pytest.fixture
def daemon(tmp_path, tracking_template):
    (tmp_path / ".mlops" / "mlflow").mkdir(parents=True)
    copy_database(tracking_template, tmp_path / ".mlops" / "mlflow" / "mlflow.db")
    with Daemon(tmp_path, SOON, MLOPS_WORKERS=0, MLOPS_ROWS_PER_DAY=1000) as daemon:
        yield daemon


def steps_of(instance, run_id, kind="STEP_SUCCESS"):
    events = [one.dagster_event for one in instance.all_logs(run_id) if one.dagster_event]
    return [event.step_key for event in events if event.event_type_value == kind and event.step_key in ASSETS]


def retry_of(instance, run_id):
    return next((run for run in instance.get_runs() if run.parent_run_id == run_id), None)


def assert_retried(instance, run_id):
    """The run is failed and retried, from where it was, and that is all."""
    wait_until(lambda: instance.get_run_by_id(run_id).status is Status.FAILURE, 90, "the end of the killed run")
    retry = wait_until(lambda: retry_of(instance, run_id), 30, "the retry")
    wait_until(lambda: instance.get_run_by_id(retry.run_id).is_finished, 120, "the end of the retry")
    assert instance.get_run_by_id(retry.run_id).status is Status.SUCCESS
    done = steps_of(instance, run_id)
    assert done[0] == "raw_data"
    assert steps_of(instance, retry.run_id) == list(ASSETS[len(done) :])


@pytest.mark.slow
def test_killed_runs_are_retried(daemon):
    with daemon.instance() as instance:
        # given a run at work
        (first,) = daemon.launch({"partition": "2026-01-01"})
        wait_until(lambda: steps_of(instance, first), what="the first step")
        # when its process is killed
        os.kill(int(instance.get_run_by_id(first).tags[PROCESS_TAG].split("/")[-2]), signal.SIGKILL)
        # then it is failed and retried, and the retry succeeds
        assert_retried(instance, first)
        # given another run at work
        (second,) = daemon.launch({"partition": "2026-01-02"})
        wait_until(lambda: steps_of(instance, second), what="the first step")
        # when the daemon is killed with everything below it, and started again
        daemon.kill()
        assert instance.get_run_by_id(second).status is Status.STARTED
        daemon.start()
        # then likewise
        assert_retried(instance, second)
        # and nothing was retried that need not be
        assert len(instance.get_runs()) == 4
