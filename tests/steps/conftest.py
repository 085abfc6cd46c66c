"""Projects whose raw data somebody else delivers; one with a model in production is made once and copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import DS, Project, mixed

from mlops_assets.settings import Settings


@pytest.fixture
def project(make_settings: Callable[..., Settings]) -> Callable[..., Project]:
    """A project with these settings, source ``files`` unless told otherwise."""
    return lambda **changes: Project(make_settings(**{"source": "files", **changes}))


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory, tracking_template: Path) -> Path:
    """A project folder in which the mixed data of one day went all the way to a model in production."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / ".mlops" / "mlflow").mkdir(parents=True)
    shutil.copy(tracking_template, folder / ".mlops" / "mlflow" / "mlflow.db")
    settings = Settings(_env_file=None, home=folder / ".mlops", data_dir=folder / "data", source="files")  # type: ignore[call-arg]
    made = Project(settings)
    made.deliver(DS, *mixed())
    made.make("register", "process", "split", "train", "evaluate")
    assert made.promote()["promoted"]
    return folder


@pytest.fixture
def serving(_trained: Path, tmp_path: Path, project: Callable[..., Project]) -> Callable[..., Project]:
    """A copy of a project in which the model of ``mixed()`` is in production."""

    def copy(**changes: object) -> Project:
        made = project(**changes)
        shutil.copytree(_trained / "data", made.store.root, dirs_exist_ok=True)
        shutil.copy(_trained / ".mlops" / "mlflow" / "mlflow.db", made.settings.home / "mlflow" / "mlflow.db")
        return made

    return copy
