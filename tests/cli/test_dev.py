"""`mlops-assets dev`: both UIs, with a terminal that says only what people need."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mlops_assets.cli.instance import dagster_home, served_by_one
from mlops_assets.settings import Settings

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


def descendants(pid: int) -> set[int]:
    try:
        children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # it has just ended
        return set()
    return {*children, *(one for child in children for one in descendants(child))}


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_served(dagster: int, mlflow: int) -> bool:
    locations = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
    try:
        ask(f"http://127.0.0.1:{dagster}/graphql", query=locations)
        ask(f"http://127.0.0.1:{mlflow}/ajax-api/3.0/mlflow/ui-telemetry")
    except OSError:
        return False
    return True


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
    assert not listens(dagster)
    assert not listens(mlflow)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux notifies a child when its parent dies")
@pytest.mark.parametrize("how", ["closed terminal", "SIGKILL"])
def test_nothing_goes_on_without_the_command(tmp_path, how):
    # given both UIs, started in a terminal
    ports = free_port(), free_port()
    command = ["-m", "mlops_assets.cli", "dev", "--port", str(ports[0]), "--mlflow-port", str(ports[1])]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, *command], {**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait_until(lambda: is_served(*ports))
        started = descendants(pid)
        assert len(started) > 2
        # when the command ends in a way that it cannot prevent
        if how == "SIGKILL":
            os.kill(pid, signal.SIGKILL)
        else:
            os.close(terminal)
        # then it is gone with everything that it started
        wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid)
        wait_until(lambda: not any(Path(f"/proc/{one}").exists() for one in started))
    finally:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGINT)
            os.waitpid(pid, 0)
        with suppress(OSError):
            os.close(terminal)
    # and nothing listens any more
    assert not any(listens(port) for port in ports)


def test_a_second_one_on_the_same_home_is_refused(cli, tmp_path):
    # given a project that is served
    settings = Settings(_env_file=None, home=tmp_path / ".mlops")
    home = dagster_home(settings)
    with served_by_one(home):
        # when it is served once more, at other ports
        done = cli("dev", "--port", str(free_port()), "--mlflow-port", str(free_port()))
    # then that is refused, and it is said who serves it and what to do
    assert done.code == 1
    assert f"Process {os.getpid()} serves this project already" in done.err
    assert f"kill {os.getpid()}" in done.err
    # and later, what is refused is only a port that is taken
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        done = cli("dev", "--port", str(taken))
    assert f"Port {taken} of 127.0.0.1 is taken" in done.err
