"""Schedules and sensors over a real instance: each input is started once, whoever looks."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from projects import make

from mlops_assets.assets.retries import RETRY_TAG
from mlops_assets.automation.config import DOWNLOAD, JUDGE, PREDICT, TRAIN
from mlops_assets.automation.jobs import build_jobs
from mlops_assets.automation.judge_schedule import build_judge_schedule
from mlops_assets.automation.launcher import Launcher
from mlops_assets.automation.run_lookup import TRIGGER_TAG, PipelineRuns
from mlops_assets.names import PIPELINE_TAG, Names
from mlops_assets.tracking.errors import TrackingError
from mlops_assets.wiring.assembly import build_launcher
from mlops_assets.wiring.pipeline import Pipeline

HOUR = dt.datetime.now(dt.timezone.utc).hour
ZONE = f"Etc/GMT{HOUR - 12:+}"
"""Where it is around noon: the days do not change while a test runs."""

FIRST = (dt.datetime.now(ZoneInfo(ZONE)) - dt.timedelta(days=3)).date()
DAYS = [(FIRST + dt.timedelta(days=one)).isoformat() for one in range(3)]


@pytest.fixture
def settings(make_settings):
    return make_settings(start_date=FIRST, timezone=ZONE, automate=True, predict_cron="15 0 * * *")


@pytest.fixture
def definitions(settings):
    return Pipeline(settings=settings).definitions


@pytest.fixture
def look(definitions, instance):
    """One look of a sensor: its run requests by day, or the reason why there is none."""
    cursors = {}

    def look(name):
        with dg.build_sensor_context(instance=instance, cursor=cursors.get(name)) as context:
            answer = definitions.get_repository_def().get_sensor_def(name)(context)
        if isinstance(answer, dg.SkipReason):
            return answer.skip_message
        cursors[name] = answer.cursor
        return {one.partition_key: one for one in answer.run_requests} or answer.skip_reason.skip_message

    return look


@pytest.fixture
def tick(make_settings, instance):
    """One tick of the schedule of download, at the next minute or some hours ago."""
    minute = dt.datetime.now(ZoneInfo(ZONE)).replace(second=0, microsecond=0) + dt.timedelta(minutes=1)

    def tick(hours_ago=0, **changes):
        at = minute - dt.timedelta(hours=hours_ago)
        settings = make_settings(
            **{"start_date": FIRST, "timezone": ZONE, "automate": True, "download_cron": f"{at:%M %H} * * *", **changes}
        )
        schedule = Pipeline(settings=settings).definitions.get_repository_def().get_schedule_def("download_schedule")
        with dg.build_schedule_context(instance=instance, scheduled_execution_time=at) as context:
            answer = schedule(context)
        return answer.skip_message if isinstance(answer, dg.SkipReason) else answer

    return tick


@pytest.fixture
def execute(definitions, instance):
    def execute(job, request, **how):
        return definitions.resolve_job_def(job).execute_in_process(
            instance=instance, partition_key=request.partition_key, tags=request.tags, raise_on_error=False, **how
        )

    return execute


def run_of(instance, number, job, status=dg.DagsterRunStatus.STARTED, assets=None, **tags):
    selection = frozenset(dg.AssetKey(asset) for asset in assets) if assets is not None else None
    run_id = f"{number:08}-0000-4000-8000-000000000000"
    instance.add_run(dg.DagsterRun(job, run_id, tags=tags, status=status, asset_selection=selection))


def test_missed_days_are_made_up_for_oldest_first_and_once(look, execute):
    # given three days that nobody has generated / when the sensor looks
    requests = look("download_when_ready")
    # then it starts all, oldest first
    assert list(requests) == DAYS
    # and when one has run, it looks again and starts the others only
    assert execute("download", requests[DAYS[0]]).success
    assert list(look("download_when_ready")) == DAYS[1:]


def test_a_schedule_starts_its_day_and_the_sensor_does_not_start_it_again(tick, look, instance):
    # given a tick of the schedule, whose run is made
    (request,) = tick()
    assert request.partition_key == DAYS[2]
    run_of(instance, 1, "download", **request.tags, **{"dagster/partition": DAYS[2]})
    # when the sensor looks while the run waits in the queue, and the schedule ticks again / then neither starts it
    assert list(look("download_when_ready")) == DAYS[:2]
    assert "a run for this day is in progress" in tick()


def test_schedule_and_sensor_never_decide_about_the_same_day(make_settings, tick, instance):
    # given a day that has been due for less than the sensor's grace period
    due = dt.datetime.now(ZoneInfo(ZONE)) + dt.timedelta(minutes=1)
    settings = make_settings(start_date=FIRST, timezone=ZONE, automate=True, download_cron=f"{due:%M %H} * * *")
    sensor = Pipeline(settings=settings).definitions.get_repository_def().get_sensor_def("download_when_ready")
    # when both look / then the schedule starts it, and the sensor all others
    assert [one.partition_key for one in tick()] == [DAYS[2]]
    with dg.build_sensor_context(instance=instance) as context:
        assert [one.partition_key for one in sensor(context).run_requests] == DAYS[:2]
    # and when the tick is late, or one of many of a day, the schedule leaves it to the sensor
    assert "the sensor download_when_ready starts it" in tick(hours_ago=1)
    assert "the sensor download_when_ready starts it" in tick(download_cron="* * * * *")
    # unless that is off
    assert [one.partition_key for one in tick(hours_ago=1, automate=False)] == [DAYS[2]]


def test_what_failed_is_not_started_again_for_the_same_data(look, execute, make_settings, tmp_path, instance):
    # given a day whose run failed
    request = look("download_when_ready")[DAYS[0]]
    (tmp_path / "data").write_text("a file is in the way")
    assert not execute("download", request).success
    (tmp_path / "data").unlink()
    # when / then the sensor leaves it, and says which run it was
    assert list(look("download_when_ready")) == DAYS[1:]
    run = instance.get_runs(dg.RunsFilter(tags={TRIGGER_TAG: request.tags[TRIGGER_TAG]}))[0]
    for ds in DAYS[1:]:
        assert execute("download", look("download_when_ready")[ds]).success
    assert f"{DAYS[0]}: run {run.run_id[:8]} failed on this input" in look("download_when_ready")


def test_a_retryable_failure_is_started_again_after_a_while(look, execute, instance, monkeypatch):
    # given a day whose run failed because something was away
    monkeypatch.setattr("mlops_assets.automation.decision._FIRST_PAUSE", dt.timedelta(seconds=2))
    request = look("download_when_ready")[DAYS[0]]
    instance.add_run(
        dg.DagsterRun(
            "download",
            "0ddba11a-0000-4000-8000-000000000000",
            tags={**request.tags, "dagster/partition": DAYS[0], RETRY_TAG: "true"},
            status=dg.DagsterRunStatus.FAILURE,
        )
    )
    # when the sensor looks at once, then it waits; a little later it starts it anew, under another key
    assert list(look("download_when_ready")) == DAYS[1:]
    time.sleep(2.1)
    again = look("download_when_ready")[DAYS[0]]
    assert again.tags == request.tags
    assert again.run_key != request.run_key


@pytest.mark.slow
def test_data_that_come_back_are_scored_again(make_settings, instance, tmp_path, execute):
    # given a day that was scored, redelivered with other content, and scored again
    settings = make_settings(start_date=FIRST, timezone=ZONE, automate=True, source="files", model_version=1)
    first, second = (f"a,b\n{''.join(f'{n},{(n * k) % 7}{chr(10)}' for n in range(400))}" for k in (1, 3))
    folder = tmp_path / "data" / "raw" / DAYS[0]
    folder.mkdir(parents=True)
    repository = Pipeline(settings=settings).definitions.get_repository_def()

    def arrive(text):
        (folder / "data.csv").write_text(text)
        (folder / "target.csv").write_text("target\n" + "".join(f"{int(n % 7 > 3)}\n" for n in range(400)))
        make(settings, "raw_data", DAYS[0])

    def score():
        with dg.build_sensor_context(instance=instance) as context:
            answer = repository.get_sensor_def("predict_when_ready")(context)
        (request,) = answer.run_requests
        job = repository.get_job("predict")
        assert job.execute_in_process(instance=instance, partition_key=DAYS[0], tags=request.tags).success

    arrive(first)
    for asset in ("processed", "split", "model"):
        make(settings, asset, DAYS[0])
    score()
    arrive(second)
    score()
    # when the first content comes back, then it is scored a third time
    arrive(first)
    score()
    manifest = Pipeline(settings=settings).store.require("predictions", DAYS[0])
    assert (
        manifest.inputs[f"raw/{DAYS[0]}/data.csv"]
        == Pipeline(settings=settings).store.info("raw_data", DAYS[0], "data.csv").sha256
    )


def test_runs_of_others_are_not_in_the_way(look, instance):
    # given another project's runs in the same instance, over partitions that are no days
    run_of(instance, 1, "their_job", **{"dagster/partition": DAYS[0]})
    run_of(instance, 2, "their_job", **{"dagster/partition": "2026-01-01-00:00"})
    # and those of another pipeline
    run_of(instance, 3, "churn_download", **{"dagster/partition": DAYS[0], PIPELINE_TAG: "churn"})
    run_of(instance, 4, "__ASSET_JOB", **{"dagster/partition": DAYS[0], PIPELINE_TAG: "churn"})
    # when / then
    assert list(look("download_when_ready")) == DAYS


def test_two_pipelines_do_not_see_each_others_runs(settings, instance):
    # given runs of two pipelines over different days, each as Dagster records it
    run_of(instance, 1, "churn_train", **{"dagster/partition": DAYS[0], PIPELINE_TAG: "churn", TRIGGER_TAG: "…"})
    run_of(instance, 2, "train", **{"dagster/partition": DAYS[1], TRIGGER_TAG: "…"})
    churn, default = (PipelineRuns.unfinished(instance, Names(name)) for name in ("churn", ""))
    # when / then
    assert (churn.days(TRAIN), default.days(TRAIN)) == ({DAYS[0]}, {DAYS[1]})
    assert (churn.automatic(TRAIN), default.automatic(TRAIN)) == (1, 1)
    # and the triggers of the same day and input differ
    plain = build_launcher(settings, None)
    launchers = [Launcher(plain.config, plain.due_days, names) for names in (Names("churn"), Names())]
    now = dt.datetime.now(dt.timezone.utc)
    triggers = []
    for one in launchers:
        decision = one.decide(instance, DOWNLOAD, one.calendars[DOWNLOAD].days(now), now, {})
        triggers.append([request.tags[TRIGGER_TAG] for request in one.requests(DOWNLOAD, decision)])
    assert triggers == [[f"{job}/{ds}/generate" for ds in DAYS] for job in ("churn_download", "download")]


def test_a_training_does_not_keep_its_day_from_being_scored(instance):
    # given a training, and a prediction of another day
    run_of(instance, 1, "train", **{"dagster/partition": DAYS[0]})
    run_of(instance, 2, "__ASSET_JOB", assets=("production_model", "predictions"), **{"dagster/partition": DAYS[1]})
    runs = PipelineRuns.unfinished(instance, Names())
    # when / then each is in the way of its own kind only
    assert (runs.days(TRAIN), runs.days(PREDICT)) == ({DAYS[0]}, {DAYS[1]})


def test_jobs_carry_the_name_of_their_pipeline():
    # given / when
    jobs = {job.name: job for job in build_jobs(Names("churn"))}
    # then
    assert set(jobs) == {"churn_download", "churn_train", "churn_predict", "churn_judge"}
    assert jobs["churn_train"].tags == {PIPELINE_TAG: "churn"}
    assert jobs["churn_predict"].tags == {PIPELINE_TAG: "churn", "dagster/priority": "10"}


def test_the_gate_is_started_once_for_a_set_of_versions(settings, instance):
    # given versions that nobody has judged
    versions = []
    schedule = build_judge_schedule(build_launcher(settings, None), lambda: (versions, "rows"))

    def tick():
        with dg.build_schedule_context(instance, dt.datetime.now(dt.timezone.utc)) as context:
            return schedule(context)

    assert tick().skip_message == "All model versions are judged."
    versions += [8, 7]
    # when the schedule ticks / then it starts the gate for the last day that has ended
    request = tick()
    assert (request.partition_key, request.tags) == (DAYS[2], {TRIGGER_TAG: f"{JUDGE}/versions/7,8/rows"})
    # and not again for the same versions, whatever came of it, but for others
    run_of(instance, 1, "judge", dg.DagsterRunStatus.SUCCESS, **request.tags)
    assert "run 00000001 already covers this input" in tick().skip_message
    versions.append(9)
    assert tick().tags == {TRIGGER_TAG: f"{JUDGE}/versions/7,8,9/rows"}


@pytest.mark.parametrize("selection", [None, (), ("raw_data", "processed")])
def test_what_is_made_by_hand_is_not_started_beside_it(look, instance, selection):
    # given a run over two days that is under way; Dagster records all assets as no selection, or as an empty one
    tags = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[1]}
    run_of(instance, 1, "__ASSET_JOB", assets=selection, **tags)
    # when / then
    assert list(look("download_when_ready")) == [DAYS[2]]


def test_a_sensor_does_nothing_while_its_schedule_is_off(instance, make_settings):
    # given a sensor that was switched on by hand, its schedule not
    repository = Pipeline(settings=make_settings(start_date=FIRST)).definitions.get_repository_def()
    with dg.build_sensor_context(instance=instance) as context:
        answer = repository.get_sensor_def("download_when_ready")(context)
    # then
    assert answer.skip_message == "The schedule download_schedule is switched off."


def test_mlflow_is_asked_only_if_a_day_waits_for_nothing_else(settings, instance, look, execute):
    # given no data
    asked = []
    plain = build_launcher(settings, None)

    def has_model():
        asked.append(1)
        raise TrackingError("MLflow is away")

    launcher = Launcher(plain.config, plain.due_days, plain.names, has_model)

    def decide():
        now = dt.datetime.now(dt.timezone.utc)
        return launcher.decide(instance, PREDICT, launcher.calendars[PREDICT].days(now), now, {})

    # when the sensor looks / then MLflow is not asked, for late data neither
    assert not decide().start
    launcher.overdue(PREDICT, dt.datetime.now(dt.timezone.utc))
    assert not asked
    # when a day's data are there, and MLflow is away / then the day starts: it is the run that finds a model, or fails
    assert execute("download", look("download_when_ready")[DAYS[0]]).success
    assert [one.ds for one in decide().start] == DAYS[:1]
    assert asked


@pytest.mark.slow
def test_days_are_scored_once_there_is_a_model(look, execute, settings):
    # given data and no model
    for request in look("download_when_ready").values():
        execute("download", request)
    assert "no model is in production" in look("predict_when_ready")
    # when a model is promoted
    for asset in ("processed", "split", "model", "metrics"):
        make(settings, asset, DAYS[0])
    make(settings, "production_model", DAYS[0])
    # then all days are scored, and then there is nothing more to do
    for ds, request in look("predict_when_ready").items():
        assert execute("predict", request).success, ds
    assert look("predict_when_ready") == "All days that are due are done."


def test_a_day_that_a_check_stops_waits_until_a_person_accepts_it(make_settings, instance, tmp_path):
    # given two delivered days, the second with a tenth of the rows, and a model
    settings = make_settings(start_date=FIRST, timezone=ZONE, automate=True, source="files", model_version=1)
    for ds, rows in ((DAYS[0], 400), (DAYS[1], 40)):
        folder = tmp_path / "data" / "raw" / ds
        folder.mkdir(parents=True)
        (folder / "data.csv").write_text("a,b\n" + "".join(f"{n},{n % 7}\n" for n in range(rows)))
        (folder / "target.csv").write_text("target\n" + "".join(f"{int(n % 7 > 3)}\n" for n in range(rows)))
    for asset, days in {"raw_data": DAYS[:2], "processed": DAYS[:1], "split": DAYS[:1], "model": DAYS[:1]}.items():
        make(settings, asset, *days)
    repository = Pipeline(settings=settings).definitions.get_repository_def()

    def look():
        with dg.build_sensor_context(instance=instance) as context:
            return repository.get_sensor_def("predict_when_ready")(context)

    # when the sensor looks, then it starts the good day and says what stops the other
    (request,) = look().run_requests
    assert request.partition_key == DAYS[0]
    make(settings, "predictions", DAYS[0])
    assert f"raw/{DAYS[1]}/data.csv has 40 rows, and 400 on {DAYS[0]}" in look().skip_reason.skip_message
    # and when a person scores the day by hand, it counts as good, and a day like it is not stopped any more
    predict = repository.get_job("predict")
    assert predict.execute_in_process(instance=instance, partition_key=DAYS[1]).success
    shutil.copytree(
        tmp_path / "data" / "raw" / DAYS[1],
        tmp_path / "data" / "raw" / DAYS[2],
        ignore=lambda *_: ["raw_data.manifest.json"],
    )
    make(settings, "raw_data", *DAYS[2:])
    (request,) = look().run_requests
    assert request.partition_key == DAYS[2]


@pytest.mark.slow
def test_a_training_prepares_the_days_of_its_window(make_settings, instance):
    # given three days of raw data, of which the last is trained for, and a window of three days
    settings = make_settings(start_date=FIRST, train_window_days=3)
    make(settings, "raw_data", *DAYS)
    repository = Pipeline(settings=settings).definitions.get_repository_def()
    # when it is trained
    assert repository.get_job("train").execute_in_process(instance=instance, partition_key=DAYS[2]).success
    # then all days were prepared, Dagster knows them, and the model has learnt from them
    for asset in ("processed", "split"):
        assert instance.get_materialized_partitions(dg.AssetKey(asset)) == set(DAYS)
    assert instance.get_materialized_partitions(dg.AssetKey("model")) == {DAYS[2]}
    assert list(Pipeline(settings=settings).store.require("model", DAYS[2]).inputs) == [
        f"split/{ds}/train.csv" for ds in DAYS
    ]
