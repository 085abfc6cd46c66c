"""Schedules and sensors over a real instance: each input is started once, whoever looks."""

from __future__ import annotations

import datetime as dt
import shutil
import time

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from mlops_assets.automation.promotion_schedule import unjudged
from mlops_assets.automation.run_lookup import TRIGGER_TAG
from mlops_assets.definitions import build_definitions
from mlops_assets.runtime.runner import RunInfo
from mlops_assets.wiring.assembly import build_backend, build_tracking

FIRST = (dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=3)).date()
DAYS = [(FIRST + dt.timedelta(days=one)).isoformat() for one in range(3)]


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as instance:
        yield instance


@pytest.fixture
def settings(make_settings):
    return make_settings(start_date=FIRST, automate=True, download_cron="* * * * *", predict_cron="* * * * *")


@pytest.fixture
def definitions(settings):
    return build_definitions(settings)


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
def tick(definitions, instance):
    """One tick of a schedule, at midnight after a day."""

    def tick(name, ds):
        at = dt.datetime.fromisoformat(ds).replace(tzinfo=dt.timezone.utc) + dt.timedelta(days=1)
        with dg.build_schedule_context(instance=instance, scheduled_execution_time=at) as context:
            answer = definitions.get_repository_def().get_schedule_def(name)(context)
        return answer.skip_message if isinstance(answer, dg.SkipReason) else answer

    return tick


@pytest.fixture
def execute(definitions, instance):
    def execute(job, request, **how):
        return definitions.resolve_job_def(job).execute_in_process(
            instance=instance, partition_key=request.partition_key, tags=request.tags, raise_on_error=False, **how
        )

    return execute


def state(instance, name, status, last_tick=None):
    """What the daemon notes of a schedule or sensor."""
    kind = InstigatorType.SCHEDULE if name.endswith("schedule") else InstigatorType.SENSOR
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="mlops_assets.definitions"))
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    schedule = kind is InstigatorType.SCHEDULE
    state = InstigatorState(origin, kind, status, ScheduleInstigatorData("* * * * *") if schedule else None)
    instance.add_instigator_state(state)
    if last_tick:
        data = TickData(origin.get_id(), name, kind, last_tick, time.time(), selector_id=state.selector_id)
        instance.create_tick(data)


def test_missed_days_are_made_up_for_oldest_first_and_once(look, execute):
    # given three days that nobody has generated / when the sensor looks
    requests = look("download_when_ready")
    # then it starts all, oldest first
    assert list(requests) == DAYS
    # and when one has run, it looks again and starts the others only
    assert execute("download", requests[DAYS[0]]).success
    assert list(look("download_when_ready")) == DAYS[1:]


def test_a_schedule_starts_its_day_and_the_sensor_does_not_start_it_again(tick, look, execute, instance):
    # given a tick of the schedule, whose run is made
    (request,) = tick("download_schedule", DAYS[1])
    assert request.partition_key == DAYS[1]
    job = {"job_name": "download", "run_id": "5ca1ab1e-0000-4000-8000-000000000000"}
    instance.add_run(dg.DagsterRun(**job, tags={**request.tags, "dagster/partition": DAYS[1]}))
    # when the sensor looks while it waits in the queue, and the schedule ticks again
    # then neither starts it
    assert list(look("download_when_ready")) == [DAYS[0], DAYS[2]]
    assert "a run is making it" in tick("download_schedule", DAYS[1])


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
    assert f"{DAYS[0]}: run {run.run_id[:8]} failed for these data" in look("download_when_ready")


def test_what_can_retry_is_started_again_after_a_while(look, execute, instance, monkeypatch):
    # given a day whose run failed because something was away
    monkeypatch.setattr("mlops_assets.automation.decision._FIRST_PAUSE", dt.timedelta(seconds=2))
    request = look("download_when_ready")[DAYS[0]]
    instance.add_run(
        dg.DagsterRun(
            "download",
            "0ddba11a-0000-4000-8000-000000000000",
            tags={**request.tags, "dagster/partition": DAYS[0], "mlops_assets/can_retry": "true"},
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
    # given a day that was scored, came again with other content, and was scored again
    settings = make_settings(start_date=FIRST, automate=True, source="files", predict_cron="* * * * *", model_version=1)
    first, second = (f"a,b\n{''.join(f'{n},{(n * k) % 7}{chr(10)}' for n in range(400))}" for k in (1, 3))
    folder = tmp_path / "data" / "raw" / DAYS[0]
    folder.mkdir(parents=True)
    backend = build_backend(settings)
    repository = build_definitions(settings).get_repository_def()

    def arrive(text):
        (folder / "data.csv").write_text(text)
        (folder / "target.csv").write_text("target\n" + "".join(f"{int(n % 7 > 3)}\n" for n in range(400)))
        assert [one.error for one in backend.materialize("raw_data", DAYS[:1], RunInfo())] == [None]

    def score():
        with dg.build_sensor_context(instance=instance) as context:
            answer = repository.get_sensor_def("predict_when_ready")(context)
        (request,) = answer.run_requests
        job = repository.get_job("predict")
        assert job.execute_in_process(instance=instance, partition_key=DAYS[0], tags=request.tags).success

    arrive(first)
    for asset in ("processed", "split", "model"):
        list(backend.materialize(asset, DAYS[:1], RunInfo()))
    score()
    arrive(second)
    score()
    # when the first content comes back, then it is scored a third time
    arrive(first)
    score()
    manifest = backend.store.require("predictions", DAYS[0])
    assert manifest.inputs[f"raw/{DAYS[0]}/data.csv"] == backend.store.info("raw_data", DAYS[0], "data.csv").sha256


def test_runs_of_others_are_not_in_the_way(look, instance):
    # given somebody else's runs in the same instance, over partitions that are no days
    for number, tags in enumerate([{"dagster/partition": DAYS[0]}, {"dagster/partition": "2026-01-01-00:00"}]):
        run_id = f"{number}0000000-0000-4000-8000-000000000000"
        instance.add_run(dg.DagsterRun("their_job", run_id, tags=tags, status=dg.DagsterRunStatus.STARTED))
    # when / then
    assert list(look("download_when_ready")) == DAYS


@pytest.mark.slow
def test_a_timer_never_asks_twice_about_a_model_nor_overrules_a_person(make_settings, instance):
    # given two models of which the gate has promoted the second
    settings = make_settings(start_date=FIRST)
    tracking, backend = build_tracking(settings), build_backend(settings)
    assert unjudged(tracking, instance).reason == "No version of model 'mlops-assets' is registered."
    for ds in DAYS[:2]:
        for asset in ("raw_data", "processed", "split", "model", "metrics"):
            list(backend.materialize(asset, [ds], RunInfo()))
    assert unjudged(tracking, instance).version == 2
    repository = build_definitions(settings).get_repository_def()
    assert repository.get_job("promote").execute_in_process(instance=instance).success
    assert "was judged already" in unjudged(tracking, instance).reason
    # when a person puts the first one back
    promotion = tracking.registry.promote(tracking.registry.version(1), reason="by hand", by="me")
    event = dg.AssetMaterialization("production_model", metadata={"promoted": True, "to_version": promotion.to_version})
    instance.report_runless_asset_event(event)
    # then neither the timer nor the gate brings the second one back
    assert "was judged already" in unjudged(tracking, instance).reason
    assert repository.get_job("promote").execute_in_process(instance=instance).success
    assert tracking.registry.production().number == 1


def test_what_somebody_makes_by_hand_is_not_made_beside_it(look, instance):
    # given a backfill of all assets over two days that is under way
    tags = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[1]}
    instance.add_run(
        dg.DagsterRun(
            "__ASSET_JOB", "0b5e55ed-0000-4000-8000-000000000000", tags=tags, status=dg.DagsterRunStatus.STARTED
        )
    )
    # when / then
    assert list(look("download_when_ready")) == [DAYS[2]]


def test_a_sensor_rests_while_its_schedule_is_off(look, instance):
    state(instance, "download_schedule", InstigatorStatus.STOPPED)
    assert look("download_when_ready") == "The schedule download_schedule is switched off."


def test_schedule_and_sensor_do_not_decide_at_the_same_time(look, tick, instance):
    # given both, each in the middle of a tick
    state(instance, "download_schedule", InstigatorStatus.RUNNING, TickStatus.STARTED)
    state(instance, "download_when_ready", InstigatorStatus.RUNNING, TickStatus.STARTED)
    # when / then each leaves it to the other
    assert "is deciding" in look("download_when_ready")
    assert "is deciding" in tick("download_schedule", DAYS[0])


@pytest.mark.slow
def test_days_are_scored_once_there_is_a_model(look, execute, settings):
    # given data and no model
    for request in look("download_when_ready").values():
        execute("download", request)
    assert "no model is in production" in look("predict_when_ready")
    # when a model is promoted
    backend = build_backend(settings)
    for asset in ("processed", "split", "model", "metrics"):
        list(backend.materialize(asset, DAYS[:1], RunInfo()))
    backend.promote(RunInfo())
    # then all days are scored, and then there is nothing more to do
    for ds, request in look("predict_when_ready").items():
        assert execute("predict", request).success, ds
    assert look("predict_when_ready") == "All days that are due are done."


def test_a_day_that_a_check_stops_waits_until_a_person_accepts_it(make_settings, instance, tmp_path):
    # given two delivered days, the second with a tenth of the rows, and a model
    settings = make_settings(start_date=FIRST, automate=True, source="files", predict_cron="* * * * *", model_version=1)
    for ds, rows in ((DAYS[0], 400), (DAYS[1], 40)):
        folder = tmp_path / "data" / "raw" / ds
        folder.mkdir(parents=True)
        (folder / "data.csv").write_text("a,b\n" + "".join(f"{n},{n % 7}\n" for n in range(rows)))
        (folder / "target.csv").write_text("target\n" + "".join(f"{int(n % 7 > 3)}\n" for n in range(rows)))
    backend = build_backend(settings)
    for asset, days in {"raw_data": DAYS[:2], "processed": DAYS[:1], "split": DAYS[:1], "model": DAYS[:1]}.items():
        assert [one.error for one in backend.materialize(asset, days, RunInfo())] == [None] * len(days)
    repository = build_definitions(settings).get_repository_def()

    def look():
        with dg.build_sensor_context(instance=instance) as context:
            return repository.get_sensor_def("predict_when_ready")(context)

    # when the sensor looks, then it starts the good day and says what stops the other
    (request,) = look().run_requests
    assert request.partition_key == DAYS[0]
    list(backend.materialize("predictions", DAYS[:1], RunInfo()))
    assert f"raw/{DAYS[1]}/data.csv has 40 rows, and 400 on {DAYS[0]}" in look().skip_reason.skip_message
    # and when a person scores the day by hand, it counts as good, and a day like it is not stopped any more
    predict = repository.get_job("predict")
    assert predict.execute_in_process(instance=instance, partition_key=DAYS[1]).success
    shutil.copytree(
        tmp_path / "data" / "raw" / DAYS[1],
        tmp_path / "data" / "raw" / DAYS[2],
        ignore=lambda *_: ["raw_data.manifest.json"],
    )
    list(backend.materialize("raw_data", DAYS[2:], RunInfo()))
    (request,) = look().run_requests
    assert request.partition_key == DAYS[2]


@pytest.mark.slow
def test_a_training_prepares_the_days_of_its_window(make_settings, instance):
    # given three days of raw data, of which the last is trained for, and a window of three days
    settings = make_settings(start_date=FIRST, train_window_days=3)
    backend = build_backend(settings)
    list(backend.materialize("raw_data", DAYS, RunInfo()))
    repository = build_definitions(settings).get_repository_def()
    # when it is trained
    assert repository.get_job("train").execute_in_process(instance=instance, partition_key=DAYS[2]).success
    # then all days were prepared, Dagster knows them, and the model has learnt from them
    for asset in ("processed", "split"):
        assert instance.get_materialized_partitions(dg.AssetKey(asset)) == set(DAYS)
    assert instance.get_materialized_partitions(dg.AssetKey("model")) == {DAYS[2]}
    assert list(backend.store.require("model", DAYS[2]).inputs) == [f"split/{ds}/train.csv" for ds in DAYS]
