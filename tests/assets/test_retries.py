"""What may pass by itself is retried; bad input fails at once."""

from __future__ import annotations

import errno

import dagster as dg
import pytest

from mlops_assets.assets.retries import as_dagster_failure, can_retry, retry_policy
from mlops_assets.backends.docker.engine import EngineAwayError, EngineError
from mlops_assets.errors import DataError
from mlops_assets.runtime.pool import WorkerDiedError
from mlops_assets.tracking.config import TrackingConfig
from mlops_assets.tracking.errors import TrackingAwayError
from mlops_assets.tracking.tracker import Tracking


def attempts_at(error):
    """How often a step is tried that fails twice, and how the run ends."""
    tries = []

    @dg.asset(retry_policy=retry_policy(3, 0.01))
    def flaky(context):
        tries.append(1)
        if len(tries) < 3:
            raise as_dagster_failure(context, error) from error

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([flaky], instance=instance, raise_on_error=False)
        return result.success, len(tries)


@pytest.mark.parametrize(
    "error",
    [
        EngineAwayError("the engine is away"),
        TrackingAwayError("the server is away"),
        WorkerDiedError("killed"),
        ConnectionResetError("reset by peer"),
        OSError(errno.ESTALE, "stale file handle"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_retried(error):
    assert attempts_at(error) == (True, 3)


@pytest.mark.parametrize(
    "error",
    [DataError("row 3 is broken"), EngineError("no such image"), KeyError("a bug"), FileNotFoundError(2, "gone")],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_pass_fails_at_once(error):
    assert attempts_at(error) == (False, 1)


def test_a_server_that_is_away_can_retry_and_a_refusal_cannot(tmp_path):
    # given an MLflow server that is not there, and a store that answers
    away = Tracking(TrackingConfig(uri="http://127.0.0.1:9", experiment="e", model_name="m"))
    there = Tracking(
        TrackingConfig(uri=f"sqlite:///{tmp_path}/m.db", experiment="e", model_name="m", artifact_root=str(tmp_path))
    )
    # when / then
    with pytest.raises(TrackingAwayError):
        away.registry.production()
    with pytest.raises(Exception, match=r"No such|not found|no version") as refused:
        there.registry.version(17)
    assert not can_retry(refused.value)
    assert not getattr(refused.value, "can_retry", False)


def test_delays_grow_and_vary():
    # given the policy of the spec
    policy = retry_policy(3, 30)
    # when the delays of many runs are drawn
    delays = [[policy.calculate_delay(attempt) for attempt in (1, 2, 3)] for _ in range(200)]
    # then they are about 30, 90 and 210 seconds, never the same
    for place, middle in enumerate((30, 90, 210)):
        drawn = [one[place] for one in delays]
        assert middle - 30 <= min(drawn) < max(drawn) <= middle + 30
        assert len(set(drawn)) > 100
