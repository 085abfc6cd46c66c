"""What the tests of containers share."""

from __future__ import annotations

import time

import docker

from mlops_assets.runtime.request import ModelFile

DAY = "2026-01-05"
RUN_STEP = "; import runpy; runpy.run_module('mlops_assets.runtime', run_name='__main__')"
SLOW = (
    "import sys, time; import mlops_assets.steps.split as module; original = module.split;"
    "say = lambda: print('at work', file=sys.stderr, flush=True);"
    "module.split = lambda *given: (say(), time.sleep(120), original(*given))[2]"
)


def model_of(result, **others) -> ModelFile:
    """The model that a result of `train` published, as the registry would vouch for it."""
    path = f"models/{result.partition}/model.skops"
    return ModelFile(path, result.files["model.skops"], result.recipe, **others)


def wait_until(condition, seconds=60):
    """Wait for a condition; gives what it gave."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


def is_at_work(container) -> bool:
    """Whether a container of SLOW has begun with its step."""
    try:
        return b"at work" in container.logs()
    except docker.errors.APIError:
        return False  # it is ending
