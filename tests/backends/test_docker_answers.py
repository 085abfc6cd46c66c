"""Whether what a container says that it published is published here."""

from __future__ import annotations

import pytest

from mlops_assets.backends.docker.answers import StepFailedError, checked
from mlops_assets.runtime.request import PartitionResult, Request
from mlops_assets.runtime.runner import Runner
from mlops_assets.steps.parameters import Parameters
from mlops_assets.store.layout import manifest_name
from mlops_assets.store.local import LocalStore

DAYS = ("2026-01-05", "2026-01-06")


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "data")


@pytest.fixture
def generated(store):
    """Generate the days with a seed: the results."""
    return lambda seed: list(Runner(store).run(Request("generate", DAYS, Parameters(rows_per_day=50, seed=seed))))


def test_a_day_that_another_run_publishes_at_that_moment_is_an_error_of_its_own(store, generated):
    # given a container's results, and a day of them that another run published since
    results = generated(1)
    again = generated(2)
    # when they are checked
    one, other = checked(store, "generate", results[0]), checked(store, "generate", again[1])
    # then only that day failed
    assert "another run published it" in one.error
    assert one.partition == DAYS[0]
    assert other == again[1]
    # and neither does a manifest that cannot be read stop the other days
    (store.folder("raw_data", DAYS[0]) / manifest_name("raw_data")).write_text("{}")
    assert "not a manifest" in checked(store, "generate", again[0]).error


def test_a_day_that_is_not_here_at_all_is_an_error_of_all(store):
    with pytest.raises(StepFailedError, match="Set HOST_DATA_DIR"):
        checked(store, "generate", PartitionResult(DAYS[0], recipe="0" * 64))
