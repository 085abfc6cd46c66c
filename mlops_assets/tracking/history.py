"""The promotion history as tags of the registered model: one JSON text per promotion, never changed afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from mlops_assets.tracking.entities import Promotion
from mlops_assets.tracking.tag_json import to_tag

PREFIX = "mlops.promotion."
PENDING = PREFIX + "pending"
"""A promotion that has begun; it becomes history when every write is done."""


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
    """A promotion as JSON that fits into a tag."""
    content = {"number": number, **asdict(promotion)}
    del content["changed"]
    return to_tag(content)


def decode(text: str) -> tuple[int, Promotion]:
    """Number and promotion of a tag's value."""
    content = json.loads(text)
    number = int(content.pop("number"))
    return number, Promotion(**content)


def before(promotions: list[Promotion]) -> list[int]:
    """Versions that served one after the other, as a stack.

    A rollback removes what it undid from the stack, so a later rollback never returns to it.
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
