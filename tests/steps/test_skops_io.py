"""Dumping and loading models: what is refused, and what the message says."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.preprocessing import FunctionTransformer

from mlops_assets.steps.features import build_pipeline, class_probabilities
from mlops_assets.steps.skops_io import TRUSTED_TYPES, UntrustedModelError, dump_model, held_types, load_model

KINDS = {"a": "double", "c": "string", "d": "datetime", "f": "string"}
ESTIMATORS = ["hist_gradient_boosting", "random_forest", "logistic_regression"]


@pytest.fixture(scope="session")
def rows():
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": random.normal(size=200),
            "c": random.choice(["x", "y"], 200),
            "d": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 300, 200), unit="D"),
            "f": random.choice([f"city {k}" for k in range(20)], 200),
        }
    )


@pytest.fixture(scope="session")
def fitted(rows):
    """One fitted pipeline of each kind."""
    target = (rows["a"] > 0).astype(int)
    return {
        name: build_pipeline(rows, KINDS, estimator=name, imputation="mean", seed=0).fit(rows, target)
        for name in ESTIMATORS
    }


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_round_trip_predicts_the_same(name, fitted, rows):
    # given
    data = dump_model(fitted[name])
    # when
    loaded = load_model(data, "the model")
    # then
    np.testing.assert_array_equal(class_probabilities(loaded, rows), class_probabilities(fitted[name], rows))
    assert set(held_types(data)) <= set(TRUSTED_TYPES)


def test_a_foreign_type_is_refused_by_name(fitted):
    # given
    model = load_model(dump_model(fitted["logistic_regression"]), "the model")
    model.steps.insert(0, ("evil", FunctionTransformer(os.system)))
    # when
    with pytest.raises(UntrustedModelError, match=r"^Version 3 was not loaded") as caught:
        load_model(dump_model(model), "version 3", {"scikit-learn": sklearn.__version__})
    # then: named, and nobody is advised to trust it
    assert "posix.system" in str(caught.value)
    assert "TRUSTED_TYPES" not in str(caught.value)
    assert "date_parts" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: b"no zip", lambda data: b""])
def test_a_damaged_file_is_a_clear_error(damage, fitted):
    data = damage(dump_model(fitted["logistic_regression"]))
    with pytest.raises(UntrustedModelError, match=r"Model of 2024-01-01 .*damaged.*train the model again"):
        load_model(data, "model of 2024-01-01")


def test_another_scikit_learn_is_named_when_loading_fails(fitted):
    # given
    data = dump_model(fitted["logistic_regression"])[:-100]
    # when
    with pytest.raises(UntrustedModelError) as caught:
        load_model(data, "version 3", {"scikit-learn": "0.24.2", "numpy": "1.0"})
    # then
    for part in ("scikit-learn 0.24.2", sklearn.__version__, "MLOPS_BACKEND=docker", "promote a new model"):
        assert part in str(caught.value)


def test_another_scikit_learn_is_no_error_while_loading_works(fitted):
    assert load_model(dump_model(fitted["logistic_regression"]), "version 3", {"scikit-learn": "0.24.2"})
