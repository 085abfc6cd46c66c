"""The public API, as the README shows it: a user's own test."""

from __future__ import annotations

import dagster as dg
import pytest

from mlops_assets import Pipeline
from mlops_assets.errors import SettingsError

DAY = "2026-01-05"


def test_a_day_is_scored(tmp_path):
    pipeline = Pipeline(home=tmp_path, rows_per_day=500)
    result = dg.materialize(pipeline.assets, partition_key=DAY, resources=pipeline.resources)
    assert result.success
    # and all of it lies in the one folder
    assert (tmp_path / "data" / "predictions" / DAY / "predictions.csv").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"data", ".mlops"}
    # and single assets have a name
    one = dg.materialize([pipeline.assets.raw_data], partition_key="2026-01-06", resources=pipeline.resources)
    assert one.success


def test_a_pipeline_in_a_folder_never_reaches_a_server_of_the_environment(tmp_path, monkeypatch):
    # given an environment and an .env for production
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    (tmp_path / ".env").write_text("MLOPS_BACKEND=docker\nMLOPS_ALERT_WEBHOOKS=https://hooks.example/x\n")
    # when a pipeline is made in a folder, then it has defaults
    settings = Pipeline(home=tmp_path / "test").settings
    assert settings.tracking.uri == f"sqlite:///{tmp_path}/test/.mlops/mlflow/mlflow.db"
    assert settings.backend == "inprocess"
    assert settings.given == {"home", "data_dir", "workers"}


def test_a_misspelt_setting_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="unknown setting 'row_per_day': did you mean rows_per_day"):
        Pipeline(home=tmp_path, row_per_day=500)
