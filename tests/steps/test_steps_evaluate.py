"""Metrics are those of scikit-learn, and null where they say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from projects import DS
from sklearn import metrics

from mlops_assets.errors import DataError
from mlops_assets.steps.evaluate import scores


def binary(rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, rows)
    positive = 1 / (1 + np.exp(-(truth - 0.5 + rng.normal(size=rows))))
    return truth, np.column_stack([1 - positive, positive])


def expected_binary(true: np.ndarray, p: np.ndarray) -> dict[str, float]:
    guess = p > 0.5
    return {
        "roc_auc": metrics.roc_auc_score(true, p),
        "average_precision": metrics.average_precision_score(true, p),
        "log_loss": metrics.log_loss(true, p),
        "f1": metrics.f1_score(true, guess),
        "precision": metrics.precision_score(true, guess),
        "recall": metrics.recall_score(true, guess),
        "accuracy": metrics.accuracy_score(true, guess),
        "brier": metrics.brier_score_loss(true, p),
    }


def test_two_classes():
    truth, proba = binary()
    assert scores(truth, proba, np.array([0, 1]), None) == pytest.approx(expected_binary(truth == 1, proba[:, 1]))


@pytest.mark.parametrize(("label", "column"), [("no", 0), ("yes", 1), (None, 1)])
def test_the_positive_label_is_what_is_measured(label, column):
    truth, proba = binary()
    words = np.array(["no", "yes"], dtype=object)
    found = scores(words[truth], proba, words, label)
    assert found == pytest.approx(expected_binary(truth == column, proba[:, column]))


def test_a_positive_label_that_is_no_class_is_refused():
    truth, proba = binary()
    with pytest.raises(DataError, match=r"'2' is none of the classes 0, 1\. Set MLOPS_POSITIVE_LABEL"):
        scores(truth, proba, np.array([0, 1]), "2")


def test_several_classes_are_averaged():
    rng = np.random.default_rng(0)
    truth, classes = rng.integers(0, 3, 600), np.array(["a", "b", "c"], dtype=object)
    raw = np.exp((truth[:, None] == np.arange(3)) + rng.normal(size=(600, 3)))
    proba = raw / raw.sum(axis=1, keepdims=True)
    guess, macro = proba.argmax(axis=1), {"average": "macro"}
    assert scores(classes[truth], proba, classes, None) == pytest.approx(
        {
            "roc_auc": metrics.roc_auc_score(truth, proba, multi_class="ovr"),
            "average_precision": metrics.average_precision_score(truth[:, None] == np.arange(3), proba),
            "log_loss": metrics.log_loss(truth, proba),
            "f1": metrics.f1_score(truth, guess, **macro),
            "precision": metrics.precision_score(truth, guess, **macro),
            "recall": metrics.recall_score(truth, guess, **macro),
            "accuracy": metrics.accuracy_score(truth, guess),
            "brier": np.mean(((truth[:, None] == np.arange(3)) - proba).__pow__(2).sum(axis=1)),
        }
    )


def test_what_one_class_leaves_undefined_is_null():
    truth, proba = binary()
    found = scores(truth[truth == 0], proba[truth == 0], np.array([0, 1]), None)
    assert {name for name, value in found.items() if value is None} == {"roc_auc", "average_precision"}
    assert found["accuracy"] > 0.5


def test_a_class_that_the_model_does_not_know_has_a_finite_loss():
    truth, proba = binary()
    found = scores(np.where(truth == 0, 2, 1), proba, np.array([0, 1]), None)
    assert np.isfinite(found["log_loss"])
    assert found["log_loss"] > 1


def test_metrics_are_written_and_reported(serving):
    # given a model, when it is evaluated
    made = serving()
    metadata = made.make("evaluate")
    content = made.store.read_json("metrics", DS, "metrics.json")
    # then file and metadata say the same
    assert set(content["metrics"]) == set(expected_binary(*(binary()[0] == 1, binary()[1][:, 1])))
    assert all(metadata[name] == value for name, value in content["metrics"].items())
    assert content["classes"] == ["0", "1"]
    assert sum(map(sum, content["confusion_matrix"])) == content["rows"] == metadata["rows_val"]


def test_a_class_that_is_new_among_the_held_out_rows_is_in_the_confusion_matrix(serving):
    # given held-out rows of a class that the model never saw
    made = serving()
    table = made.table("split", "val.csv")
    place = table.column_names.index("target")
    labels = table["target"].to_pylist()
    changed = table.set_column(place, "target", [[7, 7, *labels[2:]]])
    with made.store.publication("split", DS, ["train.csv", "val.csv"]) as publication:
        files = [
            publication.table("train.csv", made.table("split", "train.csv")),
            publication.table("val.csv", changed),
        ]
        publication.commit(files, recipe="", inputs={}, settings={}, step_version="1", image="", metadata={})
    # when the model is evaluated
    made.make("evaluate")
    # then they have a row of their own there
    content = made.store.read_json("metrics", DS, "metrics.json")
    assert content["classes"] == ["0", "1", "7"]
    assert sum(content["confusion_matrix"][2]) == 2
