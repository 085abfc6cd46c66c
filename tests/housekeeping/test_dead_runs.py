"""A run whose process is gone is ended, and no other; Dagster retries those that it launched."""

from __future__ import annotations

import subprocess
import sys
import time

import dagster as dg
import pytest
from daemon import ROOT, write_config
from dagster import DagsterRunStatus as Status
from dagster._core.storage.tags import TagType, get_tag_type
from mlflow import MlflowClient

from mlops_assets.assets.assets import build_assets
from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.assets.retries import note_retry
from mlops_assets.backends.process_id import is_gone, process_tag
from mlops_assets.housekeeping.dead_runs import PROCESS_TAG, SILENT_SECONDS, fail_dead_runs, tag_process, why_dead
from mlops_assets.housekeeping.sensors import build_cleanup_sensor
from mlops_assets.names import Names
from mlops_assets.tracking.runs import DAGSTER_RUN_TAG
from mlops_assets.wiring.assembly import build_backend, build_tracking
from mlops_assets.wiring.pipeline import Pipeline

ASSETS = build_assets(daily_partitions("2026-01-01"))


@dg.job
def job():
    pass


@pytest.fixture
def instance(tmp_path):
    write_config(tmp_path / "dagster")
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        yield instance


@pytest.fixture
def dead() -> str:
    """The tag of a process that was killed."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    tag = process_tag(process.pid)
    process.kill()
    process.wait()
    return tag


def status_of(instance, run_id):
    return instance.get_run_by_id(run_id).status


def create(instance, status, tag=None, **more):
    return instance.create_run_for_job(job, status=status, tags={PROCESS_TAG: tag} if tag else {}, **more).run_id


def test_who_is_dead(dead):
    # given / when / then a process that lives, or was here no longer
    assert why_dead(process_tag(), "", 1e6) is None
    assert "was killed" in why_dead(dead, "", 0)
    # one of another host may live
    assert why_dead("elsewhere/pid:[1]/77/5", "", 0) is None
    # a tag that was copied from the run before means nothing
    assert why_dead(dead, dead, SILENT_SECONDS - 1) is None
    # a run that never registered its process
    assert why_dead("", "", 0) is None
    assert "no process registered" in why_dead("", "", SILENT_SECONDS + 1)
    assert "no process registered" in why_dead(dead, dead, SILENT_SECONDS + 1)


def test_a_dead_process_that_is_not_collected_is_gone():
    # given a killed process whose parent does not ask for it, as in a container without an init process
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    tag = process_tag(process.pid)
    assert not is_gone(tag)
    process.kill()
    # when / then it is gone before it is collected
    deadline = time.monotonic() + 10
    while not is_gone(tag):
        assert time.monotonic() < deadline
    process.wait()


def test_runs_of_dead_processes_are_ended_and_others_are_not(instance, dead):
    # given runs of a dead process in every state, a run of this one, one that inherited its tag
    died = create(instance, Status.STARTED, dead)
    canceled = create(instance, Status.STARTED, dead)
    instance.report_run_canceling(instance.get_run_by_id(canceled))
    over = create(instance, Status.SUCCESS, dead)
    alive = create(instance, Status.STARTED, process_tag())
    parent = create(instance, Status.FAILURE, dead)
    retry = create(instance, Status.STARTING, dead, parent_run_id=parent, root_run_id=parent)
    # when
    ended = fail_dead_runs(instance)
    # then the dead ones end as what they were, and the others go on
    assert set(ended) == {died, canceled}
    assert [status_of(instance, one) for one in (died, canceled, over, alive, retry)] == [
        Status.FAILURE,
        Status.CANCELED,
        Status.SUCCESS,
        Status.STARTED,
        Status.STARTING,
    ]
    # and a run that no daemon launched is not marked as to be retried
    assert instance.get_run_by_id(died).tags["dagster/will_retry"] == "false"


def test_a_run_that_inherited_a_tag_registers_its_own_process(make_settings, instance, dead):
    # given a retry of a run that died: Dagster copies the tags
    resources = Pipeline(settings=make_settings()).resources
    # when it is executed
    result = dg.materialize(
        [ASSETS.raw_data],
        partition_key="2026-01-01",
        resources=resources,
        instance=instance,
        tags={PROCESS_TAG: dead},
    )
    # then the tag is this process's
    assert instance.get_run_by_id(result.run_id).tags[PROCESS_TAG] == process_tag()


def test_a_run_in_process_does_not_wait_for_a_pool(instance):
    # given a run that holds the pool of an asset
    @dg.asset(pool="training")
    def model():
        pass

    definitions = dg.Definitions([model])
    running = instance.create_run_for_job(
        definitions.resolve_implicit_global_asset_job_def(), status=Status.STARTED, tags={PROCESS_TAG: process_tag()}
    )
    assert running.run_op_concurrency.all_pools == {"training"}
    # when another one is executed in this process, as by the command line and in users' tests
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    # then it does not wait
    assert result.success


def open_run(tracking, dagster_run_id):
    """An MLflow run as a killed process leaves it."""
    client = MlflowClient(tracking.config.uri)
    experiment = tracking.experiment_id(tracking.config.experiment)
    return client.create_run(experiment, tags={DAGSTER_RUN_TAG: dagster_run_id}).info.run_id


@pytest.mark.parametrize("end", ["failed", "canceled"])
def test_mlflow_runs_of_runs_that_are_over_are_ended(make_settings, instance, end):
    # given an MLflow run that a killed run left open, and one of a run that goes on
    settings = make_settings()
    tracking = build_tracking(settings)
    over, goes_on = (create(instance, Status.STARTED, process_tag()) for _ in range(2))
    left, _ = (open_run(tracking, one) for one in (over, goes_on))
    cleanup = build_cleanup_sensor(Names(), tracking, build_backend(settings))
    with dg.build_sensor_context(instance) as context:
        assert cleanup(context).skip_message == "Nothing was left behind."
    # when the run has ended, and the sensor looks
    getattr(instance, f"report_run_{end}")(instance.get_run_by_id(over))
    with dg.build_sensor_context(instance, cursor=context.cursor) as context:
        assert cleanup(context).skip_message == f"Removed MLflow run {left}"
    # then it is ended, and the other one is not; at the next look there is nothing more to do
    with dg.build_sensor_context(instance, cursor=context.cursor) as context:
        assert cleanup(context).skip_message == "Nothing was left behind."


def test_the_sensor_is_there_for_every_backend(make_settings, instance, dead):
    # given a run of a dead process, and the default backend
    settings = make_settings()
    died = create(instance, Status.STARTED, dead)
    cleanup = build_cleanup_sensor(Names("churn"), build_tracking(settings), build_backend(settings))
    assert cleanup.name == "churn_cleanup"
    # when the sensor looks / then it ends the run
    assert cleanup.default_status is dg.DefaultSensorStatus.RUNNING
    assert died in cleanup(dg.build_sensor_context(instance)).skip_message
    assert status_of(instance, died) is Status.FAILURE
    assert cleanup(dg.build_sensor_context(instance)).skip_message == "Nothing was left behind."


def test_the_projects_instance_is_one_for_unattended_nights(tmp_path, monkeypatch):
    # given / when a checkout's own dagster.yaml is loaded
    monkeypatch.chdir(tmp_path)
    with dg.DagsterInstance.from_config(str(ROOT)) as instance:
        # then dead workers are looked for and their runs retried, failed steps are not, and ticks do not pile up
        assert instance.run_monitoring_enabled
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 3)
        assert not instance.run_retries_retry_on_asset_or_op_failure
        concurrency = instance.get_concurrency_config()
        assert concurrency.pool_config.default_pool_limit == 1
        assert concurrency.run_queue_config.max_concurrent_runs == 25
        assert concurrency.run_queue_config.max_user_code_failure_retries == 10


def test_a_run_shows_people_neither_its_process_nor_dagsters_events(tmp_path, monkeypatch, capfd):
    # given a checkout's own dagster.yaml / when a run of the daemon executes there
    monkeypatch.chdir(tmp_path)

    @dg.op
    def works(context):
        tag_process(context)
        note_retry(context, False)
        context.log.info("it works")

    @dg.job(tags=Names("churn").tags)
    def job():
        works()

    with dg.DagsterInstance.from_config(str(ROOT)) as instance:
        result = job.execute_in_process(instance=instance)
        run = instance.get_run_by_id(result.run_id)
        steps = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    # then what only machines read is hidden in the UI
    assert len(run.tags) >= 3
    assert [tag for tag in run.tags if get_tag_type(tag) is TagType.USER_PROVIDED] == []
    # and the terminal has what the step said and no event, which the UI has
    said = capfd.readouterr().err
    assert "it works" in said
    assert "DEBUG" not in said
    assert len(steps) == 1
