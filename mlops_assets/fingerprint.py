"""What identifies the code in a step's image: ``python -m mlops_assets.fingerprint`` prints code and contract.

An image is stale when the steps in it are not those that are installed beside Dagster. The version number is not
enough: it stays the same while the code is being worked on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

from mlops_assets.runtime.pipes import CONTRACT, Order
from mlops_assets.runtime.request import ModelFile, PartitionResult, Request
from mlops_assets.steps.catalog import STEPS
from mlops_assets.steps.parameters import Parameters
from mlops_assets.store import layout
from mlops_assets.store.manifest import FORMAT

_PACKAGE = Path(__file__).parent
IN_IMAGES = (
    "__init__.py", "declared.py", "errors.py", "fingerprint.py", "imports.py", "runtime", "sources", "steps", "store",
)  # fmt: skip
"""The parts of the package that are in the images; ``.dockerignore`` lists the same."""


@lru_cache
def step_code_digest() -> str:
    """SHA-256 over names and contents of the modules that run in a step's container."""
    digest = hashlib.sha256()
    paths = (path for part in IN_IMAGES for path in (_PACKAGE / part, *(_PACKAGE / part).rglob("*.py")))
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


@lru_cache
def contract_digest() -> str:
    """SHA-256 over what another version's image must share with this one, so that it can serve what it trained.

    That is the form of orders and answers, of recipes, of manifests and of the data root, and the steps' versions.
    """
    kinds = (Order, Request, ModelFile, Parameters, PartitionResult)
    forms = [CONTRACT, FORMAT, *([one.name for one in fields(kind)] for kind in kinds)]
    places = [layout.FOLDERS, layout.FILES, layout.MODEL_FILES, layout.manifest_name(""), layout.version_key(1)]
    versions = sorted((step.name, step.version) for step in STEPS.values())
    recipes = (_PACKAGE / "runtime" / "recipes.py").read_text(encoding="utf-8")
    return hashlib.sha256(json.dumps([forms, places, versions, recipes], sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    print(step_code_digest(), contract_digest())  # noqa: T201
