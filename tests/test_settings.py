"""What users set reaches the configuration objects; what cannot be used is refused, all of it at once."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from mlops_assets.errors import SettingsError
from mlops_assets.settings import Settings, load_env_file, sections, variable
from mlops_assets.settings.__main__ import page
from mlops_assets.steps.parameters import Parameters

ROOT = Path(__file__).parent.parent
SECRET = "hunter2secret"


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """A folder without ``.env``, and these variables."""
    monkeypatch.chdir(tmp_path)

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


def problems(**arguments):
    """The message about these arguments."""
    with pytest.raises(SettingsError) as caught:
        Settings(_env_file=None, **arguments)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_without_variables_everything_has_its_default(environment, tmp_path):
    settings = Settings()
    assert settings.given == frozenset()
    assert settings.steps == Parameters(model_name="mlops-assets")
    assert settings.tracking.uri == f"sqlite:///{tmp_path}/.mlops/mlflow/mlflow.db"
    assert settings.tracking.artifact_root == f"{tmp_path}/.mlops/mlflow/artifacts"
    assert settings.tracking.ui_url == "http://127.0.0.1:5000"
    assert settings.docker.data_dir == tmp_path / "data"
    assert settings.start_date == dt.date(2026, 1, 1)


def test_variables_reach_the_group_of_their_subject(environment):
    # given a variable of each group
    environment(
        MLOPS_ROWS_PER_DAY="500",
        mlops_text_columns=" zip, code ",
        MLOPS_DROP_COLUMNS="leak",
        MLOPS_TRAIN_WINDOW_DAYS="7",
        MLOPS_CHECK_SCHEMA="false",
        MLOPS_START_DATE="2026-03-01",
        MLOPS_READY_WHEN="marker",
        MLOPS_KEEP_LOGS_DAYS="5",
        MLOPS_DOCKER_NETWORKS="generate=bridge",
        MLOPS_IMAGES="train=team/train:7, predict=registry:5000/team/predict:7",
        MLOPS_ALERT_URLS="mailto://u:p@example.org?to=a,b json://example.org",
        MLOPS_MODEL_VERSION="3",
        MLOPS_SEED="",
    )
    # when the settings are read
    settings = Settings()
    # then the groups hold them
    assert (settings.steps.rows_per_day, settings.steps.seed) == (500, 0)
    assert settings.steps.text_columns == ("zip", "code")
    assert settings.checks.schema is False
    # and so do the groups that use a setting of another one
    assert (settings.checks.ignored_columns, settings.checks.train_window_days) == (("leak",), 7)
    assert settings.automation.start_date == settings.steps.start_date == "2026-03-01"
    assert settings.automation.require_marker
    assert settings.retention.logs == 5
    assert settings.docker.networks == {"generate": "bridge"}
    assert settings.docker.images == {"train": "team/train:7", "predict": "registry:5000/team/predict:7"}
    assert settings.alerts.urls == ("mailto://u:p@example.org?to=a,b", "json://example.org")
    assert settings.tracking.model_version == 3
    assert "seed" not in settings.given
    assert "rows_per_day" in settings.given


def test_arguments_win_over_the_environment_and_the_environment_over_the_file(environment):
    Path(".env").write_text("MLOPS_SEED=1\nMLOPS_ROWS_PER_DAY=100\nMLOPS_RETRIES=7\nOTHER=x\n")
    environment(MLOPS_SEED="2", MLOPS_ROWS_PER_DAY="200")
    settings = Settings(seed=3)
    assert (settings.steps.seed, settings.steps.rows_per_day, settings.automation.retries) == (3, 200, 7)


def test_an_empty_variable_switches_off_what_the_file_sets(environment):
    Path(".env").write_text("MLOPS_ALERT_URLS=json://example.org\n")
    environment(MLOPS_ALERT_URLS="")
    assert Settings().alerts.urls == ()


def test_defaults_that_follow_from_other_settings():
    def make(**arguments):
        return Settings(_env_file=None, **arguments)

    assert make(source="transactions").steps.id_column == "TRANSACTION_ID"
    assert make(source="transactions", id_column="tx").steps.id_column == "tx"
    # a pipeline's name is that of its model and experiment
    named = make(pipeline="churn", experiment="mine")
    assert (named.tracking.model_name, named.steps.model_name, named.tracking.experiment) == ("churn", "churn", "mine")
    # a server has a UI of its own
    assert make(tracking_uri="http://mlflow:5000").tracking.ui_base == "http://mlflow:5000"
    assert make(tracking_uri="http://mlflow:5000").tracking.artifact_root is None
    # runs are kept as long as they keep their day from being started again
    assert make(catchup_days=400).retention.runs == 401


def test_variables_of_mlflow_and_compose(environment):
    environment(MLFLOW_TRACKING_URI="http://mlflow:5000", HOST_DATA_DIR="/srv/data")
    assert Settings().tracking.uri == "http://mlflow:5000"
    assert Settings().docker.host_data_dir == Path("/srv/data")
    assert Settings(tracking_uri="http://other:5000").tracking.uri == "http://other:5000"


def test_all_problems_are_listed_at_once(environment):
    Path(".env").write_text("MLOPS_ROWS_PER_DAYS=1\n")
    environment(MLOPS_SEED="-1", MLOPS_WORKERS="many", MLFLOW_TRACKING_URI="nowhere", MLOPS_XYZ="1")
    with pytest.raises(SettingsError) as caught:
        Settings(gate_min_scor=1)
    lines = str(caught.value).splitlines()
    assert lines[0] == "Invalid settings:"
    assert any(line.startswith("- MLOPS_SEED is '-1': ") for line in lines)
    assert any(line.startswith("- MLOPS_WORKERS is 'many': ") for line in lines)
    assert any("MLFLOW_TRACKING_URI" in line for line in lines)
    assert "- unknown setting 'MLOPS_ROWS_PER_DAYS': did you mean MLOPS_ROWS_PER_DAY?" in lines
    assert "- unknown setting 'MLOPS_XYZ': docs/settings.md lists all settings." in lines
    assert "- unknown setting 'gate_min_scor': did you mean gate_min_score?" in lines
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("gate_min_score", "nan", "finite number"),
        ("gate_min_score", float("inf"), "finite number"),
        ("retry_seconds", "inf", "finite number"),
        ("validation_share", "1", "less than 1"),
        ("gate_samples", "999", "1000"),
        ("workers", "100000", "64"),
        ("seed", 2**32, "4294967295"),
        ("download_cron", "99 99 * * *", "expected a cron string"),
        ("train_cron", "0 0 30 2 *", "expected a cron string"),
        ("judge_cron", "* * * * * *", "expected a cron string"),
        ("predict_cron", "daily", "expected a cron string"),
        ("csv_delimiter", '"', "expected one character"),
        ("csv_delimiter", "\n", "expected one character"),
        ("csv_delimiter", "||", "at most 1 character"),
        ("start_date", "0001-01-01", "expected a date from 1970-01-01"),
        ("start_date", "9999-12-31", "to 2199-12-31"),
        ("start_date", "January", "YYYY-MM-DD"),
        ("timezone", "Berlin", "IANA"),
        ("timezone", "../../etc/passwd", "IANA"),
        ("source", "kafka", "expected one of files, classification"),
        ("estimator", "xgboost", "'random_forest'"),
        ("pipeline", "my-pipeline", "letters, digits and underscores"),
        ("model_name", "team/model", "without /"),
        ("images", "trian=a:1", "unknown steps 'trian': the steps are generate"),
        ("images", "train", "name=value"),
        ("docker_networks", {"train": "bridge", "x": "y"}, "unknown steps 'x'"),
        ("image_prefix", "team/", "localhost:5000/team"),
        ("docker_memory", "lots", "512m"),
        ("docker_tmpfs", "200%", "512m"),
        ("docker_pids", "1", "64"),
        ("docker_user", "me", "1000:1000"),
        ("docker_cpus", "0", "greater than 0"),
        ("host_data_dir", "data", "absolute"),
        ("alert_on", "failure,never", "never: expected some of failure"),
        ("dagster_url", "localhost", "http(s)://"),
        ("model_version", 2**40, "2147483647"),
        ("keep_runs_days", 10**12, "36500"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_what_is_expected(name, value, expected):
    (_, line) = problems(**{name: value}).splitlines()
    assert line.startswith(f"- {variable(name)} is ")
    assert expected in line


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "0", "-1", "nan", "1e999", "9" * 400, "é", "\0", "\n", ",", "=", "@", "a=b=c", "{}", "None", "true"),
        *(
            "://",
            "http://[",
            "http://x:y",
            "file://x",
            "sqlite://",
            "/dev/null/x",
            "../..",
            "x" * 5000,
            "'",
            "* * * * *",
        ),
    ],
)
def test_no_value_of_any_setting_ends_in_a_traceback(value):
    for settings in sections().values():
        for one in settings:
            with suppress(SettingsError):
                list(Settings(_env_file=None, **{one.name: value}).rows())


@pytest.mark.parametrize(
    "value",
    ["0 0 * * mon", "@daily", "*/15 6-18 1,15 * *"],
)
def test_cron_strings_that_dagster_takes(value):
    assert Settings(_env_file=None, train_cron=value).automation.crons["train"] == value


@pytest.mark.parametrize("value", ["\t", ";", "|", " "])
def test_delimiters_that_can_be_used(value):
    assert Settings(_env_file=None, csv_delimiter=value).steps.csv_delimiter == value


@pytest.mark.parametrize("name", ["home", "data_dir"])
def test_a_folder_that_is_a_file_is_refused(name, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    for path in (file, file / "below" / "it"):
        assert f"expected a folder, but {file} is a file" in problems(**{name: path})
    assert "expected a folder" in problems(**{name: tmp_path / ("x" * 300)})


@pytest.mark.parametrize(
    "uri", [f"user:{SECRET}@host", "nowhere", " ", "http://", "http://[", "http://host:port", "sqlite://"]
)
def test_a_malformed_address_of_mlflow_is_refused(uri):
    message = problems(tracking_uri=uri)
    assert "MLFLOW_TRACKING_URI" in message
    assert SECRET not in message


def test_secrets_are_neither_in_messages_nor_in_what_is_shown(environment):
    # given secrets in variables, some of them malformed
    environment(MLOPS_ALERT_URLS=f"mailto://me:{SECRET}@example.org", MLFLOW_TRACKING_URI=f"http://me:{SECRET}@mlflow")
    settings = Settings(dagster_url=f"http://me:{SECRET}@dagster:3000", mlflow_ui_url=f"http://me:{SECRET}@ui")
    # then nothing that is shown holds them
    rows = {one.name: text for one, text in settings.rows()}
    assert rows["alert_urls"] == rows["tracking_uri"] == "***"
    assert rows["dagster_url"] == "http://dagster:3000"
    assert SECRET not in f"{rows} {settings!r} {settings.tracking!r}"
    assert "dagster_url='http://dagster:3000'" in repr(settings)
    # and neither do messages, whatever setting an address was put into by mistake, and however it is written
    for address in (f"http://me:{SECRET}@host", f"http://me:my {SECRET}@host", f"json://host?token={SECRET}"):
        for name in ("alert_on", "seed", "source"):
            assert SECRET not in problems(**{name: address})
    assert SECRET not in problems(tracking_uri=f"sqlite://me:{SECRET}@host")
    assert SECRET not in problems(alert_urls=f"json://ok {SECRET}", dagster_url=f"me:{SECRET}@dagster", seed=-1)


@pytest.mark.parametrize("content", [b"MLOPS_SEED=\xff\xfe", b"MLOPS_SEED=\x00"])
def test_an_env_file_that_is_not_text_is_refused(environment, content):
    Path(".env").write_bytes(content)
    for read in (Settings, load_env_file):
        with pytest.raises(SettingsError, match=r"\.env.*Expected text"):
            read()


@pytest.mark.parametrize(
    "line", ["MLOPS_SEED", "export MLOPS_SEED", "MLOPS_SEED: 7", "=7", "MLOPS_SEED='7", "a secret"]
)
def test_a_line_of_the_env_file_that_sets_nothing_is_refused(environment, line):
    # given a file with comments, blank lines, values without text and of several lines, and a line without a value
    Path(".env").write_text(f"# ours\nA=\nexport B='1\n2' # two lines\n\n  \n{line}\nC=3\n")
    # when it is read / then the line is named, and not shown
    for read in (Settings, load_env_file):
        with pytest.raises(SettingsError, match=r"\.env, line 7: expected NAME=VALUE") as caught:
            read()
        assert "secret" not in str(caught.value)


def test_the_variables_of_the_env_file_become_those_of_the_process(environment, monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    Path(".env").write_text("DAGSTER_HOME=/from/file\nMLFLOW_X=file\nNOTHING=\n")
    os.environ["MLFLOW_X"] = "environment"
    load_env_file()
    assert (os.environ["DAGSTER_HOME"], os.environ["MLFLOW_X"]) == ("/from/file", "environment")


def test_parameters_survive_the_way_to_a_step_as_json():
    params = Settings(_env_file=None, text_columns="a,b", source="transactions", start_date=dt.date(2026, 2, 1)).steps
    assert Parameters.from_json(json.loads(json.dumps(asdict(params)))) == params


def test_each_setting_is_declared_once_and_described():
    declared = [one for settings in sections().values() for one in settings]
    names = [one.name for one in declared]
    assert sorted(set(names)) == sorted(names)
    assert all(one.description.endswith(".") for one in declared)


def test_the_defaults_are_valid():
    # Defaults are not validated when the settings are read.
    declared = {one.name: one.default for settings in sections().values() for one in settings}
    derived = {"tracking_uri", "model_name", "experiment"}
    Settings(_env_file=None, **{name: value for name, value in declared.items() if name not in derived})


def test_the_documentation_is_up_to_date():
    assert page() == (ROOT / "docs/settings.md").read_text(encoding="utf-8"), "run: make docs"


def test_reading_settings_and_parameters_imports_no_library_that_is_not_needed():
    # given a fresh interpreter
    def loaded(code):
        code += "; import sys; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        return {name.partition(".")[0] for name in done.stdout.split()}

    # when settings are read / then nothing heavy is imported
    heavy = {"dagster", "mlflow", "pandas", "numpy", "pyarrow", "sklearn", "apprise", "docker"}
    assert not heavy & loaded("from mlops_assets.settings import Settings; Settings(_env_file=None)")
    # and the parameters of the steps need no pydantic: images have none
    assert not {*heavy, "pydantic"} & loaded("from mlops_assets.steps.parameters import Parameters; Parameters()")
