"""The alerts of runs that really ran, once each; and what the sensor does when something breaks."""

from __future__ import annotations

import json
import time
import warnings

import dagster as dg
from alert_servers import assert_no_secret, mail_server

from mlops_assets.alerts.channels import Channels
from mlops_assets.alerts.message import LATE, alert
from mlops_assets.alerts.sensor import LOOK_BACK_SECONDS, build_alert_sensors
from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.names import PIPELINE_TAG
from mlops_assets.tracking.errors import TrackingError

RANGE = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-03"}
OURS = {PIPELINE_TAG: ""}
SCORES = {"gate_metric": "roc_auc", "challenger_score": 0.91234, "champion_score": 0.9}


@dg.op
def fine():
    pass


@dg.op
def breaks():
    raise TrackingError("MLflow does not answer; start it") from ConnectionError("the socket is closed")


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
def breaks_often():
    raise ValueError("flaky")


@dg.job(tags={**OURS, "dagster/partition": "2026-01-05", "mlops_assets/mlflow_run_url": "http://mlflow/run"})
def train():
    breaks()
    fine()


@dg.job(tags=OURS)
def flaky():
    breaks_often()


def test_a_failed_run_gives_one_alert_with_step_reason_and_links(watch, instance, sink):
    # given a sensor, and a run that failed before its first tick
    train.execute_in_process(instance=instance, raise_on_error=False)
    time.sleep(0.01)
    sensor = watch()
    # when a run fails, the daemon is killed after the tick, and two more ticks follow
    failed = train.execute_in_process(instance=instance, raise_on_error=False)
    answer = sensor.tick(killed=True)
    assert sensor.tick() == sensor.tick() == "Nothing new."
    # then there is one message
    assert answer == "1 new, 1 delivered, 0 not delivered."
    (sent,) = sink.posts
    assert sent["title"] == "train 2026-01-05 failed"
    assert sent["message"] == (
        "Job: train\nPartition: 2026-01-05\nStep breaks: MLflow does not answer; start it\n\n"
        f"Run: http://127.0.0.1:3000/runs/{failed.run_id}\nMLflow: http://mlflow/run"
    )


def test_each_retry_gives_an_alert_and_then_the_failure(watch, instance, sink):
    # given / when a step fails three times
    sensor = watch()
    flaky.execute_in_process(instance=instance, raise_on_error=False)
    sensor.tick()
    # then
    assert [one["title"] for one in sink.posts] == ["flaky: breaks_often is retried"] * 2 + ["flaky failed"]
    assert "Step breaks_often, attempt 2: ValueError: flaky" in sink.posts[1]["message"]


def test_the_retries_of_a_run_in_progress(watch, instance, sink):
    # given a run during which the sensor ticks
    sensor = watch()

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
    def looks(context):
        if context.retry_number == 0:
            raise ValueError("flaky")
        sensor.tick()

    @dg.job(tags=OURS)
    def looking():
        looks()

    # when / then
    assert looking.execute_in_process(instance=instance).success
    assert [one["title"] for one in sink.posts] == ["looking: looks is retried"]
    assert sensor.tick() == "Nothing new."


def test_runs_without_a_failed_step_and_cancelled_ones(watch, instance, sink):
    # given a run whose process was killed, one that Dagster will retry, and one that a person cancelled
    sensor = watch()
    killed, cancelled = (instance.create_run_for_job(flaky) for _ in range(2))
    instance.add_run_tags(killed.run_id, {"dagster/will_retry": "true"})
    instance.report_run_failed(killed, "The process 7 that executed this run is gone: it was killed.")
    instance.report_run_canceled(cancelled)
    # when / then only the first gives an alert
    sensor.tick()
    (sent,) = sink.posts
    assert "it was killed.\nDagster will retry the run." in sent["message"]


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
    run = dg.materialize([rows], instance=instance, tags={**OURS, **RANGE})
    sensor.tick()
    # then the alert names the failed check, its result and the days
    (sent,) = sink.posts
    assert sent["title"] == "Check enough_rows of rows failed 2026-01-01 … 2026-01-03"
    assert sent["message"] == (
        "Asset: rows\nCheck: enough_rows, severity WARN\n2026-01-01 … 2026-01-03: 12 rows, expected 100\n"
        f"Job: materialization\n\nRun: http://127.0.0.1:3000/runs/{run.run_id}"
    )


def judge(instance, days=("2026-01-01",), pipeline=(), **metadata):
    """A run that materializes the production model for some days and judges at the last, as the asset does."""

    key = dg.AssetKey([*pipeline, "production_model"])

    @dg.op
    def production_model():
        for ds in days:
            facts = {"model_version": 1, "reason": "stage Production", **(metadata if ds == days[-1] else {})}
            yield dg.AssetMaterialization(key, partition=ds, metadata=facts)
        yield dg.Output(None)

    @dg.job
    def judging():
        production_model()

    return judging.execute_in_process(instance=instance)


def test_a_judgement_of_two_challengers_is_one_alert_and_a_resolution_none(watch, instance, sink):
    # given
    sensor = watch()
    verdicts = [
        {"version": 2, "outcome": "rejected", "reason": "below the threshold"},
        {"version": 3, "outcome": "promoted", "reason": "better"},
    ]
    links = {
        "model_version_url": dg.MetadataValue.url("http://mlflow/#/models/demo/versions/3"),
        "mlflow_run_url": dg.MetadataValue.url("http://mlflow/#/experiments/1/runs/abc"),
    }
    facts = {"reason": "version 3 is better", "challenger_version": 3, "champion_version": 1, **SCORES, **links}
    # when a run over three days judges two versions at the last one, and another run only resolves
    run = judge(
        instance, ("2026-01-01", "2026-01-02", "2026-01-03"), judged=2, promoted=True, from_version=1, to_version=3,
        verdicts=dg.MetadataValue.json(verdicts), **facts,
    )  # fmt: skip
    judge(instance)
    sensor.tick(killed=True)
    sensor.tick()
    # then there is one alert with both verdicts
    (sent,) = sink.posts
    assert sent["title"] == "Version 3 went to production"
    assert sent["message"] == (
        "Before: version 1\nversion 3 is better\n"
        "roc_auc of the challenger, version 3: 0.9123\nroc_auc of the champion, version 1: 0.9000\n"
        "Version 2: rejected. below the threshold\nVersion 3: promoted. better\n\n"
        f"Run: http://127.0.0.1:3000/runs/{run.run_id}\nModel version: http://mlflow/#/models/demo/versions/3\n"
        "Its training in MLflow: http://mlflow/#/experiments/1/runs/abc"
    )


def test_a_rejection_and_versions_that_could_not_be_judged(watch, instance, sink):
    # given / when one version is rejected, and two runs cannot judge the same version
    sensor = watch()
    facts = {"judged": 1, "promoted": False, "challenger_version": 2, "champion_version": 1}
    for outcome, version in [("rejected", 2), ("undecided", 3), ("undecided", 3)]:
        verdicts = json.dumps([{"version": version, "outcome": outcome, "reason": "12 rows"}])
        judge(instance, verdicts=verdicts, **facts, reason=outcome)
    sensor.tick()
    # then
    assert sorted(one["title"] for one in sink.posts) == [
        "Version 2 was rejected, version 1 stays in production",
        "Version 3 could not be judged, version 1 stays in production",
    ]


def test_a_promotion_and_a_rollback_by_hand(watch, instance, sink):
    # given / when
    sensor = watch()
    for facts in (
        {"from_version": 1, "to_version": 2, "rollback": False},
        {"from_version": 2, "to_version": 1, "rollback": True},
    ):
        metadata = {"promoted": True, "by": "ann", "reason": "a bug", **facts}
        instance.report_runless_asset_event(dg.AssetMaterialization("production_model", metadata=metadata))
    sensor.tick()
    sensor.tick()
    # then
    sent = {one["title"]: one["message"] for one in sink.posts}
    assert sorted(sent) == ["Rolled back to version 1", "Version 2 went to production by hand"]
    assert len(sink.posts) == 2
    assert sent["Rolled back to version 1"] == (
        "Before: version 2\na bug\nBy: ann\n\nhttp://127.0.0.1:3000/assets/production_model"
    )


def test_a_pipeline_reports_its_own_runs_and_judgements_only(watch, instance, sink):
    # given the sensor of a pipeline with a name
    sensor = watch("churn")
    assert sensor.sensor.name == "churn_alerts"
    # when runs of both pipelines fail, and both judge
    train.execute_in_process(instance=instance, raise_on_error=False)
    dg.JobDefinition(graph_def=train.graph, name="churn_train").execute_in_process(
        instance=instance, raise_on_error=False, tags={PIPELINE_TAG: "churn"}
    )
    facts = {"judged": 1, "promoted": False, "champion_version": 1}
    judge(instance, **facts, challenger_version=2)
    judge(instance, pipeline=["churn"], **facts, challenger_version=3)
    sensor.tick()
    # then
    assert sorted(one["title"] for one in sink.posts) == [
        "Version 3 was rejected, version 1 stays in production",
        "churn_train failed",
    ]


def test_a_source_that_cannot_be_read_does_not_stop_the_rest(watch, instance, sink):
    # given a source that fails once, and then has an alert
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
    # then all three are sent
    assert [one["title"] for one in sink.posts] == [
        "train 2026-01-05 failed",
        "sensor alerts, reading late data, failed",
        "raw_data 2026-01-05 is late",
    ]


def test_a_broken_target_fails_no_tick_and_shows_no_secret(watch, instance, sink, tmp_path, capfd):
    # given three targets: one that refuses, one that Apprise does not understand, one that works; kind failure
    sink.status = 403
    with mail_server() as mail:
        channels = Channels([f"{sink.url}/a,b", "nonsense://herring:s3cret-Pa55@T0ken-in-the-path", mail.url()])
        sensor = watch(channels=channels, kinds={"failure"}, dagster_url="https://dagster.example/")
        # when a flaky run fails
        flaky.execute_in_process(instance=instance, raise_on_error=False)
        answer = sensor.tick()
        again = sensor.tick()
    # then the good one has the failure, and the tick says what went wrong with the others
    (sent,) = mail.mails
    assert sent["subject"] == "flaky failed"
    assert "https://dagster.example/runs/" in sent.get_content()
    assert "1 new, 1 delivered, 2 not delivered." in answer
    assert "target 1 (json): Failed to send JSON" in answer
    assert "target 2 (nonsense) is not a valid Apprise URL" in answer
    assert again == "Nothing new."
    # and no secret is anywhere
    stored = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert any("flaky failed" in text for text in stored)
    assert_no_secret(answer, *capfd.readouterr(), *stored)


def test_runs_that_ended_before_the_last_tick_are_not_read_again(watch, instance, monkeypatch):
    # given a failed run that changed last some time before the last tick
    sensor = watch()
    run = instance.create_run_for_job(flaky)
    instance.report_run_failed(run)
    assert sensor.tick().startswith("1 new")
    seen = json.loads(sensor.cursor)
    sensor.cursor = json.dumps({**seen, "until": seen["until"] + LOOK_BACK_SECONDS / 2})
    # when the sensor ticks
    read, all_logs = [], instance.all_logs
    monkeypatch.setattr(instance, "all_logs", lambda run_id, **rest: read.append(run_id) or all_logs(run_id, **rest))
    answer = sensor.tick()
    # then its events are not read
    assert (answer, read) == ("Nothing new.", [])


def test_without_targets_there_is_no_sensor_and_with_them_it_runs(watch):
    # given / when / then
    assert build_alert_sensors(None) == []
    sensor = watch(seconds=7).sensor
    assert (sensor.name, sensor.minimum_interval_seconds) == ("alerts", 7)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
