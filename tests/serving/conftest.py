"""A model server on a loopback port, over a project in which a model is in production and a second one is not."""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from databases import copy_database
from model_servers import settings_of
from projects import DS, NEXT, Project, mixed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of MLflow's own type hints
    importlib.import_module("mlflow.pyfunc.scoring_server.client")


@pytest.fixture(scope="session")
def _two(_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained project with a second version, of other data, that is not in production."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(_trained / "data", folder / "data")
    shutil.copytree(_trained / ".mlops" / "champions", folder / ".mlops" / "champions")
    (folder / ".mlops" / "mlflow").mkdir()
    copy_database(_trained / ".mlops" / "mlflow" / "mlflow.db", folder / ".mlops" / "mlflow" / "mlflow.db")
    made = Project(settings_of(folder))
    made.deliver(NEXT, *mixed(seed=1, first_id=1_000))
    assert made.materialize("raw_data", "processed", "split", "model", ds=NEXT).success
    return folder


@pytest.fixture
def project(_two: Path, tmp_path: Path) -> Callable[..., Project]:
    """A copy of it; its server looks for another version twenty times a second."""
    shutil.copytree(_two / "data", tmp_path / "data")
    shutil.copytree(_two / ".mlops" / "champions", tmp_path / ".mlops" / "champions")
    (tmp_path / ".mlops" / "mlflow").mkdir()
    copy_database(_two / ".mlops" / "mlflow" / "mlflow.db", tmp_path / ".mlops" / "mlflow" / "mlflow.db")
    return lambda **changes: Project(settings_of(tmp_path, **changes))


@pytest.fixture
def rows(project: Callable[..., Project]) -> list[dict[str, Any]]:
    """The first rows of the day as JSON has them, without id."""
    table = project().store.read_table("raw_data", DS, "data.csv").slice(0, 8).drop_columns(["id"])
    return [
        {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
        for row in table.to_pylist()
    ]


@pytest.fixture
def predicted(project: Callable[..., Project]) -> list[dict[str, Any]]:
    """What `predictions.csv` says of them."""
    table = project().store.read_table("predictions", DS, "predictions.csv").slice(0, 8)
    return table.drop_columns(["id"]).to_pylist()
