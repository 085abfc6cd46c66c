"""``python -m mlops_assets.settings`` prints docs/settings.md."""

from __future__ import annotations

from typing import Literal, get_args, get_origin

from mlops_assets.declared import Setting
from mlops_assets.settings import sections
from mlops_assets.settings.reading import shown, variable

_INTRODUCTION = """# Settings

Generated from the declarations by `make docs`; do not edit.

Settings are environment variables; a file `.env` in the working directory holds them, too, and the environment wins
over it. An empty value means the default. Unknown variables with the prefix `MLOPS_` are refused. `.env` may also hold
variables of MLflow and Dagster, such as `DAGSTER_HOME` (default: `dagster` under `MLOPS_HOME`).
Of two names for one
setting either works, and `MLOPS_…` wins. `mlops-assets doctor` prints the values in use."""
_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def page() -> str:
    """The documentation of all settings as Markdown."""
    return "\n\n".join([_INTRODUCTION, *(_section(title, settings) for title, settings in sections().items())]) + "\n"


def _section(title: str, settings: list[Setting]) -> str:
    rows = [
        f"| {_variables(one)} | {_code(shown(one, one.default))} | {_allowed(one)} | {one.description} |"
        for one in settings
    ]
    return "\n".join([f"## {title}", "", "| variable | default | allowed | meaning |", "|---|---|---|---|", *rows])


def _variables(setting: Setting) -> str:
    return " or ".join(_code(name) for name in (setting.also, variable(setting.name)) if name)


def _allowed(setting: Setting) -> str:
    if setting.annotation is bool:
        return "`true`, `false`"
    if get_origin(setting.annotation) is Literal:
        return ", ".join(_code(choice) for choice in get_args(setting.annotation))
    bounds = {name: f"{bound:,}" for name, bound in setting.bounds.items() if name in _BOUNDS}
    if bounds.keys() == {"ge", "le"}:
        return f"{bounds['ge']} to {bounds['le']}"
    return ", ".join(_BOUNDS[name].format(bound) for name, bound in bounds.items())


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201
