"""Recording models and metrics: once per recipe, complete, readable by MLflow; on a real SQLite store."""

from __future__ import annotations

import importlib
import json
import threading
import warnings
from contextlib import suppress

import mlflow
import numpy as np
import pytest
from crashes import Crash, dying_at
from databases import copy_database
from tracking_samples import KINDS, config, frame, real, trained

from mlops_assets.tracking import Tracking, TrackingError, Verdict
from mlops_assets.tracking.mlflow_format import LOADER, PYFUNC, SKLEARN, SKOPS


@pytest.fixture
def loaders(monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    monkeypatch.setattr("mlflow.utils.requirements_utils.warn_dependency_requirement_mismatches", lambda *_: None)
    monkeypatch.setattr("mlflow.pyfunc._warn_potentially_incompatible_py_version_if_necessary", lambda *_, **__: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("mlflow.pyfunc"), importlib.import_module("mlflow.sklearn")


def test_a_version_says_where_it_comes_from(tracking, client, file):
    # given
    model = trained(file, recipe="abc", ds="2024-03-01")
    # when
    version = tracking.record_model(model)
    # then
    assert (version.number, version.name, version.ds, version.recipe) == (1, "churn", "2024-03-01", "abc")
    assert (version.sha256, version.stage, version.is_ours) == (model.sha256, "None", True)
    assert (version.image, version.engine, version.trained_through) == ("sha256:abc", "sklearn", "2024-03-01")
    assert (version.libraries, version.verdict) == ({"scikit-learn": "1.6.0"}, None)
    assert tracking.registry.find("abc") == tracking.registry.version(1) == version
    run = client.get_run(version.run_id)
    assert (run.info.run_name, run.info.status) == ("model 2024-03-01", "FINISHED")
    assert (run.data.params["depth"], len(run.data.params["long"])) == ("3", 6000)
    assert run.data.tags.items() >= {"dagster_run_id": "run-1", "mlops.recipe": "abc"}.items()
    logged = client.get_logged_model(version.model_id)
    assert (logged.status.value, logged.source_run_id) == ("READY", version.run_id)
    assert run.outputs.model_outputs[0].model_id == version.model_id


@pytest.mark.parametrize("estimator", ["hist_gradient_boosting", "random_forest", "logistic_regression"])
def test_mlflow_reads_what_was_recorded(estimator, tracking, loaders, tmp_path):
    # given
    pyfunc, sklearn = loaders
    tracking.record_model(real(estimator, tmp_path / "file"))
    folder = next(tmp_path.rglob("MLmodel")).parent
    # when
    model, flavor = pyfunc.load_model(str(folder)), sklearn.load_model(str(folder))
    # then
    expected = flavor.predict(frame())
    np.testing.assert_array_equal(model.predict(frame()), expected)
    np.testing.assert_array_equal(model.predict(model.input_example), expected[:3])
    signature = model.metadata.signature
    assert dict(zip(signature.inputs.input_names(), map(str, signature.inputs.input_types()), strict=True)) == {
        name: f"DataType.{kind}" for name, kind in KINDS.items()
    }
    assert [str(kind) for kind in signature.outputs.input_types()] == ["DataType.long"]


def test_names_of_the_format_are_those_of_mlflow(loaders):
    pyfunc, sklearn = loaders
    names = (pyfunc.FLAVOR_NAME, sklearn.FLAVOR_NAME, sklearn.SERIALIZATION_FORMAT_SKOPS, sklearn.__name__)
    assert names == (PYFUNC, SKLEARN, SKOPS, LOADER)


def test_versions_of_libraries_are_those_of_the_training(tracking, tmp_path):
    # when
    tracking.record_model(real("logistic_regression", tmp_path / "file"))
    # then
    folder = next(tmp_path.rglob("MLmodel")).parent
    content = mlflow.models.Model.load(str(folder))
    assert content.flavors["sklearn"]["sklearn_version"] == "1.6.0"
    assert content.flavors["python_function"]["python_version"] == "3.10.2"
    assert "python: 3.10.2" in (folder / "python_env.yaml").read_text()
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert requirements == [f"mlflow=={mlflow.__version__}", "scikit-learn==1.6.0", "skops==0.13.0"]
    assert json.loads((folder / "model.json").read_text())["classes"] == ["0", "1"]


def test_a_recipe_is_recorded_once(tracking, client, file):
    # given
    first = tracking.record_model(trained(file, recipe="abc"))
    # when
    again = tracking.record_model(trained(file, recipe="abc", ds="2024-01-02"))
    known = tracking.record_model(trained(file, recipe="abc"), known=tracking.registry.recipes())
    # then
    assert again == known == first
    assert len(client.search_runs([client.get_experiment_by_name("tests").experiment_id])) == 1


def test_two_processes_at_once_leave_the_first_version(tracking, reopen, file):
    # given: both looked before either had registered
    known = tracking.registry.recipes()
    first = tracking.record_model(trained(file), known=known)
    # when
    second = reopen(tracking).record_model(trained(file), known=known)
    # then
    assert second == first
    assert [version.number for version in tracking.registry.versions()] == [1]


def test_two_threads_may_record_at_once(tracking, file):
    # when
    threads = [
        threading.Thread(target=tracking.record_model, args=(trained(file, recipe=recipe),))
        for recipe in ("a", "b", "a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # then
    assert sorted(version.recipe for version in tracking.registry.versions()) == ["a", "b"]


def test_a_file_that_was_changed_is_not_registered(tracking, file):
    # given
    model = trained(file)
    file.write_bytes(b"another model")
    # when, then
    with pytest.raises(TrackingError, match=r"trained\.skops has SHA-256 .* reported .* Train the model again"):
        tracking.record_model(model)
    assert tracking.registry.versions() == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"columns": {"a": "float"}}, r"unknown column types \['float'\]"),
        ({"columns": None}, "cannot be used"),
        ({"output": "int"}, "unknown output 'int'"),
        (None, "it lacks columns, engine"),
    ],
)
def test_an_incomplete_description_is_refused_before_a_run_starts(change, what, tracking, client, file):
    # given
    model = trained(file)
    description = {} if change is None else {**model.description, **change}
    # when, then
    with pytest.raises(TrackingError, match=what):
        tracking.record_model(trained(file, description=description))
    assert client.get_experiment_by_name("tests") is None


def test_a_missing_file_is_a_clear_error(tracking, file):
    model = trained(file)
    file.unlink()
    with pytest.raises(TrackingError, match=r"no file .*trained\.skops"):
        tracking.record_model(model)


def test_metrics_belong_to_run_and_model_and_are_logged_once(tracking, client, file):
    # given
    version = tracking.record_model(trained(file))
    # when
    for auc in (np.float64(0.75), 0.5):
        tracking.record_metrics(version, {"auc": auc}, {"auc": 0.75}, "metrics.json", recipe="m1")
    # then
    assert client.get_run(version.run_id).data.metrics == {"auc": 0.75}
    assert [one.value for one in client.get_logged_model(version.model_id).metrics] == [0.75]
    assert client.download_artifacts(version.run_id, "metrics.json")
    # and other metrics replace them
    tracking.record_metrics(version, {"auc": 0.5}, {"auc": 0.5}, "metrics.json", recipe="m2")
    assert client.get_run(version.run_id).data.metrics == {"auc": 0.5}


def _whole_life(tracking: Tracking, file) -> None:
    """A training of one day, as often as it takes."""
    version = tracking.record_model(trained(file))
    tracking.record_metrics(version, {"auc": 0.75}, {"auc": 0.75}, "metrics.json", recipe="m1")
    for candidate in tracking.registry.unjudged("rows"):
        tracking.registry.promote(candidate, reason="first", by="gate")
        tracking.registry.record_verdict(candidate.number, Verdict("promoted", "first", "rows", "2024-01-01"))


@pytest.mark.slow
def test_a_crash_at_any_call_leaves_one_version_a_recipe_and_one_in_production(tracking, file, tmp_path):
    # given: one version serves already, as on every day but the first
    first = tracking.record_model(trained(file, recipe="r0"))
    tracking.registry.promote(first, reason="first", by="me")
    crashes = 0
    while True:
        folder = tmp_path / str(crashes)
        folder.mkdir()
        copy_database(tmp_path / "mlflow.db", folder / "mlflow.db")
        # when: a process is killed, and another one does the same again
        with suppress(Crash), dying_at(crashes + 1) as calls:
            _whole_life(Tracking(config(folder)), file)
            break
        crashes += 1
        store = Tracking(config(folder))
        _whole_life(store, file)
        # then
        versions = store.registry.versions()
        assert {version.recipe: version.stage for version in versions} == {"r0": "Archived", "r1": "Production"}, calls
        assert len(versions) == 2, calls
        assert store.registry.in_service() == ([2], 2), calls
        assert [one.to_version for one in store.registry.history()] == [1, 2], calls
        client = mlflow.MlflowClient(store.config.uri, store.config.uri)
        run = client.get_run(versions[1].run_id)
        assert (run.info.status, run.data.metrics) == ("FINISHED", {"auc": 0.75}), calls
        assert store.registry.unjudged("rows") == [], calls
    assert crashes > 20
