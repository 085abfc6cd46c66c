"""The promotion history as tags of the registered model: one JSON text per promotion, never changed afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mlops_assets.tracking.entities import Promotion

PREFIX = "mlops.promotion."
#: A promotion that has begun; it becomes history when every write is done.
PENDING = PREFIX + "pending"
# registered_model_tags.value is String(5000) in MLflow's schema, whatever its validation allows.
_LIMIT = 5000


def read(tags: Mapping[str, str]) -> list[Promotion]:
    """All promotions in the tags of a registered model, oldest first."""
    return [decode(tags[key])[1] for key in sorted(_keys(tags), key=_number)]


def next_number(tags: Mapping[str, str]) -> int:
    """Number of the promotion after the last one."""
    return max(map(_number, _keys(tags)), default=0) + 1


def key(number: int) -> str:
    """Tag name of a promotion."""
    return f"{PREFIX}{number:04d}"


def encode(number: int, promotion: Promotion) -> str:
    """A promotion as compact JSON that fits into a tag.

    What does not fit is left out in this order: the scores, then the end of the reason.
    """
    content = {"number": number, **asdict(promotion)}
    del content["changed"]
    text = _dumps(content)
    if len(text) > _LIMIT:
        text = _dumps({**content, "scores": {"omitted": "too long for an MLflow tag"}})
    if len(text) > _LIMIT:
        # A non-ASCII character takes six characters of JSON at most.
        text = _dumps({**content, "scores": {}, "reason": promotion.reason[:500] + "…", "by": promotion.by[:100]})
    return text


def decode(text: str) -> tuple[int, Promotion]:
    """Number and promotion of a tag's value; fields of a later version of this package are ignored."""
    content = json.loads(text)
    number = int(content.pop("number"))
    known = {name: value for name, value in content.items() if name in Promotion.__dataclass_fields__}
    return number, Promotion(**known)


def before(promotions: list[Promotion]) -> list[int]:
    """Versions that served one after the other, as a stack.

    A rollback takes off what it undid, so a later rollback never returns to it.
    """
    stack: list[int] = []
    for promotion in promotions:
        if promotion.from_version is not None and (not stack or stack[-1] != promotion.from_version):
            stack.append(promotion.from_version)
        if promotion.rollback and promotion.to_version in stack:
            while stack[-1] != promotion.to_version:
                stack.pop()
        else:
            stack.append(promotion.to_version)
    return stack


def _keys(tags: Mapping[str, str]) -> list[str]:
    return [name for name in tags if name.startswith(PREFIX) and name.removeprefix(PREFIX).isdigit()]


def _number(name: str) -> int:
    return int(name.removeprefix(PREFIX))


def _dumps(content: Mapping[str, object]) -> str:
    return json.dumps(content, separators=(",", ":"), default=_jsonable)


def _jsonable(value: Any) -> object:
    """A numpy scalar as Python's, everything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
