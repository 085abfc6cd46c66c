"""What README and documentation say holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlops_assets.settings import sections, variable

ROOT = Path(__file__).parent.parent
README = ROOT.joinpath("README.md").read_text(encoding="utf-8")
TEXTS = [ROOT / "README.md", *sorted(ROOT.joinpath("docs").glob("*.md")), *sorted(ROOT.glob("mlops_assets/**/*.py"))]


def test_documentation_and_messages_name_only_settings_that_exist():
    known = {variable(one.name) for settings in sections().values() for one in settings}
    named = {name: path for path in TEXTS for name in re.findall(r"\bMLOPS_[A-Z_]*[A-Z]", path.read_text("utf-8"))}
    assert {name: path for name, path in named.items() if name not in known} == {}


@pytest.mark.slow
def test_the_example_of_a_users_test_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # given the example / when it is run
    example = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)[1]
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    # then it passes
    names["test_a_day_is_scored"](tmp_path)
    # and leaves nothing where it was started
    assert not list(Path.cwd().glob("mlruns*"))
