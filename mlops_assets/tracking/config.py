"""Where MLflow is and which names are ours in it. Plain data: nothing heavy is imported, nothing is connected."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from mlops_assets.declared import setting

DEFAULT_NAME = "mlops-assets"
"""Of experiment and registered model where neither they nor the pipeline have a name."""

LOCAL_UI = "http://127.0.0.1:5000"
"""Where ``make dev`` serves MLflow's UI."""

_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")


def without_credentials(text: str) -> str:
    """Drop ``user:password@`` from every URI in a text, so it can be shown or logged."""
    return _USERINFO.sub("", text)


def _model_name(value: str) -> str:
    if set(value) & set("/:'`"):
        raise ValueError("expected a name without / : ' or `")
    return value


@dataclass(frozen=True, repr=False)
class TrackingConfig:
    """One MLflow experiment and one registered model in it.

    Attributes:
        uri: ``sqlite:////absolute/mlflow.db``, ``http(s)://…`` or another database URI that MLflow accepts.
        experiment: Experiment that all runs go to; created when missing.
        model_name: Registered model whose versions are trained, promoted and served.
        artifact_root: Directory (or URI) for artifacts. Used only when the experiment is created on a database URI;
            ``None``: MLflow decides.
        ui_url: Address of MLflow's UI for links; ``None``: the URI itself if it is http(s), else no links.
        model_version: The version that predicts; ``None``: the one in production.

    Raises:
        ValueError: A field is empty or holds characters that MLflow refuses.
    """

    uri: str = setting(
        "",
        "MLflow's server (`http://host:port`) or database. Default: SQLite under `MLOPS_HOME`.",
        name="tracking_uri",
        also="MLFLOW_TRACKING_URI",
        secret=True,
    )
    experiment: str = setting("", f"The experiment in MLflow. Default: `MLOPS_PIPELINE`, else `{DEFAULT_NAME}`.")
    model_name: str = setting(
        "", f"The registered model in MLflow. Default: `MLOPS_PIPELINE`, else `{DEFAULT_NAME}`.", check=_model_name
    )
    artifact_root: str | None = None
    ui_url: str | None = setting(
        None,
        f"Base of links to MLflow's UI. Default: the tracking server; with SQLite `{LOCAL_UI}` (`make dev`).",
        name="mlflow_ui_url",
    )
    model_version: int | None = setting(
        None, "Version that predicts, instead of the one in production.", ge=1, le=2**31 - 1
    )

    def __post_init__(self) -> None:
        """Refuse at once what MLflow would refuse later, in the middle of a run."""
        if "://" not in self.uri:
            raise ValueError(
                f"MLFLOW_TRACKING_URI is {self.uri.rpartition('@')[2]!r}; expected sqlite:////absolute/path/mlflow.db, "
                "http(s)://host:port or a database URI."
            )
        if not self.experiment.strip():
            raise ValueError("The MLflow experiment's name is empty; give it a name.")
        if not self.model_name.strip() or set(self.model_name) & set("/:'`"):
            raise ValueError(f"The registered model's name is {self.model_name!r}; expected a name without / : ' or `.")

    def __repr__(self) -> str:
        """Show every field, the URIs without credentials."""
        return (
            f"TrackingConfig(uri={self.safe_uri!r}, experiment={self.experiment!r}, model_name={self.model_name!r}, "
            f"artifact_root={without_credentials(self.artifact_root or '') or None!r}, ui_url={self.ui_base!r})"
        )

    @property
    def scheme(self) -> str:
        """The URI's scheme without the driver: ``sqlite``, ``http``, ``https``, ``postgresql`` …."""
        return self.uri.partition("://")[0].partition("+")[0].lower()

    @property
    def is_server(self) -> bool:
        """Whether an MLflow server answers, not a database that is opened directly."""
        return self.scheme in {"http", "https"}

    @property
    def is_local(self) -> bool:
        """Whether MLflow is a SQLite file on this machine."""
        return self.scheme == "sqlite"

    @property
    def safe_uri(self) -> str:
        """The URI without credentials, for messages."""
        return without_credentials(self.uri)

    @property
    def ui_base(self) -> str | None:
        """Base of MLflow's UI for links, without credentials and trailing slash; ``None`` when there is none."""
        base = self.ui_url or (self.uri if self.is_server else None)
        return without_credentials(base).rstrip("/") if base else None

    def redact(self, text: str) -> str:
        """Remove the credentials of the URIs from a text that somebody else wrote (an exception, a log line)."""
        for uri in (self.uri, self.ui_url or ""):
            password = _password(uri)
            for secret in {password, unquote(password)} - {""}:
                text = text.replace(f":{secret}@", "@").replace(secret, "***") if len(secret) > 2 else text  # noqa: PLR2004
        return without_credentials(text)


def _password(uri: str) -> str:
    """The password as it is written in a URI, or an empty string."""
    userinfo, at, _ = urlsplit(uri).netloc.rpartition("@")
    return userinfo.partition(":")[2] if at else ""


def split_credentials(uri: str) -> tuple[str, str | None]:
    """A URI without credentials, and ``user:password`` (decoded) if it had any."""
    parts = urlsplit(uri)
    userinfo, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)), unquote(userinfo) if at else None
