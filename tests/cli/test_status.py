"""What commands print about days: `status`, `materialize --dry-run`, and the last message of a run."""

from __future__ import annotations

import datetime as dt
import os

import pytest
from projects import mixed

from mlops_assets.steps.catalog import ASSETS

START = dt.date.today() - dt.timedelta(days=8)  # noqa: DTZ011
DAYS = [(START + dt.timedelta(days=one)).isoformat() for one in range(8)]
FIRST, BROKEN, THIRD = DAYS[:3]
FILES = {"MLOPS_SOURCE": "files", "MLOPS_START_DATE": FIRST, "MLOPS_ID_COLUMN": "id", "MLOPS_TIMEZONE": "UTC"}


def deliver(folder, ds, seed, cut=False, rows=300):
    data, target = mixed(rows, seed=seed, first_id=seed * 1_000)
    place = folder / "data/raw" / ds
    place.mkdir(parents=True, exist_ok=True)
    (place / "data.csv").write_text(data[: -len(data) // 3] if cut else data)
    (place / "target.csv").write_text(target)


@pytest.fixture
def three_days(cli, tmp_path):
    """Three delivered days, of which the second is broken, after a run over them; the days since never came."""
    for seed, ds in enumerate(DAYS[:3]):
        deliver(tmp_path, ds, seed, cut=ds == BROKEN)
    done = cli("materialize", "--from", FIRST, "--to", THIRD, **FILES)
    assert done.code == 1
    return cli, done


@pytest.mark.slow
def test_status_marks_every_day_up_to_yesterday_and_says_why(three_days, tmp_path):
    # given / when
    cli, _ = three_days
    found = cli("status", "--json").json
    # then each day until yesterday is there
    assert [*found["days"]] == DAYS
    states = {ds: {asset: one["state"] for asset, one in day.items()} for ds, day in found["days"].items()}
    assert states[THIRD] == dict.fromkeys(ASSETS, "done")
    assert states[DAYS[3]] == dict.fromkeys(ASSETS, "never")
    # and what failed says in which file
    assert states[BROKEN] == dict.fromkeys(ASSETS, "never") | {"raw_data": "failed", "production_model": "done"}
    assert f"raw/{BROKEN}/data.csv" in found["days"][BROKEN]["raw_data"]["reason"]
    # and predictions say whether their version was trained on the day
    versions = [found["days"][ds]["predictions"]["model_version"] for ds in (FIRST, THIRD)]
    assert versions == [found["production"]["version"]] * 2
    assert sum(found["days"][ds]["predictions"].get("in_sample", False) for ds in (FIRST, THIRD)) == 1
    # and in a terminal all of it is readable in 80 columns
    text = cli("status", COLUMNS="80").out
    table = text[text.index("day ") :].split("failed raw_data of")[0].splitlines()
    assert all(len(line) <= 80 for line in table)
    assert all(asset in table[0] for asset in ASSETS)
    assert f"{DAYS[3]}…\n{DAYS[-1]}" in "\n".join(line.split(" ")[0] for line in table)
    assert f"failed raw_data of {BROKEN}: raw/{BROKEN}/data.csv" in text
    assert "in sample: predictions of" in text


@pytest.mark.slow
def test_status_shows_what_is_stale_and_what_serves(three_days, tmp_path):
    # given a redelivered day, a new delivery that is not registered, and a pinned version
    cli, _ = three_days
    deliver(tmp_path, FIRST, 7)
    deliver(tmp_path, DAYS[3], 8)
    # when
    found = cli("status", "--json", MLOPS_MODEL_VERSION="2").json
    # then what was made of the old delivery is stale; the model of another day is not
    assert {asset for asset, one in found["days"][FIRST].items() if one["state"] == "stale"} == {*ASSETS} - {
        "production_model"
    }
    assert found["days"][FIRST]["raw_data"]["reason"] == "data.csv has changed"
    assert found["days"][THIRD]["model"]["state"] == "done"
    assert found["days"][DAYS[3]]["raw_data"] == {"state": "never", "reason": "delivered, and not registered"}
    assert found["production"]["pinned"]
    text = cli("status").out
    assert f"stale raw_data, processed, split, model, metrics, predictions of {FIRST}: data.csv has changed" in text
    assert "version 2" in text
    assert "MLOPS_MODEL_VERSION pins it" in text
    # and a file that was only touched is not
    os.utime(tmp_path / f"data/raw/{THIRD}/data.csv")
    assert cli("status", "--json").json["days"][THIRD]["raw_data"] == {"state": "done"}
    # and without MLflow the days are shown all the same
    done = cli("status", MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert done.code == 1
    assert THIRD in done.out
    assert "cannot be reached" in done.err
    # and what failed for a reason of its own, not the day's, is marked until it was made
    assert cli("materialize", "model", "--partition", THIRD, MLFLOW_TRACKING_URI="http://127.0.0.1:1").code == 1
    found = cli("status", "--json", MLFLOW_TRACKING_URI="").json["days"][THIRD]["model"]
    assert found["state"] == "failed"
    assert "cannot be reached" in found["reason"]
    assert cli("materialize", "model", "--partition", THIRD).code == 0
    assert cli("status", "--json").json["days"][THIRD]["model"]["state"] == "done"


@pytest.mark.slow
def test_a_dry_run_says_what_would_be_made_and_why_and_writes_nothing(three_days, tmp_path):
    # given a redelivered day and another setting
    cli, _ = three_days
    deliver(tmp_path, FIRST, 7)
    (tmp_path / f"data/raw/{BROKEN}/data.csv").unlink()
    before = {path: path.read_bytes() for path in tmp_path.rglob("data/**/*") if path.is_file()}
    # when
    done = cli("materialize", "--from", FIRST, "--to", THIRD, "--dry-run", "--json", MLOPS_ESTIMATOR="random_forest")
    # then each day of each asset has its reason
    plan = {(one["asset"], one["partition"]): (one["action"], one["reason"]) for one in done.json["plan"]}
    assert plan["raw_data", FIRST] == ("make", "data.csv has changed")
    assert plan["raw_data", BROKEN] == ("cannot be made", f"raw/{BROKEN}/data.csv was not delivered")
    assert plan["processed", BROKEN] == ("cannot be made", "raw_data cannot be made")
    assert plan["raw_data", THIRD] == ("up to date", "")
    assert plan["model", THIRD] == ("make", "it was made with a different value of estimator")
    assert plan["predictions", THIRD] == ("up to date", "")
    assert plan["production_model", THIRD] == ("make", "versions that are not judged yet are judged, if there are any")
    # and nothing was written
    assert {path: path.read_bytes() for path in tmp_path.rglob("data/**/*") if path.is_file()} == before
    # and in words
    said = cli("materialize", "model", "--from", FIRST, "--to", FIRST, "--dry-run").out
    assert f"make: {FIRST}: a single day is always made" in said
    assert "Nothing was done" in said
    # and a check that would stop a day is named
    deliver(tmp_path, THIRD, 9, rows=40)
    assert cli("materialize", "raw_data", "--partition", THIRD).code == 0
    said = cli("materialize", "predictions", "--from", FIRST, "--to", THIRD, "--dry-run").out
    assert f"cannot be made: {THIRD}: Stopped by check row_count of raw_data" in said
    # and so does the status, although no later step was tried
    states = cli("status", "--json").json["days"][THIRD]
    assert states["raw_data"]["state"] == "done"
    assert states["predictions"]["state"] == states["processed"]["state"] == "failed"
    assert "Stopped by check row_count of raw_data" in states["predictions"]["reason"]


@pytest.mark.slow
def test_a_plan_knows_which_days_cannot_be_trained(cli, tmp_path):
    # given two days without a target and one whose target is empty, all three never registered
    for seed, ds in enumerate(DAYS[:4]):
        deliver(tmp_path, ds, seed)
    for ds in (BROKEN, THIRD):
        (tmp_path / f"data/raw/{ds}/target.csv").unlink()
    (tmp_path / f"data/raw/{FIRST}/target.csv").write_text("")
    span = ("--from", FIRST, "--to", DAYS[3], "--dry-run")

    # then a plan says what is missing of them, and that they are predicted
    def plan(*assets):
        done = cli("materialize", *assets, *span, "--json", **FILES)
        return {(one["asset"], one["partition"]): (one["action"], one["reason"]) for one in done.json["plan"]}

    found = plan()
    assert found["processed", BROKEN] == found["processed", THIRD] == ("cannot be made", "target.csv is missing")
    assert found["split", BROKEN] == ("cannot be made", "processed cannot be made")
    assert found["processed", DAYS[3]] == found["predictions", BROKEN] == ("make", "it is missing")
    # and when they are registered, also what is wrong with a target that is there
    assert cli("materialize", "raw_data", *span[:-1]).code == 0
    for found in (plan(), plan("processed", "predictions")):
        assert found["processed", BROKEN] == found["processed", THIRD] == ("cannot be made", "target.csv is missing")
        assert found["processed", FIRST][0] == "cannot be made"
        assert "target.csv is empty" in found["processed", FIRST][1]
        assert found["processed", DAYS[3]] == found["predictions", BROKEN] == ("make", "it is missing")


@pytest.mark.slow
def test_a_failed_day_is_named_once_and_later_runs_pass_on_why(three_days):
    # given a run over three days of which one is broken / then its failure is printed once
    cli, done = three_days
    assert done.err.count(f"raw/{BROKEN}/data.csv") == 1
    # and what was made is, too
    assert "scored 2 days" in done.out
    # when a later run needs the day, then it says why there is none, with file and remedy
    later = cli("materialize", "processed", "predictions", "--from", FIRST, "--to", THIRD)
    assert later.code == 1
    assert f"raw_data of {BROKEN} is missing" in later.err
    assert f"(the last attempt failed: raw/{BROKEN}/data.csv" in later.err
    assert "Deliver the whole file again" in later.err


@pytest.mark.slow
def test_as_of_leaves_days_for_which_there_was_no_version(cli, tmp_path):
    # given a version that was trained on the first of three days
    for seed, ds in enumerate(DAYS[:3]):
        deliver(tmp_path, ds, seed)
    assert cli("materialize", "--from", FIRST, "--to", FIRST, **FILES).code == 0
    assert cli("materialize", "raw_data", "predictions", "--from", FIRST, "--to", THIRD).code == 0
    before = (tmp_path / f"data/predictions/{FIRST}/predictions.csv").read_bytes()
    # then a plan says which version would score which day, and why one is left out
    planned = cli("materialize", "predictions", "--from", FIRST, "--to", THIRD, "--as-of", "--dry-run").out
    assert f"skipped: {FIRST}: no version was promoted that was trained on earlier days only" in planned
    assert f"make: {DAYS[1]}, {THIRD}: by version 1 (--as-of)" in planned
    # when the days are scored by the models of then
    done = cli("materialize", "predictions", "--from", FIRST, "--to", THIRD, "--as-of", "--json")
    # then the first day is skipped, which is no failure, and keeps its file
    assert done.code == 0, done.err
    assert [(one["asset"], one["partition"]) for one in done.json["skipped"]] == [("predictions", FIRST)]
    assert "trained on earlier days only" in done.json["skipped"][0]["reason"]
    assert sorted(one["partition"] for one in done.json["results"]) == DAYS[1:3]
    assert (tmp_path / f"data/predictions/{FIRST}/predictions.csv").read_bytes() == before
    assert cli("status", "--json").json["days"][FIRST]["predictions"]["state"] == "done"
    # and people read how many days were made
    said = cli("materialize", "predictions", "--from", FIRST, "--to", THIRD, "--as-of").out
    assert f"predictions for {FIRST} … {THIRD}; 2 of 3 days were made" in said
    # and nothing to score at all is a failure of the command, not of the day
    done = cli("materialize", "predictions", "--partition", FIRST, "--as-of")
    assert done.code == 1
    assert "Nothing was made. No version was promoted" in done.err
    assert cli("status", "--json").json["days"][FIRST]["predictions"]["state"] == "done"
    # and it is for predictions alone
    assert cli("materialize", "production_model", "predictions", "--partition", FIRST, "--as-of").code == 2


@pytest.mark.slow
def test_as_of_is_named_only_where_it_helps(cli, tmp_path):
    # given a version that was trained on the first day, and scored it
    for seed, ds in enumerate(DAYS[:2]):
        deliver(tmp_path, ds, seed)
    done = cli("materialize", "--partition", FIRST, **FILES)
    # then it is said, without advice that leads nowhere
    assert "window of the version that scored them: 1 (in_sample)" in done.out
    assert f"in sample: predictions of {FIRST} are" in (status := cli("status").out)
    assert "--as-of" not in done.out + status
    # and where a later version scored a day that the first one has not seen, the way is shown
    assert cli("materialize", *ASSETS[:-2], "--partition", DAYS[1]).code == 0
    assert cli("models", "promote", "2", "--reason", "a test").code == 0
    done = cli("materialize", "predictions", "--from", FIRST, "--to", DAYS[1], "--force")
    assert f"An earlier version can score {DAYS[1]}: materialize predictions … --as-of" in done.out
    assert f"an earlier one can score {DAYS[1]}: materialize predictions … --as-of" in cli("status").out
