"""``mlops-assets alerts test``: whether alerts arrive."""

from __future__ import annotations

import time

import typer

from mlops_assets.alerts.errors import AlertError
from mlops_assets.alerts.message import TEST, alert
from mlops_assets.cli.console import FAILED, MISUSE, console, fail, print_json
from mlops_assets.settings import Settings, variable
from mlops_assets.wiring.assembly import build_channels


def test_alerts(*, as_json: bool) -> None:
    """Send a test alert to every target, print how each went; exit with 1 if one failed."""
    settings = Settings()
    channels = build_channels(settings)
    if not channels.targets:
        example = "mailto://user:password@example.org or slack://token-a/token-b/token-c"
        raise fail(f"There is nobody to tell. Set {variable('alert_urls')} to URLs of Apprise: {example}.", MISUSE)
    channels.check()
    facts = [f"These are told: {', '.join(settings.alert_on)}."]
    message = alert(
        f"{TEST}/{time.time()}", TEST, "Alerts of mlops-assets arrive here", facts, [f"Dagster: {settings.dagster_url}"]
    )
    reasons: dict[str, str] = {}
    for target in channels.targets:
        try:
            target.send(message)
        except AlertError as error:
            reasons[target.name] = str(error)
        if not as_json:
            reason = reasons.get(target.name)
            console.print(reason or f"{target.name}: delivered", style="red" if reason else "green", markup=False)
    if as_json:
        print_json(
            [{"target": name, "delivered": name not in reasons, "reason": reasons.get(name)} for name in channels.names]
        )
    if reasons:
        raise typer.Exit(FAILED)
