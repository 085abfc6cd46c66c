"""The gate: scikit-learn's scores under weights, and who may win."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from mlops_assets.errors import DataError
from mlops_assets.steps.evaluate import MIN_ROWS_OF_CLASS
from mlops_assets.steps.gate import (
    GATE_METRICS,
    decide,
    weighted_average_precision,
    weighted_roc_auc,
)
from mlops_assets.steps.parameters import Parameters

BINARY = np.array([0, 1])
SEEDS = range(50)


def params(metric: str = "roc_auc", **changes: object) -> Parameters:
    least = 0.9 if metric == "log_loss" else 0.1
    return Parameters(**{"gate_metric": metric, "gate_min_score": least, "gate_samples": 100, **changes})


def task(seed: int, rows: int = 300, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and a score that knows something of them."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(rows) < share).astype(int)
    return truth, truth + rng.normal(size=rows)


def proba(score: np.ndarray) -> np.ndarray:
    positive = 1 / (1 + np.exp(-(score - 0.5)))
    return np.column_stack([1 - positive, positive])


@pytest.mark.parametrize(
    ("ours", "theirs"), [(weighted_roc_auc, roc_auc_score), (weighted_average_precision, average_precision_score)]
)
@pytest.mark.parametrize("distinct", [2, 7, 10_000])
def test_weighted_scores_are_those_of_scikit_learn(ours, theirs, distinct):
    # given scores with many ties, and bootstrap weights, many of them zero
    rng = np.random.default_rng(distinct)
    truth = rng.random(300) < 0.2
    score = rng.integers(0, distinct, 300) / distinct
    weights = rng.multinomial(300, np.full(300, 1 / 300), size=20).astype(float)
    # then each weighting gives what scikit-learn gives
    expected = [theirs(truth, score, sample_weight=one) for one in weights]
    assert ours(truth, score, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", GATE_METRICS)
def test_the_scores_that_are_reported_are_those_of_scikit_learn(metric):
    truth, score = task(0)
    better = proba(score)
    decision = decide(truth, BINARY, better, proba(score * 0.5), params(metric))
    expected = {
        "roc_auc": roc_auc_score(truth, better[:, 1]),
        "average_precision": average_precision_score(truth, better[:, 1]),
        "log_loss": log_loss(truth, better),
    }
    assert decision.challenger_score == pytest.approx(expected[metric])


@pytest.mark.parametrize("metric", GATE_METRICS)
def test_an_identical_model_never_wins(metric):
    for seed in SEEDS:
        truth, score = task(seed)
        decision = decide(truth, BINARY, proba(score), proba(score), params(metric, seed=seed))
        assert not decision.promote
        assert decision.interval == (0, 0)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_a_model_that_ranks_the_same_never_wins(metric):
    for seed in SEEDS:
        truth, score = task(seed)
        assert not decide(truth, BINARY, proba(3 * score + 1), proba(score), params(metric, seed=seed)).promote


@pytest.mark.parametrize("metric", GATE_METRICS)
def test_a_worse_model_never_wins_and_a_clearly_better_one_always_does(metric):
    for seed in SEEDS:
        # given a model and one with the same errors and more
        truth, score = task(seed)
        noise = np.random.default_rng(1_000 + seed).normal(scale=4, size=len(truth))
        good, bad = proba(score + truth), proba(score + truth + noise)
        # then the gate tells them apart, whichever is in production
        assert not decide(truth, BINARY, bad, good, params(metric, seed=seed)).promote
        assert decide(truth, BINARY, good, bad, params(metric, seed=seed)).promote


def test_equally_good_models_rarely_take_turns():
    # given pairs of models of the same quality with errors of their own
    wins = 0
    for seed in SEEDS:
        truth, one = task(seed)
        other = truth + np.random.default_rng(1_000 + seed).normal(size=len(truth))
        wins += decide(truth, BINARY, proba(one), proba(other), params(seed=seed)).promote
    # then about one in twenty wins by chance, as the confidence of 95 % says
    assert wins <= 7


def test_the_same_rows_give_the_same_decision():
    truth, score = task(0)
    other = proba(score + np.random.default_rng(1).normal(size=len(truth)))
    assert decide(truth, BINARY, proba(score), other, params()) == decide(truth, BINARY, proba(score), other, params())


def test_without_champion_the_threshold_decides():
    truth, score = task(0)
    reached = roc_auc_score(truth, score)
    passes = decide(truth, BINARY, proba(score), None, params(gate_min_score=reached - 0.01))
    fails = decide(truth, BINARY, proba(score), None, params(gate_min_score=reached + 0.01))
    assert passes.promote
    assert "nothing was in production" in passes.reason
    assert not fails.promote
    assert f"{reached:.4f} misses the threshold" in fails.reason


def test_a_better_model_below_the_threshold_does_not_win():
    truth, score = task(0)
    decision = decide(truth, BINARY, proba(score), proba(-score), params(gate_min_score=0.99))
    assert not decision.promote
    assert "misses the threshold" in decision.reason


def test_a_log_loss_must_stay_below_its_threshold():
    truth, score = task(0)
    loss = log_loss(truth, proba(score))
    assert decide(truth, BINARY, proba(score), None, params("log_loss", gate_min_score=loss + 0.01)).promote
    assert not decide(truth, BINARY, proba(score), None, params("log_loss", gate_min_score=loss - 0.01)).promote


def test_too_few_rows_of_a_class_decide_nothing():
    # given one row of a class less than needed
    truth, score = task(0)
    keep = np.r_[np.flatnonzero(truth == 0), np.flatnonzero(truth == 1)[: MIN_ROWS_OF_CLASS - 1]]
    decision = decide(truth[keep], BINARY, proba(score)[keep], None, params())
    # then the reason says what is missing
    assert not decision.promote
    assert decision.challenger_score is None
    assert f"only 9 held-out rows of class 1 (of {len(keep)} rows; at least 10 are needed" in decision.reason


def test_the_positive_label_is_the_one_that_counts():
    # given string labels
    truth, score = task(0)
    words, classes = np.array(["bad", "good"], dtype=object)[truth], np.array(["bad", "good"], dtype=object)
    for label, column in (("bad", 0), ("good", 1), (None, 1)):
        # when one of them is positive
        settings = params("average_precision", positive_label=label)
        decision = decide(words, classes, proba(score), None, settings)
        # then its average precision decides
        expected = average_precision_score(truth == column, proba(score)[:, column])
        assert decision.challenger_score == pytest.approx(expected)
    with pytest.raises(DataError, match=r"'ugly' is none of the classes bad, good\. Set MLOPS_POSITIVE_LABEL"):
        decide(words, classes, proba(score), None, params(positive_label="ugly"))


@pytest.mark.parametrize("metric", GATE_METRICS)
def test_several_classes(metric):
    # given three classes, a model that knows something of them and one that knows less
    rng = np.random.default_rng(0)
    truth, classes = rng.integers(0, 3, 900), np.arange(3)
    logits = 2 * (truth[:, None] == classes) + rng.normal(size=(900, 3))
    good, bad = (np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in (logits, logits * [0.2, 1, 1]))
    decision = decide(truth, classes, good, bad, params(metric))
    # then the better one wins, by the macro mean over the classes
    assert decision.promote
    assert not decide(truth, classes, bad, good, params(metric)).promote
    expected = {
        "roc_auc": roc_auc_score(truth, good, multi_class="ovr"),
        "average_precision": average_precision_score(truth[:, None] == classes, good),
        "log_loss": log_loss(truth, good),
    }
    assert decision.challenger_score == pytest.approx(expected[metric])


def test_rows_of_a_class_that_no_model_knows_count_against_both():
    # given 5 rows of a class that neither model was trained on
    truth, score = task(0)
    labels = truth.copy()
    labels[:5] = 2
    for metric in GATE_METRICS:
        # then the models are still compared
        assert decide(labels, BINARY, proba(score), proba(-score), params(metric, gate_min_score=5)).challenger_score
