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


def test_a_misspelt_setting_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="unknown setting 'row_per_day': did you mean rows_per_day"):
        Pipeline(home=tmp_path, row_per_day=500)
