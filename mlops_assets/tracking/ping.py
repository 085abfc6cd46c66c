"""Is MLflow there? Answered in seconds and without importing mlflow, whose own retries take minutes."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from mlops_assets.tracking.config import split_credentials
from mlops_assets.tracking.errors import TrackingAwayError

if TYPE_CHECKING:
    from mlops_assets.tracking.config import TrackingConfig

TIMEOUT_SECONDS = 5.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_SERVER_ERROR = 500


def ping(config: TrackingConfig, timeout: float = TIMEOUT_SECONDS) -> None:
    """Return if MLflow can be reached.

    Args:
        config: Where MLflow is.
        timeout: Seconds to wait for an answer.

    Raises:
        TrackingAwayError: There is no answer, or the SQLite file cannot be written; the message says what to do.
    """
    try:
        if config.is_server:
            _ping_http(config.uri, timeout)
        elif config.scheme == "sqlite":
            _check_file(config.uri)
        else:
            _ping_tcp(config.uri, config.scheme, timeout)
    except OSError as error:
        reason = config.redact(str(getattr(error, "reason", None) or error))
        # The cause is dropped: urllib's exceptions may carry the address with its password.
        raise TrackingAwayError(
            f"MLflow cannot be reached at {config.safe_uri}: {reason}. Start it (`mlflow server`, `docker compose "
            "up`), or set MLFLOW_TRACKING_URI to where it runs (http://host:port or sqlite:////absolute/path/mlflow.db)."
        ) from None


def _ping_http(uri: str, timeout: float) -> None:
    import urllib.error
    import urllib.request

    address, userinfo = split_credentials(uri)
    parts = urlsplit(address)
    health = urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/health"))
    request = urllib.request.Request(health)  # noqa: S310 (scheme checked by the caller)
    if userinfo:
        request.add_header("Authorization", "Basic " + base64.b64encode(userinfo.encode()).decode())
    try:
        urllib.request.urlopen(request, timeout=timeout).close()  # noqa: S310 (scheme checked by the caller)
    except urllib.error.HTTPError as error:
        error.close()
        # A proxy may hide /health or ask for a login: something answers, the first real call shows the rest.
        if error.code >= _SERVER_ERROR:
            raise OSError(f"it answers HTTP {error.code}") from None
    except urllib.error.URLError as error:
        # Something answers. MLflow has settings for certificates of its own (MLFLOW_TRACKING_SERVER_CERT_PATH, …).
        if not isinstance(error.reason, ssl.SSLError):
            raise


def _ping_tcp(uri: str, scheme: str, timeout: float) -> None:
    parts = urlsplit(uri)
    if parts.hostname:
        socket.create_connection((parts.hostname, parts.port or _PORTS.get(scheme, 0)), timeout).close()


def _check_file(uri: str) -> None:
    path = Path(unquote(uri.partition(":///")[2].partition("?")[0])).absolute()
    if path.exists() and not path.is_file():  # a fifo, say: MLflow would try for 100 seconds
        raise OSError(f"{path} is a directory or a device, expected a file")
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not existing.is_dir() and existing != path:
        raise OSError(f"{existing} is not a directory")
    if not os.access(existing, os.W_OK):
        raise OSError(f"no permission to write {existing}")
