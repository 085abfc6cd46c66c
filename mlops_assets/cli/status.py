"""``mlops-assets status``."""

from __future__ import annotations

from contextlib import nullcontext

from rich.table import Table

from mlops_assets.cli.console import console, print_json
from mlops_assets.settings import Settings
from mlops_assets.steps.catalog import ASSETS
from mlops_assets.wiring.assembly import build_store, build_tracking


def show_status(days: int, *, as_json: bool) -> None:
    """Print days by assets from the data root, and the model in production."""
    settings = Settings()
    store = build_store(settings)
    published = {asset: set(store.partitions(asset)) for asset in ASSETS}
    newest = sorted(set().union(*published.values()))[-days:]
    with nullcontext() if as_json else console.status("asking MLflow"):
        version = build_tracking(settings).registry.production()
    if as_json:
        print_json(
            {
                "data_dir": str(store.root),
                "days": {ds: [asset for asset in ASSETS if ds in published[asset]] for ds in newest},
                "production": None
                if version is None
                else {"version": version.number, "ds": version.ds, "sha256": version.sha256},
            }
        )
        return
    table = Table(title=f"{store.root}", title_justify="left")
    table.add_column("day", no_wrap=True)
    for asset in ASSETS:
        table.add_column(asset, justify="center")
    for ds in newest:
        table.add_row(ds, *("[green]✓[/]" if ds in published[asset] else "[dim]·[/]" for asset in ASSETS))
    console.print(table if newest else f"Nothing is published under {store.root} yet. Try: mlops-assets demo")
    serving = "none" if version is None else f"version {version.number}, trained for {version.ds or 'an unknown day'}"
    console.print(f"model {settings.tracking.model_name!r} in production: {serving}")
