"""The commands over a real engine, and the images themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from mlops_assets.backends.docker.images import default_images
from mlops_assets.fingerprint import step_code_digest


@pytest.fixture
def folder(tmp_path, tracking_template, docker_client):
    """A folder to work in."""
    (tmp_path / ".mlops" / "mlflow").mkdir(parents=True)
    shutil.copy(tracking_template, tmp_path / ".mlops" / "mlflow" / "mlflow.db")
    return tmp_path


def command(folder, *arguments, code=0, **variables):
    """Run a command; gives its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "mlops_assets.cli", *arguments, "--json"],
        cwd=folder,
        env={**os.environ, "MLOPS_BACKEND": "docker", "MLOPS_ROWS_PER_DAY": "2000", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_a_range_of_days_then_a_day_with_other_settings(folder, ours):
    # given / when three days of everything are made in containers
    answer = command(folder, "materialize", "--from", "2026-01-01", "--to", "2026-01-03")
    # then each day has its results
    assert answer["success"]
    made = {(result["asset"], result["partition"]): result["metadata"] for result in answer["results"]}
    assert len(made) == 6 * 3 + 1
    assert made["predictions", "2026-01-03"]["rows"] == 2000
    assert made["production_model", None]["promoted"]
    # and nothing is left to sweep
    assert command(folder, "reap") == {"removed": []}


def test_the_doctor_looks_into_containers(folder, ours):
    # given / when all is well
    findings = {one["check"]: one for one in command(folder, "doctor")["findings"]}
    # then it says what containers see
    assert {findings[name]["state"] for name in ("docker_engine", "images")} == {"ok"}
    assert str(folder / "data") in findings["data_root_in_containers"]["detail"]
    assert "containers reach sqlite" in findings["tracking_in_containers"]["detail"]
    # and when something is wrong with each, it says what to do
    wrong = {
        "MLOPS_IMAGES": "train=mlops-assets/none:1",
        "HOST_DATA_DIR": str(folder / "elsewhere"),
    }
    findings = {one["check"]: one for one in command(folder, "doctor", code=1, **wrong)["findings"]}
    assert "make images" in findings["images"]["detail"]
    assert "Set HOST_DATA_DIR" in findings["data_root_in_containers"]["detail"]
    wrong = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    findings = {one["check"]: one for one in command(folder, "doctor", code=1, **wrong)["findings"]}
    assert (
        "From a container in network 'host': MLflow cannot be reached" in findings["tracking_in_containers"]["detail"]
    )


@pytest.mark.parametrize("image", sorted(set(default_images("classification").values())))
def test_an_image_holds_the_code_that_its_label_says_and_no_more_than_its_steps_need(docker_client, image):
    # given an image / when it is asked for its code and its packages
    code = "import mlops_assets.fingerprint as f, importlib.util as u; print(f.step_code_digest(), *("
    code += "name for name in ('dagster', 'docker', 'sklearn', 'mlflow', 'pandas', 'pip') if u.find_spec(name)))"
    output = docker_client.containers.run(image, ["-c", code], entrypoint=["python"], network_mode="none", remove=True)
    digest, *packages = output.decode().split()
    # then it has the steps that are installed here
    assert digest == step_code_digest()
    # and what they need
    assert set(packages) == (set() if "/data:" in image else {"sklearn", "mlflow", "pandas"})
    # and runs as nobody in particular
    assert docker_client.images.get(image).attrs["Config"]["User"] == "10001:10001"
