"""The models that this process trained or loaded last, so that no step reads again what the step before it made."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from mlops_assets.errors import DataError
from mlops_assets.store.disk import read_regular

if TYPE_CHECKING:
    from pathlib import Path

    from sklearn.pipeline import Pipeline

    from mlops_assets.runtime.request import ModelFile

_BYTES_KEPT = 64 << 20


class ModelCache:
    """Pipelines by the SHA-256 of their file; the oldest go first. Nobody may change a pipeline that is in here."""

    def __init__(self) -> None:
        """Start empty."""
        self._models: OrderedDict[str, tuple[Pipeline, int]] = OrderedDict()

    def load(self, root: Path, model: ModelFile) -> Pipeline:
        """A model, from here or from its file below the data root, which is checked before it is parsed.

        Raises:
            DataError: The file is missing, or is not the one that the registry knows.
            UntrustedModelError: It holds types that are not on the allow-list.
        """
        if model.sha256 in self._models:
            self._models.move_to_end(model.sha256)
            return self._models[model.sha256][0]
        from mlops_assets.steps.skops_io import load_model

        try:
            data = read_regular(root / model.path)
        except OSError as error:
            raise DataError(
                f"{model.path}, the file of {model.name}, cannot be read: {error}. Run it again."
            ) from error
        if hashlib.sha256(data).hexdigest() != model.sha256:
            raise DataError(
                f"{model.path} is not the file of {model.name} that was registered: its SHA-256 differs. It was"
                " not loaded. Materialize the model of its day again, or roll back: mlops-assets models rollback"
            )
        pipeline = load_model(data, model.name, libraries=model.libraries)
        self.put(model.sha256, pipeline, len(data))
        return pipeline

    def put(self, sha256: str, pipeline: Pipeline, size: int) -> None:
        """Remember a pipeline whose file has ``size`` bytes, if that is little."""
        self._models.pop(sha256, None)
        self._models[sha256] = pipeline, size
        while sum(size for _, size in self._models.values()) > _BYTES_KEPT:
            self._models.popitem(last=False)
