"""Who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mlops_assets

PACKAGE = Path(mlops_assets.__file__).parent

# The parts of the package and the heavy libraries that each part may import; `errors` and `imports` everybody may.
ALLOWED = {
    "store": set(),
    "tracking": {"mlflow"},
    "steps": {"store", "tracking"},
    "alerts": set(),
    "backends": {"steps", "store", "tracking", "dagster"},
    "cadence": {"store"},
    "pipeline": {"alerts", "cadence", "backends", "steps", "store", "tracking", "dagster"},
}
ENTRY_POINTS = {"cli", "definitions", "assembly", "settings", "fingerprint", "__init__"}
GUARDED = {"dagster", "mlflow", "cli", "definitions", "assembly", "settings", *ALLOWED}


def imported(path: Path) -> set[str]:
    """Parts and guarded libraries that a module imports anywhere, also for its annotations."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            parts = name.split(".")
            found.add(parts[1] if parts[0] == "mlops_assets" and len(parts) > 1 else parts[0])
    return found & GUARDED


@pytest.mark.parametrize("part", ALLOWED)
def test_each_part_imports_only_what_lies_below_it(part):
    modules = sorted((PACKAGE / part).rglob("*.py"))
    assert modules
    for path in modules:
        if path == PACKAGE / "steps" / "__main__.py":
            continue  # an entry point: it may read the settings
        assert imported(path) <= ALLOWED[part] | {part}, path


def test_every_module_is_part_of_the_rule():
    parts = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert parts == {*ALLOWED, *ENTRY_POINTS, "errors", "imports"}
