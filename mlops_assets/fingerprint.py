"""What identifies the code that a step's image holds: ``python -m mlops_assets.fingerprint`` prints it.

An image is stale when the steps in it are not those that are installed beside Dagster. The version number is not
enough: it stays the same while the code is being worked on.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
IN_IMAGES = ("__init__.py", "errors.py", "fingerprint.py", "imports.py", "runtime", "sources", "steps", "store")
"""The parts of the package that are in the images; ``.dockerignore`` lists the same."""


@lru_cache
def step_code_digest() -> str:
    """SHA-256 over names and contents of the modules that run in a step's container."""
    digest = hashlib.sha256()
    paths = (path for part in IN_IMAGES for path in (_PACKAGE / part, *(_PACKAGE / part).rglob("*.py")))
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


if __name__ == "__main__":
    print(step_code_digest())  # noqa: T201
