"""The models that this process trained or loaded last, so that no step reads again what the step before it made."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_KEPT = 32


class RecentModels:
    """Pipelines by the digest of their content; the oldest go first. Nobody may change a pipeline that is in here."""

    def __init__(self) -> None:
        """Start empty."""
        self._models: OrderedDict[str, Pipeline] = OrderedDict()

    def get(self, digest: str) -> Pipeline | None:
        """The pipeline with this content, if it is still here."""
        if digest in self._models:
            self._models.move_to_end(digest)
        return self._models.get(digest)

    def put(self, digest: str, pipeline: Pipeline) -> None:
        """Remember a pipeline."""
        self._models[digest] = pipeline
        self._models.move_to_end(digest)
        while len(self._models) > _KEPT:
            self._models.popitem(last=False)
