"""Real SQLite stores. The migrations of a fresh one take over a second, so each test gets a copy of a template."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import pytest
from databases import copy_database

with warnings.catch_warnings():
    # MLflow and its dependencies deprecate things while they are imported; nothing of ours is involved.
    warnings.simplefilter("ignore")
    importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    importlib.import_module("mlflow.pyfunc")
    importlib.import_module("mlflow.sklearn")
    from mlflow import MlflowClient
    from tracking_samples import config, trained

from mlops_assets.tracking import Tracking


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A migrated, otherwise empty store."""
    folder = tmp_path_factory.mktemp("template")
    Tracking(config(folder)).connect()
    return folder / "mlflow.db"


@pytest.fixture
def tracking(template, tmp_path) -> Tracking:
    copy_database(template, tmp_path / "mlflow.db")
    return Tracking(config(tmp_path))


@pytest.fixture
def client(tracking) -> MlflowClient:
    """The store as another MLflow user sees it."""
    return MlflowClient(tracking.config.uri, tracking.config.uri)


@pytest.fixture
def file(tmp_path) -> Path:
    """Stands for a model's file where nothing is loaded."""
    path = tmp_path / "trained.skops"
    path.write_bytes(b"a model")
    return path


@pytest.fixture(scope="session")
def _three(template, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    copy_database(template, folder / "mlflow.db")
    (folder / "file").write_bytes(b"a model")
    tracking = Tracking(config(folder))
    for number in (1, 2, 3):
        tracking.record_model(trained(folder / "file", recipe=f"r{number}", ds=f"2024-01-0{number}"))
    return folder / "mlflow.db"


@pytest.fixture
def three(_three, tracking, tmp_path) -> Tracking:
    """A store with three versions."""
    copy_database(_three, tmp_path / "mlflow.db")
    return tracking


@pytest.fixture
def reopen():
    """The same store as another process would see it."""
    return lambda tracking: Tracking(tracking.config)


@pytest.fixture
def by_hand(client):
    """Register a version as a person would, without any tag of ours."""

    def register(**tags: str) -> int:
        return int(client.create_model_version("churn", "/nowhere", tags=tags, await_creation_for=0).version)

    return register
