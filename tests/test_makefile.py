"""What `make` does in a fresh clone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        ((), "."),
        (("demo/.env",), "demo"),
        (("demo/.env", ".env"), "."),
        (("demo/.env", "data/raw/2026-03-01/data.csv"), "."),
    ],
)
def test_make_dev_shows_the_project_that_is_there(tmp_path, files, shown):
    # given a checkout after the demo, with own data, or with neither
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml", *files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    # when / then
    command = ["make", "--no-print-directory", "-n", "dev"]  # the tests may run below another make
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert f"mlops-assets dev --dir {shown}" in said.splitlines()[-1]
