"""MLflow breaks off at any of its calls: the repeated run ends with one version a recipe, and one in production."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mlflow import MlflowClient
from projects import DS, LATER, NEXT, mixed

TRAIN = ("processed", "split", "model", "metrics", "production_model")


@contextmanager
def broken_from(nth: int) -> Iterator[list[str]]:
    """The connection to MLflow breaks at the nth call of the client; yields the names of the calls."""
    calls: list[str] = []

    def breaking(name, original):
        def call(*arguments, **named):
            calls.append(name)
            if len(calls) >= nth:
                raise ConnectionError(f"the connection was closed at call {nth}, {name}")
            return original(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name, original in inspect.getmembers(MlflowClient, inspect.isfunction):
            if not name.startswith("_"):
                patch.setattr(MlflowClient, name, breaking(name, original))
        yield calls


@pytest.mark.slow
def test_a_run_that_lost_mlflow_is_repeated(serving, tmp_path):
    # given a champion, and a day to train on with more data
    made = serving(estimator="logistic_regression")
    made.deliver(NEXT, *mixed(800, seed=1, first_id=1_000))
    assert made.materialize("raw_data", ds=NEXT).success
    clean = tmp_path / "clean"
    shutil.copytree(made.settings.home.parent, clean, ignore=shutil.ignore_patterns("clean"))
    nth, is_over = 1, False
    while not is_over:
        for folder in ("data", ".mlops"):
            shutil.rmtree(tmp_path / folder)
            shutil.copytree(clean / folder, tmp_path / folder)
        # when MLflow breaks off at some call of a training
        made = reopened(made)
        with broken_from(nth) as calls:
            made.materialize(*TRAIN, ds=NEXT)
        is_over = len(calls) < nth
        # and the run is repeated
        made = reopened(made)
        outcome = made.materialize(*TRAIN, ds=NEXT)
        # then it succeeds, and there is one version of each day, of which one serves
        assert outcome.success, (calls, outcome.failures)
        registry = made.tracking.registry
        versions = registry.versions()
        assert sorted(one.ds for one in versions) == [DS, NEXT], calls
        assert len({one.recipe for one in versions}) == 2, calls
        (serves,) = [one.number for one in versions if one.stage == "Production"]
        assert registry.in_service() == ([serves], serves), calls
        assert all(one.verdict for one in versions), calls
        # and no MLflow run is open
        client = MlflowClient(made.settings.tracking.uri)
        experiments = [one.experiment_id for one in client.search_experiments()]
        assert client.search_runs(experiments, "attributes.status = 'RUNNING'") == [], calls
        nth += 1
    assert nth > 15


def test_metrics_that_a_killed_run_did_not_log_are_logged_by_the_next(serving, monkeypatch):
    # given a range whose metrics were computed when MLflow broke off
    made = serving(estimator="logistic_regression")
    for seed, ds in enumerate((NEXT, LATER), 1):
        made.deliver(ds, *mixed(400, seed=seed, first_id=1_000 * seed))
    assert made.materialize("raw_data", "processed", "split", "model", ds=NEXT, to=LATER).success
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", broken)
        assert not made.materialize("metrics", ds=NEXT, to=LATER).success
    assert made.store.manifest("metrics", NEXT) is not None
    # when the range is repeated
    assert reopened(made).materialize("metrics", ds=NEXT, to=LATER).success
    # then MLflow has them
    client = MlflowClient(made.settings.tracking.uri)
    for version in made.tracking.registry.versions():
        assert client.get_run(version.run_id).data.metrics["roc_auc"] > 0.5


def broken(*arguments, **named):
    raise ConnectionError("the connection was closed")


def reopened(made):
    """The project as a new process opens it."""
    return type(made)(made.settings)
