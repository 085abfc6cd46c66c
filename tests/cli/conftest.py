"""The command line in this process, in a folder of its own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import pytest
from databases import copy_database
from typer.testing import CliRunner

from mlops_assets.cli.app import app
from mlops_assets.errors import MlopsAssetsError


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(tmp_path, tracking_template, monkeypatch):
    """Call a command; settings as environment variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("MLOPS_ROWS_PER_DAY", "300")
    monkeypatch.setenv("MLOPS_WORKERS", "0")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (tmp_path / ".mlops" / "mlflow").mkdir(parents=True)
    copy_database(tracking_template, tmp_path / ".mlops" / "mlflow" / "mlflow.db")

    def call(*arguments: str, **environment: str) -> Done:
        monkeypatch.chdir(tmp_path)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        before = dict(os.environ)
        result = CliRunner().invoke(app, list(arguments))
        os.environ.clear()
        os.environ.update(before)
        if result.exception and not isinstance(result.exception, (SystemExit, MlopsAssetsError)):
            raise result.exception
        message = str(result.exception) if isinstance(result.exception, MlopsAssetsError) else ""
        return Done(result.exit_code, result.stdout, result.stderr + message)

    return call
