"""Promotion: the gate over real versions in a real registry."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace

import pytest
from projects import DS, NEXT, as_csv, mixed, with_labels, without_column

from mlops_assets.assets.promotion import NothingToPromoteError
from mlops_assets.errors import MlopsAssetsError


@pytest.fixture
def trained(serving):
    """A project with a champion, in which another day is delivered and a challenger trained on it."""

    def train(data, target, **settings):
        made = serving(estimator="logistic_regression", **settings)
        made.deliver(NEXT, data, target)
        made.make("register", "process", "split", "train", "evaluate", ds=NEXT)
        return made

    return train


def shuffled(target: str, seed: int = 0) -> str:
    """Targets that cannot be learned."""
    header, *rows = (line.split(",") for line in target.splitlines())
    labels = [label for _, label in rows]
    random.Random(seed).shuffle(labels)
    return as_csv(header, [(row, label) for (row, _), label in zip(rows, labels, strict=True)])


def test_the_model_in_production_does_not_challenge_itself(serving):
    # given a champion that is the newest version
    made = serving()
    # when the gate is asked again
    facts = made.promote()
    # then nothing happens
    assert facts["promoted"] is False
    assert "in production already" in facts["reason"]
    assert len(made.tracking.registry.history()) == 1


def test_a_worse_challenger_changes_nothing(serving):
    # given a champion, and a model of days whose labels are noise
    made = serving(estimator="logistic_regression")
    data, target = mixed(300, seed=1, first_id=1_000)
    made.deliver(NEXT, data, shuffled(target))
    made.make("register", "process", "split", "train", ds=NEXT)
    made.deliver(NEXT, data, target)
    made.make("register", "process", "split", ds=NEXT)
    # when the gate decides
    facts = made.promote()
    # then the champion serves on, and both scores are told
    assert (facts["promoted"], facts["model_version"], facts["challenger_version"]) == (False, 1, 2)
    assert facts["champion_score"] > facts["challenger_score"]
    assert made.tracking.registry.production().number == 1


def test_a_better_challenger_takes_over_and_it_is_written_down(serving):
    # given a model in production that learned noise, and one that learned
    made = serving(estimator="logistic_regression")
    data, target = mixed(300, seed=1, first_id=1_000)
    made.deliver(NEXT, data, shuffled(target))
    made.make("register", "process", "split", "train", ds=NEXT)
    made.tracking.registry.promote(2, reason="by hand", by="a test")
    made.deliver(NEXT, data, target)
    made.make("register", "process", "split", "train", ds=NEXT)
    # when the gate decides
    facts = made.promote()
    # then the better one serves, and who, when, why and the scores are in the history
    assert (facts["promoted"], facts["model_version"], facts["champion_version"]) == (True, 3, 2)
    assert facts["gate_days"] == [DS, NEXT]
    last = made.tracking.registry.history()[-1]
    assert (last.from_version, last.to_version, last.by, last.reason) == (2, 3, "a test", facts["reason"])
    assert last.scores["challenger_score"] > last.scores["champion_score"]


def test_without_any_model_it_says_what_to_run(project):
    with pytest.raises(NothingToPromoteError, match="Materialize model and metrics first"):
        project().promote()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gate_min_score": 0.9999}, "misses the threshold.*or lower MLOPS_GATE_MIN_SCORE"),
        ({}, "only . held-out rows? of class .*Materialize split for more days"),
    ],
)
def test_a_first_model_that_is_refused_says_what_to_do(project, changes, expected):
    # given a first model that is not good enough, or cannot be judged
    made = project(estimator="logistic_regression", **changes)
    made.deliver(DS, *mixed(400 if changes else 40))
    made.make("register", "process", "split", "train")
    # then the error helps, and nothing is in production
    with pytest.raises(NothingToPromoteError, match=f"Version 1 .*{expected}.*models promote 1"):
        made.promote()
    assert made.tracking.registry.production() is None


def test_a_challenger_without_a_column_of_the_champion_is_for_people_to_decide(trained):
    # given data that lost a column for good
    data, target = mixed(300, seed=1, first_id=1_000)
    made = trained(without_column(data, "amount"), target)
    # then the gate says why it cannot judge, and what to do
    with pytest.raises(MlopsAssetsError, match=r"could not be judged: .*'amount'.*models promote 2"):
        made.promote()


def test_a_class_that_only_the_old_champion_knows_does_not_stop_the_gate(trained):
    # given a challenger with other labels than the champion, as in all the data that are still there
    data, target = mixed(400, seed=1, first_id=1_000)
    made = trained(data, with_labels(target, (1, 2)))
    shutil.rmtree(made.store.folder("split", DS))
    # when the gate decides on the rows since
    facts = made.promote()
    # then it can, and the champion, which does not know class 2, loses
    assert facts["promoted"]


def test_labels_of_another_type_do_not_stop_the_gate(trained):
    data, target = mixed(400, seed=1, first_id=1_000)
    made = trained(data, with_labels(target, ("no", "yes")))
    facts = made.promote()
    assert facts["promoted"]
    assert facts["gate_days"] == [NEXT, NEXT]


def test_the_gate_looks_back_until_it_has_seen_enough(serving):
    # given three days of 400 rows, of which a fifth is held out
    made = serving(estimator="logistic_regression")
    for number in (1, 2):
        ds = f"2024-01-0{number + 1}"
        made.deliver(ds, *mixed(400, seed=number, first_id=1_000 * number))
        made.make("register", "process", "split", ds=ds)
    made.make("train", ds=NEXT)
    # then all of them are judged on
    assert made.promote()["gate_days"] == [DS, "2024-01-03"]


def test_the_gate_metric_can_be_set(serving):
    made = serving(estimator="logistic_regression")
    made.make("train")
    for metric in ("average_precision", "log_loss"):
        made.params = replace(made.params, gate_metric=metric)
        assert made.promote()["gate_metric"] == metric
