"""What a team meets in a night of containers: chatty ones, dying ones, wrong directories, other people's."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import dagster as dg
import docker
import pytest

from mlops_assets.assets.assets import build_assets
from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.assets.resources import build_resources
from mlops_assets.backends.docker.backend import StepFailedError
from mlops_assets.backends.docker.engine import EngineError
from mlops_assets.backends.docker.images import ImageError, default_images
from mlops_assets.backends.docker.labels import RUN_ID
from mlops_assets.backends.docker.probe import ProbeError
from mlops_assets.housekeeping.sensors import build_sensors
from mlops_assets.wiring.assembly import build_backend, build_tracking

ASSETS = build_assets(daily_partitions("2026-01-01"))
DAY = "2026-01-05"
RUN_STEP = "; import runpy; runpy.run_module('mlops_assets.steps', run_name='__main__')"
SLOW = (
    "import sys, time; import mlops_assets.steps.split as module; original = module.split;"
    "say = lambda: print('at work', file=sys.stderr, flush=True);"
    "module.split = lambda *given: (say(), time.sleep(120), original(*given))[2]"
)


def arrive(settings, days=(DAY,), until="processed") -> None:
    """Make what comes before the step in question, in this process."""
    local = settings.model_copy(update={"backend": "inprocess", "workers": 0})
    with closing(build_backend(local)) as backend:
        for asset in ("raw_data", "processed")[: 1 if until == "raw_data" else 2]:
            assert [one.error for one in backend.materialize(asset, days, RunInfo())] == [None] * len(days)


def split(settings, in_a_run, days=(DAY,)):
    """Make asset `split` in a container."""

    def work(context):
        with closing(build_backend(settings)) as backend:
            return list(backend.materialize("split", days, RunInfo(context.run.run_id), context))

    return in_a_run(work)


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


def is_at_work(container) -> bool:
    try:
        return b"at work" in container.logs()
    except docker.errors.APIError:
        return False  # it is going


def test_files_belong_to_who_runs_it_or_to_nobody_in_particular(docker_settings, in_a_run, ours):
    # given / when a day is split
    settings = docker_settings()
    arrive(settings)
    (result,) = split(settings, in_a_run)
    # then its files have the caller's user, or the images' where the caller is root
    assert result.error is None
    uid = os.getuid() or 10001
    files = list((settings.data_dir / "split" / DAY).iterdir())
    assert len(files) == 3
    assert {path.stat().st_uid for path in files} == {uid}


def test_everything_that_a_chatty_container_says_arrives_whole_and_in_order(
    docker_settings, image_of, in_a_run, ours, capfd
):
    # given an image that prints 100,000 lines and one of a megabyte, and sends a message of a megabyte
    code = (
        "import json, sys; from dagster_pipes import PipesMappingParamsLoader, open_dagster_pipes;"
        "sys.stdin.readline();"
        "[print('line', n, file=sys.stderr) for n in range(100_000)];"
        "print('x' * 1_000_000, file=sys.stderr);"
        "print('{}', flush=True);"  # no message, though JSON
        "p = open_dagster_pipes(params_loader=PipesMappingParamsLoader(json.loads(sys.stdin.readline())));"
        "p.report_custom_message({'result': {'partition': '2026-01-05', 'error': 'y' * 1_000_000}});"
        "p.log.warning('beware'); p.close()"
    )
    settings = docker_settings(images={"split": image_of("split", code)})
    arrive(settings)
    capfd.readouterr()
    # when it runs
    began = time.monotonic()
    (result,) = split(settings, in_a_run)
    seconds = time.monotonic() - began
    # then all of it is there
    assert result.error == "y" * 1_000_000
    out, err = capfd.readouterr()
    assert [int(number) for number in re.findall(r"^line (\d+)$", err, flags=re.MULTILINE)] == list(range(100_000))
    assert "x" * 1_000_000 in err
    assert "\n{}\n" in "\n" + out
    assert "beware" in err
    # and nobody waited for the reader
    assert seconds < 30


@pytest.mark.parametrize(
    ("code", "changes", "expected"),
    [
        (
            "import sys; print('last words', file=sys.stderr); sys.exit(3)",
            {},
            r"exit code 3\. Its last lines:\nlast words",
        ),
        ("x = bytearray(10**9)", {"docker_memory": "48m"}, r"killed: out of memory \(the limit is 48m"),
        # of a process that the step started
        (
            "import subprocess, sys; command = [sys.executable, '-c', 'x = bytearray(10**9)'];"
            "sys.exit(1 if subprocess.run(command).returncode else 0)",
            {"docker_memory": "48m"},
            r"killed: out of memory \(the limit is 48m",
        ),
        ("pass", {}, r"without saying what it did"),
    ],
)
def test_how_a_container_ended_is_in_the_error(docker_settings, image_of, in_a_run, ours, code, changes, expected):
    # given an image whose process ends badly
    settings = docker_settings(images={"split": image_of("split", code)}, **changes)
    arrive(settings)
    # when / then the error says how
    with pytest.raises(StepFailedError, match=expected):
        split(settings, in_a_run)


def test_a_container_is_locked_in_and_gone_when_it_is_cancelled(docker_settings, image_of, in_a_run, ours):
    # given a step that takes its time
    settings = docker_settings(
        images={"split": image_of("split", SLOW + RUN_STEP)}, docker_memory="512m", docker_cpus=0.5
    )
    arrive(settings)
    seen = {}

    def look_and_cancel(context):
        with closing(build_backend(settings)) as backend:
            results = backend.materialize("split", [DAY], RunInfo(context.run.run_id), context)
            signal.signal(signal.SIGALRM, lambda *_: look())
            signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
            try:
                list(results)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def look():
        for container in ours():
            if is_at_work(container):
                signal.setitimer(signal.ITIMER_REAL, 0)
                seen.update(container.attrs)
                raise KeyboardInterrupt

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
    assert not config["User"].startswith("0")
    mounts = {mount["Destination"]: mount["RW"] for mount in seen["Mounts"] if mount["Type"] == "bind"}
    assert mounts == {str(settings.data_dir / "processed"): False, str(settings.data_dir / "split"): True}
    assert config["Labels"]["io.mlops-assets.asset"] == "split"
    assert config["Labels"]["io.mlops-assets.partitions"] == DAY
    assert not any("MLFLOW" in variable for variable in config["Env"])


def command(settings, tmp_path, *arguments):
    """The command line in a process of its own, with these settings."""
    variables = {
        "MLOPS_BACKEND": "docker",
        "MLOPS_ROWS_PER_DAY": "300",
        "MLOPS_WORKERS": "0",
        "MLOPS_IMAGES": ",".join(f"{step}={image}" for step, image in settings.docker.images.items()),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "mlops_assets.cli", *arguments],
        cwd=tmp_path,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_dagster_is_told_to_end_or_killed(docker_settings, image_of, ours, tmp_path, number):
    # given a command whose container is at work
    settings = docker_settings(images={"split": image_of("split", SLOW + RUN_STEP)})
    arrive(settings)
    process = command(settings, tmp_path, "materialize", "split", "--partition", DAY)
    try:
        wait_until(lambda: [one for one in ours() if is_at_work(one)])
        # when it gets a signal
        process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        process.kill()
    # then the container ends, without anybody's help
    wait_until(lambda: ours() == [])
    # and the next attempt does it
    again = command(docker_settings(), tmp_path, "materialize", "split", "--partition", DAY, "--json")
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert json.loads(out)["success"]


@pytest.mark.parametrize("victim", ["container", "shim"])
def test_a_killed_container_is_an_error_that_says_so(docker_settings, image_of, in_a_run, ours, victim):
    # given a step that is at work
    settings = docker_settings(images={"split": image_of("split", SLOW + RUN_STEP)})
    arrive(settings)

    def kill(*_):
        for container in ours():
            if is_at_work(container):
                signal.setitimer(signal.ITIMER_REAL, 0)
                if victim == "container":
                    container.kill()
                else:
                    os.kill(shim_of(container.id), signal.SIGKILL)

    def work(context):
        with closing(build_backend(settings)) as backend:
            return list(backend.materialize("split", [DAY], RunInfo(context.run.run_id), context))

    signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
    # when it is killed / then the error says so
    try:
        with pytest.raises(StepFailedError, match="exit code 137, killed from outside"):
            in_a_run(work)
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


def materialize(settings, days, *assets):
    """A Dagster run over some days of some assets."""
    with closing(build_backend(settings)) as backend, dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [getattr(ASSETS, name) for name in assets],
            resources=build_resources(backend, build_tracking(settings)),
            instance=instance,
            tags={"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]},
            raise_on_error=False,
        )


def test_the_next_steps_container_waits_for_its_turn_or_goes(docker_settings, docker_client, ours):
    # given a run of three steps, of which the second cannot make one of two days
    settings = docker_settings()
    days = ["2026-01-05", "2026-01-06"]
    arrive(settings, days, until="raw_data")
    (settings.data_dir / "raw" / days[1] / "target.csv").write_text("id,target\n1,not in the data\n")
    began = time.time()
    # when it runs
    result = materialize(settings, days, "processed", "split", "model")
    # then it fails at its end, with the good day done
    assert not result.success
    assert "1 of 2 days could not be made" in result.failure_data_for_node("model").user_failure_data.description
    assert build_backend(settings).store.partitions("model") == days[:1]
    events = docker_client.events(
        since=int(began),
        until=int(time.time()) + 1,
        decode=True,
        filters={"event": "create", "label": f"{RUN_ID}={result.run_id}"},
    )
    made = [event["Actor"]["Attributes"]["io.mlops-assets.asset"] for event in events]
    # and the container that was made ahead for both days has given way to one for the good day
    assert made == ["processed", "split", "split", "model"]
    # and nothing waits any more
    assert ours() == []


def test_the_sweep_takes_what_dead_runs_left_and_nothing_else(docker_settings, docker_client, tmp_path):
    # given a run that is over, a run that is not, and containers: of both, of a run of somebody else's, of no run
    settings = docker_settings()
    image = build_backend(settings)._config.images["split"]

    @dg.op
    def nothing():
        pass

    @dg.job
    def job():
        nothing()

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        over = job.execute_in_process(instance=instance).run_id
        going_on = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id
        labels = {"over": over, "created": over, "going on": going_on, "unknown": "somebody else's", "other": None}
        containers = {
            name: docker_client.containers.create(
                image,
                ["60"],
                entrypoint=["sleep"],
                labels={} if run_id is None else {RUN_ID: run_id},
                auto_remove=True,
            )
            for name, run_id in labels.items()
        }
        for name, container in containers.items():
            if name != "created":
                container.start()
        try:
            # when the sensor sweeps
            hurried = settings.model_copy(update={"docker_stop_seconds": 0})
            with closing(build_backend(hurried)) as backend:
                sensors = build_sensors(build_tracking(settings), backend)
                (sensor,) = (one for one in sensors if one.name == "sweep")
                answer = sensor(dg.build_sensor_context(instance))
            # then only the containers of the run that is over are gone
            left = {one.id for one in docker_client.containers.list(all=True, ignore_removed=True)}
            assert {name for name, container in containers.items() if container.id not in left} == {"over", "created"}
            assert answer.skip_message.startswith("Removed ")
            assert answer.skip_message.count(over) == 2
        finally:
            for container in containers.values():
                with suppress(docker.errors.APIError):
                    container.remove(force=True)


def test_a_data_root_under_another_name_on_the_host(docker_settings, in_a_run, ours, tmp_path):
    # given a data root that the engine's host knows by another path
    (tmp_path / "data").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    settings = docker_settings(host_data_dir=tmp_path / "alias")
    arrive(settings)
    # when a day is split / then it works
    (result,) = split(settings, in_a_run)
    assert result.error is None
    # and when the path is another directory's, nothing is done and the message says what to set
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ProbeError, match="Set HOST_DATA_DIR"):
        split(docker_settings(host_data_dir=tmp_path / "elsewhere"), in_a_run)
    with pytest.raises(ProbeError, match="Set HOST_DATA_DIR"):
        split(docker_settings(host_data_dir=tmp_path / "missing"), in_a_run)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not list((tmp_path / "data").glob(".*"))


def test_missing_and_stale_images_and_a_missing_engine(
    docker_settings, image_of, docker_client, in_a_run, ours, monkeypatch
):
    # given no such image / when / then the message has the command
    with pytest.raises(ImageError, match="make images"):
        split(docker_settings(images={"split": "mlops-assets/none:0"}), in_a_run)
    # given an image of other code
    stale, _ = docker_client.images.build(
        fileobj=io.BytesIO(f"FROM {default_images('')['split']}\nLABEL io.mlops-assets.code=old".encode()), rm=True
    )
    with pytest.raises(ImageError, match=r"is stale: .* make images"):
        split(docker_settings(images={"split": stale.id}), in_a_run)
    docker_client.images.remove(stale.id)
    # given no engine
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(EngineError, match="DOCKER_HOST"):
        split(docker_settings(), in_a_run)
