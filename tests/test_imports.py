"""Who may import whom, and what an interpreter pays for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlops_assets

PACKAGE = Path(mlops_assets.__file__).parent

# From top to bottom: a part imports those in the rows below its own.
ORDER = (
    {"cli", "definitions"},
    {"wiring"},
    {"settings"},
    {"serving"},
    {"alerts", "automation"},
    {"assets"},
    {"housekeeping"},
    {"backends", "names"},
    {"fingerprint"},
    {"runtime"},
    {"checks"},
    {"steps"},
    {"sources"},
    {"store"},
)
EVERYBODYS = {"addresses", "declared", "errors", "imports"}
STANDALONE = {"__init__"}
RANK = {part: place for place, row in enumerate(ORDER) for part in row}

KNOW_TRACKING = {"cli", "definitions", "wiring", "automation", "assets", "housekeeping", "serving"}
KNOW_LIBRARY = {
    "dagster": {"cli", "definitions", "wiring", "alerts", "automation", "assets", "housekeeping", "backends", "names"},
    "dagster_mlflow": {"assets"},
    "dotenv": {"settings"},
    "mlflow": {"tracking"},
    "prometheus_client": {"serving"},
    "pydantic": {"settings"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
}

# MLflow's configuration is a group of the settings.
EXCEPTIONS = {("settings", "tracking.config")}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> Iterator[Path]:
    return (path for path in sorted(PACKAGE.rglob("*.py")) if part_of(path) not in STANDALONE)


def imported(path: Path) -> set[str]:
    """The modules that a module imports anywhere, also for its annotations."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = node.module == "mlops_assets"
            found |= {f"{node.module}.{one.name}" for one in node.names} if inside else {node.module}
    return found


def may_import(part: str, module: str) -> bool:
    library, _, rest = module.partition(".")
    other = rest.partition(".")[0]
    if library != "mlops_assets":
        return part in KNOW_LIBRARY.get(library, {part})
    if other in {"", "__version__", part, *EVERYBODYS} or (part, rest) in EXCEPTIONS:
        return True
    if other == "tracking":
        return part in KNOW_TRACKING
    if part == "tracking":
        return other == "store"
    return part not in EVERYBODYS and RANK[other] > RANK[part]


def test_each_module_imports_only_what_lies_below_it():
    wrong = {
        str(path.relative_to(PACKAGE)): sorted(names)
        for path in modules()
        if (names := {name for name in imported(path) if not may_import(part_of(path), name)})
    }
    assert wrong == {}


def test_every_module_is_part_of_the_rule():
    parts = {part_of(path) for path in PACKAGE.rglob("*.py")}
    assert parts == {*RANK, *EVERYBODYS, *STANDALONE, "tracking"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("mlops_assets.runtime.__main__", "dagster mlflow pydantic dotenv yaml sklearn pandas pyarrow numpy skops"),
        ("mlops_assets.runtime.runner", "dagster mlflow pydantic dotenv yaml sklearn pandas pyarrow numpy skops"),
        ("mlops_assets.runtime.worker", "dagster mlflow pydantic dotenv yaml sklearn pandas pyarrow numpy skops"),
        ("mlops_assets.definitions", "mlflow sklearn pandas pyarrow numpy skops apprise dagster_mlflow docker"),
        ("mlops_assets.serving.app", "dagster mlflow apprise dagster_mlflow docker"),
        ("mlops_assets.serving.config", "sklearn pandas pyarrow numpy starlette uvicorn"),
        ("mlops_assets.cli.app", "dagster mlflow sklearn pandas pyarrow numpy skops apprise docker"),
    ],
)
def test_what_a_fresh_interpreter_does_not_import(tmp_path, module, absent):
    # given a fresh interpreter / when one module is imported
    code = f"import sys, {module}; print(*sorted({set(absent.split())} & sys.modules.keys()))"
    environment = {"PYTHONPATH": str(PACKAGE.parent)}  # this checkout, whatever is installed
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    # then what it does not use did not come with it
    assert done.stdout.split() == []
