"""``mlops-assets doctor``: each check says what it found and, where it failed, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer
from rich.table import Table

from mlops_assets.checks.column_settings import unknown_columns
from mlops_assets.checks.reference_day import Records
from mlops_assets.cli.console import FAILED, console, print_json
from mlops_assets.cli.day_states import is_delivered
from mlops_assets.cli.instance import dagster_home, instance_in
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.settings import Settings, variable
from mlops_assets.store.layout import FOLDERS
from mlops_assets.wiring.assembly import build_channels, build_store, build_tracking

OK, MISSING, BROKEN = "ok", "missing", "broken"
_PACKAGES = (
    "dagster",
    "dagster-webserver",
    "dagster-docker",
    "dagster-mlflow",
    "mlflow",
    "scikit-learn",
    "skops",
    "pandas",
    "pyarrow",
)
_MIN_FREE_GIB = 1.0


@dataclass(frozen=True)
class Finding:
    """What one check found; ``missing`` is not a fault yet, ``broken`` is."""

    check: str
    state: str
    detail: str


def run_doctor(*, as_json: bool) -> None:
    """Check everything, print settings and findings; exit with 1 if something is broken."""
    settings = Settings()
    checks = [_python, _packages, _data_dir, _dagster, _tracking, _raw_data, _alerts]
    if settings.backend == "docker":
        from mlops_assets.cli.doctor_docker import CHECKS

        checks += CHECKS
    findings = [Finding(check.__name__.strip("_"), *_tried(check, settings)) for check in checks]
    listed = list(_settings(settings))
    if as_json:
        print_json(
            {
                "findings": [asdict(one) for one in findings],
                "settings": [
                    {"variable": name, "value": value, "set": given, "meaning": text}
                    for name, value, given, text in listed
                ],
            }
        )
    else:
        _print(findings, listed)
    if any(one.state == BROKEN for one in findings):
        raise typer.Exit(FAILED)


def _tried(check: Callable[[Settings], tuple[str, str]], settings: Settings) -> tuple[str, str]:
    try:
        return check(settings)
    except (MlopsAssetsError, OSError) as error:
        return BROKEN, str(error)


def _python(_settings: Settings) -> tuple[str, str]:
    return OK, f"Python {platform.python_version()} at {sys.executable}"


def _packages(_settings: Settings) -> tuple[str, str]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return BROKEN, f"{name} is not installed. Install the project again: make install."
    return OK, ", ".join(found)


def _data_dir(settings: Settings) -> tuple[str, str]:
    root = settings.data_dir.absolute()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    folders = (existing, *(root / folder for folder in FOLDERS.values()))
    if closed := next((one for one in folders if one.exists() and not os.access(one, os.W_OK)), None):
        return BROKEN, f"{closed} cannot be written to. Change its owner, or set {variable('data_dir')}."
    free = shutil.disk_usage(existing).free / 2**30
    if free < _MIN_FREE_GIB:
        return BROKEN, f"{root}: only {free:.2f} GiB are free. Free some space, or set {variable('data_dir')}."
    return (OK if root.exists() else MISSING), f"{root}, {free:.0f} GiB free" + (
        "" if root.exists() else ", not made yet"
    )


def _dagster(settings: Settings) -> tuple[str, str]:
    configured = os.environ.get("DAGSTER_HOME")
    home = Path(configured) if configured else settings.home / "dagster"
    if configured and not home.is_dir():
        return BROKEN, f"DAGSTER_HOME is {home}, which is not a folder. Create it, or unset DAGSTER_HOME."
    existing = next(folder for folder in (home.absolute(), *home.absolute().parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        return BROKEN, f"{existing} cannot be written to. Change its owner, or set {variable('home')}."
    if existing != home.absolute():
        return MISSING, f"{home.absolute()} is not made yet: the first command that runs something makes it"
    with instance_in(dagster_home(settings)) as instance:
        return OK, f"instance in {home.absolute()}, {instance.get_runs_count()} runs"


def _tracking(settings: Settings) -> tuple[str, str]:
    tracking, where = build_tracking(settings), settings.tracking.safe_uri
    tracking.ping()
    if not tracking.has_store:
        return MISSING, f"{where} is not made yet: the first command that needs it makes it"
    production = tracking.registry.production()
    if production is None:
        return MISSING, f"{where} answers; no version of {settings.tracking.model_name!r} is in production yet"
    return OK, f"{where} answers; version {production.number} of {settings.tracking.model_name!r} is in production"


def _raw_data(settings: Settings) -> tuple[str, str]:
    store = build_store(settings)
    days = store.partitions("raw_data")
    if wrong := list(unknown_columns(settings.steps, Records.of(store), days)):
        return BROKEN, " ".join(wrong)
    found = [f"{len(days)} days, {days[0]} … {days[-1]}"] if days else []
    if waiting := sorted(ds for ds in {*store.days("raw_data")} - {*days} if is_delivered(store, ds)):
        todo = f"Try: mlops-assets materialize --from {waiting[0]} --to {waiting[-1]}"
        if settings.steps.source != "files":
            todo = f"To use them, set {variable('source')}=files."
        found.append(f"delivered, not registered yet: {len(waiting)} days. {todo}")
    if found:
        return (OK if days else MISSING), "; ".join(found)
    if settings.steps.source == "files":
        return MISSING, f"no day yet. Put files at {settings.data_dir}/raw/YYYY-MM-DD/data.csv (and target.csv)."
    return MISSING, "no day yet. Try: mlops-assets demo"


def _alerts(settings: Settings) -> tuple[str, str]:
    channels = build_channels(settings)
    if not channels.targets:
        return MISSING, f"no alert is sent. Set {variable('alert_urls')}."
    channels.check()
    return OK, f"{', '.join(channels.names)}. Try: mlops-assets alerts test"


def _settings(settings: Settings) -> Iterator[tuple[str, str, bool, str]]:
    """Variable, value, whether it was set, and what it means."""
    for one, text in settings.rows():
        yield variable(one.name), text, one.name in settings.given, one.description
    home = os.environ.get("DAGSTER_HOME", "")
    yield "DAGSTER_HOME", home or str(settings.home / "dagster"), bool(home), "Dagster's own folder."


def _print(findings: list[Finding], settings: list[tuple[str, str, bool, str]]) -> None:
    signs = {OK: "[green]✓[/]", MISSING: "[yellow]-[/]", BROKEN: "[red]✗[/]"}
    for one in findings:
        console.print(f"{signs[one.state]} [bold]{one.check}[/]:", end=" ")
        console.print(one.detail, markup=False)
    table = Table("setting", "value", "meaning", title="Settings that were set", title_justify="left")
    for name, value, given, meaning in settings:
        if given:
            table.add_row(name, value, meaning)
    console.print(table if table.row_count else "All settings have their defaults.")
    console.print("All settings: mlops-assets doctor --json, or docs/settings.md")
    if Path(".env").exists():
        console.print(f"Settings were read from {Path('.env').absolute()} and the environment.")
