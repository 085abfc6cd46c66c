"""Real parts: a Docker engine with the images of the steps. The session's engine is a fixture of ../conftest.py."""

from __future__ import annotations

import io
import json

import pytest

from mlops_assets.backends.docker.images import default_images


def pytest_collection_modifyitems(items):
    for item in items:
        if "integration" in str(item.path):
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.slow)


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
