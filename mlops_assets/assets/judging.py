"""Judging: unjudged versions are scored with the champion, and the gate decides.

Scoring and deciding are steps (:mod:`~mlops_assets.steps.score`, :mod:`~mlops_assets.steps.gate`); here is what they
are given, and what follows from the verdict. A gate that cannot judge leaves the champion as it is.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.assets.retries import message_of
from mlops_assets.errors import DataError, MlopsAssetsError
from mlops_assets.runtime.request import Request
from mlops_assets.steps.catalog import GATE, SCORE
from mlops_assets.store.layout import VAL, VERDICT, version_key
from mlops_assets.tracking.entities import BY_GATE, Verdict

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.assets.production import Production
    from mlops_assets.backends.base import Backend
    from mlops_assets.runtime.request import ModelFile, PartitionResult
    from mlops_assets.steps.declaration import Step
    from mlops_assets.store.local import LocalStore
    from mlops_assets.tracking.entities import Version
    from mlops_assets.tracking.tracker import Tracking

MIN_ROWS, ROWS_OF_CLASS, MAX_DAYS = 1_000, 100, 28
"""The gate looks at the newest held-out rows: of as many days as give it this many rows, and of each class.

With the 16 to 20 frauds that a day of 9,500 card payments holds out, the advantage of a model is known to about ten
points of ROC AUC either way: too little to see most improvements.
"""

PROMOTED, REJECTED, UNDECIDED = "promoted", "rejected", "undecided"


@dataclass(frozen=True)
class HeldOut:
    """The rows that versions are judged on.

    Attributes:
        days: Oldest first.
        digests: Of their files.
    """

    days: tuple[str, ...]
    digests: tuple[str, ...]

    def basis(self, champion: Version | None) -> str:
        """Identity of rows and champion: an undecided version is judged again when it has changed."""
        content = json.dumps([self.digests, None if champion is None else champion.number])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def held_out(store: LocalStore) -> HeldOut:
    """The newest held-out rows that have the same columns, chosen by what their manifests say."""
    days: list[str] = []
    digests: list[str] = []
    rows, classes = 0, Counter[str]()
    columns: set[str] | None = None
    for ds in reversed(store.partitions("split")[-MAX_DAYS:]):
        try:
            manifest = store.require("split", ds)
            info = manifest.file(VAL)
            counts = Counter[str](manifest.metadata["class_balance_val"])
        except (MlopsAssetsError, KeyError, TypeError):
            continue
        if columns is not None and set(info.columns or ()) != columns:
            break  # columns have changed since: older rows are of another form
        columns = set(info.columns or ())
        days.insert(0, ds)
        digests.insert(0, info.sha256)
        rows += info.rows or 0
        classes += counts
        if rows >= MIN_ROWS and len(classes) > 1 and min(classes.values()) >= ROWS_OF_CLASS:
            break
    return HeldOut(tuple(days), tuple(digests))


def judge(
    context: dg.AssetExecutionContext, backend: Backend, tracking: Tracking, production: Production, ds: str
) -> dict[str, Any] | None:
    """Judge all unjudged versions; promote the best of those that pass.

    Args:
        context: Dagster's.
        backend: Runs the two steps.
        tracking: The registry.
        production: Gives the files of versions.
        ds: The day under which the verdict is kept.

    Returns:
        Metadata of the judgement; None if there was nothing to judge.

    Raises:
        TrackingError: MLflow cannot be asked.
    """
    champion, rows = tracking.registry.production(), held_out(backend.store)
    basis = rows.basis(champion)
    challengers = tracking.registry.unjudged(basis)
    if not challengers:
        return None
    judging = _Judging(context, backend, production, champion, challengers, rows, basis)
    decision: Mapping[str, Any] = {}
    try:
        decision = judging.decide(ds)
        verdicts = judging.verdicts
    except Exception as error:  # whatever it is, the champion stays and the day goes on
        # What is wrong with the data stays wrong until they change; all else is judged again at the next occasion.
        rests_on = basis if isinstance(error, DataError) else ""
        verdicts = {one.number: _verdict(UNDECIDED, message_of(error), rests_on) for one in challengers}
        context.log.exception("The gate could not judge")
    # Another judgement may have come first: what it decided stays.
    open_still = {one.number for one in tracking.registry.unjudged(basis)}
    verdicts = {number: verdict for number, verdict in verdicts.items() if number in open_still}
    serving = tracking.registry.production()
    if not verdicts or (serving and serving.number) != (champion and champion.number):
        context.log.warning("Another run judged or promoted meanwhile. Nothing was changed.")
        return None
    winner = next((number for number, verdict in verdicts.items() if verdict.outcome == PROMOTED), None)
    promotion = None
    if winner is not None:  # fails if another run has promoted in between: then all are judged again
        promotion = tracking.registry.promote(
            winner,
            reason=verdicts[winner].reason,
            by=f"{BY_GATE}Dagster run {context.run.run_id}",
            scores=verdicts[winner].scores,
            judged_against=None if champion is None else champion.number,
        )
    for number, verdict in verdicts.items():
        tracking.registry.record_verdict(number, verdict)
    facts = _metadata(verdicts, winner, champion, decision, promotion)
    shown = next(one for one in challengers if one.number == facts["challenger_version"])
    return {**facts, **tracking.links(shown)}


class _Judging:
    """One judgement: what is scored, what the gate says of it."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        backend: Backend,
        production: Production,
        champion: Version | None,
        challengers: Sequence[Version],
        rows: HeldOut,
        basis: str,
    ) -> None:
        self._context, self._backend, self._production = context, backend, production
        self._champion, self._challengers, self._rows, self._basis = champion, challengers, rows, basis
        self.verdicts: dict[int, Verdict] = {}

    def decide(self, ds: str) -> Mapping[str, Any]:
        """Fill in the verdicts; gives what the gate wrote.

        Raises:
            MlopsAssetsError: None of the versions can be judged.
        """
        if not self._rows.days:
            raise DataError("There are no held-out rows to judge a model on. Materialize split first.")
        scored = self._score(self._models())
        judged = [one.number for one in self._challengers if version_key(one.number) in scored]
        if not judged:
            return {}
        champion = version_key(self._champion.number) if self._champion else None
        self._run(GATE, (ds,), days={"scores": scored}, inputs={"champion": champion})
        decision: Mapping[str, Any] = self._backend.store.read_json("verdict", ds, VERDICT)
        self.verdicts |= {number: _verdict_of(decision, number, self._basis) for number in judged}
        return decision

    def _models(self) -> dict[str, ModelFile]:
        """The files of champion and challengers; a challenger whose file is not what was registered is left out."""
        models: dict[str, ModelFile] = {}
        for one in [*self._challengers, *([self._champion] if self._champion else [])]:
            try:
                models[version_key(one.number)] = self._production.model_file(one)
            except MlopsAssetsError as error:
                if one is self._champion or error.can_retry:
                    raise
                self._undecided(one, str(error))
        return models

    def _score(self, models: Mapping[str, ModelFile]) -> tuple[str, ...]:
        """Score all models on the same rows; gives those that could be."""
        results = self._run(SCORE, tuple(models), models=models, days={"split": self._rows.days}, may_fail=True)
        errors = {one.partition: one.error for one in results if one.error}
        for one in self._challengers:
            if error := errors.get(version_key(one.number)):
                self._undecided(one, error)
        if self._champion is not None and (error := errors.get(version_key(self._champion.number))):
            raise DataError(
                f"Version {self._champion.number}, which is in production, could not be scored: {error} If the data"
                " have changed for good and the champion does not fit them any more, promote by hand: mlops-assets"
                f" models promote {self._challengers[-1].number}"
            )
        return tuple(key for key in models if key not in errors)

    def _run(
        self, step: Step, partitions: tuple[str, ...], *, may_fail: bool = False, **more: Any
    ) -> list[PartitionResult]:
        image, run_id = self._backend.recipe_image(step.name), self._context.run.run_id
        request = Request(step.name, partitions, self._backend.params, image=image, run_id=run_id, **more)
        results = list(self._backend.run(request, self._context))
        errors = [one.error for one in results if one.error]
        if errors and not may_fail:
            raise DataError(errors[0])
        return results

    def _undecided(self, version: Version, reason: str) -> None:
        self.verdicts[version.number] = _verdict(UNDECIDED, reason, self._basis)


def _verdict_of(decision: Mapping[str, Any], number: int, basis: str) -> Verdict:
    key = version_key(number)
    found, champion = decision["challengers"][key], decision.get("champion") or {}
    outcome, reason = UNDECIDED if found["outcome"] == UNDECIDED else REJECTED, found["reason"]
    if decision["winner"] == key:
        outcome = PROMOTED
    scores = {
        "gate_metric": decision["metric"],
        "challenger_score": found["score"],
        "champion_score": champion.get("score"),
        "rows": decision["rows"],
    }
    return _verdict(outcome, reason, basis, {name: value for name, value in scores.items() if value is not None})


def _verdict(outcome: str, reason: str, basis: str, scores: Mapping[str, object] | None = None) -> Verdict:
    at = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    return Verdict(outcome=outcome, reason=reason, basis=basis, at=at, scores=scores or {})


def _metadata(
    verdicts: Mapping[int, Verdict],
    winner: int | None,
    champion: Version | None,
    decision: Mapping[str, Any],
    promotion: Any,
) -> dict[str, Any]:
    """What Dagster shows of a judgement: the winner, else the best challenger."""

    def score(number: int) -> float:
        return float(verdicts[number].scores.get("challenger_score", float("-inf")))  # type: ignore[arg-type]

    shown = winner if winner is not None else max(verdicts, key=score)
    facts = {
        "judged": len(verdicts),
        "promoted": winner is not None,
        "reason": verdicts[shown].reason,
        "challenger_version": shown,
        "challenger_score": verdicts[shown].scores.get("challenger_score"),
        "champion_version": None if champion is None else champion.number,
        "champion_score": verdicts[shown].scores.get("champion_score"),
        "gate_metric": decision.get("metric"),
        "from_version": None if promotion is None else promotion.from_version,
        "to_version": None if promotion is None else promotion.to_version,
        "verdicts": [
            {"version": number, "outcome": verdict.outcome, "reason": verdict.reason}
            for number, verdict in sorted(verdicts.items())
        ],
    }
    return {name: value for name, value in facts.items() if value is not None}
