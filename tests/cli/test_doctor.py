"""What `doctor` finds, and that it changes nothing; `--dir` of all commands."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from projects import mixed

from mlops_assets.cli.doctor import BROKEN, MISSING, OK, _data_dir
from mlops_assets.settings import Settings
from mlops_assets.store.layout import FOLDERS

NOBODY = 65_534


def findings(done):
    return {one["check"]: (one["state"], one["detail"]) for one in done.json["findings"]}


def test_doctor_makes_nothing_in_a_new_folder(cli, tmp_path):
    # given a folder in which no command has run
    shutil.rmtree(tmp_path / ".mlops")
    # when the doctor looks at it
    found = findings(cli("doctor", "--json"))
    # then nothing is broken, what is missing is said, and nothing was made
    states = {name: state for name, (state, _) in found.items()}
    assert BROKEN not in states.values()
    assert {states[name] for name in ("data_dir", "dagster", "tracking", "raw_data")} == {MISSING}
    assert list(tmp_path.iterdir()) == []
    # and what others make is found
    cli("materialize", "raw_data", "--partition", "2026-01-01")
    assert findings(cli("doctor", "--json"))["dagster"][0] == OK


def test_a_folder_of_the_data_root_that_cannot_be_written_is_named():
    # given a data root with one folder that another user owns
    with tempfile.TemporaryDirectory() as place:
        settings = Settings(_env_file=None, home=Path(place) / ".mlops", data_dir=Path(place) / "data")
        for folder in set(FOLDERS.values()):
            (settings.data_dir / folder).mkdir(parents=True, exist_ok=True)
        assert _data_dir(settings)[0] == OK
        (settings.data_dir / "predictions").chmod(0o500)
        if os.getuid() == 0:  # for whom no permission counts
            for path in (Path(place), *Path(place).rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        # when a user without root's rights looks
        child = os.fork()
        if child == 0:
            if os.getuid() == 0:
                os.setuid(NOBODY)
            state, detail = _data_dir(settings)
            os._exit(0 if state == BROKEN and f"{settings.data_dir}/predictions cannot be written" in detail else 1)
        # then it is broken, by its name
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("setting", ["MLOPS_DROP_COLUMNS", "MLOPS_TEXT_COLUMNS"])
def test_a_misspelt_column_in_a_setting_is_noticed(cli, setting):
    # given / when a day is made with a setting that names no column of it
    done = cli("materialize", "raw_data", "--partition", "2026-01-01", **{setting: "store,weight_kgs"})
    # then the command says so with the columns that there are, and the doctor does
    assert done.code == 0
    said = f"{setting} names 'weight_kgs', which no file of raw/2026-01-01 has. Did you mean 'weight_kg'? The columns"
    assert f"warning: {said}" in done.err
    assert "'store', which" not in done.err
    state, detail = findings(cli("doctor", "--json"))["raw_data"]
    assert state == BROKEN
    assert said in detail
    assert "session_minutes" in detail


def test_days_that_were_delivered_and_not_registered_are_counted(cli, tmp_path):
    # given two delivered days, and a folder without data
    for ds in ("2026-01-01", "2026-01-03"):
        place = tmp_path / "data/raw" / ds
        place.mkdir(parents=True)
        (place / "data.csv").write_text(mixed(100, seed=1)[0])
    (tmp_path / "data/raw/2026-01-02").mkdir()
    # when / then the doctor counts them and says how to register them, or that the settings pass over them
    state, detail = findings(cli("doctor", "--json"))["raw_data"]
    assert (state, "2 days. To use them, set MLOPS_SOURCE=files" in detail) == (MISSING, True)
    files = {"MLOPS_SOURCE": "files", "MLOPS_ID_COLUMN": "id"}
    state, detail = findings(cli("doctor", "--json", **files))["raw_data"]
    command = "mlops-assets materialize --from 2026-01-01 --to 2026-01-03"
    assert (state, detail) == (MISSING, f"delivered, not registered yet: 2 days. Try: {command}")
    # and beside those that are registered
    cli("materialize", "raw_data", "--partition", "2026-01-01")
    state, detail = findings(cli("doctor", "--json"))["raw_data"]
    assert state == OK
    assert detail.startswith("1 days, 2026-01-01 … 2026-01-01; delivered, not registered yet: 1 days.")


@pytest.mark.parametrize(
    "command",
    [
        ("doctor", "--json"),
        ("models", "list", "--json"),
        ("models", "history", "--json"),
        ("models", "promote", "1"),
        ("models", "rollback"),
        ("materialize", "raw_data", "--partition", "2026-01-01"),
        ("cleanup",),
        ("status",),
        ("alerts", "test"),
    ],
    ids=" ".join,
)
def test_every_command_works_on_the_project_in_another_folder(cli, tmp_path, command):
    # given a project elsewhere, whose settings cannot be used
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".env").write_text("MLOPS_SEED=-7\n")
    # when / then each command reads them, and a folder that is not there is an error
    assert "MLOPS_SEED is '-7'" in cli(*command, "--dir", "other").err
    done = cli(*command, "--dir", "missing")
    assert (done.code, "missing is not a folder" in done.err) == (2, True)
