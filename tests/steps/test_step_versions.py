"""A step whose code changed has another version, or a person has confirmed that its outputs stay the same.

``python tests/steps/test_step_versions.py`` writes the digests anew, after that look.
"""

from __future__ import annotations

import ast
import hashlib
import json
import tokenize
from pathlib import Path

import mlops_assets
from mlops_assets.steps.catalog import STEPS
from mlops_assets.steps.declaration import Step

PACKAGE = Path(mlops_assets.__file__).parent
RECORD = Path(__file__).with_name("step_versions.json")


def code_of(module: str) -> str:
    """A module's code without comments, docstrings and layout."""
    path = PACKAGE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        line
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
        if isinstance(node.body[0].value, ast.Constant) and isinstance(node.body[0].value.value, str)
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    with path.open("rb") as file:
        comments = {
            token.start: token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT
        }
    lines = path.read_text(encoding="utf-8").splitlines()
    for (line, column), text in comments.items():
        if lines[line - 1][column:] == text:
            lines[line - 1] = lines[line - 1][:column]
    return "".join("".join(line.split()) for number, line in enumerate(lines, 1) if number not in docstrings)


def digest(step: Step) -> str:
    return hashlib.sha256("\0".join(code_of(module) for module in step.code).encode()).hexdigest()[:16]


def current() -> dict[str, dict[str, str]]:
    return {name: {"version": step.version, "code": digest(step)} for name, step in sorted(STEPS.items())}


def test_a_step_whose_code_changed_has_another_version():
    recorded, now = json.loads(RECORD.read_text()), current()
    changed = [name for name in now if recorded.get(name) != now[name]]
    assert not changed, (
        f"The code of {', '.join(changed)} changed. If the same inputs now give other outputs, raise the version in"
        f" mlops_assets/steps/catalog.py. Then run: python {RECORD.parent}/test_step_versions.py"
    )


def test_every_step_names_the_module_of_its_function():
    for step in STEPS.values():
        assert step.function().__module__.removeprefix("mlops_assets.") in step.code, step.name


if __name__ == "__main__":
    RECORD.write_text(json.dumps(current(), indent=1) + "\n", encoding="utf-8")
