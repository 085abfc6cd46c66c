"""What Dagster records of the checks, in real runs."""

from __future__ import annotations

import dagster as dg
import pytest

from mlops_assets.assets.assets import build_assets
from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.wiring.pipeline import Pipeline

ASSETS = build_assets(daily_partitions("2026-01-01"))
RANGE = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-03"}
GOOD = "a,b\n" + "1,x\n" * 10


@pytest.fixture
def register(tmp_path, make_settings, instance):
    """Deliver three days and register them in one run."""

    def run(*days: str, assets: tuple[dg.AssetsDefinition, ...] = (ASSETS.raw_data,)) -> dg.ExecuteInProcessResult:
        settings = make_settings(source="files")
        for number, text in enumerate(days, 1):
            folder = tmp_path / "data" / "raw" / f"2026-01-0{number}"
            folder.mkdir(parents=True)
            (folder / "data.csv").write_text(text)
        resources = Pipeline(settings=settings).resources
        return dg.materialize([*assets], instance=instance, resources=resources, tags=RANGE, raise_on_error=False)

    return run


def checks(result, asset="raw_data"):
    return {one.check_name: one for one in result.get_asset_check_evaluations() if one.asset_key == dg.AssetKey(asset)}


def test_one_bad_day_of_three_is_named_and_the_others_pass(register, instance):
    # given / when three days in one run, the second without a column
    result = register(GOOD, GOOD.replace("b\n", "c\n", 1), GOOD)
    # then the run goes on, all days are there
    assert result.success
    assert len(instance.get_materialized_partitions(dg.AssetKey("raw_data"))) == 3
    # and the check failed for that day alone, with its facts in a table, bad days first
    found = checks(result)
    assert {name: one.passed for name, one in found.items()} == {
        "schema": False,
        "row_count": True,
        "missing_values": True,
        "unique_ids": True,
    }
    assert found["schema"].description.startswith("1 of 3 days failed:\n2026-01-02: raw/2026-01-02/data.csv lacks")
    assert found["schema"].severity is dg.AssetCheckSeverity.ERROR
    assert found["unique_ids"].severity is dg.AssetCheckSeverity.WARN
    assert found["row_count"].description == "3 of 3 days passed."
    table = found["schema"].metadata["days"].records
    assert [(one.data["day"], one.data["passed"]) for one in table] == [
        ("2026-01-02", False),
        ("2026-01-01", True),
        ("2026-01-03", True),
    ]


def test_a_day_that_cannot_be_made_does_not_lose_the_verdicts_on_the_others(register, instance):
    # given / when the third of three days is broken and the second has few rows
    result = register(GOOD, "a,b\n1,x\n", "a,b\n1")
    # then the step fails for the third, and the check for the second is recorded all the same
    assert not result.success
    found = {
        check: instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("raw_data"), check), limit=1
        )[0].event.dagster_event.asset_check_evaluation_data
        for check in ("schema", "row_count")
    }
    assert found["row_count"].description.startswith("1 of 2 days failed:\n2026-01-02: raw/2026-01-02/data.csv has 1")
    assert found["schema"].passed


def test_limits_reach_the_checks(tmp_path, make_settings, instance):
    # given data that have changed, and a setting that allows it
    settings = make_settings(source="files", check_schema=False)
    for day, text in {"01": GOOD, "02": "other\n" + "1\n" * 10}.items():
        folder = tmp_path / "data" / "raw" / f"2026-01-{day}"
        folder.mkdir(parents=True)
        (folder / "data.csv").write_text(text)
    # when the days are registered one after the other, by the code location
    job = Pipeline(settings=settings).definitions.resolve_implicit_global_asset_job_def()
    results = [
        job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("raw_data")], partition_key=ds)
        for ds in ("2026-01-01", "2026-01-02")
    ]
    # then no check fails
    assert all(one.passed for result in results for one in checks(result).values())
    assert checks(results[1])["schema"].metadata["days"].records[0].data["note"] == "switched off (MLOPS_CHECK_SCHEMA)"


def test_the_checks_of_production(make_settings, instance):
    # given nothing in production / when it is asked what serves
    pipeline = Pipeline(settings=make_settings())
    found = checks(run(pipeline, instance, "production_model"), "production_model")
    # then a check fails and says what to do
    assert not found["one_production_version"].passed
    assert "mlops-assets models promote VERSION" in found["one_production_version"].description
    assert found["mlflow_reachable"].passed
    # when the code location makes a day, it passes; so do the checks of the other assets
    result = run(pipeline, instance)
    assert len(result.get_asset_check_evaluations()) == 9
    assert all(one.passed for one in result.get_asset_check_evaluations())
    assert checks(result, "production_model")["one_production_version"].description == "Version 1 serves."


def run(pipeline, instance, *assets):
    job = pipeline.definitions.resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey(asset) for asset in assets] or None
    return job.execute_in_process(instance=instance, asset_selection=keys, partition_key="2026-01-05")


def test_the_descriptions_say_what_a_check_stops():
    # given / when
    specs = {one.name: one for one in ASSETS.raw_data.check_specs}
    # then those that Dagster calls not blocking say what is not made
    assert specs["schema"].description.endswith("processed and predictions are not made; other days go on.")
    assert "not made" not in specs["unique_ids"].description
