"""What people are told about runs that really ran, once each; and what the sensor does when things break."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import replace

import dagster as dg
import pytest
from alert_servers import assert_no_secret, mail_server, web_sink
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, TickData, TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo

from mlops_assets.alerts.message import KINDS, LATE, alert
from mlops_assets.alerts.sensor import build_alert_sensors
from mlops_assets.assets.assets import build_assets
from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.assets.resources import build_resources
from mlops_assets.tracking.errors import TrackingError
from mlops_assets.wiring.assembly import build_alerting, build_backend, build_tracking
from mlops_assets.wiring.build import assemble

RANGE = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-03"}


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as instance:
        yield instance


@pytest.fixture
def sink():
    with web_sink() as server:
        yield server


class Watch:
    """The sensor, evaluated again and again as the daemon does, with its cursor."""

    def __init__(self, alerting, instance):
        (self.sensor,) = build_alert_sensors(alerting)
        self.instance, self.cursor = instance, None

    def tick(self, *, killed=False):
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = self.sensor.evaluate_tick(context)
        if not killed:
            self.cursor = result.cursor
        return result.skip_message


@pytest.fixture
def watch(make_settings, instance, sink):
    def make(**changes):
        settings = make_settings(alert_urls=sink.url, alert_on=",".join(KINDS))
        watch = Watch(replace(build_alerting(settings), **changes), instance)
        assert watch.tick() == "Nothing to tell."
        return watch

    return make


@dg.op
def fine():
    pass


@dg.op
def breaks():
    raise TrackingError("MLflow does not answer; start it") from ConnectionError("the socket is closed")


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
def breaks_often():
    raise ValueError("flaky")


@dg.job(tags={"dagster/partition": "2026-01-05", "mlops_assets/mlflow_run_url": "http://mlflow/run"})
def train():
    breaks()
    fine()


@dg.job
def flaky():
    breaks_often()


def test_a_failed_run_is_told_once_with_step_reason_and_links(watch, instance, sink):
    # given a sensor that has looked before, and a run that failed before that
    train.execute_in_process(instance=instance, raise_on_error=False)
    time.sleep(0.01)
    sensor = watch()
    # when a run fails, the daemon is killed after the first look, and others look again
    failed = train.execute_in_process(instance=instance, raise_on_error=False)
    answer = sensor.tick(killed=True)
    assert sensor.tick() == sensor.tick() == "Nothing to tell."
    # then there is one message, and it says all
    assert answer == "1 new, 1 delivered, 0 not delivered."
    (told,) = sink.posts
    assert told["title"] == "train 2026-01-05 failed"
    assert told["message"] == (
        "Job: train\nPartition: 2026-01-05\nStep breaks: MLflow does not answer; start it\n\n"
        f"Run: http://127.0.0.1:3000/runs/{failed.run_id}\nMLflow: http://mlflow/run"
    )


def test_each_retry_is_told_and_then_the_failure(watch, instance, sink):
    # given / when a step fails three times
    sensor = watch()
    flaky.execute_in_process(instance=instance, raise_on_error=False)
    sensor.tick()
    # then
    assert [one["title"] for one in sink.posts] == ["flaky: breaks_often is retried"] * 2 + ["flaky failed"]
    assert "Step breaks_often, attempt 2: ValueError: flaky" in sink.posts[1]["message"]


def test_a_run_that_is_still_at_work_tells_its_retries_already(watch, instance, sink):
    # given a run in whose middle the sensor looks
    sensor = watch()

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
    def looks(context):
        if context.retry_number == 0:
            raise ValueError("flaky")
        sensor.tick()

    @dg.job
    def looking():
        looks()

    # when / then
    assert looking.execute_in_process(instance=instance).success
    assert [one["title"] for one in sink.posts] == ["looking: looks is retried"]
    assert sensor.tick() == "Nothing to tell."


def test_runs_without_a_failed_step_and_cancelled_ones(watch, instance, sink):
    # given a run whose process was killed, one that Dagster will retry, and one that a person cancelled
    sensor = watch()
    killed, cancelled = (instance.create_run_for_job(flaky) for _ in range(2))
    instance.add_run_tags(killed.run_id, {"dagster/will_retry": "true"})
    instance.report_run_failed(killed, "The process 7 that executed this run is gone: it was killed.")
    instance.report_run_canceled(cancelled)
    # when / then only the first is told
    sensor.tick()
    (told,) = sink.posts
    assert "it was killed.\nDagster will retry the run." in told["message"]


def test_failed_checks_of_many_days_are_one_message(watch, instance, sink):
    # given an asset with a check that fails on two of three days
    days = daily_partitions("2026-01-01")
    specs = [dg.AssetCheckSpec("enough_rows", asset="rows"), dg.AssetCheckSpec("good", asset="rows")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.asset(partitions_def=days, check_specs=specs, backfill_policy=dg.BackfillPolicy.single_run())
        def rows(context):
            yield dg.MaterializeResult()
            yield dg.AssetCheckResult(
                passed=False, check_name="enough_rows", description="12 rows, expected 100",
                severity=dg.AssetCheckSeverity.WARN,
            )  # fmt: skip
            yield dg.AssetCheckResult(passed=True, check_name="good")

    # when it is materialized
    sensor = watch()
    run = dg.materialize([rows], instance=instance, tags=RANGE)
    sensor.tick()
    # then the failed check is told, with what it found and where
    (told,) = sink.posts
    assert told["title"] == "Check enough_rows of rows failed 2026-01-01 … 2026-01-03"
    assert told["message"] == (
        "Asset: rows\nCheck: enough_rows, severity WARN\n2026-01-01 … 2026-01-03: 12 rows, expected 100\n"
        f"Job: materialization\n\nRun: http://127.0.0.1:3000/runs/{run.run_id}"
    )


@pytest.mark.slow
def test_the_gates_decisions_and_those_of_people(watch, instance, sink, make_settings):
    # given the real pipeline
    settings = make_settings()
    sensor, resources = watch(), build_resources(build_backend(settings), build_tracking(settings))
    assets = build_assets(daily_partitions("2026-01-01"))
    # when a first model is promoted, and the same one is judged again
    run = dg.materialize([*assets[:6]], partition_key="2026-01-05", instance=instance, resources=resources)
    dg.materialize([assets.production_model], instance=instance, resources=resources)
    sensor.tick()
    # then the promotion is told, with links to both sides, and that nothing changed is not
    (told,) = sink.posts
    assert told["title"] == "Version 1 went to production"
    assert f"Run: http://127.0.0.1:3000/runs/{run.run_id}\nMLflow: http://127.0.0.1:5000/#/exp" in told["message"]
    assert "roc_auc of the challenger, version 1: 0." in told["message"]
    # and when a worse one is rejected, and a person has the last word
    facts = {"reason": "worse", "challenger_version": 2, "champion_version": 1, "champion_score": 0.9}
    for metadata in ({"promoted": False, **facts}, {"promoted": True, "from_version": 1, "to_version": 2, "by": "ann"}):
        instance.report_runless_asset_event(dg.AssetMaterialization("production_model", metadata=metadata))
    sensor.tick()
    assert sorted(one["title"] for one in sink.posts[1:]) == [
        "Version 2 was rejected, version 1 stays",
        "Version 2 went to production",
    ]


def failing_sensor(instance, errors):
    """Record what the daemon records of a sensor that fails."""
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="mlops_assets.definitions"))
    state = InstigatorState(
        RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "repository"), "arrivals"),
        InstigatorType.SENSOR,
        InstigatorStatus.RUNNING,
    )
    if not instance.all_instigator_state():
        instance.add_instigator_state(state)
    facts = state.instigator_origin_id, "arrivals", InstigatorType.SENSOR, TickStatus.FAILURE
    for message in errors:
        error = SerializableErrorInfo(f"OSError: {message}\n", [], "OSError", None, None)
        instance.create_tick(TickData(*facts, time.time(), error=error, selector_id=state.selector_id))


def test_a_sensor_that_fails_every_time_is_told_once_a_day(watch, instance, sink):
    # given a sensor that has failed twenty times for one reason, and once for another
    sensor = watch()
    failing_sensor(instance, [f"port {number} is closed" for number in range(20)] + ["the disk is full"])
    # when / then two messages
    sensor.tick()
    failing_sensor(instance, ["port 7777 is closed"])
    sensor.tick()
    assert {one["title"] for one in sink.posts} == {"sensor arrivals failed"}
    assert sorted(one["message"].splitlines()[0] for one in sink.posts)[1] == "OSError: the disk is full"
    assert len(sink.posts) == 2


def test_what_cannot_be_looked_at_does_not_stop_the_rest(watch, instance, sink):
    # given a source that breaks, and then has something to tell
    answers = [
        RuntimeError("no such folder"),
        [alert("late/2026-01-05", LATE, "raw_data 2026-01-05 is late", ["body"])],
    ]

    def late(_instance):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    answers.insert(0, [])
    sensor = watch(late=late)
    # when a run fails meanwhile
    train.execute_in_process(instance=instance, raise_on_error=False)
    sensor.tick()
    sensor.tick()
    # then all three are told
    assert [one["title"] for one in sink.posts] == [
        "train 2026-01-05 failed",
        "sensor alerts, looking at late data, failed",
        "raw_data 2026-01-05 is late",
    ]


def test_a_broken_target_fails_no_tick_and_shows_no_secret(make_settings, instance, sink, tmp_path, capfd):
    # given three targets: one that refuses, one that no program understands, one that works; only failures are told
    sink.status = 403
    with mail_server() as mail:
        urls = f"{sink.url}/a,b, nonsense://herring:s3cret-Pa55@T0ken-in-the-path {mail.url()}"
        settings = make_settings(alert_urls=urls, alert_on="failure", dagster_url="https://dagster.example/")
        sensor = Watch(build_alerting(settings), instance)
        sensor.tick()
        # when a flaky run fails
        flaky.execute_in_process(instance=instance, raise_on_error=False)
        answer = sensor.tick()
        again = sensor.tick()
    # then the good one has the failure, and the tick says what went wrong with the others
    (told,) = mail.mails
    assert told["subject"] == "flaky failed"
    assert "https://dagster.example/runs/" in told.get_content()
    assert "1 new, 1 delivered, 2 not delivered." in answer
    assert "target 1 (json): Failed to send JSON" in answer
    assert "target 2 (nonsense) is no URL" in answer
    assert again == "Nothing to tell."
    # and no secret is anywhere
    stored = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert any("flaky failed" in text for text in stored)
    assert_no_secret(answer, repr(settings), *capfd.readouterr(), *stored, json.dumps(settings.step_environment()))


def test_without_targets_there_is_no_sensor_and_with_them_it_runs(make_settings):
    # given / when / then
    def sensors(**changes):
        settings = make_settings(**changes)
        days = daily_partitions(settings.start_date)
        built = assemble(days, build_backend(settings), build_tracking(settings), alerting=build_alerting(settings))
        return {one.name: one for one in built.sensors or ()}

    assert "alerts" not in sensors()
    sensor = sensors(alert_urls="json://host/x", sensor_seconds=7)["alerts"]
    assert (sensor.minimum_interval_seconds, sensor.default_status) == (7, dg.DefaultSensorStatus.RUNNING)


def test_looking_is_cheap_when_nothing_happens(watch, instance):
    # given a thousand runs of long ago
    sensor = watch()
    instance.report_run_failed(instance.create_run_for_job(flaky))
    columns = "snapshot_id, pipeline_name, mode, status, run_body, create_timestamp"
    with instance.run_storage.connect() as connection:
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
            f" INSERT INTO runs (run_id, {columns}) SELECT 'run' || i, {columns} FROM runs, n"
        )
        connection.exec_driver_sql("UPDATE runs SET update_timestamp = '2026-01-01 00:00:00.000000'")
    assert instance.get_runs_count() == 1_001
    # when / then the best of some looks is fast
    durations = []
    for _ in range(5):
        start = time.perf_counter()
        assert sensor.tick() == "Nothing to tell."
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.25, durations
