"""``promote``: let the gate decide between the newest model and the one in production, and act on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.assets.recording import model_metadata
from mlops_assets.errors import DataError, MlopsAssetsError
from mlops_assets.steps.features import class_probabilities, kinds_of, model_frame
from mlops_assets.steps.gate import Decision, decide
from mlops_assets.steps.train import stacked
from mlops_assets.store.layout import VAL

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore
    from mlops_assets.tracking.tracker import Tracking

MIN_ROWS, ROWS_OF_CLASS, MAX_DAYS = 1_000, 100, 28
"""The gate looks at the newest held-out rows: of as many days as give it this many rows, and of each class.

With the 16 to 20 frauds that a day of 9,500 card payments holds out, the advantage of a model is known to about ten
points of ROC AUC either way: too little to see most improvements.
"""


class NothingToPromoteError(MlopsAssetsError):
    """No model is registered, or the only candidate for an empty place was refused."""


def promote(store: LocalStore, tracking: Tracking, params: Parameters, *, by: str) -> dict[str, Any]:
    """Judge the newest registered model against the one in production; promote it if it is better.

    Args:
        store: For the held-out rows.
        tracking: For the models.
        params: The gate's parameters.
        by: Who is asking, for the history.

    Returns:
        Metadata: ``promoted``, ``reason``, the scores, rows and days that decided, and which version serves now.

    Raises:
        NothingToPromoteError: No model is registered; or nothing is in production and the candidate was refused.
    """
    challenger, champion = tracking.registry.latest(), tracking.registry.production()
    if challenger is None:
        raise NothingToPromoteError(
            f"No version of model {tracking.config.model_name!r} is registered. Materialize model and metrics"
            " first (--force, if they are up to date)."
        )
    days: list[str] = []
    if champion is not None and champion.digest == challenger.digest:
        decision = Decision(False, f"version {champion.number} is the newest model and in production already")
    elif _was_replaced(challenger.number, tracking):
        decision = Decision(
            False,
            f"version {challenger.number} was replaced by an older one; mlops-assets models promote brings it back",
        )
    else:
        rows, days = _held_out(store, params)
        models = [tracking.registry.load(challenger), None if champion is None else tracking.registry.load(champion)]
        try:
            decision = _decision(rows, models, params)
        except DataError as error:
            raise MlopsAssetsError(
                f"Version {challenger.number} of model {tracking.config.model_name!r} could not be judged: {error} If"
                " the data have changed for good and it is the champion that does not fit them any more, promote by"
                f" hand: mlops-assets models promote {challenger.number}"
            ) from error
    facts = {
        "promoted": decision.promote,
        "reason": decision.reason,
        "challenger_version": challenger.number,
        "challenger_score": decision.challenger_score,
        "champion_version": None if champion is None else champion.number,
        "champion_score": decision.champion_score,
        "gate_metric": params.gate_metric,
        "gate_days": [days[0], days[-1]] if days else None,
    }
    if decision.promote:
        tracking.registry.promote(challenger, reason=decision.reason, by=by, scores=_scores(facts))
    serving = challenger if decision.promote else champion
    if serving is None:
        remedy = (
            f"Materialize split for more days: held-out rows of up to {MAX_DAYS} days count"
            if decision.challenger_score is None
            else "Train on more or better data, or lower MLOPS_GATE_MIN_SCORE"
        )
        raise NothingToPromoteError(
            f"Version {challenger.number} of model {tracking.config.model_name!r} was not promoted ({decision.reason})"
            f" and nothing else is in production. {remedy}; or promote it anyway: mlops-assets models promote"
            f" {challenger.number}"
        )
    return {**{name: value for name, value in facts.items() if value is not None}, **model_metadata(tracking, serving)}


def _was_replaced(number: int, tracking: Tracking) -> bool:
    """Whether the last word on the newest version was that it had to go: no gate overrules a person."""
    about = [one for one in tracking.registry.history() if number in (one.from_version, one.to_version)]
    return bool(about) and about[-1].from_version == number


def _scores(facts: dict[str, Any]) -> dict[str, Any]:
    names = ("gate_metric", "challenger_score", "champion_score", "gate_days")
    return {name: facts[name] for name in names if facts[name] is not None}


def _held_out(store: LocalStore, params: Parameters) -> tuple[pa.Table, list[str]]:
    """The newest held-out rows, and their days, oldest first."""
    tables: list[pa.Table] = []
    days: list[str] = []
    for ds in reversed(store.partitions("split")[-MAX_DAYS:]):
        table = store.read_table("split", ds, VAL)
        if tables and not _fits(table, tables, params.target_column):
            break  # columns have changed since: older rows are of another form
        tables.insert(0, table)
        days.insert(0, ds)
        if _enough(tables, params.target_column):
            break
    if not tables:
        raise NothingToPromoteError("There are no held-out rows to judge a model on. Materialize split first.")
    return stacked(tables, f"split/{days[-1]}/{VAL}", params.target_column), days


def _fits(table: pa.Table, newer: list[pa.Table], target: str) -> bool:
    try:
        stacked([table, *newer], "", target)
    except DataError:
        return False
    return True


def _enough(tables: list[pa.Table], target: str) -> bool:
    labels = np.concatenate([table[target].to_numpy() for table in tables])
    _, counts = np.unique(labels, return_counts=True)
    return len(labels) >= MIN_ROWS and len(counts) > 1 and counts.min() >= ROWS_OF_CLASS


def _decision(rows: pa.Table, models: list[Pipeline | None], params: Parameters) -> Decision:
    challenger, champion = models
    assert challenger is not None  # noqa: S101  # only the champion may be missing
    truth = rows[params.target_column].to_numpy()
    # A class that only the champion knows counts as long as there are rows of it.
    known = [] if champion is None else [one for one in champion.classes_ if one in set(truth)]
    classes = np.array(sorted({*challenger.classes_, *known}), dtype=challenger.classes_.dtype)
    return decide(
        truth,
        classes,
        _probabilities(challenger, rows, classes),
        None if champion is None else _probabilities(champion, rows, classes),
        params,
    )


def _probabilities(model: Pipeline, rows: pa.Table, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Shape (n, classes): zero for a class that this model does not know."""
    known = class_probabilities(model, model_frame(rows, kinds_of(model), "the held-out rows"))
    places = {label: k for k, label in enumerate(model.classes_)}
    unknown = np.zeros(rows.num_rows)
    return np.column_stack([known[:, places[label]] if label in places else unknown for label in classes])
