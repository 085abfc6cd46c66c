"""The models that this process trained or loaded last, so that no step reads again what the step before it made."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_BYTES_KEPT = 64 << 20


class RecentModels:
    """Pipelines by the digest of their content; the oldest go first. Nobody may change a pipeline that is in here."""

    def __init__(self) -> None:
        """Start empty."""
        self._models: OrderedDict[str, tuple[Pipeline, int]] = OrderedDict()

    def get(self, digest: str) -> Pipeline | None:
        """The pipeline with this content, if it is still here."""
        if digest not in self._models:
            return None
        self._models.move_to_end(digest)
        return self._models[digest][0]

    def put(self, digest: str, pipeline: Pipeline, size: int) -> None:
        """Remember a pipeline whose file has ``size`` bytes, if that is little."""
        self._models.pop(digest, None)
        self._models[digest] = pipeline, size
        while sum(size for _, size in self._models.values()) > _BYTES_KEPT:
            self._models.popitem(last=False)
