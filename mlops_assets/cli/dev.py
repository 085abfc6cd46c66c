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

from mlops_assets.cli.console import console, fail
from mlops_assets.cli.instance import dagster_home, open_instance
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_tracking, ui_address_file

_HOST = "127.0.0.1"
_SECONDS_TO_STOP = 10


def serve(port: int, mlflow_port: int) -> None:
    """Start ``dagster dev``, and ``mlflow server`` where MLflow's files are our own; stop both together."""
    settings = Settings()
    for one in (port, mlflow_port) if settings.tracking.is_local else (port,):
        _require_free(one)
    with open_instance(settings):
        pass  # makes it, and ends what a killed process left behind
    environment = {**os.environ, "DAGSTER_HOME": str(dagster_home(settings))}
    environment.setdefault("MLOPS_DAGSTER_URL", f"http://{_HOST}:{port}")
    commands = [_dagster(port)]
    if settings.tracking.scheme == "sqlite":
        # The store is made here, once, before two processes would do it at the same time.
        build_tracking(settings).registry.versions()
        environment.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # ten processes for evaluating LLMs
        address = environment.setdefault("MLOPS_MLFLOW_UI_URL", f"http://{_HOST}:{mlflow_port}")
        ui_address_file(settings).write_text(address, encoding="utf-8")
        commands.append(_mlflow(settings, mlflow_port))
    console.print(f"Dagster: http://{_HOST}:{port}")
    if settings.tracking.scheme == "sqlite":
        console.print(f"MLflow:  http://{_HOST}:{mlflow_port}")
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


def _dagster(port: int) -> list[str]:
    where = ["-w", "workspace.yaml"] if Path("workspace.yaml").exists() else ["-m", "mlops_assets.definitions"]
    return [sys.executable, "-m", "dagster", "dev", "-h", _HOST, "-p", str(port), *where]


def _mlflow(settings: Settings, port: int) -> list[str]:
    store = [
        "--backend-store-uri",
        settings.tracking.uri,
        "--artifacts-destination",
        str(settings.tracking.artifact_root),
    ]
    return [sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port), "--workers", "1", *store]


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
