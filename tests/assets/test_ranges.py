"""Runs over many days: what is up to date is not made again, and a bad day does not lose the others."""

from __future__ import annotations

import dagster as dg
import pytest

from mlops_assets.assets.assets import build_assets
from mlops_assets.assets.failed_partitions import last_failures
from mlops_assets.assets.materialization import FORCE_TAG
from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.wiring.pipeline import Pipeline

pytestmark = pytest.mark.slow

ASSETS = build_assets(daily_partitions("2026-01-01"))
DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]
RANGE = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[-1]}
BY_DAY = ("raw_data", "processed", "split", "model", "metrics", "production_model", "predictions")


@pytest.fixture
def run(make_settings, instance):
    def run(assets=ASSETS, settings=None, **tags):
        settings = settings or make_settings()
        resources = Pipeline(settings=settings).resources
        return dg.materialize(
            [*assets], instance=instance, resources=resources, tags={**RANGE, **tags}, raise_on_error=False
        )

    return run


def made(result):
    """Asset -> days that this run really made."""
    days = {}
    for asset in BY_DAY:
        events = result.asset_materializations_for_node(asset)
        days[asset] = [one.partition for one in events if "up_to_date" not in one.metadata]
    return days


def deliver(tmp_path, ds, text, target):
    folder = tmp_path / "data" / "raw" / ds
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.csv").write_text(text)
    (folder / "target.csv").write_text(target)


def rows(seed):
    numbers = [(seed * 7 + k * 13) % 101 for k in range(400)]
    data = "id,a,b\n" + "".join(f"{seed * 1000 + k},{one},{one % 7}\n" for k, one in enumerate(numbers))
    return data, "target\n" + "".join(f"{int(one > 50)}\n" for one in numbers)


def test_a_range_that_is_done_is_not_made_again(run, instance):
    # given three days through all assets
    assert run().success
    # when the range is asked for again
    again = run()
    # then nothing is made, and Dagster still knows every day with its facts
    assert again.success
    assert made(again) == {asset: [] for asset in BY_DAY}
    assert {one.partition for one in again.asset_materializations_for_node("metrics")} == set(DAYS)
    assert "roc_auc" in again.asset_materializations_for_node("metrics")[0].metadata
    # and with force everything is
    forced = run(**{FORCE_TAG: "true"})
    assert made(forced) == dict.fromkeys(BY_DAY, DAYS)


def test_only_what_is_missing_or_stale_is_made(run, tmp_path, make_settings):
    # given three days, of which one file is deleted and one setting is changed since
    run()
    (tmp_path / "data/predictions/2026-01-02/predictions.csv").unlink()
    # when the range is asked for again, then only that is made
    again = {"production_model": ["2026-01-02"], "predictions": ["2026-01-02"]}
    assert made(run()) == {asset: again.get(asset, []) for asset in BY_DAY}
    # and a setting that concerns a step concerns what follows, too
    result = run(settings=make_settings(estimator="logistic_regression"))
    expected = {"model": DAYS, "metrics": DAYS, "production_model": DAYS[-1:]}  # where it is judged
    assert made(result) == {asset: expected.get(asset, []) for asset in BY_DAY}


def test_data_that_were_delivered_again_are_stale(run, tmp_path, make_settings):
    # given three delivered days that are done
    settings = make_settings(source="files")
    for seed, ds in enumerate(DAYS):
        deliver(tmp_path, ds, *rows(seed))
    assert run(settings=settings).success
    # when one is redelivered with other content and one with the same
    deliver(tmp_path, DAYS[0], *rows(0))
    deliver(tmp_path, DAYS[1], *rows(9))
    # then only the other content is worked on; what it is judged with is written beside the last day
    expected = {asset: [DAYS[1]] for asset in BY_DAY} | {"production_model": DAYS[1:]}
    assert made(run(settings=settings)) == expected


def test_a_bad_day_does_not_lose_the_others(run, instance, tmp_path, make_settings):
    # given three delivered days, the second of them broken
    settings = make_settings(source="files")
    for seed, ds in enumerate(DAYS):
        deliver(tmp_path, ds, *rows(seed))
    (tmp_path / "data/raw/2026-01-02/data.csv").write_text("id,a,b\n1,2,3\n4,5\n")
    # when all assets are made in one run
    result = run(settings=settings)
    # then the good days went through all of them, and Dagster takes only these for made; which model serves is known
    for asset in set(BY_DAY) - {"production_model"}:
        assert instance.get_materialized_partitions(dg.AssetKey(asset)) == {DAYS[0], DAYS[2]}, asset
    # and the run failed at its end and names the bad day, once, with file and row
    assert not result.success
    failed = [event.step_key for event in result.all_events if event.is_step_failure]
    assert failed == ["predictions"]
    description = result.failure_data_for_node("predictions").user_failure_data.description
    assert description.startswith("1 of 3 days failed:\n2026-01-02 (raw_data): raw/2026-01-02/data.csv")
    assert description.count("2026-01-02 (") == 1
    # and the step at which the partition failed shows it, too
    key = dg.AssetKey("raw_data")
    (shown,) = instance.fetch_observations(
        dg.AssetRecordsFilter(key, asset_partitions=["2026-01-02"]), limit=10
    ).records
    assert shown.event_log_entry.step_key == "raw_data"
    assert last_failures(instance, key) == {
        "2026-01-02": shown.event_log_entry.asset_observation.metadata["error"].value
    }
    assert "data.csv, line 3 (row 2)" in last_failures(instance, key)["2026-01-02"]
    # and when the day is fixed, only that day is made
    deliver(tmp_path, DAYS[1], *rows(1))
    after = run(settings=settings)
    assert after.success
    assert made(after) == {asset: [DAYS[1]] for asset in BY_DAY} | {"production_model": DAYS[1:]}
    assert last_failures(instance, key) == {}


def test_days_that_only_training_lacks_are_not_called_failed_predictions(run, instance, tmp_path, make_settings):
    # given three delivered days, the second without its target
    settings = make_settings(source="files")
    for seed, ds in enumerate(DAYS):
        deliver(tmp_path, ds, *rows(seed))
    (tmp_path / "data/raw/2026-01-02/target.csv").unlink()
    # when all assets are made in one run
    result = run(settings=settings)
    # then all days were predicted; the run failed, and says that the day failed before
    assert instance.get_materialized_partitions(dg.AssetKey("predictions")) == set(DAYS)
    assert not result.success
    description = result.failure_data_for_node("predictions").user_failure_data.description
    start = "3 of 3 days were made, but 1 of 3 failed in earlier steps:\n2026-01-02 (processed): "
    assert description.startswith(start)
    # and where another day could not be predicted, that it failed here or before
    deliver(tmp_path, DAYS[2], "id,a,b\n1,2,3\n4,5\n", "target\n0\n1\n")
    description = run(settings=settings).failure_data_for_node("predictions").user_failure_data.description
    assert description.startswith("2 of 3 days were made, but 2 of 3 failed in this or earlier steps:\n2026-01-02 (")


def test_a_run_that_lost_every_day_ends_at_once(run, tmp_path, make_settings):
    # given three broken days
    settings = make_settings(source="files")
    for ds in DAYS:
        deliver(tmp_path, ds, "id,a\n1,2,3\n", "target\n0\n")
    # when / then the first step fails, and nothing after it is tried
    result = run(settings=settings)
    assert [event.step_key for event in result.all_events if event.is_step_failure] == ["raw_data"]
    assert "3 of 3 days" in result.failure_data_for_node("raw_data").user_failure_data.description


def test_a_check_stops_its_day_and_no_other(run, instance, tmp_path, make_settings):
    # given three delivered days, the second with few rows
    settings = make_settings(source="files")
    for seed, ds in enumerate(DAYS):
        deliver(tmp_path, ds, *rows(seed))
    data, target = rows(1)
    deliver(tmp_path, DAYS[1], "".join(data.splitlines(True)[:100]), "".join(target.splitlines(True)[:100]))
    # when all assets are made in one run
    result = run(settings=settings)
    # then the raw data of that day are there, and nothing was made of them
    known = {asset: instance.get_materialized_partitions(dg.AssetKey(asset)) for asset in BY_DAY}
    made_of_it = set(BY_DAY) - {"raw_data", "production_model"}
    assert known == {asset: {DAYS[0], DAYS[2]} if asset in made_of_it else set(DAYS) for asset in BY_DAY}
    # and the run failed at its end and says which check it was
    description = result.failure_data_for_node("predictions").user_failure_data.description
    assert (
        f"{DAYS[1]} (processed, predictions): Stopped by check row_count of raw_data: raw/{DAYS[1]}/data.csv"
        in description
    )
    assert description.startswith("1 of 3 days failed")
    # and a later run over the range stops it, too
    again = run(assets=[ASSETS.processed, ASSETS.predictions], settings=settings)
    assert not again.success
    assert made(again)["predictions"] == []
    # but by hand that day can be made all the same
    resources = Pipeline(settings=settings).resources
    by_hand = [ASSETS.processed, ASSETS.predictions]
    assert dg.materialize(by_hand, instance=instance, resources=resources, partition_key=DAYS[1]).success
    # and is accepted then
    assert run(settings=settings).success
