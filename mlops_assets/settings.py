"""The settings: environment variables and ``.env``, typed, validated once, described.

Entry points (command line, ``definitions``) build them; nothing reads them at import
time, and nothing below the entry points knows that they exist: steps get
:class:`~mlops_assets.steps.parameters.Parameters`.
"""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mlops_assets.checks.raw_data_rules import CheckLimits
from mlops_assets.errors import SettingsError
from mlops_assets.sources.generate import SOURCES
from mlops_assets.steps.catalog import PROMOTE, STEPS
from mlops_assets.steps.parameters import Parameters

if TYPE_CHECKING:
    from mlops_assets.automation.config import Cadence

PREFIX = "MLOPS_"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
HOST_DATA_DIR_VARIABLE = "HOST_DATA_DIR"
_SQLITE = "sqlite:///"
MLFLOW_UI = "http://127.0.0.1:5000"
_CRON_FIELDS = 5
_ID_OF_TRANSACTIONS = "TRANSACTION_ID"
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S")
_BETWEEN_URLS = re.compile(r",?\s+|,(?=[a-zA-Z][a-zA-Z0-9+.-]*://)")
"""A comma that no scheme follows is part of a URL."""


class Settings(BaseSettings):
    """Everything a user can set; the variable of a field is its name in capitals after ``MLOPS_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    home: Path = Field(Path(".mlops"), description="Hidden folder for Dagster's and MLflow's own files.")
    data_dir: Path = Field(Path("data"), description="The data root: raw/, processed/, split/, models/, predictions/.")
    backend: Literal["inprocess", "docker"] = Field(
        "inprocess", description="Where steps run: `inprocess` (beside Dagster) or `docker` (each in a container)."
    )
    workers: int | None = Field(
        None,
        ge=0,
        description="Processes that run steps, days in parallel; 0: Dagster's own. Default: one a core, at most 4.",
    )
    source: str = Field(
        "classification", description=f"Where raw data come from: files (others drop them), {', '.join(SOURCES)}."
    )
    start_date: dt.date = Field(dt.date(2026, 1, 1), description="The first day: where the partitions begin.")
    timezone: str = Field("UTC", description="The time zone in which a day begins and ends, such as Europe/Berlin.")
    automate: bool = Field(
        False, description="Whether schedules and sensors are on without being switched on in Dagster's UI."
    )
    download_cron: str = Field("15 0 * * *", description="When the last day's raw data are due (cron, MLOPS_TIMEZONE).")
    predict_cron: str = Field("30 0 * * *", description="When the last day is to be scored.")
    train_cron: str = Field("0 2 * * 1", description="When a model is trained on the last day.")
    promote_cron: str = Field("0 5 * * *", description="When the gate looks for models that nobody has judged.")
    ready_when: Literal["unchanged", "marker"] = Field(
        "unchanged",
        description="Delivered files are complete when `unchanged`, or by a `_SUCCESS` beside them; `marker`: only so.",
    )
    settle_seconds: float = Field(10, ge=0, le=86_400, description="Seconds that delivered files must stay unchanged.")
    catchup_days: int = Field(30, ge=1, le=36_500, description="How many days back missed days are made up for.")
    catchup_runs: int = Field(
        5, ge=1, le=1_000, description="Runs of a job that are started at a time, oldest day first."
    )
    deadline_hours: float = Field(6, gt=0, description="Hours after its time until a day that waits is told as late.")
    retries: int = Field(
        3, ge=0, le=100, description="How often a step of a launched run is tried again if its failure can heal."
    )
    retry_seconds: float = Field(30, gt=0, description="Seconds before that, about 1, 3, 7, … times as long each time.")
    sensor_seconds: int = Field(15, ge=1, le=3_600, description="Seconds between two looks of a sensor.")
    keep_runs_days: int = Field(
        90, ge=1, description="Days that Dagster keeps runs which failed or were superseded by a later run."
    )
    keep_logs_days: int = Field(30, ge=1, description="Days that Dagster keeps what the runs printed.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    rows_per_day: int = Field(10_000, ge=1, le=10_000_000, description="Rows that a generator makes for a day.")
    csv_delimiter: str = Field(",", min_length=1, max_length=1, description="Between the cells of delivered files.")
    id_column: str = Field(
        "", validate_default=True, description="The column that identifies a row; it is never a feature. Default: id."
    )
    target_column: str = Field("target", min_length=1, description="What the target is called in processed data.")
    text_columns: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Columns of delivered files that are words however they look (01), separated by commas."
    )
    drop_columns: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Columns that must not become features, separated by commas."
    )
    positive_label: str | None = Field(
        None, description="The positive class of a binary problem. Default: the later one."
    )
    validation_share: float = Field(0.2, gt=0, lt=1, description="Share of the rows that are held out.")
    estimator: Literal["hist_gradient_boosting", "random_forest", "logistic_regression"] = Field(
        "hist_gradient_boosting", description="What is trained."
    )
    imputation: Literal["mean", "median", "most_frequent"] = Field(
        "mean", description="How missing numbers are filled, from the training rows."
    )
    train_window_days: int = Field(1, ge=1, le=3_650, description="A model learns from the rows of this many days.")
    tracking_uri: str | None = Field(
        None, repr=False, description="MLflow's server. Default: MLFLOW_TRACKING_URI, else SQLite under the home."
    )
    model_name: str = Field("mlops-assets", min_length=1, description="The registered model in MLflow.")
    model_version: int | None = Field(
        None, ge=1, description="Predict with this version instead of the one in production."
    )
    experiment: str = Field("mlops-assets", min_length=1, description="The experiment in MLflow.")
    images: Annotated[dict[str, str], NoDecode] = Field(
        {}, description="Docker: images of single steps instead of our own, such as train=team/train:7,predict=…"
    )
    host_data_dir: Path | None = Field(
        None, description="Docker: the data root as the engine's host sees it. Default: HOST_DATA_DIR, else the same."
    )
    docker_network: str | None = Field(
        None,
        description="Docker: network of steps that reach a server. Default: bridge; host for a server on loopback.",
    )
    docker_memory: str | None = Field(None, description="Docker: memory limit of a container, such as 2g.")
    docker_cpus: float | None = Field(None, gt=0, description="Docker: limit of a container in cores, such as 1.5.")
    docker_user: str | None = Field(
        None, description="Docker: uid:gid of the containers. Default: yours; for root the data root's owner or 10001."
    )
    docker_stop_seconds: int = Field(
        10, ge=0, le=600, description="Docker: seconds that a container has to end when it is told to."
    )
    mlflow_ui_url: str | None = Field(
        None, description=f"Base of links to MLflow's UI. Default: the tracking server, or {MLFLOW_UI} (make dev)."
    )
    alert_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        (), repr=False, description="Where alerts go: URLs of Apprise, separated by blanks. They hold passwords."
    )
    alert_on: Annotated[tuple[str, ...], NoDecode] = Field(
        ("failure", "check", "late", "tick", "promotion", "rejection"),
        description="What is told: these and retry, separated by commas.",
    )
    dagster_url: str = Field("http://127.0.0.1:3000", min_length=1, description="Base of links to Dagster's UI.")
    gate_metric: Literal["roc_auc", "average_precision", "log_loss"] = Field(
        "roc_auc", description="What the gate compares models by."
    )
    gate_min_score: float = Field(
        0.55, description="What a new model must reach in any case (log_loss: must stay below)."
    )
    gate_confidence: float = Field(
        0.95, ge=0.5, lt=1, description="How sure the gate must be that a new model is better than the old one."
    )
    check_schema: bool = Field(
        True, description="Whether a day is stopped whose columns are not those of the last good day."
    )
    check_max_row_fall: float = Field(
        0.5,
        ge=0,
        le=1,
        description="A day is stopped that lacks more of the last good day's rows than this share; 0: off.",
    )
    check_max_missing_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="A day is stopped if more of a column is missing than this share, and was not before; 0: off.",
    )

    def __init__(self, **values: Any) -> None:
        """Read the environment and ``.env``; keyword arguments win.

        Raises:
            SettingsError: A variable is unknown or has a value that cannot be used; every problem is listed.
        """
        problems = list(_unknown_variables(self._env_file(values)))
        problems += [
            f"{name!r} is no setting" for name in sorted(set(values) - {"_env_file", *type(self).model_fields})
        ]
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = [*(_problem(one) for one in error.errors()), *problems]
        if problems:
            raise SettingsError("The settings cannot be used:\n" + "\n".join(f"- {problem}" for problem in problems))

    @classmethod
    def _env_file(cls, values: dict[str, Any]) -> Path | None:
        name = values.get("_env_file", cls.model_config.get("env_file"))
        return None if name is None else Path(str(name))

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str) -> str:
        if value not in ("files", *SOURCES):
            raise ValueError(f"expected one of files, {', '.join(SOURCES)}")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("expected a name of the IANA time zone database, such as UTC or Europe/Berlin") from None
        return value

    @field_validator("download_cron", "predict_cron", "train_cron", "promote_cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if len(value.split()) != _CRON_FIELDS and not re.fullmatch(
            r"@(hourly|daily|midnight|weekly|monthly|yearly)", value
        ):
            raise ValueError("expected five fields: minute, hour, day of month, month, day of week, such as 30 0 * * *")
        return value

    @field_validator("id_column")
    @classmethod
    def _id_of_source(cls, value: str, info: Any) -> str:
        return value or (_ID_OF_TRANSACTIONS if info.data.get("source") == "transactions" else "id")

    @field_validator("docker_memory")
    @classmethod
    def _amount_of_memory(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d+[bkmgBKMG]?", value):
            raise ValueError("expected a number and a unit, such as 512m or 2g")
        return value

    @field_validator("docker_user")
    @classmethod
    def _numeric_user(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d+(:\d+)?", value):
            raise ValueError("expected numbers, such as 1000:1000 (see: id)")
        return value

    @field_validator("images", mode="before")
    @classmethod
    def _split_images(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        images = {step.strip(): image.strip() for step, _, image in pairs}
        if unknown := sorted(step for step, image in images.items() if step not in (*STEPS, PROMOTE) or not image):
            raise ValueError(f"{', '.join(unknown)}: expected STEP=IMAGE, steps are {', '.join((*STEPS, PROMOTE))}")
        return images

    @field_validator("drop_columns", "text_columns", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("alert_urls", mode="before")
    @classmethod
    def _split_urls(cls, value: Any) -> Any:
        urls = tuple(url for url in _BETWEEN_URLS.split(value) if url) if isinstance(value, str) else value
        if wrong := [str(place) for place, url in enumerate(urls, start=1) if not _URL.match(str(url))]:
            raise ValueError(f"expected URLs of Apprise, such as mailto://…; number {', '.join(wrong)} is none")
        return urls

    @field_validator("alert_on", mode="before")
    @classmethod
    def _known_kinds(cls, value: Any) -> Any:
        if value == cls.model_fields["alert_on"].default:
            return value  # the images of the steps have no alerts
        from mlops_assets.alerts.message import KINDS

        kinds = cls._split_names(value)
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise ValueError(f"{', '.join(unknown)}: expected some of {', '.join(KINDS)}")
        return kinds

    @property
    def mlflow_uri(self) -> str:
        """The tracking server's URI. May hold a password: never log it."""
        given = self.tracking_uri or os.environ.get(TRACKING_VARIABLE)
        return given or f"{_SQLITE}{self.home.absolute() / 'mlflow' / 'mlflow.db'}"

    @property
    def has_local_tracking(self) -> bool:
        """Whether MLflow is a SQLite file here, and no server."""
        return self.mlflow_uri.startswith(_SQLITE)

    @property
    def artifact_root(self) -> Path | None:
        """Where MLflow's artifacts lie: beside the SQLite file; None where a server decides."""
        if not self.has_local_tracking:
            return None
        return Path(self.mlflow_uri.removeprefix(_SQLITE)).absolute().parent / "artifacts"

    @property
    def data_dir_on_host(self) -> Path | None:
        """The data root as the Docker engine's host sees it; None: the same as here."""
        given = os.environ.get(HOST_DATA_DIR_VARIABLE)
        return self.host_data_dir or (Path(given) if given else None)

    def step_environment(self) -> dict[str, str]:
        """The variables that give a step's process elsewhere these settings; none of them is secret."""
        names = (Parameters.__dataclass_fields__.keys() & type(self).model_fields.keys()) | {"model_name", "experiment"}
        values = {name: getattr(self, name) for name in names}
        values |= {"data_dir": self.data_dir.absolute(), "home": self.home.absolute(), "workers": self.workers}
        texts = {name: ",".join(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {variable(name): str(value) for name, value in sorted(texts.items()) if value not in (None, "")}

    def cadence(self) -> Cadence:
        """When what runs."""
        from mlops_assets.automation.config import DOWNLOAD, PREDICT, TRAIN, Cadence

        given = {
            name: getattr(self, name) for name in Cadence.__dataclass_fields__.keys() & type(self).model_fields.keys()
        }
        return Cadence(
            **{**given, "start_date": self.start_date.isoformat()},
            crons={
                DOWNLOAD: self.download_cron,
                TRAIN: self.train_cron,
                PREDICT: self.predict_cron,
                PROMOTE: self.promote_cron,
            },
            marker_only=self.ready_when == "marker",
        )

    def parameters(self) -> Parameters:
        """What the steps get of the settings."""
        names = Parameters.__dataclass_fields__.keys() & type(self).model_fields.keys()
        return Parameters(
            **{**{name: getattr(self, name) for name in names}, "start_date": self.start_date.isoformat()}
        )

    def check_limits(self) -> CheckLimits:
        """What the asset checks allow."""
        return CheckLimits(
            schema=self.check_schema,
            max_row_fall=self.check_max_row_fall,
            max_missing_share=self.check_max_missing_share,
            ignored_columns=self.drop_columns,
            train_window_days=self.train_window_days,
        )


def load_env_file() -> None:
    """Make the variables of ``.env`` those of this process, as ``dagster dev`` does; what is set already stays.

    ``.env`` may also hold variables of MLflow and Dagster, which only look at the environment.
    """
    from dotenv import load_dotenv

    load_dotenv(Path(".env").absolute())


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def _unknown_variables(env_file: Path | None) -> Iterator[str]:
    known = [variable(name) for name in Settings.model_fields]
    for name in sorted({*os.environ, *_names_in(env_file)}):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            similar = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"did you mean {similar[0]}?" if similar else "see mlops-assets doctor for the settings there are."
            yield f"{name} is no setting: {hint}"


def _names_in(env_file: Path | None) -> list[str]:
    if env_file is None or not env_file.is_file():
        return []
    from dotenv import dotenv_values

    return list(dotenv_values(env_file))


def _problem(error: Any) -> str:
    field = str(error["loc"][0]) if error["loc"] else ""
    name = variable(field) if field else "the settings"
    message = error["msg"].removeprefix("Value error, ")
    if field in Settings.model_fields and not Settings.model_fields[field].repr:
        return f"{name}: {message}"  # its value may hold a secret
    return f"{name} is {error['input']!r}: {message}"
