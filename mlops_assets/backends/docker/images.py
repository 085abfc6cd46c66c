"""The images of the steps: which ones, and whether they hold the code that is installed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlops_assets import __version__
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.fingerprint import step_code_digest
from mlops_assets.steps.catalog import PROMOTE, STEPS

if TYPE_CHECKING:
    from mlops_assets.backends.docker.engine import Engine

CODE_LABEL = "io.mlops-assets.code"
VERSION_LABEL = "org.opencontainers.image.version"
REVISION_LABEL = "org.opencontainers.image.revision"
_NEEDS_TRAINING_LIBRARIES = ("train", "evaluate", PROMOTE)
BUILD = "make images"


class ImageError(MlopsAssetsError):
    """An image is missing or holds other code than this."""


def default_images(source: str) -> dict[str, str]:
    """Step -> image as ``make images`` names them.

    Args:
        source: Of raw data: scikit-learn's samples need the image that has scikit-learn.
    """
    images = dict.fromkeys((*STEPS, PROMOTE), "data")
    images.update(dict.fromkeys(_NEEDS_TRAINING_LIBRARIES, "train"))
    images["predict"] = "predict"
    if source.startswith("sklearn:"):
        images["generate"] = "train"
    return {step: f"mlops-assets/{name}:{__version__}" for step, name in images.items()}


def check_image(engine: Engine, image: str) -> Mapping[str, str]:
    """Make sure that an image is there and not stale; gives its labels.

    An image without our labels is the user's own, who knows what is in it.

    Raises:
        ImageError: It is missing, or holds the steps of another version; the message has the command that helps.
    """
    import docker.errors

    with engine.errors(f"look at image {image}"):
        try:
            found = engine.client.images.get(image)
        except docker.errors.ImageNotFound:
            raise ImageError(
                f"The image {image} is not on the Docker engine at {engine.address}. Run: {BUILD} (or, if it is your"
                " own: docker pull, and see MLOPS_IMAGES)"
            ) from None
    labels: dict[str, str] = found.labels
    code = labels.get(CODE_LABEL)
    if code is not None and code != step_code_digest():
        raise ImageError(
            f"The image {image} is stale: its steps are those of version {labels.get(VERSION_LABEL, 'unknown')}, built"
            f" from other code than version {__version__} here. Run: {BUILD} (and build images of your own that are"
            " made from it anew)"
        )
    return labels


def described(labels: Mapping[str, str]) -> str:
    """Version and revision of an image, for people."""
    if CODE_LABEL not in labels:
        return "without our labels: yours"
    return f"version {labels.get(VERSION_LABEL)}, revision {labels.get(REVISION_LABEL, '')[:12] or 'unknown'}"
