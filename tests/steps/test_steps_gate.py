"""The gate: scikit-learn's scores, bounds that hold for all challengers at once, and who wins."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from mlops_assets.errors import DataError
from mlops_assets.steps.advantage import average_precision, roc_auc
from mlops_assets.steps.gate import gate
from mlops_assets.steps.judging import MIN_ROWS_OF_CLASS
from mlops_assets.steps.parameters import Parameters

METRICS = ("roc_auc", "average_precision", "log_loss")
EXACT = {"roc_auc": (roc_auc, roc_auc_score), "average_precision": (average_precision, average_precision_score)}


def params(metric: str = "roc_auc", **changes: object) -> Parameters:
    """Few draws, and a threshold that every model passes."""
    return Parameters(
        **{
            "gate_metric": metric,
            "gate_min_score": 9 if metric == "log_loss" else 0.01,
            "gate_samples": 1_000,
            **changes,
        }
    )


def task(seed: int, rows: int = 300, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Labels 0 and 1, and a score that knows something of them."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(rows) < share).astype(int)
    return truth, truth + rng.normal(size=rows)


def noise(seed: int, rows: int = 300, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(1_000 + seed).normal(scale=scale, size=rows)


def positive(score: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(0.5 - score))


def table(truth: np.ndarray, score: np.ndarray, fits: np.ndarray | None = None) -> pa.Table:
    """``scores.csv`` of a model of classes 0 and 1."""
    return multi(truth, {0: 1 - positive(score), 1: positive(score)}, fits)


def multi(truth: np.ndarray, proba: dict[object, np.ndarray], fits: np.ndarray | None = None) -> pa.Table:
    fits = np.ones(len(truth), dtype=bool) if fits is None else fits
    return pa.table(
        {
            "target": [str(label) for label in truth],
            "fits": fits,
            **{f"score_{label}": pa.array(values, mask=~fits) for label, values in proba.items()},
        }
    )


def judge(tables: dict[str, pa.Table], champion: str | None, settings: Parameters) -> dict:
    verdict = gate({"scores.csv": tables, "champion": champion}, settings, "gate").outputs["verdict.json"]
    return json.loads(json.dumps(verdict))  # a file of JSON, as it is written


def duel(challenger: pa.Table, champion: pa.Table, settings: Parameters) -> dict:
    return judge({"v3": champion, "v7": challenger}, "v3", settings)


# The metrics and what their draws do


@pytest.mark.parametrize("metric", EXACT)
@pytest.mark.parametrize("distinct", [2, 7, 10_000])
def test_scores_are_those_of_scikit_learn_and_influences_those_of_the_jackknife(metric, distinct):
    # given scores with many ties
    ours, theirs = EXACT[metric]
    rng = np.random.default_rng(distinct)
    truth = rng.random(200) < 0.2
    score = rng.integers(0, distinct, 200) / distinct + 0.1 * distinct * truth / distinct
    # then the value is scikit-learn's
    value, influence = ours(truth, score)
    assert value == pytest.approx(theirs(truth, score))
    # and a row's influence is what is missing without it (each class keeping its weight)
    for label in (True, False):
        rows = np.flatnonzero(truth == label)
        without = np.array([theirs(np.delete(truth, row), np.delete(score, row)) for row in rows])
        assert influence[rows] - influence[rows].mean() == pytest.approx(
            (without.mean() - without) * (len(rows) - 1) / len(rows), abs=1e-12
        )


@pytest.mark.parametrize("metric", EXACT)
@pytest.mark.parametrize("share", [0.3, 0.15])
def test_the_bounds_are_those_of_a_bootstrap_that_scores_each_draw(metric, share):
    # given two models of their own errors
    truth, score = task(5, rows=600, share=share)
    one, other = score + noise(1, 600, 0.5), score + noise(2, 600, 0.5)
    # when the rows are drawn 600 times within each class, and both models scored anew each time
    rng, exact = np.random.default_rng(0), EXACT[metric][1]
    classes = [np.flatnonzero(truth == label) for label in (0, 1)]
    draws = [np.concatenate([rng.choice(rows, len(rows)) for rows in classes]) for _ in range(600)]
    differences = [exact(truth[rows], one[rows]) - exact(truth[rows], other[rows]) for rows in draws]
    # then the gate's bounds are as far apart as their quantiles
    low, high = duel(table(truth, one), table(truth, other), params(metric))["challengers"]["v7"]["advantage"]
    assert high - low == pytest.approx(np.subtract(*np.quantile(differences, [0.95, 0.05])), rel=0.15)


@pytest.mark.parametrize("metric", METRICS)
def test_the_scores_that_are_reported_are_those_of_scikit_learn(metric):
    truth, score = task(0)
    verdict = duel(table(truth, score), table(truth, score * 0.5), params(metric))
    for score_given, its in (
        (verdict["challengers"]["v7"]["score"], score),
        (verdict["champion"]["score"], 0.5 * score),
    ):
        expected = log_loss(truth, positive(its)) if metric == "log_loss" else EXACT[metric][1](truth, its)
        assert score_given == pytest.approx(expected)


# Who wins


@pytest.mark.parametrize("metric", METRICS)
def test_an_identical_model_never_wins(metric):
    for seed in range(20):
        truth, score = task(seed)
        verdict = duel(table(truth, score), table(truth, score), params(metric, seed=seed))
        assert (verdict["winner"], verdict["challengers"]["v7"]["outcome"]) == (None, "rejected")
        assert verdict["challengers"]["v7"]["advantage"] == [0, 0]


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_a_model_that_ranks_the_same_never_wins(metric):
    for seed in range(20):
        truth, score = task(seed)
        assert duel(table(truth, 3 * score + 1), table(truth, score), params(metric, seed=seed))["winner"] is None


@pytest.mark.parametrize("metric", METRICS)
def test_a_worse_model_never_wins_and_a_truly_better_one_always_does(metric):
    for seed in range(20):
        # given a model and one with the same errors and more
        truth, score = task(seed)
        good, bad = table(truth, score + truth), table(truth, score + truth + noise(seed, scale=4))
        # then the gate tells them apart, whichever is in production
        assert duel(bad, good, params(metric, seed=seed))["winner"] is None
        verdict = duel(good, bad, params(metric, seed=seed))
        assert (verdict["winner"], verdict["challengers"]["v7"]["outcome"]) == ("v7", "passed")
        assert 0 < verdict["challengers"]["v7"]["advantage"][0] < verdict["challengers"]["v7"]["advantage"][1]


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_better_by_noise_only_loses_in_95_of_100_seeds(metric):
    wins = 0
    for seed in range(100):
        # given two models that know the same and err independently of each other
        truth, score = task(seed)
        one, other = table(truth, score + noise(seed)), table(truth, score + noise(500 + seed))
        # when either is in production
        wins += duel(one, other, params(metric, seed=seed))["winner"] is not None
    # then it mostly stays
    assert wins <= 5


@pytest.mark.parametrize("metric", METRICS)
def test_twenty_challengers_of_noise_promote_on_one_night_in_twenty_at_most(metric):
    nights, promoted, best_of_each_alone = 200, 0, 0
    for night in range(nights):
        # given twenty models that are as good as the champion, with errors of their own
        truth, score = task(night)
        tables = {f"v{n}": table(truth, score + noise(100 * night + n)) for n in range(21)}
        verdict = judge(tables, "v0", params(metric, seed=night, gate_samples=500))
        promoted += verdict["winner"] is not None
        # and the same night for the best of them alone, as if the others had not tried
        if night < 50:
            direction = min if metric == "log_loss" else max
            best = direction(verdict["challengers"], key=lambda one: verdict["challengers"][one]["score"])
            alone = judge({one: tables[one] for one in ("v0", best)}, "v0", params(metric, gate_samples=500))
            best_of_each_alone += alone["winner"] is not None
    # then one gets through on 5 % of the nights (and twice the standard error of that); without correction, on many
    assert promoted <= 0.05 * nights + 2 * np.sqrt(0.05 * 0.95 * nights)
    assert best_of_each_alone > 0.2 * 50


def test_the_best_of_several_better_challengers_wins():
    # given two better ones, one as good, one worse
    truth, score = task(0)
    gains = {"v4": 1.0, "v5": 2.0, "v6": 0.0, "v7": -0.5}
    tables = {"v3": table(truth, score), **{v: table(truth, score + gain * truth) for v, gain in gains.items()}}
    verdict = judge(tables, "v3", params())
    # then it is said of each what it is
    assert verdict["winner"] == "v5"
    outcomes = {version: one["outcome"] for version, one in verdict["challengers"].items()}
    assert outcomes == {"v4": "passed", "v5": "passed", "v6": "rejected", "v7": "rejected"}
    reasons = {version: one["reason"] for version, one in verdict["challengers"].items()}
    score_of = {version: one["score"] for version, one in verdict["challengers"].items()}
    low = verdict["challengers"]["v5"]["advantage"][0]
    assert reasons["v5"] == (
        f"roc_auc {score_of['v5']:.4f} against {verdict['champion']['score']:.4f} of version 3: the advantage is at"
        f" least {low:+.4f} (95% confidence, 4 challengers), above zero"
    )
    assert reasons["v4"].endswith("above zero; version 5 is better still")
    assert reasons["v6"].endswith("not above zero")
    # and once more the same
    assert judge(tables, "v3", params()) == verdict


def test_of_many_rows_a_verdict_is_as_of_few():
    # given more rows of each class than are drawn one by one, and a challenger that is identical to another
    truth, score = task(0, rows=30_000, share=0.5)
    good = table(truth, score + 0.1 * truth)
    verdict = judge({"v3": table(truth, score), "v6": good, "v7": good}, "v3", params())
    # then the newer of two equals wins
    assert verdict["winner"] == "v7"
    assert duel(table(truth, score), table(truth, score), params())["challengers"]["v7"]["advantage"] == [0, 0]
    # and the bounds narrow with the root of the rows
    few = slice(0, 7_500)
    of_few = duel(table(truth[few], score[few] + noise(0, 7_500)), table(truth[few], score[few]), params())
    of_all = duel(table(truth, score + noise(0, 30_000)), table(truth, score), params())
    widths = [np.subtract(*one["challengers"]["v7"]["advantage"]) for one in (of_few, of_all)]
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.15)


# Thresholds


def test_without_champion_the_best_that_passes_the_threshold_wins():
    # given three models, and a threshold that the worst misses
    truth, score = task(0)
    tables = {"v1": table(truth, score - truth), "v2": table(truth, score + truth), "v3": table(truth, score)}
    verdict = judge(tables, None, params(gate_min_score=roc_auc_score(truth, score) - 1e-6))
    assert (verdict["winner"], verdict["champion"]) == ("v2", None)
    of = verdict["challengers"]
    assert (of["v1"]["outcome"], of["v2"]["outcome"], of["v3"]["outcome"]) == ("rejected", "passed", "passed")
    assert "misses the threshold" in of["v1"]["reason"]
    assert of["v2"]["reason"].endswith("nothing is in production")
    assert of["v3"]["reason"].endswith("nothing is in production; version 2 is better still")
    assert of["v2"]["advantage"] is None
    # and above all of them nothing does
    assert judge(tables, None, params(gate_min_score=0.99))["winner"] is None


def test_a_better_model_that_misses_the_threshold_does_not_win():
    truth, score = task(0)
    verdict = duel(table(truth, score), table(truth, -score), params(gate_min_score=0.99))
    assert (verdict["winner"], verdict["challengers"]["v7"]["outcome"]) == (None, "rejected")
    assert "misses the threshold 0.99" in verdict["challengers"]["v7"]["reason"]


def test_a_log_loss_must_stay_below_its_threshold():
    truth, score = task(0)
    loss = log_loss(truth, positive(score))
    for limit, winner in ((loss + 0.01, "v7"), (loss - 0.01, None)):
        assert judge({"v7": table(truth, score)}, None, params("log_loss", gate_min_score=limit))["winner"] == winner


# Classes


@pytest.mark.parametrize("metric", METRICS)
def test_several_classes(metric):
    # given three classes, a model that knows something of them and one that knows less
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 900)
    logits = 2 * (truth[:, None] == np.arange(3)) + rng.normal(size=(900, 3))
    good, bad = (np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in (logits, logits * [0.2, 1, 1]))
    tables = [multi(truth, dict(enumerate(one.T))) for one in (good, bad)]
    verdict = duel(*tables, params(metric))
    # then the better one wins, by the macro mean over the classes
    assert verdict["winner"] == "v7"
    assert duel(*reversed(tables), params(metric))["winner"] is None
    expected = {
        "roc_auc": roc_auc_score(truth, good, multi_class="ovr"),
        "average_precision": average_precision_score(truth[:, None] == np.arange(3), good),
        "log_loss": log_loss(truth, good),
    }
    assert verdict["challengers"]["v7"]["score"] == pytest.approx(expected[metric])


@pytest.mark.parametrize("metric", METRICS)
def test_a_class_that_only_the_challenger_knows_counts_for_it(metric):
    # given rows of a class that is newer than the champion
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    raw = np.exp(3 * (truth[:, None] == np.arange(3)) + rng.normal(size=(600, 3)))
    old, new = (raw[:, :k] / raw[:, :k].sum(axis=1, keepdims=True) for k in (2, 3))
    tables = {"v3": multi(truth, dict(enumerate(old.T))), "v7": multi(truth, dict(enumerate(new.T)))}
    # then who knows it wins, and who does not loses
    assert judge(tables, "v3", params(metric))["winner"] == "v7"
    assert judge(tables, "v7", params(metric))["winner"] is None


def test_rows_of_a_class_that_no_model_knows_count_against_both():
    truth, score = task(0)
    truth[:5] = 2
    for metric in METRICS:
        verdict = duel(table(truth, score), table(truth, -score), params(metric))
        assert (verdict["winner"], verdict["rows"]) == ("v7", 300)


def test_a_class_without_rows_stops_only_who_needs_it():
    # given no row of class 2: one challenger knows it, the other does not
    truth, score = task(0)
    p = positive(score + 2 * truth)
    three = multi(truth, {0: 1 - p, 1: p, 2: 0 * p})
    verdict = judge({"v3": table(truth, score), "v6": three, "v7": table(truth, score + 2 * truth)}, "v3", params())
    assert verdict["winner"] == "v7"
    assert verdict["challengers"]["v6"]["outcome"] == "undecided"
    assert "only 0 held-out rows of class 2" in verdict["challengers"]["v6"]["reason"]
    # and a champion that knows it hinders nobody
    assert judge({"v6": three, "v7": table(truth, score)}, "v6", params())["challengers"]["v7"]["outcome"] == "rejected"


@pytest.mark.parametrize("champion", ["v3", None])
@pytest.mark.parametrize("rare", [0, MIN_ROWS_OF_CLASS - 1])
def test_too_few_rows_of_a_class_decide_nothing(champion, rare):
    # given held-out rows of one class, or one row less of the other than needed
    truth, score = task(0)
    keep = np.r_[np.flatnonzero(truth == 0), np.flatnonzero(truth == 1)[:rare]]
    tables = {v: table(truth[keep], score[keep] + n * truth[keep]) for n, v in enumerate(("v3", "v6", "v7"))}
    verdict = judge(tables, champion, params())
    # then all are undecided, and the reason says what is missing
    assert verdict["winner"] is None
    for one in verdict["challengers"].values():
        assert (one["outcome"], one["score"], one["advantage"]) == ("undecided", None, None)
        expected = (
            f"only {rare} held-out rows of class 1 (of {len(keep)} rows; at least 10 are needed to judge a model)"
        )
        assert one["reason"] == expected


def test_the_positive_label_is_the_one_that_counts():
    truth, score = task(0)
    words = np.array(["bad", "good"])[truth]
    scored = {"v7": multi(words, {"bad": 1 - positive(score), "good": positive(score)})}
    for label, column in (("bad", 0), ("good", 1), (None, 1)):
        verdict = judge(scored, None, params("average_precision", positive_label=label))
        expected = average_precision_score(truth == column, score if column else -score)
        assert verdict["challengers"]["v7"]["score"] == pytest.approx(expected)
    with pytest.raises(DataError, match=r"'ugly' is none of the classes bad, good\. Set MLOPS_POSITIVE_LABEL"):
        judge(scored, None, params(positive_label="ugly"))


# Rows that count


def test_only_rows_that_fit_all_models_count():
    # given a challenger that does not fit the rows on which the champion is perfect, and one that fits hardly any
    truth, score = task(0)
    late = np.arange(300) >= 100
    tables = {
        "v3": table(truth, np.where(late, score, 10 * truth)),
        "v6": table(truth, score + 2 * truth, late),
        "v7": table(truth, score + 2 * truth, np.arange(300) >= 151),
    }
    outcome = gate({"scores.csv": tables, "champion": "v3"}, params(), "gate")
    verdict = outcome.outputs["verdict.json"]
    # then the rows are those that it fits, and the other is left out
    assert (verdict["winner"], verdict["rows"], outcome.metadata["rows_left_out"]) == ("v6", 200, 100)
    assert verdict["champion"]["score"] == pytest.approx(roc_auc_score(truth[late], score[late]))
    assert verdict["challengers"]["v7"]["outcome"] == "undecided"
    assert verdict["challengers"]["v7"]["reason"] == "only 149 of 300 held-out rows fit version 7; at least 50% must"


def test_a_score_that_is_no_number_does_not_fit():
    truth, score = task(0)
    broken = np.where(np.arange(300) < 10, np.nan, score)
    assert duel(table(truth, broken), table(truth, score), params())["rows"] == 290


@pytest.mark.parametrize("missing", [True, False])
def test_a_champion_without_usable_scores_leaves_all_undecided(missing):
    # given a champion that was not scored, or that hardly any row fits
    truth, score = task(0)
    tables = {"v7": table(truth, score)}
    if not missing:
        tables["v3"] = table(truth, score, np.arange(300) < 100)
    verdict = judge(tables, "v3", params())
    # then nothing is promoted, and the reason says what a person can do
    assert (verdict["winner"], verdict["champion"]) == (None, {"version": "v3", "score": None})
    assert verdict["challengers"]["v7"]["outcome"] == "undecided"
    assert verdict["challengers"]["v7"]["reason"].endswith("to replace it by hand: mlops-assets models promote 7")


@pytest.mark.parametrize("champion", ["v3", None])
def test_without_rows_or_challengers_nothing_is_promoted(champion):
    empty = table(np.zeros(0, dtype=int), np.zeros(0))
    for tables in ({"v3": empty, "v7": empty}, {"v3": empty}, {}):
        assert judge(tables, champion, params())["winner"] is None


def test_scores_of_different_rows_are_refused():
    truth, score = task(0)
    for other in (table(1 - truth, score), table(truth[1:], score[1:])):
        with pytest.raises(DataError, match=r"scores\.csv of version 7 and of version 3 are not of the same rows"):
            duel(other, table(truth, score), params())


@pytest.mark.parametrize(
    "broken",
    [
        lambda one: one.drop_columns(["fits"]),
        lambda one: one.drop_columns(["score_0"]),
        lambda one: one.set_column(2, "score_0", [["high"] * 300]),
    ],
)
def test_a_table_that_is_no_scores_is_refused(broken):
    truth, score = task(0)
    with pytest.raises(DataError, match=r"scores\.csv of version 7"):
        duel(broken(table(truth, score)), table(truth, score), params())
