"""Which partitions are stale: missing, or made from another recipe than the one that would make them now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mlops_assets.errors import DataError, MissingPartitionError
from mlops_assets.runtime.recipes import Ingredients, ingredients
from mlops_assets.runtime.request import Request
from mlops_assets.steps.catalog import step_of_asset
from mlops_assets.steps.declaration import Kind, Record
from mlops_assets.store.disk import StorageError, storage_errors
from mlops_assets.store.layout import manifest_name
from mlops_assets.store.listing import stamp_of
from mlops_assets.store.publish import sha256

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_assets.steps.declaration import Step
    from mlops_assets.steps.parameters import Parameters
    from mlops_assets.store.local import LocalStore
    from mlops_assets.store.manifest import FileInfo, Manifest


class Staleness:
    """What is stale in a data root at this moment; each partition is looked at once."""

    def __init__(
        self,
        store: LocalStore,
        params: Parameters,
        *,
        image: Callable[[str], str] = lambda _step: "",
        is_registered: Callable[[str, str], bool] = lambda _recipe, _sha256: True,
        by_age: bool = False,
    ) -> None:
        """Nothing is read until first use.

        Args:
            store: The data root.
            params: Today's settings.
            image: Step name -> what a recipe holds of its image.
            is_registered: Whether the registry has a version of a recipe whose file has this SHA-256. A model without
                one is not done: its file cannot be verified.
            by_age: Whether a delivery of the same size that is older than its registration counts as unchanged. Reading
                all of it takes long; what is worked on goes by its content.
        """
        self._by_age = by_age
        self._store, self._params, self._image, self._is_registered = store, params, image, is_registered
        self._known: dict[tuple[str, str], str | None] = {}

    def why_stale(self, asset: str, ds: str) -> str | None:
        """Why a partition has to be made (again), in a few words; None: it is up to date.

        A prediction is not stale because another model has gone into production since: a day is scored by the model
        that serves when it is made.
        """
        if (asset, ds) not in self._known:
            self._known[asset, ds] = self._why_stale(step_of_asset(asset, self._params.source), ds)
        return self._known[asset, ds]

    def _why_stale(self, step: Step, ds: str) -> str | None:
        try:
            manifest = self._store.manifest(step.asset, ds)
            if manifest is None:
                return "it is missing"
            request = Request(step.name, (ds,), self._params, image=self._image(step.name))
            now = ingredients(self._store, step, ds, request)
            if manifest.recipe != now.recipe:
                return _difference(manifest, now)
            with storage_errors(f"{step.asset} of {ds} cannot be read", self._store.folder(step.asset, ds)):
                changed = self._changed_files(step, manifest)
        except (MissingPartitionError, DataError, StorageError) as error:
            return str(error)
        return changed or self._unregistered(step, manifest) or self._upstream(step, ds)

    def _changed_files(self, step: Step, manifest: Manifest) -> str | None:
        folder = self._store.folder(step.asset, manifest.partition)
        published = {info.name: info for info in manifest.files}
        for file in step.outputs:
            path, info = folder / file.name, published.get(file.name)
            if info is None:
                if file.kind is Kind.DELIVERED and path.is_file():
                    return f"{file.name} was delivered later"
                continue
            if not path.exists():
                return f"{file.name} is missing"
            if path.stat().st_size != info.size or (
                file.kind is Kind.DELIVERED and self._is_another(path, info, folder)
            ):
                return f"{file.name} has changed"
        return None

    def _is_another(self, path: Path, info: FileInfo, folder: Path) -> bool:
        if self._by_age and stamp_of(path).changed < stamp_of(folder / manifest_name("raw_data")).changed:
            return False
        return sha256(path) != info.sha256

    def _unregistered(self, step: Step, manifest: Manifest) -> str | None:
        if step.records is Record.MODEL and not self._is_registered(manifest.recipe, manifest.files[0].sha256):
            return "its model is not registered"
        return None

    def _upstream(self, step: Step, ds: str) -> str | None:
        for asset in dict.fromkeys(
            one.asset for one in step.inputs if one.in_recipe and one.kind is not Kind.DELIVERED
        ):
            if reason := self.why_stale(asset, ds):
                return f"{asset} is not up to date: {reason}"
        return None


def _difference(manifest: Manifest, now: Ingredients) -> str:
    """What of the recipe has changed."""
    if manifest.step_version != now.version:
        return f"it was made by version {manifest.step_version} of step {now.step}; the version is {now.version} now"
    if changed := [name for name in now.settings if manifest.settings.get(name) != now.settings[name]]:
        return f"it was made with a different value of {', '.join(changed)}"
    if manifest.image != now.image:
        return f"it was made by a different image of step {now.step}"
    names = sorted({*manifest.inputs, *now.inputs})
    changed = [name for name in names if manifest.inputs.get(name) != now.inputs.get(name)]
    return f"{changed[0]} has changed" if changed else f"it was made by another step than {now.step}"
