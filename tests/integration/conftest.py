"""Real parts: a Docker engine with the images of the steps. The session's engine is a fixture of ../conftest.py."""

from __future__ import annotations

import io
import json
import uuid
from contextlib import closing

import pytest
from container_steps import DAY

from mlops_assets.backends.docker.images import default_images
from mlops_assets.runtime.request import Request
from mlops_assets.runtime.runner import Runner
from mlops_assets.wiring.assembly import build_backend, build_store


def pytest_collection_modifyitems(items):
    for item in items:
        if "integration" in str(item.path):
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def docker_settings(make_settings, docker_client):
    """Settings with steps in containers; keyword arguments change some."""
    return lambda **changes: make_settings(**{"backend": "docker", **changes})


@pytest.fixture(scope="session")
def built(docker_client):
    """Build an image from the lines of a Dockerfile; gives its ID, which no other session's image has."""
    images = set()
    session = f"LABEL test.session={uuid.uuid4()}"

    def build(*lines: str, tag: str | None = None) -> str:
        text = "\n".join([*lines, session]).encode()
        image, _ = docker_client.images.build(fileobj=io.BytesIO(text), tag=tag, rm=True)
        images.add(image.id)
        return image.id

    yield build
    for image in images:
        docker_client.images.remove(image, force=True)


@pytest.fixture(scope="session")
def image_of(built):
    """Build an image that is made from that of a step and starts with other code."""
    images = default_images("classification")
    return lambda step, code: built(f"FROM {images[step]}", f'ENTRYPOINT ["python", "-c", {json.dumps(code)}]')


@pytest.fixture
def in_container(in_a_run):
    """Run a step in a container: the results, oldest first."""

    def run(settings, step, *days, **others):
        def work(context):
            with closing(build_backend(settings)) as backend:
                run_id = context.run.run_id
                request = Request(step, days or (DAY,), settings.steps, run_id=run_id, **others)
                return sorted(backend.run(request, context), key=lambda one: one.partition)

        return in_a_run(work)

    return run


@pytest.fixture
def made():
    """Run steps in this process, one after the other; gives the results of the last one."""

    def make(settings, *steps, days=(DAY,), **others):
        results = []
        for step in steps:
            results = list(Runner(build_store(settings)).run(Request(step, tuple(days), settings.steps, **others)))
            assert [one.error for one in results] == [None] * len(days)
        return results

    return make
