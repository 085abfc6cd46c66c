"""What an alert is, and how its text is kept short. What gives one: `collect`, `late_data`, `old_model`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_assets.errors import MlopsAssetsError

FAILURE, RETRY, CHECK, LATE, PROMOTION, REJECTION, OLD_MODEL, TICK = KINDS = (
    "failure",
    "retry",
    "check",
    "late",
    "promotion",
    "rejection",
    "old_model",
    "tick",
)
"""The kinds that the setting ``MLOPS_ALERT_ON`` selects from."""

TEST = "test"
"""The kind of the message that ``mlops-assets alerts test`` sends."""

_TITLE, _LINES, _LINE = 150, 6, 500
_BODY = 1_500
"""Discord takes 2,000 characters, the least of the common services; the links at the end must arrive."""


class AlertError(MlopsAssetsError):
    """An alert could not be delivered to a target; the message contains no secret."""


@dataclass(frozen=True)
class Alert:
    """One message to all targets.

    Attributes:
        key: Identifies the event: an alert whose key is known is never sent again.
        kind: One of ``KINDS``, or ``TEST``.
        title: One line.
        body: Plain text.
    """

    key: str
    kind: str
    title: str
    body: str


def alert(key: str, kind: str, title: str, facts: Sequence[str], links: Sequence[str] = ()) -> Alert:
    """An alert whose text fits into every channel: the facts may be cut, the links are not."""
    end = "\n\n" + "\n".join(links) if links else ""
    return Alert(key, kind, _cut(" ".join(title.split()), _TITLE), _cut("\n".join(facts), _BODY - len(end)) + end)


def first_lines(text: str) -> str:
    """The first lines of an error's text, each cut to a length that can be read."""
    lines = [line.rstrip() for line in text.strip().splitlines() if line.strip()]
    return "\n".join([_cut(line, _LINE) for line in lines[:_LINES]] + (["…"] if len(lines) > _LINES else []))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
