"""Addresses without what is secret in them, so that they can be shown and logged."""

from __future__ import annotations

import re

FILES = ("sqlite", "file", "unix")
"""Schemes of paths, in which an ``@`` is a letter like others."""

_URI = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"<>]*")


def without_credentials(text: str) -> str:
    """Remove user, password and query values from every URI in a text."""
    return _URI.sub(lambda match: shown(match.group()), text)


def shown(uri: str) -> str:
    """A URI up to its query, without what comes before its last ``@``: a password may hold any character."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "", uri
    if not (scheme.startswith(FILES) and rest.startswith("/")):
        rest = rest.rpartition("@")[2]
    address, question_mark, _ = rest.partition("?")
    return f"{scheme}{separator}{address}{question_mark and '?…'}"
