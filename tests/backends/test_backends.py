"""One contract for all backends: the same requests give the same files, the same metadata and the same errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlops_assets.backends.workers import WorkerDiedError, WorkersBackend

from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime.runner import RunInfo
from mlops_assets.wiring.assembly import build_tracking

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]
STEPS = ("raw_data", "processed", "split", "model", "metrics", "production_model", "predictions")
RUN = RunInfo(dagster_run_id="a run")


def run_all(settings, in_a_run) -> dict[str, object]:
    """Everything that a backend answers, without what differs between two stores of MLflow."""
    answers: dict[str, object] = {}

    def ask(context):
        with closing(build_backend(settings)) as backend:
            backend.prepare(STEPS, DAYS)
            for asset in STEPS:
                if asset == "production_model":
                    answers[asset] = dict(backend.promote(RUN, context))
                    continue
                results = sorted(backend.materialize(asset, DAYS, RUN, context), key=lambda result: result.partition)
                answers[asset] = [(result.partition, dict(result.metadata), result.error) for result in results]

    in_a_run(ask)
    return answers


def comparable(value, root: str):
    if isinstance(value, dict):
        skipped = ("mlflow_", "model_version_url")
        sha_of_model = {"sha256"} if "features" in value else set()  # skops writes other bytes each time
        return {
            name: comparable(one, root)
            for name, one in value.items()
            if not name.startswith(skipped) and name not in sha_of_model
        }
    if isinstance(value, (list, tuple)):
        return [comparable(one, root) for one in value]
    return value.replace(root, "") if isinstance(value, str) else value


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.csv")}


BACKENDS = [
    pytest.param({"workers": 2}, id="workers", marks=pytest.mark.slow),
    pytest.param({"backend": "docker", "workers": None}, id="docker", marks=[pytest.mark.docker, pytest.mark.slow]),
]


@pytest.fixture(params=BACKENDS)
def other(request):
    """What the settings of another backend than the one in process have."""
    if request.param.get("backend") == "docker":
        request.getfixturevalue("docker_client")
    return request.param


@pytest.fixture
def two_settings(make_settings, tmp_path, other):
    """The same settings over two data roots and two MLflow stores: in process, and of another backend."""
    inprocess = make_settings()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mlflow").mkdir()
    (tmp_path / "other" / "mlflow" / "mlflow.db").write_bytes((inprocess.home / "mlflow" / "mlflow.db").read_bytes())
    return inprocess, make_settings(home=tmp_path / "other", data_dir=tmp_path / "other" / "data", **other)


def test_all_backends_do_the_same(two_settings, in_a_run):
    # given / when two backends make the same days
    one, other = two_settings
    expected, answers = run_all(one, in_a_run), run_all(other, in_a_run)
    # then files and metadata are the same, models are registered in the order of their days
    assert comparable(answers, str(other.data_dir)) == comparable(expected, str(one.data_dir))
    assert files(other.data_dir) == files(one.data_dir)
    assert [version.ds for version in build_tracking(other).registry.versions()] == DAYS


def test_a_bad_day_and_a_missing_server_look_the_same(make_settings, monkeypatch, other, in_a_run):
    # given a data root without any day
    settings = [make_settings(), make_settings(**other)]

    def process(context):
        (result,) = backend.materialize("processed", DAYS[:1], RUN, context)
        return result.error

    # when a day is processed that never arrived
    errors = []
    for one in settings:
        with closing(build_backend(one)) as backend:
            errors.append(in_a_run(process))
    # then both say the same
    assert errors[0] == errors[1]
    assert "mlops-assets materialize raw_data" in errors[0]
    # and when the tracking server is not there
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    messages = []
    for one in settings:
        with closing(build_backend(one)) as backend, pytest.raises(MlopsAssetsError) as raised:
            in_a_run(lambda context: backend.promote(RUN, context))  # called at once
        messages.append((type(raised.value), str(raised.value)))
    assert messages[0] == messages[1]


def workers_of(pid: int) -> set[int]:
    """Process ids of the workers below a process."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            command = (stat.parent / "cmdline").read_bytes().split(b"\0")
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if b"mlops_assets.backends.worker" in command and (parent == pid or parent in found):
            found.add(int(stat.parent.name))
    return found


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; only Linux ends the children of a killed process")
def test_a_killed_worker_is_an_error_and_the_next_request_works(make_settings):
    # given a backend whose worker is killed in the middle of its work
    settings = make_settings(workers=1)
    with closing(build_backend(settings)) as backend:
        assert isinstance(backend, WorkersBackend)
        results = backend.materialize("raw_data", DAYS, RUN)
        next(results)
        (worker,) = workers_of(os.getpid())
        os.kill(worker, signal.SIGKILL)
        # then the error says so
        with pytest.raises(WorkerDiedError, match="killed by signal 9"):
            list(results)
        # and the next request starts another one
        assert [result.error for result in backend.materialize("raw_data", DAYS, RUN)] == [None] * 3
    assert workers_of(os.getpid()) == set()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; only Linux ends the children of a killed process")
def test_workers_do_not_outlive_the_process_that_started_them(tmp_path):
    # given a command that is at work with two workers
    environment = {**os.environ, "MLOPS_WORKERS": "2", "MLOPS_ROWS_PER_DAY": "20000"}
    command = [sys.executable, "-m", "mlops_assets.cli", "materialize", "raw_data", "--from", "2026-01-01"]
    process = subprocess.Popen(
        [*command, "--to", "2026-03-31"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
    )
    wait_until((tmp_path / "data").exists)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    # when it is killed
    process.kill()
    process.wait()
    # then so are they
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
