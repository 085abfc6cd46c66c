"""A pipeline: all parts of one set of settings, made at first use. Users' tests and code start from it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.settings import Settings
from mlops_assets.wiring import assembly

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.assets.assets import Assets
    from mlops_assets.assets.materialization import Parts
    from mlops_assets.backends.base import Backend
    from mlops_assets.names import Names
    from mlops_assets.store.local import LocalStore
    from mlops_assets.tracking.tracker import Tracking


class Pipeline:
    """One pipeline.

    Example:
        >>> pipeline = Pipeline(home=tmp_path, rows_per_day=500)
        >>> result = dg.materialize(pipeline.assets, partition_key="2026-01-05", resources=pipeline.resources)
        >>> assert result.success

    Attributes:
        settings: What it was made from.
    """

    def __init__(self, home: Path | str | None = None, *, settings: Settings | None = None, **changes: Any) -> None:
        """Nothing is opened until first use.

        Args:
            home: A folder for everything: data in ``data``, state in ``.mlops``; steps run in this process, and neither
                the environment nor ``.env`` is read, so nothing reaches a server in production. None: as the settings
                say.
            settings: All settings; None: those of the environment.
            changes: Single settings by name, in place of those of the environment or of the defaults.

        Raises:
            SettingsError: A setting is unknown or has a value that cannot be used.
        """
        if home is not None:
            places = {"home": Path(home) / ".mlops", "data_dir": Path(home) / "data"}
            changes = {**places, "workers": 0, "_env_file": None, "_environment": {}, **changes}
        self.settings = settings or Settings(**changes)

    @cached_property
    def store(self) -> LocalStore:
        """The data root."""
        return assembly.build_store(self.settings)

    @cached_property
    def tracking(self) -> Tracking:
        """MLflow: runs, models and the registry."""
        return assembly.build_tracking(self.settings)

    @cached_property
    def backend(self) -> Backend:
        """Where steps run."""
        return assembly.build_backend(self.settings)

    @cached_property
    def parts(self) -> Parts:
        """What the assets work with."""
        return assembly.build_parts(self.settings, self.backend, self.tracking)

    @cached_property
    def names(self) -> Names:
        """What its parts are called in Dagster."""
        return assembly.build_names(self.settings)

    @cached_property
    def assets(self) -> Assets:
        """The seven assets; also by name: ``pipeline.assets.predictions``."""
        from mlops_assets.assets.assets import build_assets

        return build_assets(assembly.build_days(self.settings), self.names)

    @cached_property
    def resources(self) -> dict[str, Any]:
        """What the assets need, for ``dagster.materialize``."""
        from mlops_assets.assets.resources import build_resources

        return build_resources(self.parts)

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The code location: assets, jobs, schedules, sensors, resources."""
        from mlops_assets.wiring.build import build_definitions

        return build_definitions(self)
