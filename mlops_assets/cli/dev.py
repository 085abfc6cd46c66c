"""``mlops-assets dev``: both UIs, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import typer

from mlops_assets.cli.console import console, fail
from mlops_assets.cli.instance import dagster_home, open_instance, served_by_one
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_tracking, ui_address_file

_HOST = "127.0.0.1"
_SECONDS_TO_STOP = 10


def serve(port: int, mlflow_port: int) -> None:
    """Start ``dagster dev``, and MLflow's server where MLflow's files are our own; stop both together."""
    settings = Settings()
    home = dagster_home(settings)
    with served_by_one(home):
        _serve(settings, home, port, mlflow_port)


def _serve(settings: Settings, home: Path, port: int, mlflow_port: int) -> None:
    for one in (port, mlflow_port) if settings.tracking.is_local else (port,):
        _require_free(one)
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    environment.setdefault("MLOPS_DAGSTER_URL", f"http://{_HOST}:{port}")
    commands, serves_mlflow = [_dagster(port)], settings.tracking.scheme == "sqlite"
    if serves_mlflow:
        environment.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # ten processes for evaluating LLMs
        environment.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        environment.setdefault("MLOPS_MLFLOW_UI_URL", f"http://{_HOST}:{mlflow_port}")
        commands.append(_mlflow(settings, mlflow_port))
    # Another process, because this one would keep all of Dagster and MLflow in memory while it only waits.
    made = subprocess.run([sys.executable, "-c", _PREPARE], env=environment, stdout=subprocess.PIPE, check=False)  # noqa: S603
    if made.returncode:
        raise typer.Exit(made.returncode)
    console.print(f"Dagster: http://{_HOST}:{port}")
    if serves_mlflow:
        ui_address_file(settings).write_text(environment["MLOPS_MLFLOW_UI_URL"], encoding="utf-8")
        # The link opens the view for models; the address alone opens the one for traces of language models.
        console.print(
            f"MLflow:  http://{_HOST}:{mlflow_port}\n  models: {made.stdout.decode().strip()}", soft_wrap=True
        )
    # In groups of their own, so that Ctrl-C is for this process, and their children can be ended with them.
    processes = [subprocess.Popen(command, env=environment, start_new_session=True) for command in commands]  # noqa: S603
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
        raise fail("One of the servers has stopped; see its messages above.")
    except KeyboardInterrupt:
        console.print("stopping")
    finally:
        _stop(processes)


def prepare() -> None:
    """Make Dagster's instance and MLflow's store, before several processes would do it at the same time.

    Ends what killed processes left behind, and prints the address of the models in MLflow's UI.
    """
    settings = Settings()
    with open_instance(settings):
        pass
    if settings.tracking.scheme == "sqlite":
        tracking = build_tracking(settings)
        tracking.registry.versions()
        sys.stdout.write(f"{tracking.models_url()}\n")


_PREPARE = """
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is for both, and the one that waits says how it ends
from mlops_assets.cli.app import run
from mlops_assets.cli.dev import prepare
run(prepare)
"""
_END_WITH_PARENT = """
import signal, sys
from mlops_assets.runtime.parent import end_with
end_with(int(sys.argv.pop(1)), signal.SIGTERM)
"""
"""So that a killed command leaves nothing that holds the ports: at SIGTERM, both servers end their own children."""
_DAGSTER_DEV = """
import logging
logging.getLogger("dagster").addFilter(lambda one: "will not be used to configure Dagster" not in one.getMessage())
from dagster._cli import main
main()
"""
"""``python -m dagster`` without the warning that it does not read the project's ``dagster.yaml``: the copy in Dagster's
folder is that file (see :mod:`mlops_assets.cli.instance`)."""


def _dagster(port: int) -> list[str]:
    where = ["-w", "workspace.yaml"] if Path("workspace.yaml").exists() else ["-m", "mlops_assets.definitions"]
    # Below warnings, there are two lines for every tick of every sensor.
    ignored = ["-W", "ignore:Function `dev_command` is superseded"]
    quiet = [*ignored, *_ends_with_us(_DAGSTER_DEV), "dev", "--log-level", "warning"]
    return [sys.executable, *quiet, "-h", _HOST, "-p", str(port), *where]


_MLFLOW_SERVER = """
import os
import mlflow.server
def become(command, *, extra_env, **_):
    os.execvpe(command[0], command, {**os.environ, **extra_env})
mlflow.server._exec_cmd = become
from mlflow.cli import cli
cli()
"""
"""``python -m mlflow`` that becomes the web server in place of waiting for it with all of MLflow in memory."""


def _mlflow(settings: Settings, port: int) -> list[str]:
    store = [
        "--backend-store-uri",
        settings.tracking.uri,
        "--artifacts-destination",
        str(settings.tracking.artifact_root),
    ]
    return [
        sys.executable,
        *_ends_with_us(_MLFLOW_SERVER),
        "server",
        "--host",
        _HOST,
        "--port",
        str(port),
        "--workers",
        "1",
        *store,
    ]


def _ends_with_us(code: str) -> list[str]:
    return ["-c", _END_WITH_PARENT + code, str(os.getpid())]


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            raise fail(
                f"Port {port} of {_HOST} is taken. Stop what listens there, or choose another one with --port or"
                " --mlflow-port."
            ) from None


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_STOP)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever is left of the group
        process.wait()
