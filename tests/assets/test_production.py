"""Which version serves, and how a run ends: by its selection, unjudged versions, the champion and what fails."""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil

import pytest
from mlflow import MlflowClient
from projects import DS, LATER, NEXT, Project, as_csv, mixed, with_labels, without_column

from mlops_assets.settings import Settings
from mlops_assets.steps import skops_io
from mlops_assets.tracking.errors import TrackingError
from mlops_assets.tracking.registry import Registry

TRAIN = ("processed", "split", "model", "metrics", "production_model")
PREDICT = ("production_model", "predictions")
RECENT = "2026-01-05"


def shuffled(target: str, seed: int = 0) -> str:
    """Targets that cannot be learned."""
    header, *rows = (line.split(",") for line in target.splitlines())
    labels = [label for _, label in rows]
    random.Random(seed).shuffle(labels)
    return as_csv(header, [(row, label) for (row, _), label in zip(rows, labels, strict=True)])


def weak(made: Project) -> None:
    """Put a model into production that learned noise (version 2), in the place of version 1."""
    data, target = mixed(300, seed=1, first_id=1_000)
    made.deliver(NEXT, data, shuffled(target))
    assert made.materialize("raw_data", "processed", "split", "model", ds=NEXT).success
    made.tracking.registry.promote(2, reason="by hand", by="a test")
    made.deliver(NEXT, data, target)
    assert made.materialize("raw_data", "processed", "split", ds=NEXT).success


def away(made: Project) -> Project:
    """The same project when MLflow cannot be reached."""
    return Project(Settings(**own(made), tracking_uri="http://127.0.0.1:1"))


def own(made: Project) -> dict[str, object]:
    """Settings of the same project."""
    places = {"home": made.settings.home, "data_dir": made.settings.data_dir}
    return {"_env_file": None, "source": "files", "start_date": DS, "workers": 0, **places}


def production(made: Project, ds: str) -> dict[str, object]:
    return json.loads((made.store.folder("production_model", ds) / "production.json").read_text())


# --- what a run selects x what is unjudged ---


@pytest.mark.parametrize(
    ("selected", "judged"),
    [(TRAIN, True), (("production_model",), True), ((), True), (PREDICT, False), (("predictions",), False)],
)
def test_runs_that_train_and_runs_of_the_asset_alone_judge_and_others_only_resolve(serving, selected, judged):
    # given a weak champion, and a better version that nobody has judged
    made = serving(estimator="logistic_regression")
    weak(made)
    assert made.materialize("model", "metrics", ds=NEXT).success
    assert made.tracking.registry.production().number == 2
    # when some assets are made
    result = made.materialize(*selected, ds=NEXT)
    # then only those that train, or the asset alone, judge; whatever it was, the day goes on
    assert result.success
    assert made.tracking.registry.production().number == (3 if judged else 2)
    if not selected or "predictions" in selected:
        assert result.metadata("predictions")[NEXT]["model_version"] == (3 if judged else 2)
    if judged:
        facts = result.metadata("production_model")[NEXT]
        assert (facts["promoted"], facts["from_version"], facts["to_version"]) == (True, 2, 3)
        assert facts["challenger_score"] > facts["champion_score"]


def test_a_version_is_judged_once(serving):
    # given a challenger that lost
    made = serving(estimator="logistic_regression")
    data, target = mixed(300, seed=1, first_id=1_000)
    made.deliver(NEXT, data, shuffled(target))
    made.materialize("raw_data", "processed", "split", "model", ds=NEXT)
    made.deliver(NEXT, data, target)
    made.materialize("raw_data", "processed", "split", ds=NEXT)
    lost = made.materialize("production_model", ds=NEXT).metadata("production_model")[NEXT]
    assert (lost["judged"], lost["promoted"], lost["model_version"]) == (1, False, 1)
    # when the asset is made again, then there is nothing to judge, and the champion serves
    again = made.materialize("production_model", ds=NEXT).metadata("production_model")[NEXT]
    assert "judged" not in again
    assert again["model_version"] == 1
    # and the verdict stands on the version, for people and for programs
    verdict = made.tracking.registry.version(2).verdict
    assert verdict.outcome == "rejected"
    assert verdict.reason in lost["reason"]


def test_no_gate_overrules_a_person(serving):
    # given a better version that a person took out of production
    made = serving(estimator="logistic_regression")
    weak(made)
    made.materialize(*TRAIN, ds=NEXT)
    made.tracking.registry.rollback(reason="customers complained", by="a person")
    # when the gate is asked again, then it leaves it so
    facts = made.materialize("production_model", ds=NEXT).metadata("production_model")[NEXT]
    assert "judged" not in facts
    assert facts["model_version"] == made.tracking.registry.production().number == 2


def test_several_versions_are_judged_together_and_one_goes_to_production(serving):
    # given a weak champion, and a range of days to train on
    made = serving(estimator="logistic_regression")
    weak(made)
    made.deliver(LATER, *mixed(300, seed=2, first_id=2_000))
    # when both days go through all assets in one run
    result = made.materialize(ds=NEXT, to=LATER)
    # then both versions are judged, once, and every day says which version serves it
    assert result.success
    facts = result.metadata("production_model")
    assert [facts[ds].get("judged") for ds in (NEXT, LATER)] == [None, 2]
    serves = made.tracking.registry.production().number
    assert serves in {3, 4}
    assert {facts[ds]["model_version"] for ds in facts} == {serves}
    assert [version.verdict is not None for version in made.tracking.registry.versions()][2:] == [True, True]
    assert len(made.tracking.registry.history()) == 3


# --- nothing in production ---


@pytest.mark.parametrize(
    ("rows", "changes", "outcome", "reason"),
    [
        (400, {"gate_min_score": 0.9999}, "rejected", "threshold"),
        (40, {}, "undecided", "of class"),
    ],
)
def test_a_first_model_that_does_not_pass_fails_no_training_and_the_predictions_say_so(
    project, rows, changes, outcome, reason
):
    # given a first model that is not good enough, or cannot be judged
    made = project(estimator="logistic_regression", **changes)
    made.deliver(DS, *mixed(rows))
    # when it is trained, then the training succeeds, and nothing is in production
    trained = made.materialize("raw_data", *TRAIN)
    assert trained.success
    assert made.tracking.registry.production() is None
    assert made.tracking.registry.version(1).verdict.outcome == outcome
    assert production(made, DS)["model_version"] is None
    # and the predictions say why, and what to do
    result = made.materialize(*PREDICT)
    assert list(result.failures) == ["predictions"]
    message = result.failures["predictions"]
    assert {"rejected": "Version 1 was rejected", "undecided": "Version 1 could not be judged"}[outcome] in message
    assert reason in message
    assert "mlops-assets models promote 1" in message


def test_an_undecided_version_is_judged_again_when_there_are_more_rows(project):
    # given a version that could not be judged for want of rows
    made = project(estimator="logistic_regression")
    made.deliver(DS, *mixed(40))
    made.materialize("raw_data", *TRAIN)
    # when the same is asked again, then nothing is judged; when another day has come, it is
    assert "judged" not in made.materialize("production_model").metadata("production_model")[DS]
    made.deliver(NEXT, *mixed(400, seed=1, first_id=1_000))
    made.materialize("raw_data", "processed", "split", ds=NEXT)
    facts = made.materialize("production_model", ds=NEXT).metadata("production_model")[NEXT]
    assert facts["judged"] == 1
    assert made.tracking.registry.version(1).verdict.outcome == "promoted"


def test_a_version_that_the_newest_rows_do_not_fit_does_not_keep_the_gate_from_judging_others(project):
    # given nothing in production, an undecided version, and a column that holds words from the next day on
    made = project(estimator="logistic_regression")
    made.deliver(DS, *mixed(40))
    made.materialize("raw_data", *TRAIN)
    made.deliver(NEXT, *mixed(400, seed=1, first_id=1_000, amount=lambda row: f"word {row % 5}"))
    # when a person accepts the change, a version is trained on it, and both are judged
    made.materialize("raw_data", ds=NEXT)
    made.materialize("processed", ds=NEXT)
    made.materialize("split", "model", "metrics", "production_model", ds=NEXT)
    # then the one that fits is in production, and of the other one it is said why not
    first, second = (one.verdict for one in made.tracking.registry.versions())
    assert second.outcome == "promoted"
    assert first.outcome == "undecided"
    assert "held-out rows fit version 1" in first.reason


# --- what fails ---


@pytest.mark.parametrize("target", [b"", b"\xff\xfe\x00", b"id,target\n1,0,7\n", None])
def test_a_broken_target_stops_no_predictions(serving, target):
    # given a day whose target is broken
    made = serving()
    data, good = mixed(300, seed=1, first_id=1_000)
    made.deliver(NEXT, data, good if target is None else target)
    if target is None:
        (made.store.folder("raw_data", NEXT) / "target.csv").unlink()
        (made.store.folder("raw_data", NEXT) / "target.csv").mkdir()
    # when all assets are made
    result = made.materialize(ds=NEXT)
    # then the day is predicted, and the run fails and names it
    assert result.made("predictions") == [NEXT]
    assert result.metadata("predictions")[NEXT]["model_version"] == 1
    assert not result.success
    assert f"raw/{NEXT}/target.csv" in next(iter(result.failures.values()))


def test_without_mlflow_the_champion_that_was_resolved_last_serves_with_a_warning(serving):
    # given a project whose champion was resolved, and a new day, when MLflow is away
    made = serving()
    made.deliver(NEXT, *mixed(300, seed=1, first_id=1_000))
    assert made.materialize("raw_data", ds=NEXT).success
    alone = away(made)
    # when the day is predicted
    result = alone.materialize(*PREDICT, ds=NEXT)
    # then it is, by that champion, and a check says that MLflow is away
    assert result.success
    assert result.metadata("predictions")[NEXT]["model_version"] == 1
    assert result.checks()["mlflow_reachable"] is False
    assert "MLflow is away" in production(made, NEXT)["reason"]


@pytest.mark.parametrize(("hours", "serves"), [(24.1, True), (36.1, False)])
def test_what_is_remembered_serves_until_after_the_next_daily_run(serving, hours, serves):
    # given a champion that was resolved some time ago
    made = serving()
    memory = made.settings.home / "champions" / "mlops-assets.json"
    content = json.loads(memory.read_text())
    resolved_at = dt.datetime.now(dt.timezone.utc) - dt.timedelta(hours=hours)
    memory.write_text(json.dumps({**content, "resolved_at": resolved_at.isoformat()}))
    if serves:
        assert away(made).materialize(*PREDICT).success
        return
    # when MLflow is away, then nothing serves, and the message says where MLflow was expected
    result = away(made).materialize(*PREDICT)
    assert not result.success
    assert "127.0.0.1:1" in next(iter(result.failures.values()))


def test_a_registry_that_refuses_stops_no_predictions(serving, monkeypatch):
    # given a champion that was resolved, and an MLflow that answers, but refuses: its password was changed
    made = serving()

    def refused(self):
        raise TrackingError("MLflow could not search model versions: 401")

    monkeypatch.setattr(Registry, "production", refused)
    # when the day is predicted, then by that champion, with the reason as a warning
    result = made.materialize(*PREDICT)
    assert result.success
    assert result.checks()["mlflow_reachable"] is False


def test_a_deleted_experiment_stops_no_predictions(serving):
    # given a champion whose runs were deleted
    made = serving()
    client = MlflowClient(made.settings.tracking.uri)
    client.delete_experiment(client.get_experiment_by_name(made.settings.tracking.experiment).experiment_id)
    # when the day is predicted, then by that champion
    assert Project(made.settings).materialize(*PREDICT).success


def test_a_version_that_was_pinned_is_not_the_champion_that_is_remembered(serving):
    # given a pinned version that served last
    made = serving(estimator="logistic_regression")
    weak(made)
    pinned = Settings(**own(made), model_version=1)
    assert Project(pinned).materialize(*PREDICT, ds=NEXT).success
    # when the pin is taken away while MLflow is away, then it does not serve on
    result = away(made).materialize(*PREDICT, ds=NEXT)
    assert not result.success
    assert "127.0.0.1:1" in next(iter(result.failures.values()))


def test_a_training_without_mlflow_fails_and_stops_no_predictions(serving):
    # given a new day, when MLflow is away
    made = serving()
    made.deliver(NEXT, *mixed(300, seed=1, first_id=1_000))
    result = away(made).materialize(ds=NEXT)
    # then the day is predicted, and the run fails for its model
    assert result.made("predictions") == [NEXT]
    assert "(model): MLflow cannot be reached" in result.failures["predictions"]
    # and when MLflow is back, the model is trained again: nobody vouched for the one that was not recorded
    assert made.materialize(ds=NEXT).success
    assert [version.ds for version in made.tracking.registry.versions()] == [DS, NEXT]


def test_a_challenger_without_a_column_is_for_a_person_to_decide(serving):
    # given data that lost a column for good, so that the champion cannot be scored
    made = serving(estimator="logistic_regression")
    data, target = mixed(300, seed=1, first_id=1_000)
    made.deliver(NEXT, without_column(data, "amount"), target)
    # when a version is trained on them
    made.materialize("raw_data", ds=NEXT)
    made.materialize("processed", ds=NEXT)
    result = made.materialize("split", "model", "metrics", "production_model", ds=NEXT)
    # then the champion stays, and the verdict says what to do
    assert result.success
    facts = result.metadata("production_model")[NEXT]
    assert (facts["promoted"], facts["model_version"]) == (False, 1)
    assert "'amount'" in facts["reason"]
    assert "models promote 2" in facts["reason"]
    assert made.tracking.registry.version(2).verdict.outcome == "undecided"


@pytest.mark.parametrize("labels", [(1, 2), ("no", "yes")])
def test_other_labels_do_not_stop_the_gate(serving, labels):
    # given a challenger with other labels than the champion, as in all the data that are still there
    made = serving(estimator="logistic_regression")
    data, target = mixed(400, seed=1, first_id=1_000)
    made.deliver(NEXT, data, with_labels(target, labels))
    shutil.rmtree(made.store.folder("split", DS))
    made.materialize("raw_data", ds=NEXT)
    made.materialize("processed", ds=NEXT)
    # when the gate decides on the rows since, then it can, and the champion, which does not know a class, loses
    facts = made.materialize("split", "model", "metrics", "production_model", ds=NEXT).metadata("production_model")
    assert facts[NEXT]["promoted"]


def test_a_changed_model_file_is_restored_and_never_loaded(serving):
    # given a registered model whose file was changed
    made = serving()
    path = made.store.folder("model", DS) / "model.skops"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"x")
    # when the model is evaluated, then it is refused before it is parsed
    result = made.materialize("metrics")
    assert not result.success
    assert "is not the file of version 1" in next(iter(result.failures.values()))
    # and when the model is made again, the registered file is put back: one version a recipe
    assert made.materialize("model", "metrics").success
    assert path.read_bytes() == good
    assert [version.number for version in made.tracking.registry.versions()] == [1]


def test_a_version_of_a_changed_artifact_does_not_serve(project):
    # given a champion whose artifact was changed, on a machine that has not seen it
    made = project(source="classification")
    assert made.materialize(ds=RECENT).success
    (artifact,) = (made.settings.home.parent).rglob("artifacts/**/model.skops")
    artifact.write_bytes(artifact.read_bytes() + b"x")
    shutil.rmtree(made.store.root / "production" / "models")
    # when a day is predicted, then it is refused
    result = made.materialize(*PREDICT, ds=RECENT)
    assert not result.success
    assert "version 1" in next(iter(result.failures.values())).lower()


def test_a_later_judgement_leaves_which_version_scored_a_day(serving):
    # given a day that version 1 scored, and version 2 in production since
    made = serving(estimator="logistic_regression")
    weak(made)
    assert made.tracking.registry.production().number == 2

    def of_day():
        return production(made, DS)["model_version"], made.store.require("predictions", DS).metadata["model_version"]

    assert of_day() == (1, 1)
    # when the gate judges a version under that day
    result = Project(Settings(**own(made), seed=5)).materialize(*TRAIN, ds=DS)
    # then Dagster has the verdict, with links to the version, and the file still says which version scored the day
    facts = result.metadata("production_model")[DS]
    assert facts["judged"] == 1
    assert facts["model_version_url"].endswith(f"/versions/{facts['challenger_version']}")
    assert of_day() == (1, 1)
    # and when the day is scored again, both say the version that serves now
    serving_now = made.tracking.registry.production().number
    assert made.materialize(*PREDICT, ds=DS).success
    assert of_day() == (serving_now, serving_now)


# --- days that a model has seen ---


def test_predictions_say_whether_their_model_was_trained_on_the_day(serving):
    # given a champion that was trained on the first day / when that day and the next are predicted
    made = serving()
    made.deliver(NEXT, *mixed(300, seed=1, first_id=1_000))
    result = made.materialize("raw_data", *PREDICT, ds=DS, to=NEXT)
    # then only the first is in sample, in Dagster and beside the file
    facts = result.metadata("predictions")
    assert [facts[ds]["in_sample"] for ds in (DS, NEXT)] == [True, False]
    assert made.store.require("predictions", NEXT).metadata["in_sample"] is False


def test_past_days_can_be_scored_by_a_version_that_has_not_seen_them(serving):
    # given two versions that were in production one after the other
    made = serving(estimator="logistic_regression")
    weak(made)
    made.deliver(LATER, *mixed(300, seed=2, first_id=2_000))
    made.materialize("raw_data", ds=LATER)
    # when all days are scored as of then
    as_of = {"mlops_assets/as_of": "true", "mlops_assets/force": "true"}
    result = made.materialize("predictions", ds=DS, to=LATER, **as_of)
    # then each day by the newest one that had not seen it, and the first day by none, which is no failure
    assert result.success
    facts = result.metadata("predictions")
    assert {ds: facts[ds]["model_version"] for ds in facts} == {NEXT: 1, LATER: 2}
    # and where no day can be scored, the run says so
    result = made.materialize("predictions", ds=DS, **as_of)
    assert "No version was promoted that was trained on earlier days only" in result.failures["predictions"]


def test_a_version_that_was_rolled_back_scores_no_past_days(serving):
    # given a version that was in production and was rolled back
    made = serving(estimator="logistic_regression")
    weak(made)
    made.tracking.registry.rollback(reason="it is bad", by="a person")
    made.deliver(LATER, *mixed(300, seed=2, first_id=2_000))
    made.materialize("raw_data", ds=LATER)
    # when a later day is scored as of then, then by the version before it
    as_of = {"mlops_assets/as_of": "true", "mlops_assets/force": "true"}
    result = made.materialize("predictions", ds=NEXT, to=LATER, **as_of)
    assert {ds: facts["model_version"] for ds, facts in result.metadata("predictions").items()} == {NEXT: 1, LATER: 1}


def test_a_day_between_two_trainings_of_a_window_is_in_sample_only_inside_it(serving):
    # given a champion that was trained on the third day alone, and the day before
    made = serving(estimator="logistic_regression")
    made.deliver(NEXT, *mixed(300, seed=1, first_id=1_000))
    made.deliver(LATER, *mixed(300, seed=2, first_id=2_000))
    made.materialize("raw_data", ds=NEXT, to=LATER)
    made.materialize("processed", "split", "model", ds=LATER)
    made.tracking.registry.promote(2, reason="by hand", by="a test")
    # when both are predicted, then the day before is not in sample
    facts = made.materialize(*PREDICT, ds=NEXT, to=LATER).metadata("predictions")
    assert [facts[ds]["in_sample"] for ds in (NEXT, LATER)] == [False, True]


def test_a_challenger_that_cannot_be_loaded_stops_no_other(serving, monkeypatch):
    # given two challengers, of which one was trained with other libraries
    made = serving(estimator="logistic_regression")
    for seed, ds in enumerate((NEXT, LATER), 1):
        made.deliver(ds, *mixed(400, seed=seed, first_id=1_000 * seed))
        assert made.materialize("raw_data", "processed", "split", "model", ds=ds).success
    load = skops_io.load_model

    def refuses(data, what, libraries=None):
        if "version 2" in what:
            raise skops_io.UntrustedModelError(f"{what}: trained with another scikit-learn")
        return load(data, what, libraries)

    monkeypatch.setattr(skops_io, "load_model", refuses)
    # when the gate judges, then the other one gets its verdict
    assert Project(made.settings).materialize("production_model", ds=LATER).success
    verdicts = {one.number: one.verdict for one in made.tracking.registry.versions()}
    assert verdicts[2].outcome == "undecided"
    assert "another scikit-learn" in verdicts[2].reason
    assert verdicts[3].outcome in {"promoted", "rejected"}


def test_a_first_day_that_fails_in_training_names_the_cause_and_not_only_the_missing_model(project):
    # given a first day whose target cannot be used
    made = project()
    made.deliver(DS, mixed(300)[0], b"id,target\n")
    # when all assets are made, then the run names what went wrong first
    result = made.materialize()
    message = result.failures["predictions"]
    assert f"raw/{DS}/target.csv" in message
    assert "there is nothing to predict with" in message or "predictions are not possible" in message
