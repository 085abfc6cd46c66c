"""What each step's container may reach; no engine is needed to say so."""

from __future__ import annotations

import os

import pytest

from mlops_assets.backends.docker import access
from mlops_assets.errors import SettingsError
from mlops_assets.wiring.assembly import docker_config, tracking_config


def reach(settings, step) -> dict[str, bool]:
    """Directories below the folder of all settings, and whether they can be written to."""
    found = access.directories(step, docker_config(settings), tracking_config(settings))
    return {str(one.path.relative_to(settings.home.parent)): one.writable for one in found}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("generate", {"data/raw": True}),
        ("register", {"data/raw": True}),
        ("process", {"data/raw": False, "data/processed": True}),
        ("split", {"data/processed": False, "data/split": True}),
        ("train", {"data/split": False, "data/models": True, ".mlops/mlflow": True}),
        ("evaluate", {"data/split": False, "data/models": True, ".mlops/mlflow": True}),
        ("promote", {"data/split": False, ".mlops/mlflow": True}),
        ("predict", {"data/raw": False, "data/predictions": True, ".mlops/mlflow": True}),
    ],
)
def test_a_container_gets_the_directories_of_its_step(make_settings, step, expected):
    assert reach(make_settings(), step) == expected


@pytest.mark.parametrize(
    ("uri", "network", "expected"),
    [
        ("http://mlflow.example.com:5000", None, "bridge"),
        ("http://127.0.0.1:5000", None, "host"),
        ("http://mlflow:5000", "compose_default", "compose_default"),
        ("postgresql://user:hunter2@db/mlflow", None, "bridge"),
    ],
)
def test_only_steps_that_talk_to_a_server_have_a_network(make_settings, uri, network, expected):
    # given a tracking server
    settings = make_settings(tracking_uri=uri, docker_network=network)
    config, tracking = docker_config(settings), tracking_config(settings)
    # then its users have a network, and MLflow's own directory is not needed
    assert access.network("train", config, tracking) == expected
    assert ".mlops/mlflow" not in reach(settings, "train")
    # and the others have none
    assert access.network("process", config, tracking) == "none"


def test_with_a_sqlite_store_nobody_has_a_network(make_settings):
    settings = make_settings(docker_network="bridge")
    assert access.network("train", docker_config(settings), tracking_config(settings)) == "none"


def test_secrets_go_to_the_steps_that_need_them_and_to_no_other(make_settings, monkeypatch):
    # given a server with a password, and other variables of the user
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("HOME_BANKING_PASSWORD", "hunter2")
    settings = make_settings(tracking_uri="https://user:hunter2@mlflow.example.com")
    config, tracking = docker_config(settings), tracking_config(settings)
    # then the training step knows them
    known = access.secrets("train", tracking)
    assert known["MLFLOW_TRACKING_PASSWORD"] == known["AWS_SECRET_ACCESS_KEY"] == "hunter2"
    assert known["MLFLOW_TRACKING_URI"] == "https://user:hunter2@mlflow.example.com"
    assert "HOME_BANKING_PASSWORD" not in known
    # and the split does not, nor does the engine
    assert access.secrets("split", tracking) == {}
    assert "hunter2" not in str([access.environment(step, config, tracking) for step in ("split", "train")])
    # nor does a message
    assert "hunter2" not in repr(config)


def test_a_step_elsewhere_gets_the_same_settings(make_settings, monkeypatch):
    # given settings of every kind
    given = make_settings(
        text_columns=("a", "b"), positive_label="yes", csv_delimiter=";", seed=7, train_window_days=3, workers=2
    )
    # when another process reads the variables
    for name, value in given.step_environment().items():
        monkeypatch.setenv(name, value)
    read = type(given)(_env_file=None)
    # then it has the same parameters
    assert read.parameters() == given.parameters()
    assert (read.data_dir, read.workers, read.model_name) == (given.data_dir, 2, given.model_name)


def test_images_by_step(make_settings):
    # given an image for one step
    images = docker_config(make_settings(images="train=team/train:7")).images
    # then the others are ours, and scikit-learn's samples are made where scikit-learn is
    assert images["train"] == "team/train:7"
    assert images["evaluate"].startswith("mlops-assets/train:")
    assert images["generate"].startswith("mlops-assets/data:")
    assert docker_config(make_settings(source="sklearn:iris")).images["generate"].startswith("mlops-assets/train:")
    # and a step that is none is refused
    with pytest.raises(SettingsError, match=r"MLOPS_IMAGES .* trian: expected STEP=IMAGE, steps are generate"):
        make_settings(images="trian=team/train:7")


def test_mlflows_file_must_have_a_directory_of_its_own(make_settings, tmp_path):
    # given a SQLite file beside the data root
    settings = make_settings(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    # when / then containers do not get to see all that lies there
    with pytest.raises(SettingsError, match="directory of its own"):
        reach(settings, "train")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hand over")
def test_root_hands_over_folders_but_neither_deliveries_nor_what_links_lead_to(tmp_path):
    # given a day that root made, one that somebody delivered, and a link to elsewhere
    for name in ("raw/2026-01-01", "raw/2026-01-02", "raw/2026-01-03", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "data.csv").touch()
    os.chown(tmp_path / "raw/2026-01-02", 4321, 4321)
    (tmp_path / "raw/2026-01-04").symlink_to(tmp_path / "elsewhere")
    # when some of the days are handed over
    days = ["2026-01-01", "2026-01-02", "2026-01-04"]
    access.make_accessible([access.Directory(tmp_path / "raw", writable=True)], days, "10001:10001")
    # then the folders that were root's are the containers', and nothing else
    owners = {str(path.relative_to(tmp_path)): path.stat().st_uid for path in tmp_path.rglob("*")}
    assert {name for name, uid in owners.items() if uid == 10001} == {"raw", "raw/2026-01-01"}
    assert owners["raw/2026-01-02"] == 4321
