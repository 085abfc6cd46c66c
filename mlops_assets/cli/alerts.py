"""``mlops-assets alerts test``: send a test alert."""

from __future__ import annotations

import time

import typer

from mlops_assets.alerts.message import TEST, AlertError, alert
from mlops_assets.cli.console import FAILED, MISUSE, console, fail, print_json
from mlops_assets.settings import Settings, variable
from mlops_assets.wiring.assembly import build_channels


def test_alerts(*, as_json: bool) -> None:
    """Send a test alert to every target and print the results; exit with 1 if one failed."""
    settings = Settings()
    channels = build_channels(settings)
    if not channels.targets:
        example = "mailto://user:password@example.org or slack://token-a/token-b/token-c"
        raise fail(f"No alert targets. Set {variable('alert_urls')} to Apprise URLs, such as {example}.", MISUSE)
    channels.check()
    facts = [f"Kinds of alerts that are sent: {', '.join(settings.alerts.kinds)}."]
    message = alert(
        f"{TEST}/{time.time()}",
        TEST,
        "Alerts of mlops-assets arrive here",
        facts,
        [f"Dagster: {settings.alerts.dagster_url}"],
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
