"""Old runs go, but never one that holds a latest materialization or a verdict of the gate."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import dagster as dg
import pytest
from daemon import write_config

from mlops_assets.housekeeping.dead_runs import PROCESS_TAG
from mlops_assets.housekeeping.retention import Outdated, Retention, build_retention_sensor, delete_outdated, outdated
from mlops_assets.names import PIPELINE_TAG, Names

RETENTION = Retention(runs=90, logs=30)
DAYS = dg.DailyPartitionsDefinition("2026-01-01")


@dg.asset(partitions_def=DAYS)
def daily(context):
    sys.stdout.write("made")
    if context.run.tags.get("fail"):
        raise dg.Failure("as requested")


@dg.asset(partitions_def=DAYS)
def production_model(context):
    judged = context.run.tags.get("judged")
    return dg.MaterializeResult(metadata={"model_version": 1, **({"judged": 1, "promoted": False} if judged else {})})


@pytest.fixture
def instance(tmp_path):
    write_config(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def run(instance, asset, ds=None, **tags):
    return dg.materialize(
        [asset],
        instance=instance,
        partition_key=ds,
        tags={PROCESS_TAG: "a command", PIPELINE_TAG: "", **tags},
        raise_on_error=False,
    ).run_id


def after(days: float) -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=days)


def files_of(tmp_path: Path, run_id: str) -> list[Path]:
    return [path for path in tmp_path.rglob("*") if path.is_file() and run_id in str(path)]


def logs_of(tmp_path: Path, run_id: str) -> list[Path]:
    return [path for path in files_of(tmp_path, run_id) if "compute_logs" in path.parts]


def test_what_is_outdated():
    # given runs of several ages, of which one holds something
    ages = {"ancient": 400.0, "holder": 400.0, "old": 90.0, "printed": 31.0, "young": 29.9}
    # when / then the first limit is that of logs, the second that of runs
    assert outdated(ages, {"holder"}, RETENTION) == Outdated(runs=["ancient", "old"], logs=["holder", "printed"])
    # and it does not matter which of them is longer
    assert outdated({"run": 50.0}, set(), Retention(runs=40, logs=60)) == Outdated(runs=["run"], logs=[])


@pytest.mark.slow
def test_superseded_and_failed_runs_go_and_what_is_made_stays(instance, tmp_path):
    # given a day that was made twice, one that failed, one that was made and then failed, and a day's model that was
    # judged, resolved, and resolved again
    superseded = run(instance, daily, "2026-01-01")
    latest = run(instance, daily, "2026-01-01")
    failed = run(instance, daily, "2026-01-02", fail="1")
    made = run(instance, daily, "2026-01-03")
    failed_later = run(instance, daily, "2026-01-03", fail="1")
    judged = run(instance, production_model, "2026-01-03", judged="1")
    resolved = [run(instance, production_model, "2026-01-03") for _ in range(2)]
    going_on = instance.create_run_for_job(dg.define_asset_job("job").resolve(asset_graph=_graph())).run_id
    instance.report_run_canceling(instance.get_run_by_id(going_on))
    # when they are older than the limits
    found, cursor = delete_outdated(instance, RETENTION, Names(), after(100))
    # then only what nothing depends on is gone, with all its files
    assert set(found.runs) == {superseded, failed, failed_later, resolved[0]}
    assert cursor is None
    assert {one.run_id for one in instance.get_runs()} == {latest, made, judged, resolved[1], going_on}
    assert [files_of(tmp_path, run_id) for run_id in found.runs] == [[], [], [], []]
    # and Dagster still knows what was made, and every verdict of the gate
    assert instance.get_materialized_partitions(daily.key) == {"2026-01-01", "2026-01-03"}
    assert len(instance.fetch_materializations(production_model.key, limit=10).records) == 2
    assert instance.get_latest_materialization_event(daily.key).run_id == made
    # and the runs that stay have lost their compute logs, but not their events
    assert logs_of(tmp_path, latest) == []
    assert instance.all_logs(latest)


def test_logs_go_before_runs(instance, tmp_path):
    # given two runs of a day
    runs = [run(instance, daily, "2026-01-01"), run(instance, daily, "2026-01-01")]
    # when they are not so old / then everything stays
    assert delete_outdated(instance, RETENTION, Names(), after(29)) == (Outdated([], []), None)
    assert all(logs_of(tmp_path, run_id) for run_id in runs)
    # when they are older than logs may be / then the runs stay
    delete_outdated(instance, RETENTION, Names(), after(31))
    assert not any(logs_of(tmp_path, run_id) for run_id in runs)
    assert len(instance.get_runs()) == 2


def test_a_little_at_a_time_until_all_were_looked_at(instance):
    # given runs to keep and to delete, mixed
    keep, delete = [], []
    for day in ("2026-01-01", "2026-01-02"):
        delete += [run(instance, daily, day)]
        keep += [run(instance, daily, day)]
        delete += [run(instance, daily, day, fail="1")]
    # when they are looked at in small steps, the cursor from one to the next
    deleted, cursor = [], None
    for _ in range(4):
        found, cursor = delete_outdated(instance, RETENTION, Names(), after(100), cursor, batch=2)
        deleted += found.runs
    # then all were, and the next round begins
    assert sorted(deleted) == sorted(delete)
    assert [one.run_id for one in instance.get_runs()] == keep[::-1]
    assert cursor is None


def test_the_result_of_the_sensor(instance):
    # given a run of today / when the sensor looks / then it leaves it alone
    run(instance, daily, "2026-01-01")
    sensor = build_retention_sensor(Names(), RETENTION)
    context = dg.build_sensor_context(instance)
    assert sensor(context).skip_message == "Deleted 0 runs, and the compute logs of 0 others."
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def _graph():
    return dg.Definitions(assets=[daily, production_model]).resolve_asset_graph()


def test_runs_of_others_stay(tmp_path, instance):
    # given old runs of another code location, of another pipeline's command, and of a command of ours
    theirs = dg.DagsterRun("theirs", "7ea5e000-0000-4000-8000-000000000000", status=dg.DagsterRunStatus.SUCCESS)
    ours = run(instance, daily, "2026-01-05", fail="yes")
    instance.add_run(theirs)
    run(instance, daily, "2026-01-05", fail="yes", **{PIPELINE_TAG: "churn"})
    # when / then only ours goes
    found, _ = delete_outdated(instance, RETENTION, Names(), after(100), location="ours")
    assert found.runs == [ours]
