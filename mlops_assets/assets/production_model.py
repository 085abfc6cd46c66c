"""The body of ``production_model``: judge new versions where that is due, then write which version serves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.checks import production_checks
from mlops_assets.assets.judging import judge
from mlops_assets.assets.materialization import Parts, begin, finish, is_forced, report, selected_assets
from mlops_assets.assets.retries import as_dagster_failure, message_of, will_retry
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime.request import PartitionResult
from mlops_assets.runtime.runner import described, result_of
from mlops_assets.runtime.staleness import Staleness
from mlops_assets.steps.catalog import TRAINING_ASSETS
from mlops_assets.store.layout import PRODUCTION
from mlops_assets.tracking.errors import TrackingError

if TYPE_CHECKING:
    from mlops_assets.assets.production import Champion
    from mlops_assets.store.local import LocalStore
    from mlops_assets.store.manifest import Manifest

ASSET = "production_model"


def materialize_production_model(context: dg.AssetExecutionContext, parts: Parts) -> dg.MaterializeResult:
    """Write which version serves each of the run's days.

    In a run that trains, or alone, the gate judges first. Whatever it says, and if it cannot judge, the day goes on:
    with the champion, or with nothing in production, which the predictions then report.

    Raises:
        dagster.Failure: MLflow is away and no champion is known, or this is the last step of a run with failed days.
    """
    begin(context, parts.backend)
    days, done = sorted(context.partition_keys), list[PartitionResult]()
    try:
        judged = _judge(context, parts, days[-1]) if _is_due(context) else None
        champion = parts.production.resolve(context.run.run_id, anew=True)
        written = _to_write(context, parts, days)
        for ds in days:
            done.append(_publish(parts, ds, champion, judged if ds == days[-1] else None, write=ds in written))
        return finish(context, done, {}, production_checks(context.asset_key, parts.tracking, champion))
    except dg.Failure:
        raise
    except Exception as error:
        if will_retry(context, error) or "predictions" not in selected_assets(context):
            report(context, done)
            raise as_dagster_failure(context, error) from error
        failed = dict.fromkeys(set(days) - {one.partition for one in done}, message_of(error))
        return finish(
            context, done, failed, production_checks(context.asset_key, parts.tracking, None, message_of(error))
        )


def _is_due(context: dg.AssetExecutionContext) -> bool:
    """Whether the gate judges in this run: one that trains, or one of this asset alone."""
    selected = selected_assets(context)
    return selected == {ASSET} or not selected.isdisjoint(TRAINING_ASSETS)


def _judge(context: dg.AssetExecutionContext, parts: Parts, ds: str) -> dict[str, Any] | None:
    try:
        return judge(context, parts.backend, parts.tracking, parts.production, ds)
    except TrackingError as error:  # the champion goes on serving
        context.log.warning(f"Nothing was judged: {error}")
        return None


def _to_write(context: dg.AssetExecutionContext, parts: Parts, days: Sequence[str]) -> set[str]:
    """The days that are predicted anew, here or later: beside finished predictions stays what served them."""
    if is_forced(context) and "predictions" in selected_assets(context):
        return set(days)
    staleness = Staleness(parts.backend.store, parts.backend.params, image=parts.backend.recipe_image)
    return {ds for ds in days if staleness.why_stale("predictions", ds) is not None}


def _publish(
    parts: Parts, ds: str, champion: Champion | None, judged: dict[str, Any] | None, *, write: bool
) -> PartitionResult:
    store = parts.backend.store
    kept = None if write else _kept(store, ds)
    if kept is None:
        content = _content(champion)
        with store.publication(ASSET, ds, [PRODUCTION]) as publication:
            recipe = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
            publication.commit(
                [publication.json(PRODUCTION, content)], recipe=recipe, inputs={}, settings={}, step_version="1",
                image="", metadata={},
            )  # fmt: skip
    manifest, served = kept or (store.require(ASSET, ds), store.read_json(ASSET, ds, PRODUCTION))
    metadata = {**(judged or {}), **{name: value for name, value in served.items() if value is not None}}
    if judged:
        metadata["reason"] = judged["reason"]
    elif kept is not None:
        metadata["up_to_date"] = True
    if not judged and champion is not None and champion.number == served["model_version"]:
        metadata |= champion.links  # a judgement has those of the version that it is about
    return result_of(manifest, {**metadata, **described(store, manifest)})


def _kept(store: LocalStore, ds: str) -> tuple[Manifest, dict[str, Any]] | None:
    """What is published of a day; None if it is missing, damaged or was changed: then it is written anew."""
    try:
        content = store.read_json(ASSET, ds, PRODUCTION)
        return (store.require(ASSET, ds), content) if "model_version" in content else None
    except (MlopsAssetsError, ValueError, TypeError):
        return None


def _content(champion: Champion | None) -> dict[str, Any]:
    """``production.json``: the version that serves the day, and why."""
    if champion is None:
        return {"model_name": None, "model_version": None, "reason": "no version is in production"}
    reason = "pinned by MLOPS_MODEL_VERSION" if champion.pinned else "in stage Production"
    if champion.mlflow_away:
        reason = f"MLflow is away; in stage Production at {champion.resolved_at}"
    return {
        "model_name": champion.name,
        "model_version": champion.number,
        "model_sha256": champion.file.sha256,
        "trained_for": champion.trained_for,
        "trained_through": champion.trained_through,
        "reason": reason,
    }
