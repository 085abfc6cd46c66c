"""What Dagster's UI shows of a partition."""

from __future__ import annotations

from mlops_assets.assets.metadata import to_dagster


def test_what_a_step_has_to_say_comes_first():
    # given / when
    metadata = to_dagster({"sha256": "ab", "rows": 3, "roc_auc": 0.9, "path": "/x", "model_version": 1})
    # then scores stand before digests and paths
    assert list(metadata) == ["roc_auc", "model_version", "rows", "sha256", "path", "dagster/row_count"]
