"""Dumping, loading, digests and forged files; no MLflow server involved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tracking_samples as samples
from sklearn.preprocessing import FunctionTransformer

from mlops_assets.steps.skops_io import dump_model, load_model
from mlops_assets.tracking.digest import model_digest
from mlops_assets.tracking.errors import UntrustedModelError

ALL = (*samples.KINDS, "categorical")


@pytest.mark.parametrize("kind", ALL)
def test_round_trip_predicts_the_same_and_keeps_the_digest(kind, fitted, data, tmp_path):
    # given
    file = tmp_path / "model.skops"
    file.write_bytes(dump_model(fitted[kind]))
    # when
    loaded = load_model(file)
    # then
    np.testing.assert_array_equal(loaded.predict_proba(data[0]), fitted[kind].predict_proba(data[0]))
    assert model_digest(loaded) == model_digest(fitted[kind])


@pytest.mark.parametrize("kind", ALL)
def test_training_again_gives_the_same_digest(kind, fitted, data):
    assert model_digest(samples.pipeline(kind).fit(*data)) == model_digest(fitted[kind])


@pytest.mark.slow
def test_digest_is_the_same_in_a_fresh_interpreter(fitted, tmp_path):
    # given
    for kind in ALL:
        (tmp_path / kind).write_bytes(dump_model(fitted[kind]))
    code = (
        "import sys, warnings; warnings.simplefilter('ignore'); import tracking_samples as samples\n"
        "from mlops_assets.steps.skops_io import load_model; from mlops_assets.tracking.digest import model_digest\n"
        "for kind in sys.argv[1:]:\n"
        "    print(model_digest(load_model(kind)), model_digest(samples.pipeline(kind).fit(*samples.frame())))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    env = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": path}
    # when
    done = subprocess.run(
        [sys.executable, "-c", code, *ALL], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    # then
    digests = [model_digest(fitted[kind]) for kind in ALL]
    assert [line.split() for line in done.stdout.splitlines()] == [[digest, digest] for digest in digests]


def _scale(model):
    model["columns"].named_transformers_["numbers"]["scale"].mean_[0] += 1e-12


def _impute(model):
    model["columns"].named_transformers_["numbers"]["impute"].statistics_[1] += 1e-9


def _category(model):
    model["columns"].named_transformers_["texts"]["encode"].categories_[0][0] = "w"


def _parameter(model):
    model["model"].set_params(random_state=1)


def _leaf(model):
    model["model"]._predictors[0][0].nodes["value"][-1] += 1e-12


def _coefficient(model):
    model["model"].coef_[0, 0] = np.nextafter(model["model"].coef_[0, 0], 1)


def _threshold(model):
    tree = model["model"].estimators_[0].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"]["threshold"][0] += 1e-9
    tree.__setstate__(state)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("boosting", _scale),
        ("boosting", _impute),
        ("boosting", _category),
        ("boosting", _parameter),
        ("boosting", _leaf),
        ("logistic", _coefficient),
        ("forest", _threshold),
    ],
)
def test_digest_changes_with_any_fitted_content(kind, change, copy_of, fitted):
    # given
    model = copy_of(kind)
    # when
    change(model)
    # then
    assert model_digest(model) != model_digest(fitted[kind])


def test_digest_tells_similar_containers_apart():
    values = [[1, 2], (1, 2), [12], ["1", 2], [1.0, 2], [[1], 2], {1: 2}, {1, 2}, None, "None", np.array([1, 2])]
    assert len({model_digest(value) for value in values}) == len(values)


def test_digest_ignores_the_order_of_a_dict_and_numpy_scalars():
    assert model_digest({"a": 1, "b": np.float64(2)}) == model_digest({"b": 2.0, "a": np.int64(1)})


def test_digest_survives_a_cycle():
    knot: list[object] = []
    knot.append(knot)
    assert model_digest(knot) != model_digest([[]])


def test_foreign_type_is_refused_by_name(copy_of):
    # given
    model = copy_of("logistic")
    model.steps.insert(0, ("evil", FunctionTransformer(os.system)))
    # when
    with pytest.raises(UntrustedModelError) as caught:
        load_model(dump_model(model))
    # then
    assert "posix.system" in str(caught.value)
    assert "TRUSTED_TYPES" in str(caught.value)
    assert "sklearn.tree._tree.Tree" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("left", 10**6, "child index"),
        ("right", 2**32 - 1, "child index"),
        ("left", 0, "child index"),
        ("feature_idx", 999, "feature index"),
        ("feature_idx", -1, "feature index"),
        ("is_categorical", 1, "categorical split"),
    ],
)
def test_forged_boosting_tree_is_refused(field, value, what, copy_of):
    # given
    model = copy_of("boosting")
    model["model"]._predictors[0][0].nodes[field][0] = value
    # when, then
    with pytest.raises(UntrustedModelError, match=what):
        load_model(dump_model(model))


def test_forged_bitsets_are_refused(copy_of):
    # given: a model that splits on categories, without the table it looks them up in
    model = copy_of("categorical")
    trees = [tree for iteration in model["model"]._predictors for tree in iteration]
    tree = next(tree for tree in trees if tree.nodes["is_categorical"].any())
    tree.raw_left_cat_bitsets = tree.raw_left_cat_bitsets[:0]
    # when, then
    with pytest.raises(UntrustedModelError, match="bitset index"):
        load_model(dump_model(model))


def test_forged_bin_mapper_is_refused(copy_of):
    model = copy_of("boosting")
    model["model"]._bin_mapper.bin_thresholds_.pop()
    with pytest.raises(UntrustedModelError, match="bin thresholds"):
        load_model(dump_model(model))


@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 10**9), ("right_child", 0), ("feature", 999), ("feature", -7)]
)
def test_forged_forest_is_refused(field, value, copy_of):
    # given
    model = copy_of("forest")
    tree = model["model"].estimators_[3].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][field][0] = value
    tree.__setstate__(state)
    # when, then
    with pytest.raises(UntrustedModelError, match="out of range"):
        load_model(dump_model(model))


def test_tree_outside_of_an_estimator_is_refused(copy_of):
    model = copy_of("forest")
    model.stray = model["model"].estimators_[0].tree_
    model["model"].estimators_ = model["model"].estimators_[1:]
    with pytest.raises(UntrustedModelError, match="outside of any estimator"):
        load_model(dump_model(model))


def test_damaged_file_is_a_clear_error(fitted, tmp_path):
    # given
    file = tmp_path / "model.skops"
    file.write_bytes(dump_model(fitted["logistic"])[:-100])
    # when, then
    with pytest.raises(UntrustedModelError, match=r"model\.skops.*damaged"):
        load_model(file)
