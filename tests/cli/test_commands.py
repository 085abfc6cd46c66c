"""Each command as a user calls it: what it prints, what it writes, how it exits."""

from __future__ import annotations

import datetime as dt
import shutil

import dagster as dg
import pytest

from mlops_assets.cli.demo import command_to_type, plan


@pytest.mark.slow
def test_materialize_status_and_models(cli, tmp_path):
    # given / when two days of all assets
    done = cli("materialize", "--from", "2026-01-01", "--to", "2026-01-02", "--json")
    # then every result is reported
    assert done.code == 0, done.err
    assert done.json["success"]
    results = {(one["asset"], one["partition"]): one["metadata"] for one in done.json["results"]}
    assert len(results) == 7 * 2
    assert results["raw_data", "2026-01-02"]["rows"] == 300
    assert results["production_model", "2026-01-02"]["promoted"] is True
    assert "judged" not in results["production_model", "2026-01-01"]
    # and the run, with its days, is in the instance that the UI reads, in one hidden folder
    with dg.DagsterInstance.from_config(str(tmp_path / ".mlops" / "dagster")) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("predictions")) == {"2026-01-01", "2026-01-02"}
        assert instance.get_run_by_id(done.json["run_id"]).is_success
    assert {path.name for path in tmp_path.iterdir()} == {".mlops", "data"}
    # and status and models agree with it
    status = cli("status", "--json").json
    assert {one["state"] for one in status["days"]["2026-01-02"].values()} == {"done"}
    serving = status["production"]["version"]
    versions = cli("models", "list", "--json").json
    assert {one["number"]: one["stage"] for one in versions} == {1: "None", 2: "None"} | {serving: "Production"}
    assert "2026-01-02" in cli("status").out


@pytest.mark.slow
def test_promotion_by_hand_and_rollback_are_in_both_logs(cli, tmp_path):
    # given two versions, one of them in production, as the command says
    said = " ".join(cli("materialize", "--from", "2026-01-01", "--to", "2026-01-02").out.split())
    assert "was promoted: roc_auc" in said
    assert "scored 2 days." in said
    serving = cli("status", "--json").json["production"]["version"]
    other = 3 - serving
    # when a person promotes the other one and takes it back
    assert cli("models", "promote", str(other), "--reason", "the new one is slow").code == 0
    assert cli("models", "rollback", "--reason", "it was the network", "--json").json["to_version"] == serving
    # then MLflow's history and Dagster's log both have it
    history = cli("models", "history", "--json").json
    steps = [(None, serving), (serving, other), (other, serving)]
    assert [(one["from_version"], one["to_version"]) for one in history] == steps
    assert history[1]["reason"] == "the new one is slow"
    with dg.DagsterInstance.from_config(str(tmp_path / ".mlops" / "dagster")) as instance:
        records = instance.fetch_materializations(dg.AssetKey("production_model"), limit=10).records
    by_hand = [one.asset_materialization.metadata for one in records if one.partition_key is None]
    assert [(one["reason"].value, one["rollback"].value) for one in by_hand] == [
        ("it was the network", True),
        ("the new one is slow", False),
    ]
    # and the lists name them, beside what the gate had said
    versions = {one["number"]: one for one in cli("models", "list", "--json").json}
    assert {number: one["by_hand"] for number, one in versions.items()} == {serving: "restored", other: "rolled back"}
    assert {one["verdict"]["outcome"] for one in versions.values()} == {"promoted", "rejected"}
    assert "the new one is slow" in cli("models", "history").out
    listed = cli("models", "list", COLUMNS="80").out
    assert "Production" in listed
    assert all(len(line) <= 80 for line in listed.splitlines())
    # and a version that is not there is an error that names it
    done = cli("models", "promote", "7")
    assert done.code == 1
    assert "7" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["materialize", "nonsense", "--partition", "2026-01-01"], "unknown asset"),
        (["materialize", "raw_data"], "Days are missing"),
        (["materialize", "raw_data", "--partition", "1.1.2026"], "is not a date. Expected YYYY-MM-DD"),
        (["materialize", "raw_data", "--partition", "2025-12-31"], "MLOPS_START_DATE"),
        (["materialize", "raw_data", "--partition", "2999-01-01"], "yesterday"),
        (["materialize", "raw_data", "--from", "2026-01-02", "--to", "2026-01-01"], "range is empty"),
        (["materialize", "raw_data", "--from", "2026-01-02"], "both --from and --to"),
        (["materialize", "--from", "2026-01-01", "--to", "2026-01-02", "--partition", "2026-01-01"], "not both"),
        (["demo", "--days", "1"], "days"),
        (["demo", "--source", "files"], "'files' is an unknown source. Sources: classification, "),
        (["demo", "--dir", "/dev/null/demo"], "/dev/null/demo cannot be made: Not a directory. Give another one"),
        (["status", "--dir", "x" * 300], "is not a folder to work in: File name too long"),
        (["status", "--dir", "missing"], "missing is not a folder to work in: No such file"),
        (["models", "promote", "9" * 20], "version"),
        (["dev", "--port", "65536"], "port"),
        (["dev", "--mlflow-port", "-1"], "port"),
    ],
)
def test_misuse_exits_with_2_and_says_what_was_expected(cli, tmp_path, arguments, message):
    before = sorted(tmp_path.rglob("*"))
    done = cli(*arguments)
    assert done.code == 2
    assert message in done.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dagster.yaml", b"telemetry: [", "dagster.yaml cannot be read: while parsing"),
        ("dagster.yaml", b"\xff", "dagster.yaml cannot be read: 'utf-8' codec"),
        ("dagster.yaml", b"- x", "dagster.yaml holds no mapping"),
        ("dagster.yaml", b"no_such_key: 1", "Correct dagster.yaml"),
        (".mlops/dagster/history/runs.db", b"no database", "file is not a database"),
        (".mlops/dagster/history/runs/index.db", b"no database", "file is not a database"),
    ],
)
def test_files_that_dagster_cannot_use_are_named(cli, tmp_path, name, content, message):
    # given a project whose configuration or database is damaged
    assert cli("cleanup").code == 0
    (tmp_path / name).write_bytes(content)
    # when a command uses Dagster / then it names the place
    done = cli("cleanup")
    assert done.code == 1
    assert message in done.err
    assert str(tmp_path) in done.err
    # and doctor finds it
    assert {one["check"]: one["state"] for one in cli("doctor", "--json").json["findings"]}["dagster"] == "broken"


@pytest.mark.parametrize("content", [b"", b"\xff", b"cut"])
def test_an_address_of_mlflows_ui_that_was_cut_off_is_not_used(cli, tmp_path, content):
    (tmp_path / ".mlops" / "mlflow_ui_url").write_bytes(content)
    assert cli("models", "list").code == 0


@pytest.mark.parametrize("command", [("status",), ("models", "list"), ("models", "history")], ids=" ".join)
def test_what_only_reads_makes_nothing_in_a_folder_without_a_project(cli, tmp_path, command):
    # given a folder in which no command has run
    shutil.rmtree(tmp_path / ".mlops")
    # when it is asked what there is / then there is nothing, and still is
    for arguments in (command, (*command, "--json")):
        done = cli(*arguments)
        assert (done.code, done.err) == (0, "")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--"], ["--help"]])
def test_without_a_command_there_is_help(cli, arguments):
    done = cli(*arguments)
    assert done.code == 0
    assert "materialize" in done.out
    assert cli("--version").out.count(".") == 2


def test_a_failed_day_exits_with_1_and_names_it(cli, tmp_path):
    # given a delivered day that was cut off
    (tmp_path / "data/raw/2026-01-01").mkdir(parents=True)
    (tmp_path / "data/raw/2026-01-01/data.csv").write_text("a,b\n1,2\n3")
    # when it is registered
    done = cli("materialize", "raw_data", "--partition", "2026-01-01", MLOPS_SOURCE="files")
    # then
    assert done.code == 1
    assert "raw/2026-01-01/data.csv, line 3 (row 2)" in done.err
    # and doctor knows that no day is there, which is not broken
    findings = {one["check"]: one["state"] for one in cli("doctor", "--json").json["findings"]}
    assert findings["raw_data"] == "missing"


def test_doctor_lists_settings_and_finds_what_is_broken(cli):
    # given / when all is well
    done = cli("doctor", "--json", MLOPS_SEED="7")
    # then every setting is described, and who set it is seen
    assert done.code == 0, done.out
    settings = {one["variable"]: one for one in done.json["settings"]}
    assert settings["MLOPS_SEED"]["value"] == "7"
    assert settings["MLOPS_SEED"]["set"] is True
    assert settings["MLOPS_SOURCE"]["set"] is False
    assert all(one["meaning"] for one in settings.values())
    # when the tracking server is not there
    done = cli("doctor", "--json", MLFLOW_TRACKING_URI="http://me:secret@127.0.0.1:1")
    # then it is broken, and no password is shown
    assert done.code == 1
    assert {one["check"]: one["state"] for one in done.json["findings"]}["tracking"] == "broken"
    assert "secret" not in done.out + done.err


def test_the_demo_names_commands_that_work_as_typed(tmp_path, monkeypatch):
    # given `make demo`, which calls the program in a virtual environment that is not on the path
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("sys.argv", [".venv/bin/mlops-assets", "demo"])
    assert command_to_type(tmp_path) == ".venv/bin/mlops-assets"
    # and the module, called as such
    monkeypatch.setattr("sys.argv", ["/somewhere/mlops_assets/cli/__main__.py", "demo"])
    assert command_to_type(tmp_path) == "python -m mlops_assets.cli"
    # and a program that is on the path
    program = tmp_path / "mlops-assets"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command_to_type(tmp_path) == "mlops-assets"


@pytest.mark.slow
def test_the_demo_has_a_folder_of_its_own_and_makes_only_what_is_missing(cli, tmp_path):
    # given a project with settings of its own
    (tmp_path / ".env").write_text("MLOPS_SOURCE=files\nMLOPS_MODEL_NAME=ours\n")
    before = sorted(tmp_path.rglob("*"))
    # when the demo runs for three days
    done = cli("demo", "--days", "3", "--json")
    # then its days end yesterday, and the last one is scored
    assert done.code == 0, done.err
    days = {one["day"]: one["scored_by"] for one in done.json["days"]}
    yesterday = dt.datetime.now(dt.timezone.utc).date() - dt.timedelta(days=1)
    last = yesterday.isoformat()
    assert list(days) == [(yesterday - dt.timedelta(days=back)).isoformat() for back in (2, 1, 0)]
    assert list(days.values()) == [None, None, "version 1"]
    # and the project is as it was
    assert [path for path in sorted(tmp_path.rglob("*")) if "demo" not in path.parts] == before
    # when it is started again, then nothing is written again
    predictions = tmp_path / f"demo/data/predictions/{last}/predictions.csv"
    raw = tmp_path / f"demo/data/raw/{last}/data.csv"
    written = predictions.stat().st_mtime_ns, raw.stat().st_mtime_ns
    assert cli("demo", "--days", "3", "--json").json == done.json
    assert (predictions.stat().st_mtime_ns, raw.stat().st_mtime_ns) == written
    # when a day's predictions are deleted, then just those are made again
    predictions.with_name("predictions.manifest.json").unlink()
    predictions.unlink()
    assert cli("demo", "--days", "3").code == 0
    assert predictions.exists()
    assert raw.stat().st_mtime_ns == written[1]
    # and its status is asked for by folder
    status = cli("status", "--dir", "demo", "--json").json
    assert status["data_dir"] == str(tmp_path / "demo" / "data")
    assert status["production"]["version"] == 1
    # and more days than there were until yesterday are refused
    assert "go beyond yesterday" in cli("demo", "--days", "4").err


def test_the_demo_plan_trains_weekly_and_scores_every_day_after_the_first_model():
    # given / when
    days = [f"{n:02d}" for n in range(1, 22)]
    batches = list(plan(days[:20]))
    # then every day arrives once, in order
    assert [ds for batch in batches if "raw_data" in batch.assets for ds in batch.days] == days[:20]
    # and a model is trained at the end of each week
    assert [batch.days for batch in batches if "model" in batch.assets] == [("07",), ("14",)]
    # and all days after the first training are scored
    assert [ds for batch in batches if "predictions" in batch.assets for ds in batch.days] == days[7:20]
    # and with less than a week there is still a day to score
    assert [batch.assets[-1] for batch in plan(days[:2])] == ["raw_data", "production_model", "predictions"]


ONE = "load_from: [{python_module: {module_name: mlops_assets.definitions, location_name: churn}}]"
TWO = f"{ONE[:-1]}, {{python_module: mlops_assets.definitions}}]"


@pytest.mark.parametrize(
    ("workspace", "location"), [("", "mlops_assets.definitions"), (ONE, "churn"), (TWO, None), ("[", None)]
)
def test_runs_of_a_command_stand_on_the_timeline_of_the_code_location(cli, tmp_path, workspace, location):
    # given a project with or without a workspace
    if workspace:
        (tmp_path / "workspace.yaml").write_text(workspace)
    # when
    assert cli("materialize", "raw_data", "--partition", "2026-01-05").code == 0
    # then the run belongs to the code location that the UI shows; where that is not known, to none
    with dg.DagsterInstance.from_config(str(tmp_path / ".mlops" / "dagster")) as instance:
        (run,) = instance.get_runs()
    assert (run.remote_job_origin and run.remote_job_origin.location_name) == location
