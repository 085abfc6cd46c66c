"""What `failed_ticks` relies on and Dagster does not export."""

from __future__ import annotations

import time

import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, TickData, TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo

from mlops_assets.alerts.failed_ticks import FailedTick, failed_ticks


def error(message):
    return SerializableErrorInfo(f"OSError: {message}\n", [], "OSError", None, None)


@pytest.fixture
def record_failures(instance):
    """Record what the daemon records of a sensor whose evaluations raise."""

    def record(*messages, location="ours", sensor="arrivals"):
        target = LoadableTargetOrigin(module_name="mlops_assets.definitions")
        place = InProcessCodeLocationOrigin(target, location_name=location)
        origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(place, "repository"), sensor)
        state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
        if state.selector_id not in {one.selector_id for one in instance.all_instigator_state()}:
            instance.add_instigator_state(state)
        facts = state.instigator_origin_id, sensor, InstigatorType.SENSOR, TickStatus.FAILURE
        for message in messages:
            tick = TickData(*facts, time.time(), error=error(message), selector_id=state.selector_id)
            instance.create_tick(tick)

    return record


def test_the_failed_ticks_of_a_code_location(instance, record_failures):
    # given a failed tick in each of two locations, and one long ago
    record_failures("too early")
    begin = time.time()
    record_failures("the disk is full")
    record_failures("no such host", location="theirs")
    # when / then
    (found,) = failed_ticks(instance, "ours", begin)
    assert found == FailedTick("sensor", "arrivals", found.time, error("the disk is full"))
    assert found.time >= begin
    assert len(failed_ticks(instance, None, begin)) == 2


def test_a_sensor_that_fails_every_time_gives_one_alert_a_day(watch, sink, record_failures):
    # given a sensor that has failed twenty times for one reason, and once for another
    sensor = watch()
    record_failures(*[f"port {number} is closed" for number in range(20)], "the disk is full")
    # when / then two messages
    sensor.tick()
    record_failures("port 7777 is closed")
    sensor.tick()
    assert {one["title"] for one in sink.posts} == {"sensor arrivals failed"}
    assert sorted(one["message"].splitlines()[0] for one in sink.posts)[1] == "OSError: the disk is full"
    assert len(sink.posts) == 2
