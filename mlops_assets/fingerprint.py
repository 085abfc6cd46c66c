"""What identifies the code that a step's image holds: ``python -m mlops_assets.fingerprint`` prints it.

An image is stale when the steps in it are not those that are installed beside Dagster. The version number alone does
not tell: it stays the same while somebody works on the code.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
_BESIDE_DAGSTER = {"alerts", "assets", "automation", "cli", "housekeeping", "definitions.py", "backends/docker"}
"""Not in the images; ``.dockerignore`` says the same."""


@lru_cache
def step_code_digest() -> str:
    """SHA-256 over names and contents of the modules that run in a step's container."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        name = path.relative_to(_PACKAGE)
        if _BESIDE_DAGSTER.isdisjoint(one.as_posix() for one in (name, *name.parents)):
            digest.update(f"{name.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


if __name__ == "__main__":
    print(step_code_digest())  # noqa: T201
