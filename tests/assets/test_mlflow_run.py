"""No MLflow run is left RUNNING, whatever way its Dagster run ended; nothing global is left behind."""

from __future__ import annotations

import os

import dagster as dg
import mlflow
import pytest
from mlflow import MlflowClient

from mlops_assets.assets.assets import build_assets
from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.housekeeping.cleanup import close_mlflow_runs
from mlops_assets.wiring.pipeline import Pipeline

ASSETS = build_assets(daily_partitions("2026-01-01"))
TRAINING = [ASSETS.raw_data, ASSETS.processed, ASSETS.split, ASSETS.model]


def runs(settings, experiment):
    client = MlflowClient(settings.tracking.uri)
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_the_run_of_the_dagster_run_is_apart_from_those_of_the_models(make_settings, instance):
    # given / when a model is trained
    settings = make_settings()
    resources = Pipeline(settings=settings).resources
    result = dg.materialize(TRAINING, partition_key="2026-01-05", resources=resources, instance=instance)
    # then both runs carry the Dagster run's id and are finished, and the models' experiment has only models
    (model,) = runs(settings, settings.tracking.experiment)
    (parent,) = runs(settings, settings.tracking.runs_experiment)
    assert model.info.run_name == "model 2026-01-05"
    assert {run.data.tags["dagster_run_id"] for run in (model, parent)} == {result.run_id}
    assert {run.info.status for run in (model, parent)} == {"FINISHED"}
    # and the process is as it was
    assert mlflow.active_run() is None
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_failed_run_fails_its_mlflow_run(make_settings, instance, tmp_path):
    # given a day of one class, which no model can be trained on
    settings = make_settings(source="files")
    folder = tmp_path / "data" / "raw" / "2026-01-05"
    folder.mkdir(parents=True)
    (folder / "data.csv").write_text("a,b\n" + "".join(f"{n},{n % 7}\n" for n in range(50)))
    (folder / "target.csv").write_text("target\n" + "0\n" * 50)
    resources = Pipeline(settings=settings).resources
    how = {"partition_key": "2026-01-05", "resources": resources, "instance": instance, "raise_on_error": False}
    assert dg.materialize([ASSETS.raw_data, ASSETS.processed, ASSETS.split], **how).success
    # when a user tries, in spite of the check
    result = dg.materialize([ASSETS.model], **how)
    # then Dagster and MLflow agree
    assert not result.success
    assert "two classes" in result.failure_data_for_node("model").user_failure_data.description
    experiment = MlflowClient(settings.tracking.uri).get_experiment_by_name(settings.tracking.experiment)
    assert experiment is None or runs(settings, settings.tracking.experiment) == []


@pytest.mark.slow
def test_runs_of_a_killed_process_are_ended_by_the_next_run_and_by_the_cleanup(make_settings, instance):
    # given an MLflow run that a killed process left open
    settings = make_settings()
    pipeline = Pipeline(settings=settings)
    tracking, resources = pipeline.tracking, pipeline.resources
    client = MlflowClient(settings.tracking.uri)

    def failed_dagster_run():
        run = instance.create_run_for_job(dg.Definitions(jobs=[empty]).resolve_job_def("empty"))
        instance.report_run_failed(run)
        return run.run_id

    def leave_open(dagster_run_id):
        experiment = client.get_experiment_by_name(settings.tracking.experiment).experiment_id
        return client.create_run(experiment, tags={"dagster_run_id": dagster_run_id}).info.run_id

    dg.materialize(TRAINING, partition_key="2026-01-05", resources=resources, instance=instance)
    first, status = leave_open(failed_dagster_run()), lambda run_id: client.get_run(run_id).info.status
    # and one of a Dagster instance that is not ours
    foreign = leave_open("a run of another user")
    # when the next run trains a model
    dg.materialize(TRAINING, partition_key="2026-01-06", resources=resources, instance=instance)
    # then ours is ended
    assert status(first) == "KILLED"
    assert status(foreign) == "RUNNING"
    # and when the clean-up sees a failed run
    second = leave_open(failed_dagster_run())
    close_mlflow_runs(instance, tracking, None)
    # then it is ended too
    assert status(second) == "KILLED"


@dg.job
def empty():
    pass
