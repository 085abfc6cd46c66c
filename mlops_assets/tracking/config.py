"""Where MLflow is and which names are ours in it. Plain data: nothing heavy is imported, nothing is connected."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from mlops_assets.addresses import FILES, shown, without_credentials
from mlops_assets.declared import setting

DEFAULT_NAME = "mlops-assets"
"""Of experiment and registered model where neither they nor the pipeline have a name."""

LOCAL_UI = "http://127.0.0.1:5000"
"""Where ``make dev`` serves MLflow's UI."""

_SHORT = 2  # a secret of this length is replaced only where it stands in a URI: it would hit ordinary text


@dataclass(frozen=True, repr=False)
class TrackingConfig:
    """One MLflow experiment and one registered model in it.

    Attributes:
        uri: ``sqlite:////absolute/mlflow.db``, ``http(s)://…`` or another database URI that MLflow accepts.
        experiment: Experiment of the models' runs; created when missing.
        model_name: Registered model whose versions are trained, promoted and served.
        artifact_root: Directory (or URI) for artifacts. Used only when the experiment is created on a database URI;
            ``None``: MLflow decides.
        ui_url: Address of MLflow's UI for links; ``None``: the URI itself if it is http(s), else no links.
        model_version: The version that predicts; ``None``: the one in production.

    Raises:
        ValueError: A field is empty or malformed; the message holds no credentials.
    """

    uri: str = setting(
        "",
        "MLflow's server (`http://host:port`) or database. Default: SQLite under `MLOPS_HOME`.",
        name="tracking_uri",
        also="MLFLOW_TRACKING_URI",
        secret=True,
    )
    experiment: str = setting("", f"The experiment in MLflow. Default: `MLOPS_PIPELINE`, else `{DEFAULT_NAME}`.")
    model_name: str = setting("", f"The registered model in MLflow. Default: `MLOPS_PIPELINE`, else `{DEFAULT_NAME}`.")
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
        _check_uri(
            "MLFLOW_TRACKING_URI",
            self.uri,
            "sqlite:////absolute/path/mlflow.db, http(s)://host:port or a database URI",
            needs_host=self.is_server,
        )
        if self.ui_url:
            _check_uri("MLOPS_MLFLOW_UI_URL", self.ui_url, "http(s)://host:port", needs_host=True)
        if not self.experiment.strip():
            raise ValueError("MLOPS_EXPERIMENT is empty: expected the name of an MLflow experiment.")
        if not self.model_name.strip() or set(self.model_name) & set("/:'`"):
            raise ValueError(f"MLOPS_MODEL_NAME is {self.model_name!r}: expected a name without / : ' or `.")

    def __repr__(self) -> str:
        """Show every field, the URIs without credentials."""
        artifact_root = self.artifact_root and without_credentials(self.artifact_root)
        return (
            f"TrackingConfig(uri={self.safe_uri!r}, experiment={self.experiment!r}, model_name={self.model_name!r}, "
            f"artifact_root={artifact_root!r}, ui_url={self.ui_base!r})"
        )

    @property
    def runs_experiment(self) -> str:
        """Experiment of dagster-mlflow's parent runs, apart from the models' runs, which people look for."""
        return f"{self.experiment}-dagster-runs"

    @property
    def scheme(self) -> str:
        """The URI's scheme without the driver: ``sqlite``, ``http``, ``https``, ``postgresql`` …."""
        return self.uri.partition("://")[0].partition("+")[0].lower()

    @property
    def is_server(self) -> bool:
        """Whether it is the address of an MLflow server, not of a database."""
        return self.scheme in {"http", "https"}

    @property
    def is_local(self) -> bool:
        """Whether MLflow is a SQLite file on this machine."""
        return self.scheme == "sqlite"

    @property
    def safe_uri(self) -> str:
        """The URI without credentials, for messages."""
        return shown(self.uri)

    @property
    def ui_base(self) -> str | None:
        """Base of MLflow's UI for links, without credentials, query and trailing slash; ``None``: there is none."""
        base = self.ui_url or (self.uri if self.is_server else None)
        return shown(base).partition("?")[0].rstrip("/") if base else None

    def redact(self, text: str) -> str:
        """Remove the credentials of the URIs from a text of another origin (an exception, a log line)."""
        for uri in filter(None, (self.uri, self.ui_url, self.artifact_root)):
            text = text.replace(uri, without_credentials(uri))
            for secret in sorted(_secrets(uri), key=len, reverse=True):
                text = text.replace(secret, "***") if len(secret) > _SHORT else text
        return without_credentials(text)


def _check_uri(setting: str, uri: str, expected: str, *, needs_host: bool) -> None:
    """Refuse a malformed URI.

    Raises:
        ValueError: See `TrackingConfig`.
    """
    fault = _fault(uri, needs_host=needs_host)
    if fault:
        raise ValueError(f"{setting} is {shown(uri)!r}: {fault}. Expected {expected}.")


def _fault(uri: str, *, needs_host: bool) -> str:
    scheme, separator, rest = uri.partition("://")
    if not (scheme and separator):
        return "no scheme://"
    if scheme.startswith(FILES):
        return "" if rest.startswith("/") and rest.strip("/").partition("?")[0] else "no path of a file"
    if re.search(r"[\s\x00-\x1f]", uri):
        return "it holds spaces"
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        # Python's own message may quote a part of the password.
        return "host or port is malformed, or the password holds / ? # [ or ], which must be percent-encoded"
    return "" if parts.hostname or not needs_host else "no host"


def _secrets(uri: str) -> set[str]:
    """The password (or the only user info) and the values of the query, as written and decoded."""
    rest = uri.partition("://")[2]
    userinfo = "" if uri.startswith(FILES) else rest.rpartition("@")[0]
    user, colon, password = userinfo.partition(":")
    written = {password if colon else user}
    written |= {one.partition("=")[2] for one in rest.partition("?")[2].split("&")}
    return written | {unquote(one) for one in written} | {value for _, value in parse_qsl(rest.partition("?")[2])}


def split_credentials(uri: str) -> tuple[str, str | None]:
    """A URI without credentials, and ``user:password`` (decoded) if it had any."""
    parts = urlsplit(uri)
    userinfo, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)), unquote(userinfo) if at else None
