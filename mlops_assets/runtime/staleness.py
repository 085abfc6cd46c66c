"""Which partitions are stale: missing, or made from another recipe than the one that would make them now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
        self._known: dict[tuple[str, str], dict[str, str]] = {}

    def why_stale(self, asset: str, ds: str) -> str | None:
        """Why a partition has to be made (again), in a few words; None: it is up to date.

        A prediction is not stale because another model has gone into production since: a day is scored by the model
        that serves when it is made.
        """
        return next(iter(self._reasons(asset, ds).values()), None)

    def _reasons(self, asset: str, ds: str) -> dict[str, str]:
        """File -> why the partition is stale; the empty name for what concerns all of it."""
        if (asset, ds) not in self._known:
            self._known[asset, ds] = self._found(step_of_asset(asset, self._params.source), ds)
        return self._known[asset, ds]

    def _found(self, step: Step, ds: str) -> dict[str, str]:
        try:
            manifest = self._store.manifest(step.asset, ds)
            if manifest is None:
                return {"": "it is missing"}
            request = Request(step.name, (ds,), self._params, image=self._image(step.name))
            now = ingredients(self._store, step, ds, request)
            if manifest.recipe != now.recipe:
                return {"": _difference(manifest, now)}
            with storage_errors(f"{step.asset} of {ds} cannot be read", self._store.folder(step.asset, ds)):
                changed = dict(self._changed_files(step, manifest))
        except (MissingPartitionError, DataError, StorageError) as error:
            return {"": str(error)}
        if changed:
            return changed
        reason = self._unregistered(step, manifest) or self._upstream(step, ds)
        return {"": reason} if reason else {}

    def _changed_files(self, step: Step, manifest: Manifest) -> Iterator[tuple[str, str]]:
        folder = self._store.folder(step.asset, manifest.partition)
        published = {info.name: info for info in manifest.files}
        for file in step.outputs:
            path, info = folder / file.name, published.get(file.name)
            if info is None:
                if file.kind is Kind.DELIVERED and path.is_file():
                    yield file.name, f"{file.name} was delivered later"
            elif not path.exists():
                yield file.name, f"{file.name} is missing"
            elif path.stat().st_size != info.size or (
                file.kind is Kind.DELIVERED and self._is_another(path, info, folder)
            ):
                yield file.name, f"{file.name} has changed"

    def _is_another(self, path: Path, info: FileInfo, folder: Path) -> bool:
        if self._by_age and stamp_of(path).changed < stamp_of(folder / manifest_name("raw_data")).changed:
            return False
        return sha256(path) != info.sha256

    def _unregistered(self, step: Step, manifest: Manifest) -> str | None:
        if step.records is Record.MODEL and not self._is_registered(manifest.recipe, manifest.files[0].sha256):
            return "its model is not registered"
        return None

    def _upstream(self, step: Step, ds: str) -> str | None:
        """What is wrong with the files that the step reads: predictions need no target."""
        for one in step.inputs:
            if one.in_recipe and one.kind is not Kind.DELIVERED:
                reasons = self._reasons(one.asset, ds)
                if reason := reasons.get("") or reasons.get(one.name):
                    return f"{one.asset} is not up to date: {reason}"
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
