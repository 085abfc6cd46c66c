"""The commands over a real engine, and the images themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from container_steps import DAY, RUN_STEP, SLOW, is_at_work, wait_until
from databases import copy_database

from mlops_assets.backends.docker.images import default_images
from mlops_assets.fingerprint import contract_digest, step_code_digest

IMAGES = sorted(set(default_images("classification").values()))
MEGABYTES = {"data": 330, "model": 480}


@pytest.fixture
def start(tmp_path, tracking_template, docker_client):
    """Start a command in a folder to work in, with steps in containers."""
    (tmp_path / ".mlops" / "mlflow").mkdir(parents=True)
    copy_database(tracking_template, tmp_path / ".mlops" / "mlflow" / "mlflow.db")

    def start(*arguments, **variables):
        return subprocess.Popen(
            [sys.executable, "-m", "mlops_assets.cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "MLOPS_BACKEND": "docker", "MLOPS_ROWS_PER_DAY": "2000", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def command(start):
    """Run a command; gives its JSON."""

    def command(*arguments, code=0, **variables):
        process = start(*arguments, "--json", **variables)
        out, err = process.communicate()
        assert process.returncode == code, err
        return json.loads(out)

    return command


def test_a_range_of_days_then_a_day_with_other_settings(command, ours):
    # given / when three days of everything are made in containers
    answer = command("materialize", "--from", "2026-01-01", "--to", "2026-01-03")
    # then each day has its results
    assert answer["success"]
    made = {(result["asset"], result["partition"]): result["metadata"] for result in answer["results"]}
    assert len(made) == 7 * 3
    assert made["predictions", "2026-01-03"]["rows"] == 2000
    assert made["production_model", "2026-01-03"]["promoted"]
    # and no container is left
    assert command("cleanup") == {"removed": []}


def test_without_the_image_of_training_a_day_is_still_predicted(command, ours, tmp_path):
    # given a model in production, and an image that is gone
    assert command("materialize", "--partition", "2026-01-05")["success"]
    # when the next day of everything is made
    answer = command("materialize", "--partition", "2026-01-06", code=1, MLOPS_IMAGES="train=mlops-assets/none:1")
    # then it is predicted
    assert (tmp_path / "data" / "predictions" / "2026-01-06" / "predictions.csv").exists()
    # and the run fails at its end, for what needs the image and nothing else
    (failure,) = answer["failures"].values()
    assert "2026-01-06 (model): The image mlops-assets/none:1 is not on the Docker engine" in failure
    assert failure.count("The image") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_dagster_is_stopped_or_killed(start, command, image_of, ours, number):
    # given a command whose container is at work
    assert command("materialize", "raw_data", "processed", "--partition", DAY)["success"]
    slow = f"split={image_of('split', SLOW + RUN_STEP)}"
    process = start("materialize", "split", "--partition", DAY, MLOPS_IMAGES=slow)
    try:
        wait_until(lambda: [one for one in ours() if is_at_work(one)])
        # when it gets a signal
        process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        process.kill()
    # then the container ends by itself
    wait_until(lambda: ours() == [])
    # and the next attempt does it
    assert command("materialize", "split", "--partition", DAY)["success"]


def test_the_doctor_looks_into_containers(command, tmp_path, built, ours):
    def findings(code=0, **variables):
        return {one["check"]: one for one in command("doctor", code=code, **variables)["findings"]}

    # given / when all is well
    found = findings()
    # then it says what containers see
    assert {found[name]["state"] for name in ("docker_engine", "images")} == {"ok"}
    assert str(tmp_path / "data") in found["data_root_in_containers"]["detail"]
    # and when something is wrong with each, it says what to do
    found = findings(1, MLOPS_IMAGES="train=mlops-assets/none:1", HOST_DATA_DIR=str(tmp_path / "elsewhere"))
    assert "make images" in found["images"]["detail"]
    assert "Set HOST_DATA_DIR" in found["data_root_in_containers"]["detail"]
    # and a foreign image for a step that it cannot replace, and a user that cannot write
    foreign = built("FROM scratch", "LABEL any=thing")
    assert findings(MLOPS_IMAGES=f"process={foreign}")["images"]["state"] == "ok"
    found = findings(1, MLOPS_IMAGES=f"train={foreign}")
    assert "Step train cannot be replaced by a program without our code" in found["images"]["detail"]
    if os.getuid() == 0:
        os.chown(tmp_path / "data" / "split", 4321, 4321)
        found = findings(1, MLOPS_DOCKER_USER="4242:4242")
        refused = found["data_root_in_containers"]["detail"]
        assert f"{tmp_path}/data/split" in refused
        assert "Let user 4242:4242 write there" in refused
        os.chown(tmp_path / "data" / "split", 0, 0)
    # and an engine that is down is reported once
    found = findings(1, DOCKER_HOST="unix:///nonexistent/docker.sock")
    states = {name: found[name]["state"] for name in ("docker_engine", "images", "data_root_in_containers")}
    assert states == {"docker_engine": "broken", "images": "missing", "data_root_in_containers": "missing"}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_the_code_that_its_label_says_and_no_more_than_its_steps_need(docker_client, image):
    # given an image / when it is asked for its code and its packages
    names = "'dagster', 'docker', 'sklearn', 'mlflow', 'sqlalchemy', 'pydantic', 'dotenv', 'pandas', 'pip'"
    code = "import mlops_assets.fingerprint as f, importlib.util as u; print(f.step_code_digest(), f.contract_digest(),"
    code += f"*(name for name in ({names}) if u.find_spec(name)))"
    output = docker_client.containers.run(image, ["-c", code], entrypoint=["python"], network_mode="none", remove=True)
    digest, contract, *packages = output.decode().split()
    # then it has the steps that are installed here
    assert digest == step_code_digest()
    assert contract == contract_digest() == docker_client.images.get(image).labels["io.mlops-assets.contract"]
    # and what they need
    assert set(packages) == (set() if "/data:" in image else {"sklearn", "pandas"})
    # and runs as a user of its own
    assert docker_client.images.get(image).attrs["Config"]["User"] == "10001:10001"
    # and is small
    (limit,) = (size for name, size in MEGABYTES.items() if f"/{name}:" in image)
    assert docker_client.images.get(image).attrs["Size"] <= limit * 1_000_000


@pytest.mark.parametrize("image", IMAGES)
def test_what_was_cut_off_the_libraries_is_not_missed(docker_client, image):
    # given all compiled modules of an image / when each is loaded
    code = (
        "import ctypes, pathlib, sysconfig\n"
        "for path in sorted(pathlib.Path(sysconfig.get_path('purelib')).rglob('*.so')):\n"
        "    try: ctypes.CDLL(str(path))\n"
        "    except OSError as error: print(path.name, error)\n"
    )
    options = {"entrypoint": ["python"], "network_mode": "none", "remove": True}
    output = docker_client.containers.run(image, ["-c", code], stderr=True, **options).decode()
    # then none fails but those whose library was left out on purpose
    assert [line for line in output.splitlines() if "flight" not in line and "_pyarrow_cpp_tests" not in line] == []
