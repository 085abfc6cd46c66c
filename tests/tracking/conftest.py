"""Real SQLite stores. The migrations of a fresh one take over a second, so each test gets a copy of a template."""

from __future__ import annotations

import importlib
import shutil
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    # MLflow and its dependencies deprecate things while they are imported; nothing of ours is involved.
    warnings.simplefilter("ignore")
    importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    import tracking_samples as samples
    from tracking_samples import REQUIREMENTS, config

from mlops_assets.steps.skops_io import dump_model, load_model
from mlops_assets.tracking import Tracking


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A migrated, otherwise empty store."""
    folder = tmp_path_factory.mktemp("template")
    Tracking(config(folder)).registry.versions()
    return folder / "mlflow.db"


@pytest.fixture
def tracking(template, tmp_path) -> Tracking:
    shutil.copy(template, tmp_path / "mlflow.db")
    return Tracking(config(tmp_path))


@pytest.fixture(scope="session")
def data():
    return samples.frame()


@pytest.fixture(scope="session")
def fitted(data):
    """One fitted pipeline of each kind; tests that change one take a copy."""
    return {kind: samples.pipeline(kind).fit(*data) for kind in (*samples.KINDS, "categorical")}


@pytest.fixture
def copy_of(fitted):
    return lambda kind: load_model(dump_model(fitted[kind]))


@pytest.fixture
def train(fitted, data):
    """Log and register a version; a label makes the digest, real content is not needed where nothing is loaded."""

    def _train(tracking, digest="d1", ds="2024-01-01", kind="logistic"):
        with tracking.model_run("train", tags={"dagster_run_id": "run-1"}) as run_id:
            logged = tracking.log_model(
                run_id, fitted[kind], example=data[0], types=samples.TYPES, requirements=REQUIREMENTS
            )
            return tracking.registry.register(logged, run_id, digest=digest, ds=ds, tags={"team": "blue"})

    return _train


@pytest.fixture(scope="session")
def _three(template, tmp_path_factory) -> Path:
    """A store with three registered versions without files."""
    from mlops_assets.tracking.entities import LoggedModel

    folder = tmp_path_factory.mktemp("three")
    shutil.copy(template, folder / "mlflow.db")
    tracking = Tracking(config(folder))
    with tracking.model_run("train", tags={}) as run_id:
        for number in (1, 2, 3):
            logged = LoggedModel(f"m-{number}", f"{folder}/nowhere/{number}")
            tracking.registry.register(logged, run_id, digest=f"d{number}", ds=f"2024-01-0{number}", tags={})
    return folder / "mlflow.db"


@pytest.fixture
def three(_three, tmp_path) -> Tracking:
    shutil.copy(_three, tmp_path / "mlflow.db")
    return Tracking(config(tmp_path))


@pytest.fixture
def reopen():
    """The same store as another process would see it."""
    return lambda tracking: Tracking(tracking.config)
