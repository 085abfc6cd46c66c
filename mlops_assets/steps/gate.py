"""``gate``: which challenger, if any, takes the champion's place. A pure decision over scores of the same rows.

The champion is replaced only by a version that is better beyond chance, however many challengers try (the statistics
are in :mod:`mlops_assets.steps.advantage`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.errors import DataError
from mlops_assets.steps.advantage import TIE, average_precision, bounds_of, roc_auc
from mlops_assets.steps.declaration import Outcome
from mlops_assets.steps.judging import positive_index, row_losses, scarce_classes
from mlops_assets.store.layout import SCORES, VERDICT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_assets.steps.parameters import Parameters

LOG_LOSS = "log_loss"
MIN_SHARE_THAT_FITS = 0.5
"""A version that fits fewer of the rows cannot be compared with others."""


@dataclass(frozen=True)
class _Scored:
    """``scores.csv`` of one version: labels, shape (n,); whether a row fits, (n,); class -> probability, (n,)."""

    target: NDArray[Any]
    fits: NDArray[np.bool_]
    proba: Mapping[str, NDArray[np.float64]]


def gate(inputs: Mapping[str, Any], params: Parameters, _key: str) -> Outcome:
    """Judge all challengers against the champion.

    A challenger passes if it reaches ``gate_min_score`` (``log_loss``: stays below) and the lower bound of its
    advantage is above zero; the one with the largest advantage wins. Those that miss the threshold still count as
    challengers for the bounds, because it is the same rows that say which ones they are. Without champion the threshold
    alone decides.

    Only rows that fit the champion and all challengers count. Left out as undecided is a challenger that fits less
    than half of the rows, or that knows a class of which there are too few rows. All are undecided if the champion
    fits less than half of the rows or was not scored, or if there are too few rows of a class of its own.

    Args:
        inputs: ``scores.csv``, version (``v7``) -> table as ``score`` makes it, over the same rows in the same order,
            newest version last; ``champion``, the version in production, or None.
        params: ``gate_metric``, ``gate_min_score``, ``gate_confidence``, ``gate_samples``, ``positive_label``,
            ``seed``.
        _key: Not used.

    Returns:
        ``verdict.json``: ``winner`` (a version or None), ``metric``, ``rows``, ``challengers`` (version -> ``outcome``
        ``passed``, ``rejected`` or ``undecided``, ``reason``, ``score``, ``advantage``: bounds, positive is better),
        ``champion`` (``version``, ``score``; None without one).

    Raises:
        DataError: A table is no scores, the tables are not of the same rows, or no class is called ``positive_label``.
    """
    scored = {version: _read(table, version) for version, table in inputs[SCORES].items()}
    champion: str | None = inputs["champion"]
    _refuse_different_rows(scored)
    verdicts = _misfits(scored, champion)
    compared = [version for version in scored if version not in verdicts]
    rows = np.logical_and.reduce([scored[version].fits for version in compared]) if compared else np.zeros(0, np.bool_)
    if champion not in verdicts:
        verdicts |= _short_of_rows(scored, compared, champion, rows)
    challengers = [version for version in compared if version != champion and version not in verdicts]
    scores: dict[str, float] = {}
    winner = None
    if challengers:
        scores, judged, winner = _judged(scored, challengers, champion, rows, params)
        verdicts |= judged
    count = int(rows.sum())
    verdict = {
        "winner": winner,
        "metric": params.gate_metric,
        "rows": count,
        "challengers": {version: verdicts[version] for version in scored if version != champion},
        "champion": None if champion is None else {"version": champion, "score": scores.get(champion)},
    }
    return Outcome({VERDICT: verdict}, {"winner": winner, "rows": count, "rows_left_out": len(rows) - count})


def _read(table: pa.Table, version: str) -> _Scored:
    try:
        target = np.array([str(label) for label in table["target"].to_pylist()], dtype=object)
        fits = pc.fill_null(table["fits"].cast(pa.bool_()), False).to_numpy()
        proba = {
            name.removeprefix("score_"): table[name].cast(pa.float64()).to_numpy()
            for name in table.column_names
            if name.startswith("score_")
        }
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{SCORES} of {_named(version)} holds no scores: {error}") from error
    if len(proba) < 2:  # noqa: PLR2004
        raise DataError(
            f"{SCORES} of {_named(version)}: expected a column score_CLASS for each of at least two classes"
        )
    return _Scored(target, fits & np.isfinite(list(proba.values())).all(axis=0), proba)


def _refuse_different_rows(scored: Mapping[str, _Scored]) -> None:
    first = next(iter(scored), "")
    for version, one in scored.items():
        if not np.array_equal(one.target, scored[first].target):
            raise DataError(
                f"{SCORES} of {_named(version)} and of {_named(first)} are not of the same rows: their targets"
                " differ. Score both versions anew."
            )


def _misfits(scored: Mapping[str, _Scored], champion: str | None) -> dict[str, dict[str, Any]]:
    """Verdicts on versions that cannot be compared; on all of them if it is the champion that cannot."""
    reasons = {
        version: f"only {one.fits.sum():,} of {len(one.fits):,} held-out rows fit {_named(version)}; at least"
        f" {MIN_SHARE_THAT_FITS:.0%} must"
        for version, one in scored.items()
        if one.fits.sum() < MIN_SHARE_THAT_FITS * len(one.fits)
    }
    if champion is not None and champion not in scored:
        reasons[champion] = f"{_named(champion)}, in production, was not scored"
    if champion in reasons:
        by_hand = "; to replace it by hand: mlops-assets models promote "
        reasons = {one: f"{reasons[champion]}{by_hand}{one.removeprefix('v')}" for one in [*scored, champion]}
    return {version: _entry("undecided", reason) for version, reason in reasons.items()}


def _short_of_rows(
    scored: Mapping[str, _Scored], compared: list[str], champion: str | None, rows: NDArray[np.bool_]
) -> dict[str, dict[str, Any]]:
    """Verdicts on challengers for which there are too few rows of a class: of their own, or of the champion's."""
    truth = next(iter(scored.values())).target[rows] if compared else np.zeros(0, dtype=object)
    needed = _occurring(scored, champion, truth)
    scarce = {
        version: scarce_classes(truth, np.array([*scored[version].proba, *needed], dtype=object))
        for version in compared
        if version != champion
    }
    return {version: _entry("undecided", reasons[0]) for version, reasons in scarce.items() if reasons}


def _occurring(scored: Mapping[str, _Scored], champion: str | None, truth: NDArray[Any]) -> list[str]:
    """The champion's classes, as far as there are rows of them: what it knows beyond that hinders no challenger."""
    present = set(truth)
    return [] if champion is None else [label for label in scored[champion].proba if label in present]


def _judged(
    scored: Mapping[str, _Scored],
    challengers: list[str],
    champion: str | None,
    rows: NDArray[np.bool_],
    params: Parameters,
) -> tuple[dict[str, float], dict[str, dict[str, Any]], str | None]:
    """Scores of the versions, verdicts on the challengers, and the winner."""
    metric, sign = params.gate_metric, -1.0 if params.gate_metric == LOG_LOSS else 1.0
    versions = challengers if champion is None else [*challengers, champion]
    truth = scored[challengers[0]].target[rows]
    # In the order of the model's classes: of two, the later one is the positive one if no other is named.
    known = [label for version in challengers for label in scored[version].proba]
    classes = np.array(list(dict.fromkeys([*known, *_occurring(scored, champion, truth)])), dtype=object)
    measured = [_measured(truth, classes, scored[version], rows, params) for version in versions]
    scores = {version: score for version, (score, _) in zip(versions, measured, strict=True)}
    bounds: list[tuple[float, float] | None] = [None] * len(challengers)
    if champion is not None:
        influences = sign * np.column_stack([one - measured[-1][1] for _, one in measured[:-1]])
        advantages = sign * np.array([scores[version] - scores[champion] for version in challengers])
        bounds = [*bounds_of(advantages, influences, truth, params)]
    within = {version: sign * (scores[version] - params.gate_min_score) >= 0 for version in challengers}
    passed = [
        version
        for version, bound in zip(challengers, bounds, strict=True)
        if within[version] and (bound is None or bound[0] > TIE)
    ]
    # Of equals the newest: it has seen the newest data.
    winner = max(reversed(passed), key=lambda version: sign * scores[version], default=None)
    verdicts = {}
    for version, bound in zip(challengers, bounds, strict=True):
        reason = f"{metric} {scores[version]:.4f} " + (
            f"misses the threshold {params.gate_min_score:g}"
            if not within[version]
            else f"passes the threshold {params.gate_min_score:g}; nothing is in production"
            if champion is None or bound is None
            else _comparison(scores[champion], champion, bound[0], len(challengers), params.gate_confidence)
        )
        if version in passed and version != winner:
            reason += f"; {_named(str(winner))} is better still"
        verdicts[version] = _entry("passed" if version in passed else "rejected", reason, scores[version], bound)
    return scores, verdicts, winner


def _comparison(score: float, champion: str, low: float, challengers: int, confidence: float) -> str:
    count = f"{challengers} challenger{'' if challengers == 1 else 's'}"
    return (
        f"against {score:.4f} of {_named(champion)}: the advantage is at least {low:+.4f} ({100 * confidence:g}%"
        f" confidence, {count}), {'above' if low > TIE else 'not above'} zero"
    )


def _entry(
    outcome: str, reason: str, score: float | None = None, advantage: tuple[float, float] | None = None
) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "reason": reason,
        "score": score,
        "advantage": None if advantage is None else list(advantage),
    }


def _named(version: str) -> str:
    return f"version {version.removeprefix('v')}"


def _measured(
    truth: NDArray[Any], classes: NDArray[Any], one: _Scored, rows: NDArray[np.bool_], params: Parameters
) -> tuple[float, NDArray[np.float64]]:
    """The metric of one version and each row's influence on it; a class that it does not know has probability 0."""
    hits = truth[:, None] == classes[None, :]
    nothing = np.zeros(len(rows))
    proba = np.column_stack([one.proba.get(label, nothing)[rows] for label in classes])
    if params.gate_metric == LOG_LOSS:
        losses = row_losses(hits, proba)
        return float(losses.mean()), losses / len(losses)
    columns = [positive_index(classes, params.positive_label)] if len(classes) == 2 else range(len(classes))  # noqa: PLR2004
    parts = [_RANKED[params.gate_metric](hits[:, k], proba[:, k]) for k in columns]
    return float(np.mean([score for score, _ in parts])), np.mean([influence for _, influence in parts], axis=0)


_RANKED: Mapping[str, Callable[[NDArray[np.bool_], NDArray[np.float64]], tuple[float, NDArray[np.float64]]]] = {
    "roc_auc": roc_auc,
    "average_precision": average_precision,
}
