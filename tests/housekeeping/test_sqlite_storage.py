"""Our storage and Dagster's are two ways to the same files."""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest

from mlops_assets.housekeeping.dagster_internals import delete_event_file
from mlops_assets.housekeeping.sqlite_storage import SqliteStorage

KEYS = [f"2026-01-{day:02d}" for day in range(1, 11)]


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(KEYS))
def counted(context) -> None:
    context.add_asset_metadata({"length": len(context.partition_key)})
    if context.run.tags.get("fails"):
        raise dg.Failure("it failed")


def opened(folder, storage=None):
    overrides = {"telemetry": {"enabled": False}, **({"storage": storage} if storage else {})}
    return dg.DagsterInstance.local_temp(str(folder), overrides=overrides)


def custom(folder):
    return {
        "custom": {
            "module": SqliteStorage.__module__,
            "class": "SqliteStorage",
            "config": {"base_dir": str(folder)},
        }
    }


@pytest.fixture
def ours(tmp_path):
    with opened(tmp_path, custom(tmp_path)) as instance:
        yield instance


def run(instance, key, **tags):
    return dg.materialize([counted], instance=instance, partition_key=key, tags=tags, raise_on_error=False)


def test_each_of_the_two_storages_reads_what_the_other_one_wrote(ours, tmp_path):
    # given runs of both, by turns, one of which failed
    asset = dg.AssetKey("counted")
    with opened(tmp_path) as theirs:
        first, second = run(ours, KEYS[0]), run(theirs, KEYS[1])
        failed = run(ours, KEYS[2], fails="yes")
        # when / then both see all of it
        for instance in (ours, theirs):
            assert instance.get_materialized_partitions(asset) == {KEYS[0], KEYS[1]}
            assert {one.run_id: one.status.value for one in instance.get_runs()} == {
                first.run_id: "SUCCESS",
                second.run_id: "SUCCESS",
                failed.run_id: "FAILURE",
            }
        for run_id in (first.run_id, second.run_id, failed.run_id):
            events = [[one.get_dagster_event().event_type for one in instance.all_logs(run_id) if one.is_dagster_event]
                      for instance in (ours, theirs)]  # fmt: skip
            assert events[0] == events[1]
            assert len(events[0]) > 5


def test_threads_that_write_and_read_many_runs_by_turns_do_not_mix_their_events(ours):
    # given more runs than databases are kept open
    asset, runs = dg.AssetKey("counted"), [f"run-{number}" for number in range(5)]

    def write(number):
        run_id = runs[number % len(runs)]
        ours.report_engine_event(f"event {number}", run_id=run_id, job_name="job")
        ours.report_runless_asset_event(dg.AssetMaterialization(asset, partition=KEYS[number % len(KEYS)]))
        return len(ours.all_logs(run_id))

    # when
    with ThreadPoolExecutor(4) as threads:
        seen = list(threads.map(write, range(40)))
    # then
    assert min(seen) >= 1
    for number, run_id in enumerate(runs):
        messages = {entry.get_dagster_event().message for entry in ours.all_logs(run_id)}
        assert messages == {f"event {one}" for one in range(number, 40, len(runs))}
    assert ours.get_materialized_partitions(asset) == set(KEYS)


def test_a_write_that_failed_does_not_reach_the_next_one(ours):
    # given a transaction that is broken off
    run_id = run(ours, KEYS[0]).run_id
    storage = ours.event_log_storage
    before = len(ours.all_logs(run_id))
    with pytest.raises(KeyboardInterrupt), storage.run_connection(run_id) as connection:
        connection.exec_driver_sql("DELETE FROM event_logs")
        raise KeyboardInterrupt
    # when / then nothing of it is there, and the next transaction works
    assert len(ours.all_logs(run_id)) == before
    ours.report_engine_event("later", run_id=run_id, job_name="job")
    assert len(ours.all_logs(run_id)) == before + 1


def test_a_run_that_another_process_executes_is_followed_event_by_event(ours, tmp_path):
    # given the page of a run in the UI, and the run, each with an instance of its own that stays open
    ours.report_engine_event("begin", run_id="run", job_name="job")
    seen = queue.Queue()
    with opened(tmp_path, custom(tmp_path)) as page:
        page.watch_event_logs("run", None, lambda entry, _cursor: seen.put(entry.get_dagster_event().message))
        # when / then each event is seen before the next one is written
        for message in ("first", "second", "third"):
            ours.report_engine_event(message, run_id="run", job_name="job")
            while seen.get(timeout=30) != message:
                pass


def test_the_database_of_a_deleted_run_is_deleted(ours, tmp_path):
    # given
    run_id = run(ours, KEYS[0]).run_id
    # when
    ours.delete_run(run_id)
    delete_event_file(ours, run_id)
    # then
    assert not list(tmp_path.rglob(f"{run_id}.db*"))
    assert ours.all_logs(run_id) == []
