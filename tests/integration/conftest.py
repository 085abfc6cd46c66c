"""Real parts: a Docker engine with the images of the steps. Where there is none, tests are skipped; in CI never."""

from __future__ import annotations

import io
import json
import os

import dagster as dg
import docker
import pytest

from mlops_assets.backends.docker.engine import Engine
from mlops_assets.backends.docker.images import check_image, default_images
from mlops_assets.errors import MlopsAssetsError


def pytest_collection_modifyitems(items):
    for item in items:
        if "integration" in str(item.path):
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def docker_client():
    """The engine's client; the images are there and not stale."""
    engine = Engine()
    try:
        for image in set(default_images("classification").values()):
            check_image(engine, image)
    except MlopsAssetsError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    return engine.client


@pytest.fixture
def docker_settings(make_settings, docker_client):
    """Settings with steps in containers; keyword arguments change some."""

    def make(**changes):
        return make_settings(**{"backend": "docker", **changes})

    return make


@pytest.fixture(scope="session")
def image_of(docker_client):
    """Build an image that is made from one of ours and starts with other code."""
    built = set()

    def build(step: str, code: str) -> str:
        base = default_images("classification")[step]
        lines = [f"FROM {base}", 'ENTRYPOINT ["python", "-c", ' + json.dumps(code) + "]"]
        image, _ = docker_client.images.build(fileobj=io.BytesIO("\n".join(lines).encode()), rm=True)
        built.add(image.id)
        return image.id

    yield build
    for image in built:
        docker_client.images.remove(image, force=True)


@pytest.fixture
def in_a_run():
    """Do something with Dagster's context, in a run of its own."""

    def run(work):
        answers = []

        @dg.asset
        def probe(context):  # Dagster reads annotations as objects
            answers.append(work(context))
            return dg.MaterializeResult()

        with dg.DagsterInstance.ephemeral() as instance:
            dg.materialize([probe], instance=instance)
        return answers[0]

    return run


@pytest.fixture
def ours(docker_client):
    """The containers that bear our label, and no other test's: there are none before, there must be none after."""

    def containers() -> list[docker.models.containers.Container]:
        return docker_client.containers.list(all=True, filters={"label": "io.mlops-assets.run_id"}, ignore_removed=True)

    assert [(one.attrs["State"], one.labels) for one in containers()] == []
    yield containers
    assert [(one.attrs["State"], one.labels) for one in containers()] == []
