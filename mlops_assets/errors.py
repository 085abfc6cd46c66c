"""The errors that a user is meant to read.

Each message says what happened, where (file, row, column, setting), what was expected and what to do next.
Anything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations


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
