"""How the commands name several days."""

from __future__ import annotations

from collections.abc import Collection

_NAMED = 2


def span(days: Collection[str]) -> str:
    """A few days by name, more by the first, the last and their number."""
    ordered = sorted(days)
    if len(ordered) <= _NAMED:
        return ", ".join(ordered)
    return f"{ordered[0]} … {ordered[-1]} ({len(ordered):,} days)"
