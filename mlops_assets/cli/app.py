"""The commands and their options. Each command's work is in a module of its own, imported when it is called."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from mlops_assets import __version__
from mlops_assets.cli.console import FAILED, MISUSE, fail
from mlops_assets.errors import MlopsAssetsError, SettingsError
from mlops_assets.settings import load_env_file

app = typer.Typer(
    name="mlops-assets",
    help="A daily machine-learning pipeline as Dagster data assets.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="The registered model's versions, and which of them serves.", no_args_is_help=True)
app.add_typer(models_app, name="models")
alerts_app = typer.Typer(help="Alerts: failures, late data, promotions (MLOPS_ALERT_URLS).", no_args_is_help=True)
app.add_typer(alerts_app, name="alerts")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
Directory = Annotated[Path, typer.Option("--dir", help="The project's folder: its .env, data and state.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 misuse, 130 interrupted."""
    for one in (signal.SIGINT, signal.SIGTERM):  # also where the shell had SIGINT ignored
        signal.signal(one, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # a closed terminal, unless nohup said to go on
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    # Importing Dagster, MLflow and scikit-learn makes millions of objects that stay: looking for garbage among them
    # every 700 objects, as is the default, takes a fifth of a short command's time.
    gc.set_threshold(100_000, 20, 20)
    run(app)


def run(command: Callable[[], object]) -> None:
    """Run a command and end the process: with a message for the user where it fails for a reason that we know."""
    try:
        command()
    except SystemExit as end:
        _leave(end.code)
    except SettingsError as error:
        _leave(fail(str(error), MISUSE).exit_code)
    except MlopsAssetsError as error:
        _leave(fail(str(error), FAILED).exit_code)
    _leave(0)


def _leave(code: object) -> NoReturn:
    """End now: taking the libraries down in good order takes a second, and all that was open is closed."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(__version__ if version else context.get_help())
        raise typer.Exit


def _enter(directory: Path) -> None:
    """Work in another project's folder, with its settings."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise fail(f"{directory} is not a folder to work in: {error.strerror}.", MISUSE) from None
    load_env_file()


@app.command()
def demo(
    days: Annotated[int, typer.Option(min=2, max=3_650, help="How many days arrive.")] = 14,
    directory: Directory = Path("demo"),
    source: Annotated[str, typer.Option(help="Generator: classification, transactions, ….")] = "classification",
    as_json: Json = False,
) -> None:
    """Watch days arrive, a model being trained each week, the gate decide, and every later day being scored."""
    from mlops_assets.cli.demo import run_demo

    run_demo(days, directory, source, as_json=as_json)


@app.command()
def materialize(
    assets: Annotated[list[str] | None, typer.Argument(help="Asset names; all seven by default.")] = None,
    partition: Annotated[str | None, typer.Option(help="One day, YYYY-MM-DD.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day of a range.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day of a range.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Recompute up-to-date days of a range, too.")] = False,
    as_of: Annotated[
        bool,
        typer.Option(
            "--as-of", help="Predict each day with the newest promoted version that was trained on earlier days only."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be made, and why.")] = False,
    directory: Directory = Path(),
    as_json: Json = False,
) -> None:
    """Materialize assets for a day, or the missing and stale days of a range, in one run that the UI shows."""
    _enter(directory)
    from mlops_assets.cli.materialize import run_materialize

    run_materialize(assets or [], partition, first, last, force=force, as_of=as_of, dry_run=dry_run, as_json=as_json)


@app.command()
def status(
    days: Annotated[int, typer.Option(min=1, help="How many of the newest days to show.")] = 30,
    directory: Directory = Path(),
    as_json: Json = False,
) -> None:
    """Show which days of which assets are done, stale or failed, and why; and which model serves."""
    _enter(directory)
    from mlops_assets.cli.status import show_status

    show_status(days, as_json=as_json)


@app.command()
def doctor(directory: Directory = Path(), as_json: Json = False) -> None:
    """Check installation, settings, MLflow and Docker; say how to fix problems."""
    _enter(directory)
    from mlops_assets.cli.doctor import run_doctor

    run_doctor(as_json=as_json)


@app.command()
def cleanup(directory: Directory = Path(), as_json: Json = False) -> None:
    """Stop and remove the containers that killed runs left behind; the sensor `cleanup` does the same by itself."""
    _enter(directory)
    from mlops_assets.cli.cleanup import run_cleanup

    run_cleanup(as_json=as_json)


@app.command()
def dev(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Of Dagster's UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65_535, help="Of MLflow's UI.")] = 5000,
    directory: Directory = Path(),
) -> None:
    """Serve Dagster's UI (with its daemon) and MLflow's on the loopback interface, until Ctrl-C."""
    _enter(directory)
    from mlops_assets.cli.dev import serve

    serve(port, mlflow_port)


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="In place of MLOPS_SERVE_PORT.")] = None,
    directory: Directory = Path(),
) -> None:
    """Answer requests with the model in production (MLflow's scoring protocol), until Ctrl-C or SIGTERM."""
    _enter(directory)
    from mlops_assets.cli.serve import serve_model

    serve_model(port)


@models_app.command("list")
def list_models(directory: Directory = Path(), as_json: Json = False) -> None:
    """All versions of the registered model."""
    _enter(directory)
    from mlops_assets.cli.models import show_versions

    show_versions(as_json=as_json)


@models_app.command("history")
def models_history(directory: Directory = Path(), as_json: Json = False) -> None:
    """Who promoted which version when, why and from which."""
    _enter(directory)
    from mlops_assets.cli.models import show_history

    show_history(as_json=as_json)


@models_app.command("promote")
def promote_model(
    version: Annotated[int, typer.Argument(min=1, max=2**31 - 1, help="The version to put into production.")],
    reason: Reason = "by hand",
    directory: Directory = Path(),
    as_json: Json = False,
) -> None:
    """Put a version into production without asking the gate."""
    _enter(directory)
    from mlops_assets.cli.models import promote

    promote(version, reason, as_json=as_json)


@models_app.command("rollback")
def rollback_model(reason: Reason = "rollback by hand", directory: Directory = Path(), as_json: Json = False) -> None:
    """Put the previous version back into production."""
    _enter(directory)
    from mlops_assets.cli.models import rollback

    rollback(reason, as_json=as_json)


@alerts_app.command("test")
def send_test_alert(directory: Directory = Path(), as_json: Json = False) -> None:
    """Send a test alert to every target and print the results."""
    _enter(directory)
    from mlops_assets.cli.alerts import test_alerts

    test_alerts(as_json=as_json)
