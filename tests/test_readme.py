"""What the README says holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlops_assets.settings import Settings, variable

README = Path(__file__).parent.parent.joinpath("README.md").read_text(encoding="utf-8")


def test_every_setting_is_listed_with_its_default_and_no_other():
    # given the README's table
    rows = dict(re.findall(r"^\| `(MLOPS_\w+)` \| `?([^`|]*?)`? \|", README, flags=re.MULTILINE))
    # then it has the settings that there are
    assert set(rows) == {variable(name) for name in Settings.model_fields}
    defaults = Settings(_env_file=None)
    for name in Settings.model_fields:
        value = getattr(defaults, name)
        shown = ",".join(value) if isinstance(value, (tuple, dict)) else "" if value is None else str(value)
        assert rows[variable(name)].strip() == (shown.lower() if isinstance(value, bool) else shown), name


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
