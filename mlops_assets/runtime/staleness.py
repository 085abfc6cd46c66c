"""Which partitions are up to date: there, and made by today's steps and settings from today's inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.errors import DataError, MissingPartitionError
from mlops_assets.runtime.input_digests import input_digests, settings_digest
from mlops_assets.steps.catalog import step_of_asset
from mlops_assets.steps.declaration import Kind
from mlops_assets.store.publish import sha256

if TYPE_CHECKING:
    from mlops_assets.steps.declaration import Step
    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore
    from mlops_assets.store.manifest import Manifest

SETTINGS_DIGEST = "settings_digest"
"""The metadata of each partition that says by which settings it was made."""

_OF_MODELS = "models:/"


class Freshness:
    """What is up to date in a data root at this moment; each partition is looked at once."""

    def __init__(self, store: LocalStore, params: Parameters) -> None:
        """Name the data root and today's settings."""
        self._store, self._params = store, params
        self._known: dict[tuple[str, str], str | None] = {}

    def why_stale(self, asset: str, ds: str) -> str | None:
        """Why a partition has to be made (again), in a few words; None: it is up to date.

        A prediction is not stale because another model has gone into production since: a day is scored by the model
        that serves when it is made.
        """
        if (asset, ds) not in self._known:
            self._known[asset, ds] = self._why_stale(asset, ds)
        return self._known[asset, ds]

    def _why_stale(self, asset: str, ds: str) -> str | None:
        step = step_of_asset(asset, self._params.source)
        try:
            manifest = self._store.manifest(asset, ds)
        except DataError:
            return "its manifest cannot be read"
        if manifest is None:
            return "it is missing"
        return self._changed_itself(step, manifest) or self._changed_before(step, manifest)

    def _changed_itself(self, step: Step, manifest: Manifest) -> str | None:
        if manifest.code_version != step.version:
            return f"it was made by version {manifest.code_version} of the step, which is {step.version} now"
        now = settings_digest(step, self._params)
        if manifest.metadata.get(SETTINGS_DIGEST, now) != now:
            return f"it was made with other settings ({', '.join(step.settings)})"
        return self._changed_files(step, manifest)

    def _changed_files(self, step: Step, manifest: Manifest) -> str | None:
        folder = self._store.folder(step.asset, manifest.partition)
        published = {info.name: info for info in manifest.files}
        for file in step.outputs:
            path, info = folder / file.name, published.get(file.name)
            if info is None:
                if file.kind is Kind.DELIVERED and path.exists():
                    return f"{file.name} was delivered since"
                continue
            if not path.exists():
                return f"{file.name} is gone"
            if path.stat().st_size != info.size or (file.kind is Kind.DELIVERED and sha256(path) != info.sha256):
                return f"{file.name} has changed"
        return None

    def _changed_before(self, step: Step, manifest: Manifest) -> str | None:
        recorded = {name: digest for name, digest in manifest.inputs.items() if not name.startswith(_OF_MODELS)}
        try:
            expected = input_digests(self._store, self._params, step, manifest.partition)
        except (MissingPartitionError, DataError) as error:
            return str(error)
        if changed := sorted(name for name in {*recorded, *expected} if recorded.get(name) != expected.get(name)):
            return f"{changed[0]} is another one"
        for asset in dict.fromkeys(file.asset for file in step.inputs if file.kind is not Kind.DELIVERED):
            if reason := self.why_stale(asset, manifest.partition):
                return f"{asset} is not up to date: {reason}"
        return None
