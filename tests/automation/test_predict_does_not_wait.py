"""A real daemon: nothing that runs long makes the night's predictions wait."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from daemon import ROOT, Daemon, wait_until
from dagster import DagsterRunStatus as Status
from dagster import RunsFilter

DAYS = [(dt.date(2025, 1, 1) + dt.timedelta(days=one)).isoformat() for one in range(365)]
ALL = ("raw_data", "processed", "split", "model", "metrics", "production_model", "predictions")

BACKFILL = """
mutation Backfill($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""


def backfill(daemon, *assets):
    parameters = {"assetSelection": [{"path": [name]} for name in assets], "partitionNames": DAYS}
    answer = daemon.graphql(BACKFILL, {"parameters": parameters})["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return answer["backfillId"]


@pytest.mark.slow
def test_predict_starts_within_a_minute_beside_a_training_and_backfills(tmp_path):
    environment = {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    with Daemon(tmp_path, location="sleeping_location", **environment) as daemon, daemon.instance() as instance:

        def status(run_id):
            return instance.get_run_by_id(run_id).status

        def only_run(backfill_id):
            runs = instance.get_runs(RunsFilter(tags={"dagster/backfill": backfill_id}))
            assert len(runs) <= 1
            return runs[0] if runs else None

        # given a training of an hour, and a backfill of 365 days of data and predictions
        (training,) = daemon.launch({"job": "train", "partition": "2026-01-01"})
        wait_until(lambda: status(training) is Status.STARTED, what="the training")
        scoring = backfill(daemon, "raw_data", "production_model", "predictions")
        wait_until(lambda: (run := only_run(scoring)) and run.status is Status.STARTED, what="the backfill")
        # and one of all assets, and a second training, that wait for the first
        everything = backfill(daemon, *ALL)
        (second,) = daemon.launch({"job": "train", "partition": "2026-01-02"})
        wait_until(lambda: (run := only_run(everything)) and run.status is Status.QUEUED, what="the second backfill")
        # when the day's data and predictions are due
        download, predict = daemon.launch(
            {"job": "download", "partition": "2026-01-02"}, {"job": "predict", "partition": "2026-01-02"}
        )
        # then they are made within a minute
        wait_until(lambda: status(download) is Status.SUCCESS, 60, "the download")
        wait_until(lambda: status(predict) is Status.SUCCESS, 60, "the predictions")
        # while all else goes on, or waits
        assert [status(run) for run in (training, only_run(scoring).run_id)] == [Status.STARTED, Status.STARTED]
        assert [status(run) for run in (second, only_run(everything).run_id)] == [Status.QUEUED, Status.QUEUED]
