"""``mlops-assets models …``: the registry, and promotions by hand, logged like those of the gate."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from mlops_assets.cli.console import console, print_json
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_tracking
from mlops_assets.wiring.pipeline import Pipeline

if TYPE_CHECKING:
    from mlops_assets.tracking.entities import Promotion


def show_versions(*, as_json: bool) -> None:
    """Print the versions, newest first."""
    settings = Settings()
    versions = sorted(build_tracking(settings).registry.versions(), key=lambda one: -one.number)
    if as_json:
        print_json([asdict(version) for version in versions])
        return
    table = Table("version", "stage", "trained for", "registered", "score", "verdict")
    for one in versions:
        style = "bold green" if one.stage == "Production" else None
        row = (
            str(one.number),
            one.stage,
            one.ds,
            f"{one.created:%Y-%m-%d %H:%M} UTC",
            _score(one.verdict.scores) if one.verdict else "",
            one.verdict.outcome if one.verdict else "",
        )
        table.add_row(*row, style=style)
    console.print(table if versions else f"No version of model {settings.tracking.model_name!r} is registered yet.")


def _score(scores: Mapping[str, object]) -> str:
    score = scores.get("challenger_score")
    return f"{scores.get('gate_metric')} {score:.4f}" if isinstance(score, float) else ""


def show_history(*, as_json: bool) -> None:
    """Print the promotions, oldest first."""
    history = build_tracking(Settings()).registry.history()
    if as_json:
        print_json([asdict(promotion) for promotion in history])
        return
    table = Table("when", "from", "to", "by", "why")
    for one in history:
        table.add_row(one.at, str(one.from_version or "-"), str(one.to_version), one.by, one.reason)
    console.print(table if history else "Nothing was promoted yet.")


def promote(version: int, reason: str, *, as_json: bool) -> None:
    """Put a version into production."""
    settings = Settings()
    registry = build_tracking(settings).registry
    promotion = registry.promote(registry.version(version), reason=reason, by=getpass.getuser(), scores=None)
    _log_and_print(settings, promotion, as_json=as_json)


def rollback(reason: str, *, as_json: bool) -> None:
    """Put the version before back into production."""
    settings = Settings()
    promotion = build_tracking(settings).registry.rollback(reason=reason, by=getpass.getuser())
    _log_and_print(settings, promotion, as_json=as_json)


def _log_and_print(settings: Settings, promotion: Promotion, *, as_json: bool) -> None:
    if promotion.changed:
        _log_in_dagster(settings, promotion)
    if as_json:
        print_json(asdict(promotion))
    elif promotion.changed:
        before = f" instead of version {promotion.from_version}" if promotion.from_version else ""
        console.print(f"version {promotion.to_version} is in production{before}")
    else:
        console.print(f"version {promotion.to_version} is already in production")


def _log_in_dagster(settings: Settings, promotion: Promotion) -> None:
    """The asset's materializations are the log of promotions, so one by hand is one too."""
    from dagster import AssetMaterialization

    from mlops_assets.assets.metadata import to_dagster
    from mlops_assets.cli.instance import open_instance

    facts = {name: value for name, value in asdict(promotion).items() if value not in (None, {})}
    with open_instance(settings) as instance:
        key = Pipeline(settings=settings).names.asset_key("production_model")
        event = AssetMaterialization(key, metadata=to_dagster({"promoted": True, **facts}))
        instance.report_runless_asset_event(event)
