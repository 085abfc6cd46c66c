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

from mlops_assets.assembly import build_backend
from mlops_assets.definitions import build_definitions
from mlops_assets.pipeline.history import TRIGGER_TAG
from mlops_assets.steps.runner import RunInfo

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
