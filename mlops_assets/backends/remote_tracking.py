"""What a worker has for a tracking server: it asks the process that started it.

So MLflow is imported, and the database opened, by one process only. What needs the model itself (its file, its
digest) is done in the worker; numbers, texts and files go over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mlops_assets.steps.skops_io import dump_model, load_model
from mlops_assets.tracking.mlflow_format import output_type
from mlops_assets.tracking.model_cache import RecentModels
from mlops_assets.tracking.versions import check_digest

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from mlops_assets.tracking.config import TrackingConfig
    from mlops_assets.tracking.entities import LoggedModel, Version

Call = Callable[[str, tuple[Any, ...], dict[str, Any]], Any]
"""Calls a method (dotted name) of the parent's `Tracking`."""


class _Remote:
    def __init__(self, call: Call, prefix: str) -> None:
        self._call, self._prefix = call, prefix

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments, **named: self._call(self._prefix + name, arguments, named)


class RemoteRegistry(_Remote):
    """Stands for `Registry`."""

    def __init__(self, call: Call) -> None:
        """Calls go to ``registry``."""
        super().__init__(call, "registry.")
        self.recent = RecentModels()

    def load(self, version: Version) -> Pipeline:
        """As `Registry.load`: the file comes from the parent, is checked and loaded here."""
        if (known := self.recent.get(version.digest)) is not None:
            return known
        pipeline = load_model(self._call("registry.model_file", (version,), {}))
        check_digest(pipeline, version)
        return pipeline


class RemoteTracking(_Remote):
    """Stands for `Tracking`."""

    def __init__(self, config: TrackingConfig, call: Call) -> None:
        """The configuration is for messages."""
        super().__init__(call, "")
        self.config, self.registry = config, RemoteRegistry(call)

    @contextmanager
    def model_run(self, name: str, *, tags: Mapping[str, str], parent_run_id: str | None = None) -> Iterator[str]:
        """As `Tracking.model_run`."""
        run_id = self._call("start_run", (name, tags, parent_run_id), {})
        try:
            yield run_id
        except BaseException as error:
            with suppress(Exception):  # the parent may be gone; whoever comes next ends the run
                self._call("end_run", (run_id, "FAILED" if isinstance(error, Exception) else "KILLED"), {})
            raise
        self._call("end_run", (run_id, "FINISHED"), {})

    def log_model(
        self,
        run_id: str,
        pipeline: Pipeline,
        *,
        example: pd.DataFrame,
        types: Mapping[str, str],
        requirements: Sequence[str],
        content: bytes | None = None,
    ) -> LoggedModel:
        """As `Tracking.log_model`."""
        facts = {"example": example, "types": dict(types), "requirements": list(requirements)}
        arguments = (run_id, content or dump_model(pipeline), output_type(pipeline))
        logged: LoggedModel = self._call("log_model_content", arguments, facts)
        return logged
