"""The assets as users test them: `materialize` on a folder, real files, real MLflow store, no patching."""

from __future__ import annotations

import json
from dataclasses import replace

import dagster as dg
import pytest

from mlops_assets.assets.assets import build_assets
from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.assets.resources import build_resources
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime.request import PartitionResult
from mlops_assets.steps.parameters import Parameters
from mlops_assets.store.local import LocalStore
from mlops_assets.wiring.assembly import build_tracking
from mlops_assets.wiring.pipeline import Pipeline

ASSETS = build_assets(daily_partitions("2026-01-01"))
RANGE = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-03"}


@pytest.fixture
def resources(make_settings):
    settings = make_settings()
    return Pipeline(settings=settings).resources


def materializations(result, asset):
    return {one.partition: one.metadata for one in result.asset_materializations_for_node(asset)}


def test_one_day_through_all_assets(tmp_path, resources, make_settings):
    # given an empty folder
    # when all assets are materialized for a day
    result = dg.materialize([*ASSETS], partition_key="2026-01-05", resources=resources)
    # then the files of the contract are there, and the model serves
    assert result.success
    for name in (
        "raw/2026-01-05/data.csv",
        "raw/2026-01-05/target.csv",
        "processed/2026-01-05/train_data.csv",
        "split/2026-01-05/train.csv",
        "split/2026-01-05/val.csv",
        "models/2026-01-05/model.skops",
        "models/2026-01-05/metrics.json",
        "predictions/2026-01-05/predictions.csv",
    ):
        assert (tmp_path / "data" / name).is_file(), name
    production = build_tracking(make_settings()).registry.production()
    assert production is not None
    assert production.ds == "2026-01-05"
    # and the predictions say which model made them, in Dagster and beside the file
    metadata = materializations(result, "predictions")["2026-01-05"]
    manifest = json.loads((tmp_path / "data/predictions/2026-01-05/predictions.manifest.json").read_text())
    assert metadata["model_version"].value == manifest["metadata"]["model_version"] == production.number
    assert metadata["model_sha256"].value == manifest["metadata"]["model_sha256"] == production.sha256
    assert metadata["model_name"].value == "mlops-assets"


def test_every_day_of_a_range_has_metadata_of_its_own(tmp_path, resources, instance):
    # given / when three days in one run
    result = dg.materialize([*ASSETS], instance=instance, resources=resources, tags=RANGE)
    # then each day of each asset is one materialization with the facts of that day
    assert result.success
    for asset, fact in {
        "raw_data": "sha256",
        "processed": "sha256",
        "split": "sha256",
        "model": "model_version",
        "metrics": "roc_auc",
        "predictions": "sha256",
    }.items():
        days = materializations(result, asset)
        assert sorted(days) == ["2026-01-01", "2026-01-02", "2026-01-03"], asset
        assert len({str(days[ds][fact].value) for ds in days}) == 3, (asset, fact)
        for ds in days:
            assert ds in days[ds]["path"].value
    # and numbers are numbers, so that the UI plots them; rows are a table; links are links
    metadata = materializations(result, "metrics")["2026-01-02"]
    assert isinstance(metadata["roc_auc"], dg.FloatMetadataValue)
    assert isinstance(metadata["mlflow_run_url"], dg.UrlMetadataValue)
    raw = materializations(result, "raw_data")["2026-01-02"]
    assert raw["dagster/row_count"].value == 300
    assert isinstance(raw["preview"], dg.TableMetadataValue)
    # and the last day's model went through the gate
    days = materializations(result, "production_model")
    assert [ds for ds in sorted(days) if "judged" in days[ds]] == ["2026-01-03"]
    assert days["2026-01-03"]["promoted"].value is True


def test_a_broken_day_does_not_lose_the_others(tmp_path, make_settings, instance):
    # given three delivered days, the second of them cut off
    settings = make_settings(source="files")
    for day, text in {"01": "a,b\n1,2\n3,4\n", "02": "a,b\n1,2\n3", "03": "a,b\n5,6\n7,8\n"}.items():
        folder = tmp_path / "data" / "raw" / f"2026-01-{day}"
        folder.mkdir(parents=True)
        (folder / "data.csv").write_text(text)
    # when they are registered in one run
    resources = Pipeline(settings=settings).resources
    result = dg.materialize([ASSETS.raw_data], instance=instance, resources=resources, tags=RANGE, raise_on_error=False)
    # then the run fails and names the day, the file and the row
    assert not result.success
    failure = result.failure_data_for_node("raw_data").user_failure_data
    assert "1 of 3 days failed" in failure.description
    assert "raw/2026-01-02/data.csv, line 3 (row 2)" in failure.description
    # and the good days are materialized
    assert instance.get_materialized_partitions(dg.AssetKey("raw_data")) == {"2026-01-01", "2026-01-03"}


class BreaksAfterFirstDay:
    """A backend whose server goes away after one day: the edge of the network."""

    leaves_processes = False
    params = Parameters()

    def __init__(self, folder):
        self.store = LocalStore(folder)

    def prepare(self, assets, partitions, run_id):
        pass

    def recipe_image(self, step):
        return ""

    def run(self, request, context):
        yield PartitionResult(request.partitions[0], {"rows": 1})
        raise MlopsAssetsError("the server is gone; start it and run this again")


def test_days_that_were_done_before_a_failure_stay_done(instance, tmp_path, make_settings):
    # given / when the backend fails after the first of three days
    parts = replace(Pipeline(settings=make_settings()).parts, backend=BreaksAfterFirstDay(tmp_path))
    result = dg.materialize(
        [ASSETS.raw_data],
        instance=instance,
        resources=build_resources(parts),
        tags=RANGE,
        raise_on_error=False,
    )
    # then the user reads the message, and the first day counts
    assert not result.success
    description = result.failure_data_for_node("raw_data").user_failure_data.description
    assert description == "the server is gone; start it and run this again"
    assert instance.get_materialized_partitions(dg.AssetKey("raw_data")) == {"2026-01-01"}


def test_running_again_changes_no_byte_and_registers_no_second_version(tmp_path, resources, make_settings):
    # given a day that is done
    dg.materialize([*ASSETS], partition_key="2026-01-05", resources=resources)
    files = sorted(path for path in (tmp_path / "data").rglob("*.*") if path.suffix in {".csv", ".json"})
    before = {path: path.read_bytes() for path in files}
    # when it is done again
    result = dg.materialize([*ASSETS], partition_key="2026-01-05", resources=resources)
    # then no byte has changed (save the digest of the model's file: skops writes other bytes each time)
    assert result.success
    files.remove(tmp_path / "data/models/2026-01-05/model.manifest.json")
    assert {path: path.read_bytes() for path in files} == {path: before[path] for path in files}
    assert [one.number for one in build_tracking(make_settings()).registry.versions()] == [1]
    assert not list((tmp_path / "data").rglob(".*"))


def test_predictions_without_a_model_say_what_to_do(resources):
    # given no model in production / when a day is scored
    result = dg.materialize(
        [ASSETS.raw_data, ASSETS.predictions], partition_key="2026-01-05", resources=resources, raise_on_error=False
    )
    # then the message says so
    description = result.failure_data_for_node("predictions").user_failure_data.description
    assert "stage Production" in description
    assert "Materialize model, metrics and production_model" in description
