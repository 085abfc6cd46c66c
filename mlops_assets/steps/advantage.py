"""How far each of several models is ahead of another one, with bounds that hold for all of them at once.

All models are compared on the same bootstrap draws of the rows (within each class). The critical value is the quantile
of the largest studentized deviation among them (single-step maxT; Westfall, Young: Resampling-Based Multiple Testing,
1993; Romano, Wolf: Exact and approximate stepdown methods for multiple hypothesis testing, JASA 100, 2005). Each draw
is studentized by its own spread (bootstrap-t; Efron, Tibshirani: An Introduction to the Bootstrap, 1993, ch. 12); one
spread for all draws lets more noise through. In 1,500 simulated nights with twenty challengers as good as the champion,
on 300 rows and at 95 % confidence, one was promoted on 5.1 % (ROC AUC), 6.1 % (log loss) and 6.7 % (average precision).

A draw is not scored anew. A metric moves with the rows' weights by the sum of the rows' influences (jackknife, ch. 11
there), so that all models on all draws are two matrix products. For the log loss this is exact; for the ROC AUC the
influences are the placements of DeLong, DeLong, Clarke-Pearson: Comparing the areas under two or more correlated
receiver operating characteristic curves, Biometrics 44, 1988.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_assets.steps.parameters import Parameters

TIE = 1e-9
"""Advantages and spreads below this are rounding errors."""

_CELLS_AT_ONCE = 1_000_000  # rows times draws held in memory at a time: 24 MB
_ROWS_OF_NORMAL = 10_000  # of more rows of a class, the mean is normal for all that matters here


def roc_auc(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The ROC AUC, and each row's influence on it.

    Args:
        positive: Shape (n,).
        score: Shape (n,).

    Returns:
        The area: the share of (positive, negative) pairs in the right order, ties half; and shape (n,), the placements:
        the share of the other class's rows that the row is in the right order with, over the rows of its own class.
        Up to a constant of the class this is what the area loses without the row, times (k - 1) / k for k rows of its
        class.
    """
    place, positives, negatives = _by_score(positive, score)
    below, above = np.cumsum(negatives) - negatives / 2, np.cumsum(positives[::-1])[::-1] - positives / 2
    influence = np.where(positive, below[place], above[place]) / (positives.sum() * negatives.sum())
    return float(influence[positive].sum()), influence


def average_precision(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Average precision (the mean, over the positives, of the precision at their score); as :func:`roc_auc`.

    Leaving out a row changes the precision at the positives that score as high or less: of ``found`` positives among
    ``taken`` rows, one row less, and one positive less if it is one.
    """
    place, positives, negatives = _by_score(positive, -score)
    found, count, rest = np.cumsum(positives), positives.sum(), negatives.sum()
    taken = found + np.cumsum(negatives)
    fewer = np.maximum(taken - 1, 1)
    total = (positives * found / taken).sum()
    above = np.cumsum(positives * found / taken) - positives * found / taken
    below = [np.cumsum((positives * part / fewer)[::-1])[::-1] for part in (found - 1, found)]
    without_positive = (above + below[0] - (found - 1) / fewer)[place] / (count - 1)
    without_negative = (above + below[1])[place] / count
    value = total / count
    influence = np.where(
        positive,
        (value - without_positive) * (count - 1) / count,
        (value - without_negative) * (rest - 1) / rest,
    )
    return float(value), influence


def bounds_of(
    advantages: NDArray[np.float64], influences: NDArray[np.float64], truth: NDArray[Any], params: Parameters
) -> list[tuple[float, float]]:
    """Lower and upper bounds, each of them simultaneously right for all advantages with ``gate_confidence``.

    Args:
        advantages: Shape (m,).
        influences: Shape (n, m), of each row on each advantage.
        truth: Shape (n,), labels.
        params: ``gate_confidence``, ``gate_samples``, ``seed``.
    """
    labels, class_of_row = np.unique(truth, return_inverse=True)
    strata = [part - part.mean(axis=0) for part in (influences[class_of_row == k] for k in range(len(labels)))]
    spread = np.sqrt(sum((part**2).sum(axis=0) * _unbiased(len(part)) for part in strata))
    varying = spread > TIE  # the others do not move at all: their advantage is exact
    low = high = advantages
    if varying.any():
        draws = _studentized_draws([part[:, varying] for part in strata], params)
        low = advantages - np.quantile(draws.max(axis=1), params.gate_confidence) * spread * varying
        high = advantages - np.quantile(draws.min(axis=1), 1 - params.gate_confidence) * spread * varying
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _studentized_draws(strata: list[NDArray[np.float64]], params: Parameters) -> NDArray[np.float64]:
    """How far the advantages move in each bootstrap draw, in units of the spread that the draw itself shows.

    Args:
        strata: For each class, shape (its rows, m): influences with mean zero. Each class keeps its number of rows.
        params: ``gate_samples``, ``seed``.

    Returns:
        Shape (samples, m).
    """
    rng, samples, m = np.random.default_rng(params.seed), params.gate_samples, strata[0].shape[1]
    moved, variance = np.zeros((samples, m)), np.zeros((samples, m))
    for values in strata:
        rows = len(values)
        if rows > _ROWS_OF_NORMAL:
            covariance = values.T @ values
            moved += rng.multivariate_normal(np.zeros(m), covariance, samples, method="eigh")
            variance += covariance.diagonal()
            continue
        step = max(1, _CELLS_AT_ONCE // rows)
        for start in range(0, samples, step):
            draws = min(step, samples - start)
            drawn = rng.integers(0, rows, size=(draws, rows)) + np.arange(draws)[:, None] * rows
            times = np.bincount(drawn.ravel(), minlength=draws * rows).reshape(draws, rows).astype(np.float64)
            sums = times @ values
            moved[start : start + draws] += sums
            variance[start : start + draws] += (times @ values**2 - sums**2 / rows) * _unbiased(rows)
    return moved / np.sqrt(np.maximum(variance, TIE**2))


def _unbiased(rows: int) -> float:
    """The variance of a sample is smaller than that of what it comes from, by the inverse of this."""
    return rows / max(rows - 1, 1)


def _by_score(
    positive: NDArray[np.bool_], score: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """The place of each row's score among the distinct ones, ascending; positives and negatives at each of these."""
    distinct, place = np.unique(score, return_inverse=True)
    positives, negatives = (
        np.bincount(place, weights=part, minlength=len(distinct)).astype(np.float64) for part in (positive, ~positive)
    )
    return place, positives, negatives
