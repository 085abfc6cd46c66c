"""`mlops-assets dev`: both UIs, with a terminal that says only what people need."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_megabytes(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024


def ask(url: str, **variables: object) -> dict:
    content = json.dumps(variables).encode() if variables else None
    with urllib.request.urlopen(urllib.request.Request(url, content, {"Content-Type": "application/json"})) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_both_uis_start_quietly_and_end_together(tmp_path):
    # given a project with a dagster.yaml of its own, as a checkout has
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    dagster, mlflow = free_port(), free_port()
    log = tmp_path / "log"
    # when it is served
    command = ["-m", "mlops_assets.cli", "dev", "--port", str(dagster), "--mlflow-port", str(mlflow)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            locations = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
            deadline = time.monotonic() + 120
            while True:
                try:
                    loaded = ask(f"http://127.0.0.1:{dagster}/graphql", query=locations)
                    telemetry = ask(f"http://127.0.0.1:{mlflow}/ajax-api/3.0/mlflow/ui-telemetry")
                    break
                except OSError:
                    assert time.monotonic() < deadline, log.read_text()
                    assert process.poll() is None, log.read_text()
                    time.sleep(0.5)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            commands = [Path(f"/proc/{child}/cmdline").read_text() for child in children]
            waiting = resident_megabytes(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    # then the pipeline is loaded, and MLflow reports nothing to anybody
    assert loaded["data"]["workspaceOrError"]["locationEntries"] == [{"loadStatus": "LOADED"}]
    assert telemetry["disable_ui_telemetry"] is True
    # and no process with all libraries only waits: neither the command nor MLflow's launcher
    assert waiting < 100
    assert len(commands) == 2
    assert any("uvicorn" in command for command in commands), commands
    # and the terminal links to the models, and has neither warnings of Dagster about how we use it nor its own events
    said = log.read_text()
    assert f"http://127.0.0.1:{mlflow}/#/experiments/1/models?workflowType=machine_learning" in said
    assert "will not be used" not in said
    assert "superseded" not in said
    assert "DEBUG" not in said
    # and nothing listens any more
    for port in (dagster, mlflow):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
