"""The errors that a user is meant to read.

Each message says what happened, where (file, row, column, setting), what was expected and what to do next.
Anything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Collection

_COLUMNS_NAMED = 30


class MlopsAssetsError(Exception):
    """Base of all errors whose message is written for the user.

    Attributes:
        can_retry: Whether the same may succeed later: an engine, a network or a server was away.
    """

    can_retry = False


class DataError(MlopsAssetsError):
    """The input data cannot be used as they are; nothing was written."""


class MissingPartitionError(MlopsAssetsError):
    """A partition that a step reads was never published."""


class SettingsError(MlopsAssetsError):
    """A setting is unknown, missing or has a value that cannot be used."""


def columns_hint(name: str, columns: Collection[str]) -> str:
    """What follows the message about a column that a setting names and that is not there: the closest one, and all."""
    import difflib

    similar = difflib.get_close_matches(name, columns, n=1)
    hint = f"Did you mean {similar[0]!r}? " if similar else ""
    more = f" and {len(columns) - _COLUMNS_NAMED:,} more" if len(columns) > _COLUMNS_NAMED else ""
    return f"{hint}The columns are {', '.join([*columns][:_COLUMNS_NAMED])}{more}."
