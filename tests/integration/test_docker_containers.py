"""What happens to containers at night: much output, crashes, wrong directories, other people's containers."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import closing, suppress
from pathlib import Path

import dagster as dg
import docker
import pytest
from container_steps import DAY, RUN_STEP, SLOW, is_at_work
from idle_proxy import idle_proxy

from mlops_assets.backends.docker.access import IMAGE_USER
from mlops_assets.backends.docker.answers import StepFailedError
from mlops_assets.backends.docker.engine import EngineError
from mlops_assets.backends.docker.images import ImageError, default_images
from mlops_assets.backends.docker.labels import RUN_ID
from mlops_assets.backends.docker.probe import ProbeError, check_writable
from mlops_assets.runtime.request import Request
from mlops_assets.wiring.assembly import build_backend


def test_files_belong_to_the_caller_or_to_the_images_user(docker_settings, in_container, made, ours):
    # given / when a day is split
    settings = docker_settings()
    made(settings, "generate", "process")
    (result,) = in_container(settings, "split")
    # then its files have the caller's user, or the images' where the caller is root
    assert result.error is None
    files = list((settings.data_dir / "split" / DAY).iterdir())
    assert len(files) == 3
    assert {path.stat().st_uid for path in files} == {os.getuid() or 10001}


def test_output_arrives_whole_and_in_order(docker_settings, image_of, in_container, made, ours, capfd):
    # given an image that prints 100,000 lines and one of almost a MiB, and sends a message of a megabyte
    code = (
        "import json, sys; from dagster_pipes import PipesMappingParamsLoader, open_dagster_pipes;"
        "[print('line', n, file=sys.stderr) for n in range(100_000)];"
        "print('x' * 1_000_000, file=sys.stderr);"
        "print('{}', flush=True);"  # no message, though JSON
        "order = json.loads(sys.stdin.readline());"
        "p = open_dagster_pipes(params_loader=PipesMappingParamsLoader(order['pipes']));"
        "p.report_custom_message({'result': {'partition': '2026-01-05', 'error': 'y' * 1_000_000}});"
        "p.log.warning('beware'); p.close()"
    )
    settings = docker_settings(images={"split": image_of("split", code)})
    made(settings, "generate", "process")
    capfd.readouterr()
    # when it runs
    (result,) = in_container(settings, "split")
    # then all of it is there
    assert result.error == "y" * 1_000_000
    out, err = capfd.readouterr()
    assert [int(number) for number in re.findall(r"^line (\d+)$", err, flags=re.MULTILINE)] == list(range(100_000))
    assert "x" * 1_000_000 in err
    assert "\n{}\n" in "\n" + out
    assert "beware" in err


def test_output_without_end_takes_no_memory(docker_settings, image_of, in_container, made, ours, capfd):
    # given an image that prints 300 MB without a line break, to both streams
    code = (
        "import sys\nfor stream in (sys.stdout, sys.stderr):\n  for _ in range(300): stream.write('x' * 1_000_000)\n"
        "  stream.flush()\nprint('last', file=sys.stderr)"
    )
    settings = docker_settings(images={"split": image_of("split", code)})
    made(settings, "generate", "process")
    before = memory()
    # when it runs, then what it printed is cut
    with pytest.raises(StepFailedError, match="without an answer"):
        in_container(settings, "split")
    assert re.search(r"x … \(\d+,\d+,\d+ bytes more\)", capfd.readouterr().err)
    # and this process has not grown by it
    assert memory() - before < 150 << 20


def memory() -> int:
    """The most memory that this process ever had."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) << 10


@pytest.mark.parametrize(
    ("code", "changes", "expected"),
    [
        (
            "import sys; print('last words', file=sys.stderr); sys.exit(3)",
            {},
            r"exit code 3\. Its last lines:\nlast words",
        ),
        ("import sys; sys.exit(4)", {}, r"exit code 4, no output"),
        ("x = bytearray(10**9)", {"docker_memory": "48m"}, r"killed: out of memory \(the limit is 48m"),
        # of a process that the step started
        (
            "import subprocess, sys; command = [sys.executable, '-c', 'x = bytearray(10**9)'];"
            "sys.exit(1 if subprocess.run(command).returncode else 0)",
            {"docker_memory": "48m"},
            r"killed: out of memory \(the limit is 48m",
        ),
        ("pass", {}, r"ended without an answer for 1 partition"),
    ],
)
def test_how_a_container_ended_is_in_the_error(
    docker_settings, image_of, in_container, made, ours, code, changes, expected
):
    # given an image whose process ends badly
    settings = docker_settings(images={"split": image_of("split", code)}, **changes)
    made(settings, "generate", "process")
    # when / then the error says how
    with pytest.raises(StepFailedError, match=expected):
        in_container(settings, "split")


@pytest.mark.parametrize(
    "payload",
    [
        {"result": {"partition": "2026-01-06"}},
        {"result": {"partition": DAY, "metadata": []}},
        {"result": {"partition": DAY, "cake": 1}},
        {"result": []},
        {"result": {"partition": DAY, "recipe": "0" * 64, "files": {}}},
    ],
)
def test_what_an_image_makes_up_is_refused(docker_settings, image_of, in_container, made, ours, payload):
    # given an image with our labels that answers what was not asked for, or what it did not do
    code = (
        "import json, sys; from dagster_pipes import PipesMappingParamsLoader, open_dagster_pipes;"
        "order = json.loads(sys.stdin.readline());"
        "p = open_dagster_pipes(params_loader=PipesMappingParamsLoader(order['pipes']));"
        f"p.report_custom_message({payload!r}); p.close()"
    )
    settings = docker_settings(images={"split": image_of("split", code)})
    made(settings, "generate", "process")
    # when / then
    with pytest.raises(StepFailedError, match=r"no result of a partition|not under"):
        in_container(settings, "split")


def test_a_container_is_confined_and_gone_when_it_is_cancelled(docker_settings, image_of, in_a_run, made, ours):
    # given a step that takes its time
    settings = docker_settings(
        images={"split": image_of("split", SLOW + RUN_STEP)}, docker_memory="512m", docker_cpus=0.5
    )
    made(settings, "generate", "process")
    seen = {}

    def look():
        for container in ours():
            if is_at_work(container):
                signal.setitimer(signal.ITIMER_REAL, 0)
                seen.update(container.attrs)
                raise KeyboardInterrupt

    def look_and_cancel(context):
        with closing(build_backend(settings)) as backend:
            signal.signal(signal.SIGALRM, lambda *_: look())
            signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
            try:
                list(backend.run(Request("split", (DAY,), settings.steps), context))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)

    # when it is cancelled in the middle
    with pytest.raises(KeyboardInterrupt):
        in_a_run(look_and_cancel)
    # then it is gone
    assert ours() == []
    # and it could reach what it declares and nothing else
    host, config = seen["HostConfig"], seen["Config"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges" in host["SecurityOpt"]
    assert host["Memory"] == host["MemorySwap"] == 512 * 2**20
    assert host["NanoCpus"] == 5e8
    assert host["PidsLimit"] == 512
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "16m"}}
    assert "size=25%" in host["Tmpfs"]["/tmp"]
    assert not config["User"].startswith("0")
    mounts = {mount["Destination"]: mount["RW"] for mount in seen["Mounts"] if mount["Type"] == "bind"}
    assert mounts == {str(settings.data_dir / "processed"): False, str(settings.data_dir / "split"): True}
    assert config["Labels"]["io.mlops-assets.step"] == "split"
    assert config["Labels"]["io.mlops-assets.partitions"] == DAY
    # and knew no setting
    assert not any(variable.startswith(("MLOPS_", "MLFLOW_", "AWS_", "DAGSTER_")) for variable in config["Env"])


def test_only_a_setting_opens_a_network_for_one_step(docker_settings, image_of, in_container, made, ours):
    # given a step that says which networks it sees
    code = "import pathlib, sys; sys.exit(' '.join(one.name for one in pathlib.Path('/sys/class/net').iterdir()))"
    images = {"process": image_of("process", code), "split": image_of("split", code)}
    settings = docker_settings(images=images, docker_networks={"split": "bridge"})
    made(settings, "generate", "process")
    # when / then
    with pytest.raises(StepFailedError, match="eth0"):
        in_container(settings, "split")
    with pytest.raises(StepFailedError, match=r"lines:\nlo$|lines:\nlo\n"):
        in_container(settings, "process")


@pytest.mark.parametrize("victim", ["container", "shim"])
def test_a_killed_container_is_an_error_that_says_so(docker_settings, image_of, in_container, made, ours, victim):
    # given a step that is at work
    settings = docker_settings(images={"split": image_of("split", SLOW + RUN_STEP)})
    made(settings, "generate", "process")

    def kill(*_):
        for container in ours():
            if is_at_work(container):
                signal.setitimer(signal.ITIMER_REAL, 0)
                if victim == "container":
                    container.kill()
                else:
                    os.kill(shim_of(container.id), signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
    # when it is killed / then the error says so, and that it may be retried
    try:
        with pytest.raises(StepFailedError, match="exit code 137, killed from outside") as failed:
            in_container(settings, "split")
        assert failed.value.can_retry
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def shim_of(container: str) -> int:
    """The process between containerd and a container."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"containerd-shim" in words[0] and container.encode() in words:
            return int(process.name)
    pytest.fail("the engine's processes cannot be seen from here") if os.environ.get("CI") else pytest.skip("not here")
    raise AssertionError


def test_an_interruption_while_the_engine_creates_a_container_leaks_nothing(
    docker_settings, in_container, made, ours, monkeypatch
):
    # given an engine that takes its time to create a container, and an interruption meanwhile
    settings = docker_settings()
    made(settings, "generate", "process")
    original = docker.models.containers.ContainerCollection.create

    def slow(self, *given, **named):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        return original(self, *given, **named)

    monkeypatch.setattr(docker.models.containers.ContainerCollection, "create", slow)
    # when / then it is interrupted, and nothing is left (see `ours`)
    with pytest.raises((KeyboardInterrupt, dg.DagsterExecutionInterruptedError)):
        in_container(settings, "split")
    assert ours() == []


def test_the_next_steps_container_waits_for_its_turn_or_goes(docker_settings, docker_client, in_a_run, made, ours):
    # given a run of two steps
    settings = docker_settings()
    made(settings, "generate")

    def work(context):
        run_id = context.run.run_id
        with closing(build_backend(settings)) as backend:
            backend.prepare(["processed", "split", "model"], [DAY], run_id)
            backend.prepare(["processed", "split", "model"], [DAY], run_id)  # the command line does, then the asset
            for step in ("process", "split"):
                assert [one.error for one in backend.run(Request(step, (DAY,), settings.steps), context)] == [None]
            waiting = [one.labels["io.mlops-assets.step"] for one in ours()]
        return run_id, waiting

    began = time.time()
    # when it ends before its third step
    run_id, waiting = in_a_run(work)
    # then the container of that step waited, no container was made twice, and nothing is left
    assert waiting == ["train"]
    events = docker_client.events(
        since=int(began),
        until=int(time.time()) + 1,
        decode=True,
        filters={"event": "create", "label": f"{RUN_ID}={run_id}"},
    )
    made_for = [event["Actor"]["Attributes"]["io.mlops-assets.step"] for event in events]
    assert made_for == ["process", "split", "train"]
    assert ours() == []


def test_the_clean_up_takes_what_runs_that_are_over_left_and_nothing_else(docker_settings, docker_client):
    # given containers of a run that is over, of one that goes on, of an unknown one, of none
    settings = docker_settings(docker_stop_seconds=0)
    image = default_images("classification")["split"]
    runs = {"over": "a", "created": "a", "running": "b", "unknown": "another project's", "other": None}
    containers = {
        name: docker_client.containers.create(
            image,
            ["60"],
            entrypoint=["sleep"],
            labels={} if run_id is None else {RUN_ID: run_id},
            auto_remove=True,
        )
        for name, run_id in runs.items()
    }
    try:
        for name, container in containers.items():
            if name != "created":
                container.start()
        # when it cleans up
        with closing(build_backend(settings)) as backend:
            removed = backend.cleanup(lambda run_id: run_id == "a")
        # then only the containers of the run that is over are gone
        left = {one.id for one in docker_client.containers.list(all=True, ignore_removed=True)}
        assert {name for name, container in containers.items() if container.id not in left} == {"over", "created"}
        assert len(removed) == 2
        assert all("run a" in line for line in removed)
    finally:
        for container in containers.values():
            with suppress(docker.errors.APIError):
                container.remove(force=True)


def test_a_data_root_under_another_name_on_the_host(docker_settings, in_container, made, ours, tmp_path):
    # given a data root that the engine's host knows by another path
    (tmp_path / "data").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    settings = docker_settings(host_data_dir=tmp_path / "alias")
    made(settings, "generate", "process")
    # when a day is split / then it works
    (result,) = in_container(settings, "split")
    assert result.error is None
    # and when the path is another directory's, nothing is done and the message says what to set
    (tmp_path / "elsewhere").mkdir()
    for wrong in ("elsewhere", "missing"):
        with pytest.raises(ProbeError, match="Set HOST_DATA_DIR"):
            in_container(docker_settings(host_data_dir=tmp_path / wrong), "split")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not list((tmp_path / "data").glob(".*"))


def test_folders_that_the_containers_user_cannot_write_are_found(docker_settings, docker_client, made):
    # given a folder of another user
    settings = docker_settings(docker_user="10001:10001")
    made(settings, "generate")
    folder = settings.data_dir / "processed"
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, 4321, 4321)
    backend = build_backend(settings)
    with closing(backend):
        # when / then it is named
        with pytest.raises(ProbeError, match=rf"cannot write to {folder}.*Let user {IMAGE_USER}"):
            check_writable(backend._engine, settings.docker, settings.steps.source)
        if os.getuid() == 0:
            os.chown(folder, 0, 0)
            check_writable(backend._engine, settings.docker, settings.steps.source)


def test_missing_stale_and_foreign_images_and_a_missing_engine(
    docker_settings, built, in_container, made, ours, monkeypatch
):
    default = default_images("")["split"]
    # given no such image / when / then the message has the command
    with pytest.raises(ImageError, match="make images"):
        in_container(docker_settings(images={"split": "mlops-assets/none:0"}), "split")
    # given an image of other code
    stale = built(f"FROM {default}", "LABEL io.mlops-assets.code=old")
    with pytest.raises(ImageError, match=r"is stale: .* make images"):
        in_container(docker_settings(images={"split": stale}), "split")
    # and it is found before the run begins its work
    with closing(build_backend(docker_settings(images={"predict": stale}))) as backend, pytest.raises(ImageError):
        backend.prepare(["processed", "predictions"], [DAY])
    # but one that only training needs does not stop what predicts
    with closing(build_backend(docker_settings(images={"train": stale}))) as backend:
        backend.prepare(["raw_data", "processed", "model", "predictions"], [DAY])
        with pytest.raises(ImageError):
            backend.prepare(["raw_data", "processed", "model"], [DAY])
    # given an image that is none of ours in the place of ours
    monkeypatch.setattr("mlops_assets.backends.docker.images.__version__", "0.0.0-test")
    built("FROM python:3.11-slim-bookworm", "CMD true", tag="mlops-assets/data:0.0.0-test")
    with pytest.raises(ImageError, match="has no label"):
        in_container(docker_settings(), "split")
    # given no engine
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(EngineError, match="DOCKER_HOST"):
        in_container(docker_settings(), "split")


def test_our_images_under_another_name_are_ours(docker_settings, docker_client, in_container, made, ours):
    # given our image, named for a registry
    image = docker_client.images.get(default_images("")["split"])
    name = default_images("", "localhost:5000/team")["split"]
    image.tag(name)
    settings = docker_settings(image_prefix="localhost:5000/team")
    made(settings, "generate", "process")
    # when a step runs in it / then it is done, and no recipe has the image's ID
    try:
        (result,) = in_container(settings, "split")
        with closing(build_backend(settings)) as backend:
            assert backend.recipe_image("split") == ""
            assert backend.image_id("split") == image.id
    finally:
        docker_client.images.remove(name)
    assert result.error is None


@pytest.fixture
def behind_proxy(monkeypatch):
    """The engine behind a proxy that ends connections which are silent for 3 seconds; gives how many it has ended."""
    with idle_proxy("/var/run/docker.sock", seconds=3.0) as (port, ended):
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        yield ended


def test_a_proxy_that_ends_silent_connections_changes_nothing(
    docker_settings, image_of, in_container, in_a_run, made, ours, behind_proxy
):
    # given a step that is silent for longer than the proxy allows, with a heartbeat that is quicker than usual
    beating = "import mlops_assets.runtime.pipes as pipes; pipes._HEARTBEAT_SECONDS = 0.2;"
    slow = (
        f"{beating} import mlops_assets.steps.process as module, time; original = module.process;"
        "module.process = lambda *given: (time.sleep(9), original(*given))[1]"
    )
    settings = docker_settings(images={"process": image_of("process", slow + RUN_STEP)})
    made(settings, "generate")

    def both(context):
        with closing(build_backend(settings)) as backend:
            backend.prepare(["processed", "split"], [DAY], context.run.run_id)
            requests = [Request(step, (DAY,), settings.steps) for step in ("process", "split")]
            return [result for request in requests for result in backend.run(request, context)]

    # when it runs / then it is done, though the connection that waited for its end was ended
    # and so is the next one, whose container had waited for its order
    assert [one.error for one in in_a_run(both)] == [None, None]
    assert behind_proxy
    # and how one ended that failed is known
    failing = docker_settings(images={"split": image_of("split", "import sys, time; time.sleep(0.5); sys.exit(7)")})
    with pytest.raises(StepFailedError, match="exit code 7"):
        in_container(failing, "split")


def test_a_context_of_dagster_is_needed(docker_settings):
    with closing(build_backend(docker_settings())) as backend, pytest.raises(TypeError, match="context"):
        next(backend.run(Request("split", (DAY,), backend.params)))
