"""The gate: may a challenger take the champion's place? A pure decision over held-out rows and their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.steps.evaluate import positive_index, row_losses, scarce_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_assets.steps.parameters import Parameters

ROC_AUC, AVERAGE_PRECISION, LOG_LOSS = "roc_auc", "average_precision", "log_loss"
GATE_METRICS = (ROC_AUC, AVERAGE_PRECISION, LOG_LOSS)
_CELLS_AT_ONCE = 4_000_000  # bootstrap weights held in memory at a time: 32 MB


@dataclass(frozen=True)
class Decision:
    """What the gate decided.

    Attributes:
        promote: Whether the challenger goes to production.
        reason: Why, in a sentence.
        challenger_score: On the held-out rows; None where they were not enough.
        champion_score: The same of the champion; None without one.
        interval: Bounds of the challenger's advantage (positive: better) at ``gate_confidence``, one-sided each.
    """

    promote: bool
    reason: str
    challenger_score: float | None = None
    champion_score: float | None = None
    interval: tuple[float, float] | None = None


def decide(
    truth: NDArray[Any],
    classes: NDArray[Any],
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64] | None,
    params: Parameters,
) -> Decision:
    """Compare two models on the same rows.

    The challenger must reach ``gate_min_score`` and its advantage must be above zero with ``gate_confidence``, by a
    paired bootstrap: rows are drawn with replacement within each class, and both models are scored on the same draws
    (percentile method; Efron, Tibshirani: An Introduction to the Bootstrap, 1993, ch. 13). So ties do not win.

    Args:
        truth: Shape (n,), labels.
        classes: Shape (k,), the labels of the columns below.
        challenger: Shape (n, k), probabilities.
        champion: Shape (n, k); None when nothing is in production, then the threshold alone decides.
        params: ``gate_metric``, ``gate_min_score``, ``gate_confidence``, ``gate_samples``, ``positive_label``,
            ``seed``.
    """
    metric = params.gate_metric
    hits = truth[:, None] == classes[None, :]
    if scarce := scarce_classes(truth, classes):
        return Decision(False, scarce[0])
    columns = [positive_index(classes, params.positive_label)] if len(classes) == 2 else list(range(len(classes)))  # noqa: PLR2004
    once = np.ones((1, len(truth)))
    challenger_score = float(_score(metric, hits, challenger, columns, once)[0])
    champion_score = None if champion is None else float(_score(metric, hits, champion, columns, once)[0])
    passed = (
        challenger_score <= params.gate_min_score if metric == LOG_LOSS else challenger_score >= params.gate_min_score
    )
    if not passed:
        reason = f"{metric} {challenger_score:.4f} misses the threshold {params.gate_min_score:g}"
        return Decision(False, reason, challenger_score, champion_score)
    if champion is None:
        reason = (
            f"{metric} {challenger_score:.4f} passes the threshold {params.gate_min_score:g}; nothing was in production"
        )
        return Decision(True, reason, challenger_score)
    interval = _advantage(hits, challenger, champion, columns, params)
    better = interval[0] > 0
    reason = (
        f"{metric} {challenger_score:.4f} against {champion_score:.4f}: the advantage is between {interval[0]:+.4f} and"
        f" {interval[1]:+.4f} at {params.gate_confidence:.0%} confidence, {'above' if better else 'not above'} zero"
    )
    return Decision(better, reason, challenger_score, champion_score, interval)


def _advantage(
    hits: NDArray[np.bool_],
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64],
    columns: list[int],
    params: Parameters,
) -> tuple[float, float]:
    """Percentiles of challenger minus champion (the other way round for a loss) over bootstrap samples."""
    rng, metric = np.random.default_rng(params.seed), params.gate_metric
    sign = -1.0 if metric == LOG_LOSS else 1.0
    step = max(1, _CELLS_AT_ONCE // len(hits))
    differences = []
    for start in range(0, params.gate_samples, step):
        weights = _resampled(hits, min(step, params.gate_samples - start), rng)
        one, other = (_score(metric, hits, proba, columns, weights) for proba in (challenger, champion))
        differences.append(sign * (one - other))
    low, high = np.quantile(np.concatenate(differences), [1 - params.gate_confidence, params.gate_confidence])
    return float(low), float(high)


def _resampled(hits: NDArray[np.bool_], samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each row is drawn. Shape (samples, n); each class keeps its number of rows."""
    weights = np.zeros((samples, len(hits)))
    rows_of_classes = [np.flatnonzero(hits[:, k]) for k in range(hits.shape[1])]
    for rows in (*rows_of_classes, np.flatnonzero(~hits.any(axis=1))):
        if len(rows):
            weights[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=samples)
    return weights


def _score(
    metric: str, hits: NDArray[np.bool_], proba: NDArray[np.float64], columns: list[int], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The metric under each row of weights. Shape (samples,)."""
    if metric == LOG_LOSS:
        losses: NDArray[np.float64] = weights @ row_losses(hits, proba) / weights.sum(axis=1)
        return losses
    ranked = weighted_roc_auc if metric == ROC_AUC else weighted_average_precision
    return np.mean([ranked(hits[:, k], proba[:, k], weights) for k in columns], axis=0)


def weighted_roc_auc(
    truth: NDArray[np.bool_], score: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """ROC AUC under many weightings at once: the share of (positive, negative) pairs in the right order, ties half.

    scikit-learn's ``roc_auc_score(sample_weight=…)`` gives the same for one weighting; a bootstrap needs a thousand.

    Args:
        truth: Shape (n,), whether the row is positive.
        score: Shape (n,).
        weights: Shape (samples, n).

    Returns:
        Shape (samples,).
    """
    positive, negative = _by_score(truth, score, weights)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs: NDArray[np.float64] = (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
    return pairs


def weighted_average_precision(
    truth: NDArray[np.bool_], score: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average precision (sum of precision times gain in recall) under many weightings; arguments as for the AUC."""
    positive, negative = (part[:, ::-1] for part in _by_score(truth, score, weights))
    found = np.cumsum(positive, axis=1)
    taken = found + np.cumsum(negative, axis=1)
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    result: NDArray[np.float64] = (precision * positive).sum(axis=1) / positive.sum(axis=1)
    return result


def _by_score(
    truth: NDArray[np.bool_], score: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight of the positives and of the negatives at each distinct score, ascending. Shape (samples, distinct)."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)
    sorted_truth, sorted_weights = truth[order], weights[:, order]
    positive = np.add.reduceat(sorted_weights * sorted_truth, starts, axis=1)
    return positive, np.add.reduceat(sorted_weights, starts, axis=1) - positive
