"""``mlops-assets models …``: the registry, and promotions by hand, logged like those of the gate."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from mlops_assets.cli.console import console, print_json
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_tracking
from mlops_assets.wiring.pipeline import Pipeline

if TYPE_CHECKING:
    from mlops_assets.tracking.entities import Promotion
    from mlops_assets.tracking.tracker import Tracking


def show_versions(*, as_json: bool) -> None:
    """Print the versions, newest first: what the gate said of them, and what a person did."""
    settings = Settings()
    tracking = build_tracking(settings)
    found = tracking.registry.versions() if tracking.has_store else []  # to ask would make one
    versions = sorted(found, key=lambda one: -one.number)
    by_hand = _by_hand(_history(tracking))
    if as_json:
        print_json(
            [
                {
                    **asdict(one),
                    "verdict": asdict(one.verdict) if one.verdict else None,
                    "by_hand": by_hand.get(one.number),
                }
                for one in versions
            ]
        )
        return
    table = Table("version", "stage", "trained for", "registered", "score", "gate", "by hand", box=None, pad_edge=False)
    for one in versions:
        style = "bold green" if one.stage == "Production" else None
        row = (
            str(one.number),
            one.stage,
            one.ds,
            f"{one.created:%Y-%m-%d}",
            _score(one.verdict.scores) if one.verdict else "",
            one.verdict.outcome if one.verdict else "",
            by_hand.get(one.number, ""),
        )
        table.add_row(*row, style=style)
    console.print(table if versions else f"No version of model {settings.tracking.model_name!r} is registered yet.")


def _by_hand(history: Sequence[Promotion]) -> dict[int, str]:
    """Version -> what a person did with it last."""
    found: dict[int, str] = {}
    for one in history:
        if one.is_by_gate:
            found.pop(one.to_version, None)
            continue
        found[one.to_version] = "restored" if one.rollback else "promoted"
        if one.from_version is not None:
            found[one.from_version] = "rolled back" if one.rollback else "replaced"
    return found


def _score(scores: Mapping[str, object]) -> str:
    score = scores.get("challenger_score")
    return f"{scores.get('gate_metric')} {score:.4f}" if isinstance(score, float) else ""


def show_history(*, as_json: bool) -> None:
    """Print the promotions, oldest first."""
    history = _history(build_tracking(Settings()))
    if as_json:
        print_json([asdict(promotion) for promotion in history])
        return
    for one in history:
        what = "rolled back to" if one.rollback else "promoted"
        before = f"version {one.from_version}" if one.from_version else "nothing"
        console.print(f"{one.at}  version {one.to_version} {what}, before: {before}", markup=False, soft_wrap=True)
        console.print(f"    by {one.by}: {one.reason}", markup=False, soft_wrap=True)
    if not history:
        console.print("Nothing was promoted yet.")


def _history(tracking: Tracking) -> list[Promotion]:
    return tracking.registry.history() if tracking.has_store else []


def promote(version: int, reason: str, *, as_json: bool) -> None:
    """Put a version into production."""
    settings = Settings()
    tracking = build_tracking(settings)
    chosen = tracking.registry.version(version)
    promotion = tracking.registry.promote(chosen, reason=reason, by=getpass.getuser(), scores=None)
    _log_and_print(settings, tracking, promotion, as_json=as_json)


def rollback(reason: str, *, as_json: bool) -> None:
    """Put the version before back into production."""
    settings = Settings()
    tracking = build_tracking(settings)
    promotion = tracking.registry.rollback(reason=reason, by=getpass.getuser())
    _log_and_print(settings, tracking, promotion, as_json=as_json)


def _log_and_print(settings: Settings, tracking: Tracking, promotion: Promotion, *, as_json: bool) -> None:
    if promotion.changed:
        _log_in_dagster(settings, promotion, tracking.links(tracking.registry.version(promotion.to_version)))
    if as_json:
        print_json(asdict(promotion))
    elif promotion.changed:
        before = f" instead of version {promotion.from_version}" if promotion.from_version else ""
        console.print(f"version {promotion.to_version} is in production{before}")
    else:
        console.print(f"version {promotion.to_version} is already in production")


def _log_in_dagster(settings: Settings, promotion: Promotion, links: Mapping[str, str]) -> None:
    """The asset's materializations are the log of promotions, so one by hand is one too."""
    from dagster import AssetMaterialization

    from mlops_assets.assets.metadata import to_dagster
    from mlops_assets.cli.instance import open_instance

    facts = {name: value for name, value in asdict(promotion).items() if value not in (None, {})}
    with open_instance(settings) as instance:
        key = Pipeline(settings=settings).names.asset_key("production_model")
        event = AssetMaterialization(key, metadata=to_dagster({"promoted": True, **facts, **links}))
        instance.report_runless_asset_event(event)
