"""Models are used by the image that trained them."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import closing
from dataclasses import replace

import pytest
from container_steps import DAY, model_of

from mlops_assets.backends.docker.images import default_images
from mlops_assets.backends.docker.labels import PROCESS, STEP
from mlops_assets.backends.process_id import process_tag
from mlops_assets.runtime.request import Request
from mlops_assets.store.layout import version_key
from mlops_assets.wiring.assembly import build_backend, build_store

NEXT = "2026-01-06"
OTHER_VERSION = "1.8.0"


@pytest.fixture(scope="session")
def team_image(built):
    """README's recipe: another version of scikit-learn, in one line of the settings."""
    image = default_images("")["train"]
    install = f"RUN pip install scikit-learn=={OTHER_VERSION}"
    return built(f"FROM {image}", "USER root", install, "USER 10001:10001", tag="team/train:7")


@pytest.fixture
def images_used(docker_client):
    """The images of the containers that this process created since the test began; other tests use the engine, too."""
    began = time.time_ns()

    def used(step: str) -> list[str]:
        filters = {"event": "create", "label": [f"{STEP}={step}", f"{PROCESS}={process_tag()}"]}
        span = {"since": began // 1_000_000_000, "until": int(time.time()) + 1}  # whole seconds
        events = docker_client.events(**span, decode=True, filters=filters)
        names = [event["Actor"]["Attributes"]["image"] for event in events if event["timeNano"] >= began]
        return sorted(docker_client.images.get(name).id for name in names)

    return used


def as_version(store, model, number):
    """A model as the Dagster side puts a version of the registry before a step."""
    path = f"production/models/{version_key(number)}/model.skops"
    (store.root / path).parent.mkdir(parents=True)
    shutil.copy(store.root / model.path, store.root / path)
    return replace(model, path=path)


def test_one_line_gives_training_another_library_and_its_models_go_all_the_way(
    docker_settings, team_image, docker_client, in_container, made, ours, images_used
):
    # given a setting for the image of training, and nothing else
    settings = docker_settings(images={"train": "team/train:7"})
    store = build_store(settings)
    made(settings, "generate", "process", "split", days=(DAY, NEXT))
    with closing(build_backend(settings)) as backend:
        image, default = backend.image_id("train"), backend.image_id("predict")
        # then it counts for the recipe, by its ID
        assert backend.recipe_image("train") == image == team_image
        assert backend.recipe_image("predict") == backend.recipe_image("process") == ""
    # when a model is trained in it, and one in the default image
    (trained,) = in_container(settings, "train", DAY, image=image)
    (other,) = in_container(docker_settings(), "train", NEXT)
    description = store.read_json("model", DAY, "model.json")
    assert OTHER_VERSION in json.dumps(description)
    models = {DAY: model_of(trained, image=image), NEXT: model_of(other, image=default)}
    # then metrics of both days are made, each in the image that trained its model
    results = in_container(settings, "evaluate", DAY, NEXT, models=models)
    assert [one.error for one in results] == [None, None]
    assert images_used("evaluate") == sorted([image, default])
    # and they are scored, and both serve
    versions = {version_key(number): as_version(store, models[day], number) for number, day in ((1, DAY), (2, NEXT))}
    results = in_container(settings, "score", "v1", "v2", models=versions, days={"split": [NEXT]})
    assert [one.error for one in results] == [None, None]
    assert images_used("score") == sorted([image, default])
    serving = {DAY: versions["v1"], NEXT: versions["v1"]}
    results = in_container(settings, "predict", DAY, NEXT, models=serving)
    assert [one.error for one in results] == [None, None]
    assert images_used("predict") == [image]


def test_the_image_of_a_step_is_the_one_that_it_ran_in(docker_settings, built, in_a_run, made, ours):
    # given an image that is built anew under its name while a step is at work in it
    def build(revision):
        label = f"LABEL org.opencontainers.image.revision={revision}"
        return built(f"FROM {default_images('')['split']}", label, tag="team/split:1")

    first = build("one")
    settings = docker_settings(images={"split": "team/split:1"})
    made(settings, "generate", "process")

    def work(context):
        with closing(build_backend(settings)) as backend:
            results = backend.run(Request("split", (DAY,), settings.steps), context)
            second = build("two")
            assert [one.error for one in results] == [None]
            return second, backend.image_id("split")

    # when it is done
    second, image = in_a_run(work)
    # then it is known where it ran, and where it would run next
    assert second != image == first
    with closing(build_backend(settings)) as backend:
        assert backend.image_id("split") == second


def trained_model(settings, made):
    """A model that was trained in a container, as the registry's version 1."""
    made(settings, "generate", "process", "split")
    (trained,) = made(settings, "train")
    return as_version(build_store(settings), model_of(trained), 1)


def test_a_model_whose_image_is_gone_or_of_another_contract_is_served_by_the_default_image(
    docker_settings, built, in_container, made, ours, images_used
):
    # given a model, and images that cannot serve it
    settings = docker_settings()
    model = trained_model(settings, made)
    default = default_images("")["predict"]
    another = built(f"FROM {default}", "LABEL io.mlops-assets.contract=another")
    gone = f"sha256:{'0' * 64}"
    for image in (another, gone, "", "mlops-assets/model"):
        # when / then the default image does
        (result,) = in_container(settings, "predict", models={DAY: replace(model, image=image)})
        assert result.error is None
    assert len(set(images_used("predict"))) == 1
    assert another not in images_used("predict")


def test_an_older_image_with_the_same_contract_serves_its_model(
    docker_settings, built, in_container, made, ours, images_used
):
    # given an image of another code with the same contract, as after an upgrade of this package
    settings = docker_settings()
    model = trained_model(settings, made)
    older = built(f"FROM {default_images('')['predict']}", "LABEL io.mlops-assets.code=older")
    # when / then it serves its own model
    (result,) = in_container(settings, "predict", models={DAY: replace(model, image=older)})
    assert result.error is None
    assert images_used("predict") == [older]
    # unless an image is named for the step
    named = docker_settings(images={"predict": default_images("")["predict"]})
    (result,) = in_container(named, "predict", models={DAY: replace(model, image=older)})
    assert result.error is None
    with closing(build_backend(named)) as backend:
        assert backend.recipe_image("predict") == ""  # it is ours
