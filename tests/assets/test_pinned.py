"""A version that a setting pins serves whatever the registry says."""

from __future__ import annotations

from projects import DS, NEXT, Project, mixed

from mlops_assets.settings import Settings


def test_a_pinned_version_serves_though_another_is_in_production(serving):
    # given a second version, which is not in production
    made = serving(estimator="logistic_regression")
    made.deliver(NEXT, *mixed(200, seed=1, first_id=1_000))
    result = made.materialize("raw_data", "processed", "split", "model", ds=NEXT)
    assert result.success, result.failures
    assert made.tracking.registry.production().number == 1
    by_production = made.table("predictions", "predictions.csv")
    # when it is pinned, and the day is scored again
    places = {"home": made.settings.home, "data_dir": made.settings.data_dir}
    pinned = Project(Settings(_env_file=None, source="files", start_date=DS, workers=0, model_version=2, **places))
    result = pinned.materialize("production_model", "predictions", ds=DS)
    assert result.success, result.failures
    # then the day and its predictions say so, and the registry is as it was
    assert result.metadata("production_model")[DS]["reason"] == "pinned by MLOPS_MODEL_VERSION"
    assert result.metadata("predictions")[DS]["model_version"] == 2
    assert not pinned.table("predictions", "predictions.csv").equals(by_production)
    assert made.tracking.registry.production().number == 1
