"""The system left alone with a real daemon over days, good and bad, in compressed time."""

from __future__ import annotations

import datetime as dt
import shutil
from collections import Counter

import dagster as dg
import pytest
from alert_servers import web_sink
from daemon import Daemon, wait_until

from mlops_assets.automation.run_lookup import TRIGGER_TAG
from mlops_assets.store.local import LocalStore

pytestmark = pytest.mark.slow

FIRST = (dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=6)).date()
TRAINED, ONE, TWO, BROKEN, LATE, LAST = [(FIRST + dt.timedelta(days=one)).isoformat() for one in range(6)]
SCORED = (TRAINED, ONE, TWO, BROKEN, LATE, LAST)
ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


@pytest.fixture
def sink():
    """A web hook: every alert that arrived."""
    with web_sink() as sink:
        yield sink


@pytest.fixture
def deliver(tmp_path):
    """Copy a day's files under a name of their own first, as people do, or write them in place."""

    def deliver(ds, *, seed=None, broken=False, marker=True):
        seed = int(ds[-2:]) if seed is None else seed
        numbers = [(seed * 7919 + k * 104_729) % 1_009 for k in range(400)]
        data = "id,a,b\n" + "".join(f"{seed * 10_000 + k},{one},{one % 13}\n" for k, one in enumerate(numbers))
        folder = tmp_path / "data" / "raw" / ds
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.csv").write_text(data + "1,2,3,4,5\n" * broken)
        (folder / "target.csv").write_text("target\n" + "".join(f"{int(one > 500)}\n" for one in numbers))
        if marker:
            (folder / "_SUCCESS").touch()

    return deliver


@pytest.fixture
def settings(sink):
    """Every minute a tick, every two seconds a look; a model is trained for the first day only."""
    weekday = (FIRST + dt.timedelta(days=1)).isoweekday() % 7
    return {
        "MLOPS_SOURCE": "files",
        "MLOPS_START_DATE": FIRST,
        "MLOPS_WORKERS": 0,
        "MLOPS_AUTOMATE": "true",
        "MLOPS_DOWNLOAD_CRON": "* * * * *",
        "MLOPS_PREDICT_CRON": "* * * * *",
        "MLOPS_TRAIN_CRON": f"0 0 * * {weekday}",
        "MLOPS_SENSOR_SECONDS": 2,
        "MLOPS_SETTLE_SECONDS": 3,
        "MLOPS_DEADLINE_HOURS": 0.001,
        "MLOPS_ALERT_URLS": sink.url,
    }


def materialized(instance, asset):
    """Day -> how often Dagster has it materialized."""
    records = instance.fetch_materializations(dg.AssetKey(asset), limit=1_000).records
    return Counter(record.partition_key for record in records)


def alerts_have_looked(instance):
    """Whether the sensor `alerts` was evaluated once: it does not report what happened before."""
    states = [one for one in instance.all_instigator_state() if one.instigator_name == "alerts"]
    return any(one.instigator_data.cursor for one in states if one.instigator_data)


def runs_over(instance):
    runs = instance.get_runs()
    return bool(runs) and all(run.status in ENDED for run in runs)


def test_five_days_of_which_one_is_late_one_broken_one_comes_twice_and_a_daemon_is_killed(
    tmp_path, settings, sink, deliver
):
    alerts = sink.posts
    store = LocalStore(tmp_path / "data")
    # given a first day with its target, and four days of which one is broken and one is missing
    deliver(TRAINED)
    for ds in (ONE, TWO, LAST):
        deliver(ds)
    deliver(BROKEN, broken=True)
    with Daemon(tmp_path, **settings) as daemon, daemon.instance() as instance:

        def scored():
            return set(materialized(instance, "predictions"))

        # when the daemon is killed with all it started while it is at work, and started again
        wait_until(lambda: alerts_have_looked(instance), 120)
        wait_until(lambda: instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])), 120)
        daemon.kill()
        daemon.start()
        wait_until(lambda: {TRAINED, ONE, TWO, LAST} <= scored(), 420, "scoring the good days")
        # and one day is redelivered unchanged, the missing one is delivered, and the broken one redelivered
        deliver(TWO)
        deliver(LATE, marker=False)
        deliver(BROKEN)
        wait_until(lambda: scored() == set(SCORED), 240, "scoring the late and the fixed day")
        looked_at = dt.datetime.now(dt.timezone.utc).timestamp()
        wait_until(lambda: runs_over(instance) and dt.datetime.now().timestamp() > looked_at + 15, 120)  # noqa: DTZ005
        # then every day was scored once
        assert materialized(instance, "predictions") == dict.fromkeys(SCORED, 1)
        # by the one model that was trained, and from the data that are there now
        for ds in SCORED:
            manifest = store.require("predictions", ds)
            assert manifest.metadata["model_version"] == 1, ds
            assert manifest.inputs[f"raw/{ds}/data.csv"] == store.info("raw_data", ds, "data.csv").sha256
        assert set(materialized(instance, "metrics")) == {TRAINED}
        # and nothing was started twice for the same data, but what was killed
        runs = instance.get_runs()
        killed = [run for run in runs if "dagster/auto_retry_run_id" in run.tags]
        triggers = Counter(run.tags[TRIGGER_TAG] for run in runs if TRIGGER_TAG in run.tags and not run.parent_run_id)
        assert set(triggers.values()) == {1}
        # and there was one alert for each event
        titles = Counter(alert["title"] for alert in alerts)
        assert set(titles.values()) == {1}, titles
        sent = "\n".join(f"{alert['title']}\n{alert['message']}" for alert in alerts)
        failed = [run for run in runs if run.status is dg.DagsterRunStatus.FAILURE]
        assert len(failed) == 1 + len(killed)
        for run in failed:
            assert sent.count(f"/runs/{run.run_id}") == 1, run.job_name
        assert titles[f"download is late: {LATE}"] == 1
        assert f"raw/{BROKEN}/data.csv" in sent
    shutil.rmtree(tmp_path / "data")  # nothing holds it any more
