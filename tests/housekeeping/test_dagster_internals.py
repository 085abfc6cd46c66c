"""The parts of Dagster that are not public still work as they did in the version that they were checked with."""

from __future__ import annotations

import datetime as dt
import signal
import time
from pathlib import Path

import dagster as dg
import pytest
from daemon import write_config
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
from dagster._utils.error import SerializableErrorInfo
from dagster._utils.interrupts import capture_interrupts

from mlops_assets.housekeeping import dagster_internals as internals

NAME = "download_schedule"


@pytest.fixture
def instance(tmp_path):
    write_config(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def switch(instance):
    """Switch the schedule on or off, as the UI does; gives its state."""
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="mlops_assets.definitions"))
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), NAME)

    def switch(status):
        state = InstigatorState(origin, InstigatorType.SCHEDULE, status, ScheduleInstigatorData("* * * * *"))
        known = instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
        (instance.update_instigator_state if known else instance.add_instigator_state)(state)
        return state

    return switch


def test_ticks_of_a_cron_string_over_a_change_of_the_clock():
    # given a time that does not exist in one night of the year
    before = dt.datetime.fromisoformat("2026-03-29T00:00:00+01:00")
    # when / then the scheduler's next tick is an hour later, and its last one that of the day before
    assert internals.next_cron_tick("30 2 * * *", before, "Europe/Berlin").isoformat() == "2026-03-29T03:00:00+02:00"
    assert internals.latest_cron_tick("30 2 * * *", before, "Europe/Berlin").isoformat() == "2026-03-28T02:30:00+01:00"
    # and an instant of a tick is both its last and its next one
    tick = dt.datetime.fromisoformat("2026-05-04T02:30:00+02:00")
    assert internals.next_cron_tick("30 2 * * *", tick, "Europe/Berlin") == tick
    assert internals.latest_cron_tick("30 2 * * *", tick, "Europe/Berlin") == tick


def test_what_a_cron_string_is():
    assert internals.is_valid_cron_string("30 0 * * 1-5")
    assert not internals.is_valid_cron_string("99 99 * * *")


def test_whether_a_schedule_is_on(instance, switch):
    # given one that nobody has switched, then off, then on
    assert internals.is_switched_on(instance, NAME, by_default=True)
    assert not internals.is_switched_on(instance, NAME, by_default=False)
    switch(InstigatorStatus.STOPPED)
    assert not internals.is_switched_on(instance, NAME, by_default=True)
    switch(InstigatorStatus.RUNNING)
    assert internals.is_switched_on(instance, NAME, by_default=False)


def test_failed_ticks(instance, switch):
    # given a tick that failed and one that was skipped
    state = switch(InstigatorStatus.RUNNING)
    error = SerializableErrorInfo("it failed", [], "Exception")
    for status, facts in ((TickStatus.FAILURE, {"error": error}), (TickStatus.SKIPPED, {"skip_reason": "nothing"})):
        origin, schedule = state.instigator_origin_id, InstigatorType.SCHEDULE
        data = TickData(origin, NAME, schedule, status, time.time(), selector_id=state.selector_id, **facts)
        instance.create_tick(data)
    # when / then
    assert [one.instigator_name for one in internals.failed_ticks(instance, time.time() - 60)] == [NAME]
    assert list(internals.failed_ticks(instance, time.time() + 60)) == []


def test_the_event_file_of_a_run(instance, tmp_path):
    # given a run with events
    @dg.op
    def work():
        pass

    @dg.job
    def job():
        work()

    run_id = job.execute_in_process(instance=instance).run_id

    def files() -> list[Path]:
        return [one for one in tmp_path.rglob("*") if one.is_file() and one.name.startswith(run_id)]

    assert files()
    # when it is deleted with its file
    instance.delete_run(run_id)
    internals.delete_event_file(instance, run_id)
    # then no file is left
    assert files() == []


def test_the_type_of_an_asset_job():
    assert isinstance(dg.define_asset_job("job", selection="*"), internals.AssetJob)


@pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")
def test_metadata_of_many_partitions(instance):
    # given an asset that makes several days in a run
    days = dg.StaticPartitionsDefinition(["a", "b"])

    @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
    def made(context) -> None:
        internals.add_metadata(context, {"a": {"rows": 1}, "b": {"rows": 2}})

    # when
    tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"}
    result = dg.materialize([made], instance=instance, tags=tags)
    # then each has its own
    found = {one.partition: one.metadata["rows"].value for one in result.asset_materializations_for_node("made")}
    assert found == {"a": 1, "b": 2}


def test_an_interruption_that_dagster_keeps_for_later():
    with capture_interrupts():
        assert not internals.was_interrupted()
        signal.raise_signal(signal.SIGINT)
        assert internals.was_interrupted()
        assert not internals.was_interrupted()
