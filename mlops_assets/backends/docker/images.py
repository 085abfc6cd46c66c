"""The images of the steps: which ones, whose they are, and whether they hold the code that is installed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets import __version__
from mlops_assets.backends.docker.config import IMAGE_PREFIX
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.fingerprint import contract_digest, step_code_digest
from mlops_assets.steps.catalog import STEPS

if TYPE_CHECKING:
    from mlops_assets.backends.docker.engine import Engine

CODE_LABEL = "io.mlops-assets.code"
CONTRACT_LABEL = "io.mlops-assets.contract"
VERSION_LABEL = "org.opencontainers.image.version"
REVISION_LABEL = "org.opencontainers.image.revision"
_MODEL_STEPS = ("train", "evaluate", "score", "predict")
BUILD = "make images"


class ImageError(MlopsAssetsError):
    """An image is missing, holds other code than this, or cannot do what is asked of it."""


@dataclass(frozen=True)
class Image:
    """An image on the engine.

    Attributes:
        name: As it was asked for.
        id: The engine's ID of its content.
        labels: Those of an image that is made from one of ours are ours, too.
    """

    name: str
    id: str
    labels: Mapping[str, str]

    @property
    def is_foreign(self) -> bool:
        """Whether it holds a program of the user's that follows the step contract, and no code of ours."""
        return CODE_LABEL not in self.labels

    def __str__(self) -> str:
        """Name, version and revision, for people."""
        if self.is_foreign:
            return f"{self.name} (a program of your own)"
        revision = self.labels.get(REVISION_LABEL, "")[:12] or "unknown"
        return f"{self.name} (version {self.labels.get(VERSION_LABEL)}, revision {revision})"


def default_images(source: str, prefix: str = IMAGE_PREFIX) -> dict[str, str]:
    """Step -> image as ``make images`` names them.

    Args:
        source: Of raw data: scikit-learn's samples need the image that has scikit-learn.
        prefix: ``IMAGE_PREFIX`` of ``make images``.
    """
    images = {step: "model" if step in _MODEL_STEPS else "data" for step in STEPS}
    if source.startswith("sklearn:"):
        images["generate"] = "model"
    return {step: f"{prefix}/{name}:{__version__}" for step, name in images.items()}


def find_image(engine: Engine, name: str) -> Image | None:
    """An image by name or ID; None where the engine does not have it."""
    import docker.errors

    with engine.errors(f"look at image {name}"):
        try:
            found = engine.client.images.get(name)
        except docker.errors.ImageNotFound:
            return None
    return Image(name, str(found.id), found.labels)


def check_image(engine: Engine, name: str, *, may_be_foreign: bool = False) -> Image:
    """An image that can run a step of this version.

    Args:
        engine: Where it must be.
        name: Name or ID.
        may_be_foreign: Whether it may hold a program of the user's: only where it is named for the step.

    Raises:
        ImageError: It is missing, holds other code than this version, or is none of ours; the message has the remedy.
    """
    image = find_image(engine, name)
    if image is None:
        raise ImageError(
            f"The image {name} is not on the Docker engine at {engine.address}. Run: {BUILD} (or, if it is your own:"
            " docker pull, and see MLOPS_IMAGES)"
        )
    if image.is_foreign and not may_be_foreign:
        raise ImageError(
            f"The image {name} was not built from this project: it has no label {CODE_LABEL}. Run: {BUILD}"
        )
    if not image.is_foreign and image.labels[CODE_LABEL] != step_code_digest():
        raise ImageError(
            f"The image {name} is stale: its steps are those of version {image.labels.get(VERSION_LABEL, 'unknown')},"
            f" built from other code than version {__version__} here. Run: {BUILD} (and rebuild images of your own that"
            " are made from it)"
        )
    return image


def serves_models(image: Image | None) -> bool:
    """Whether an image that trained a model can also score with it for this version."""
    return image is not None and image.labels.get(CONTRACT_LABEL) == contract_digest()
