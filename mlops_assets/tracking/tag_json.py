"""JSON texts that fit into a tag of the registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LIMIT = 5000
"""registered_model_tags.value is String(5000) in MLflow's schema, whatever its validation allows."""


def to_tag(content: Mapping[str, Any]) -> str:
    """Compact JSON of at most `LIMIT` characters.

    What does not fit is left out in this order: the ``scores``, then the end of ``reason`` and ``by``.
    """
    text = _dumps(content)
    if len(text) > LIMIT:
        content = {**content, "scores": {"omitted": "too long for an MLflow tag"}}
        text = _dumps(content)
    while len(text) > LIMIT:
        longest = max(("reason", "by"), key=lambda name: len(content.get(name, "")))
        content = {**content, longest: content[longest][: len(content[longest]) // 2] + "…"}
        text = _dumps(content)
    return text


def _dumps(content: Mapping[str, object]) -> str:
    return json.dumps(content, separators=(",", ":"), default=_jsonable)


def _jsonable(value: Any) -> object:
    """A numpy scalar as Python's, everything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
