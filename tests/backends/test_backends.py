"""One contract for all backends: the same requests give the same files, the same metadata and the same errors."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from mlops_assets.cli.runs import _Observed
from mlops_assets.runtime.pool import WorkerDiedError
from mlops_assets.runtime.request import ModelFile, PartitionResult, Request
from mlops_assets.steps.catalog import step_of_asset
from mlops_assets.steps.declaration import Kind
from mlops_assets.wiring.assembly import build_backend

FIRST = dt.date(2026, 1, 1)
DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]
ASSETS = ("raw_data", "processed", "split", "model", "metrics", "predictions")


def ask(backend, asset, context, days=tuple(DAYS), **more) -> list[PartitionResult]:
    """The results of an asset's step, by day; models come from the data root itself."""
    step = step_of_asset(asset, backend.params.source)
    models = {}
    if any(file.kind is Kind.MODEL for file in step.inputs):
        for ds in days:
            manifest = backend.store.require("model", ds if asset == "metrics" else DAYS[0])
            path = backend.store.relative("model", manifest.partition, "model.skops")
            models[ds] = ModelFile(path, manifest.files[0].sha256, manifest.recipe, facts={"model_version": 1})
    request = Request(step.name, days, backend.params, models=models, run_id="a run", **more)
    return sorted(backend.run(request, context), key=lambda result: result.partition)


def run_all(settings, in_a_run) -> dict[str, object]:
    """Everything that a backend answers."""
    answers: dict[str, object] = {}

    def work(context):
        with closing(build_backend(settings)) as backend:
            backend.prepare(ASSETS, DAYS)
            for asset in ASSETS:
                results = ask(backend, asset, context)
                answers[asset] = [(one.partition, dict(one.metadata), one.error, one.recipe) for one in results]
            # the gate over two versions
            manifests = {f"v{place}": backend.store.require("model", ds) for place, ds in enumerate(DAYS[:2], 1)}
            models = {
                key: ModelFile(f"models/{one.partition}/model.skops", one.files[0].sha256, one.recipe)
                for key, one in manifests.items()
            }
            request = Request(
                "score", tuple(models), backend.params, models=models, days={"split": DAYS}, run_id="a run"
            )
            answers["score"] = sorted((one.partition, one.error) for one in backend.run(request, context))
            request = Request(
                "gate",
                (DAYS[0],),
                backend.params,
                days={"scores": ("v1", "v2")},
                inputs={"champion": "v1"},
                run_id="a run",
            )
            answers["gate"] = [(one.partition, one.error) for one in backend.run(request, context)]
            answers["verdict"] = backend.store.read_json("verdict", DAYS[0], "verdict.json")

    in_a_run(work)
    return answers


def comparable(value, root: str):
    if isinstance(value, dict):
        sha_of_model = {"sha256"} if "features" in value else set()  # skops writes other bytes each time
        return {name: comparable(one, root) for name, one in value.items() if name not in sha_of_model}
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
    """The same settings over two data roots: in process, and of another backend."""
    return make_settings(), make_settings(home=tmp_path / "other", data_dir=tmp_path / "other" / "data", **other)


def test_all_backends_do_the_same(two_settings, in_a_run):
    # given / when two backends make the same days
    one, other = two_settings
    expected, answers = run_all(one, in_a_run), run_all(other, in_a_run)
    # then files, metadata and recipes are the same
    assert comparable(answers, str(other.data_dir)) == comparable(expected, str(one.data_dir))
    assert files(other.data_dir) == files(one.data_dir)


def test_a_bad_day_looks_the_same(make_settings, other, in_a_run):
    # given a data root without any day
    settings = [make_settings(), make_settings(**other)]
    # when a day is processed that never arrived
    errors = []
    for one in settings:
        with closing(build_backend(one)) as backend:
            (result,) = in_a_run(lambda context, backend=backend: ask(backend, "processed", context, (DAYS[0],)))
            errors.append(result.error)
    # then all say the same
    assert errors[0] == errors[1]
    assert "mlops-assets materialize raw_data" in errors[0]


def workers_of(pid: int) -> set[int]:
    """Process ids of the workers below a process."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            command = (stat.parent / "cmdline").read_bytes().split(b"\0")
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if b"mlops_assets.runtime.worker" in command and (parent == pid or parent in found):
            found.add(int(stat.parent.name))
    return found


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_step_is_at_work_before_its_results_are_asked_for_and_ends_with_the_iterator(make_settings, other, in_a_run):
    # given a backend as commands use it
    settings = make_settings(**other)
    days = tuple((FIRST + dt.timedelta(days=one)).isoformat() for one in range(300))

    def published():
        return len(list(settings.data_dir.glob("raw/*/raw_data.manifest.json")))

    def work(context):
        with closing(build_backend(settings)) as backend:
            observed = _Observed(backend, lambda *_: None)
            # when no result is read / then the step is at work
            with closing(observed.run(Request("generate", days, backend.params), context)):
                wait_until(published)
            # and not any more when the iterator is closed
            return published()

    ended_at = in_a_run(work)
    assert published() == ended_at < len(days)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; only Linux ends the children of a killed process")
def test_a_killed_worker_is_an_error_and_the_next_request_works(make_settings):
    # given a backend whose worker is killed in the middle of its work
    settings = make_settings(workers=1)
    with closing(build_backend(settings)) as backend:
        request = Request("generate", tuple(DAYS), backend.params)
        results = backend.run(request)
        next(results)
        (worker,) = workers_of(os.getpid())
        os.kill(worker, signal.SIGKILL)
        # then the error says so
        with pytest.raises(WorkerDiedError, match="killed by signal 9"):
            list(results)
        # and the next request starts another one
        assert [result.error for result in backend.run(request)] == [None] * 3
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
