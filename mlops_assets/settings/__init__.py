"""The settings: environment variables and ``.env``, validated once, as the configuration objects of their subjects.

Entry points (command line, ``definitions``) build them; nothing reads them at import time, and nothing below knows that
they exist. A setting is declared where it is used (:mod:`mlops_assets.declared`); here the declarations are collected,
and what depends on several groups is filled in. ``python -m mlops_assets.settings`` prints their documentation.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlops_assets.alerts.config import AlertConfig
from mlops_assets.automation.config import AutomationConfig
from mlops_assets.backends.docker.config import DockerConfig
from mlops_assets.checks.raw_data_rules import CheckLimits
from mlops_assets.declared import Setting, setting, settings_of
from mlops_assets.errors import SettingsError
from mlops_assets.housekeeping.config import Retention
from mlops_assets.serving.config import ServingConfig
from mlops_assets.settings.reading import read, read_env_file, shown, variable
from mlops_assets.steps.parameters import Parameters
from mlops_assets.tracking.config import DEFAULT_NAME, LOCAL_UI, TrackingConfig

__all__ = ["Settings", "load_env_file", "sections", "variable"]

_SQLITE = "sqlite:///"


def _identifier(value: str) -> str:
    if not re.fullmatch("[A-Za-z0-9_]*", value):
        raise ValueError("expected letters, digits and underscores")
    return value


def _folder(value: Path) -> Path:
    try:
        nearest = next(one for one in (value, *value.absolute().parents) if one.exists())
        if nearest.is_dir():
            return value
    except OSError as error:
        raise ValueError(f"expected a folder ({error.strerror})") from None
    raise ValueError(f"expected a folder, but {nearest} is a file")


@dataclass(frozen=True, init=False, repr=False)
class Settings:
    """Everything that a user can set.

    Attributes:
        given: Names of the settings that were set, by a variable or as an argument.
    """

    pipeline: str = setting(
        "",
        "Name of the pipeline, where several share a Dagster instance or an MLflow: prefix of its asset keys, jobs,"
        " sensors and pools, and default of `MLOPS_MODEL_NAME` and `MLOPS_EXPERIMENT`.",
        max_length=64,
        check=_identifier,
    )
    home: Path = setting(Path(".mlops"), "Folder for Dagster's and MLflow's own files.", check=_folder)
    data_dir: Path = setting(
        Path("data"), "The data root: `raw/`, `processed/`, `split/`, `models/`, `predictions/`.", check=_folder
    )
    backend: Literal["inprocess", "docker"] = setting(
        "inprocess", "Where steps run: beside Dagster (`inprocess`), or each in a container (`docker`)."
    )
    workers: int | None = setting(
        None,
        "Processes that run steps, several days in parallel; 0: in Dagster's own process. Default: one per core, at"
        " most 4.",
        ge=0,
        le=64,
    )
    steps: Parameters = field(init=False)
    checks: CheckLimits = field(init=False)
    automation: AutomationConfig = field(init=False)
    retention: Retention = field(init=False)
    tracking: TrackingConfig = field(init=False)
    docker: DockerConfig = field(init=False)
    alerts: AlertConfig = field(init=False)
    serving: ServingConfig = field(init=False)
    given: frozenset[str] = field(init=False, compare=False)

    def __init__(
        self,
        *,
        _env_file: Path | str | None = ".env",
        _environment: Mapping[str, str] | None = None,
        **values: Any,
    ) -> None:
        """Read the environment and ``.env``; arguments, named like the variables without ``MLOPS_``, win.

        Args:
            _env_file: Read instead of ``.env``; None: no file.
            _environment: Read instead of the process's environment.
            values: Settings.

        Raises:
            SettingsError: A variable is unknown or has a value that cannot be used; every problem is listed.
        """
        usable, given, problems = read(
            _DECLARED,
            values,
            None if _env_file is None else Path(_env_file),
            os.environ if _environment is None else _environment,
        )
        try:
            vars(self).update(_composed(usable), given=given)
        except ValueError as error:  # of a group: its values do not fit together
            problems.append(str(error))
        if problems:
            raise SettingsError("Invalid settings:\n" + "\n".join(f"- {problem}" for problem in problems))

    def __repr__(self) -> str:
        """What was set, without secrets."""
        return f"Settings({', '.join(f'{one.name}={text!r}' for one, text in self.rows() if one.name in self.given)})"

    @property
    def start_date(self) -> dt.date:
        """The first day."""
        return dt.date.fromisoformat(self.steps.start_date)

    def rows(self) -> Iterator[tuple[Setting, str]]:
        """All settings and their values as text; secrets are hidden."""
        for group, owner in _OWNERS.items():
            holder = getattr(self, group) if group else self
            for one in settings_of(owner):
                is_hidden = one.secret and one.name not in self.given
                yield one, "" if is_hidden else shown(one, getattr(holder, one.attribute))


def _composed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the settings from the values of all settings by name."""
    home: Path = values["home"]
    name = values["pipeline"] or DEFAULT_NAME
    uri = values["tracking_uri"] or f"{_SQLITE}{home.absolute() / 'mlflow' / 'mlflow.db'}"
    is_local = uri.startswith(_SQLITE)
    artifact_root = Path(uri.removeprefix(_SQLITE)).absolute().parent / "artifacts" if is_local else None

    def group(owner: type, **others: Any) -> Any:
        return owner(**{one.attribute: values[one.name] for one in settings_of(owner)} | others)

    tracking: TrackingConfig = group(
        TrackingConfig,
        uri=uri,
        experiment=values["experiment"] or name,
        model_name=values["model_name"] or name,
        artifact_root=artifact_root and str(artifact_root),
        ui_url=values["mlflow_ui_url"] or (LOCAL_UI if is_local else None),
    )
    steps: Parameters = group(Parameters, model_name=tracking.model_name)
    return {
        **{one.attribute: values[one.name] for one in settings_of(Settings)},
        "steps": steps,
        "checks": group(CheckLimits, ignored_columns=steps.drop_columns, train_window_days=steps.train_window_days),
        "automation": group(AutomationConfig, start_date=steps.start_date),
        # A failed run keeps its day from being started again as long as the day is within reach.
        "retention": group(Retention, runs=max(values["keep_runs_days"], values["catchup_days"] + 1)),
        "tracking": tracking,
        "docker": group(DockerConfig, data_dir=values["data_dir"].absolute(), workers=values["workers"]),
        "alerts": group(AlertConfig),
        "serving": group(ServingConfig),
    }


_OWNERS: dict[str, type] = {
    "": Settings,
    "steps": Parameters,
    "checks": CheckLimits,
    "automation": AutomationConfig,
    "retention": Retention,
    "tracking": TrackingConfig,
    "docker": DockerConfig,
    "alerts": AlertConfig,
    "serving": ServingConfig,
}
_TITLES = {"": "Project", "steps": "Data", "tracking": "MLflow", "serving": "Model server"}
_DECLARED = tuple(one for owner in _OWNERS.values() for one in settings_of(owner))


def sections() -> dict[str, list[Setting]]:
    """The declared settings by subject."""
    found: dict[str, list[Setting]] = {}
    for group, owner in _OWNERS.items():
        for one in settings_of(owner):
            found.setdefault(one.section or _TITLES.get(group, group.capitalize()), []).append(one)
    return found


def load_env_file() -> None:
    """Set the variables of ``.env`` in this process, as ``dagster dev`` does; what is set already stays.

    ``.env`` may also hold variables of MLflow and Dagster, which only look at the environment.
    """
    for name, value in read_env_file(Path(".env")).items():
        os.environ.setdefault(name, value)
