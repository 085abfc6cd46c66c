"""Following the model in production: a thread that asks the registry, loads what is new, and swaps when it is proved.

Whatever goes wrong, the model that serves goes on serving, and `Following.problem` says what is wrong.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlops_assets.alerts.message import FAILURE, Alert, alert, first_lines
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.runtime.model_cache import ModelCache
from mlops_assets.serving.model import ServedModel, load
from mlops_assets.tracking.errors import TrackingError

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_assets.assets.production import Production
    from mlops_assets.tracking.entities import Version

REFRESH_SECONDS = 3_600
"""So often what is remembered for times without MLflow is made new."""

RETRY_SECONDS = 30
"""A version that could not be loaded is tried again after this time: the reason may pass (a full disk, say)."""

_logger = logging.getLogger(__name__)


class Following:
    """The model that serves.

    Attributes:
        model: None: there is none.
        problem: Why what should serve does not, or what is not known; empty: all is well.
        failures: Attempts to load a version that failed.
    """

    def __init__(self, production: Production, root: Path, notify: Callable[[Alert], None], seconds: float) -> None:
        """Nothing is opened until `look`.

        Args:
            production: Which version serves.
            root: The data root; the models' files are put below it.
            notify: Sends an alert unless one with its key was sent before.
            seconds: Between two looks.
        """
        self.model: ServedModel | None = None
        self.problem, self.failures = "The registry has not been asked yet.", 0
        self._production, self._root, self._notify, self._seconds = production, root, notify, seconds
        self._cache = ModelCache()  # the version before is at hand for a rollback
        self._refresh_at = 0.0
        self._failed: tuple[int, str] | None = None
        self._retry_at = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="following", daemon=True)

    def start(self) -> None:
        """Look once, here; then go on in a thread."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, without waiting for a look that takes long."""
        self._stopped.set()

    def look(self) -> None:
        """Ask which version is in production, and put it into service if it does not serve yet. Never fails."""
        try:
            version = self._production.current()
            if version is None:
                self.model, self._failed = None, None
                self._production.forget()
                self.problem = "No version is in stage Production. Train and promote one: mlops-assets models promote"
            elif self.model and (version.number, version.sha256) == (self.model.number, self.model.sha256):
                self.problem, self._failed = "", None
                self._refresh(version)
            elif (version.number, version.sha256) != self._failed or time.monotonic() >= self._retry_at:
                self._take(version)
        except TrackingError as error:
            self._go_on_without(error)
        except Exception as error:
            _logger.exception("Looking for the model in production failed")
            self.problem = f"{type(error).__name__}: {error}"

    def _follow(self) -> None:
        while not self._stopped.wait(self._seconds):
            self.look()

    def _take(self, version: Version) -> None:
        """Fetch, load, score the input example, swap."""
        try:
            self.model = load(self._cache, self._root, self._production.champion(version))
        except Exception as error:
            if isinstance(error, TrackingError) and error.can_retry:
                raise
            self._refuse(version, error)
            return
        _logger.info("Version %s of model %r serves", self.model.number, self.model.name)
        self.problem, self._failed, self._refresh_at = "", None, 0.0
        self._refresh(version)

    def _refresh(self, version: Version) -> None:
        """Remember what serves, for times without MLflow."""
        if time.monotonic() >= self._refresh_at:
            self._refresh_at = time.monotonic() + REFRESH_SECONDS
            self._production.remember(self._production.champion(version))

    def _refuse(self, version: Version, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if self.model is None:
            self._serve_remembered(TrackingError(reason))
        serving = f"version {self.model.number} goes on serving" if self.model else "nothing serves"
        title = f"Version {version.number} of model {version.name!r} is in production and cannot serve; {serving}"
        self.problem = f"{title}. {reason}"
        self.failures += 1
        self._failed = version.number, version.sha256
        self._retry_at = time.monotonic() + RETRY_SECONDS
        _logger.error("%s", self.problem, exc_info=None if isinstance(error, MlopsAssetsError) else error)
        facts = [first_lines(reason), "It is tried again every 30 seconds. Way back: mlops-assets models rollback"]
        one = alert(f"serving/{version.name}/{version.number}/{version.sha256}", FAILURE, title, facts)
        # A mail server that does not answer must not keep this thread from the next promotion.
        threading.Thread(target=self._send, args=(one,), name="alert", daemon=True).start()

    def _send(self, one: Alert) -> None:
        try:
            self._notify(one)
        except Exception:
            _logger.exception("The alert %r was not sent", one.title)

    def _go_on_without(self, error: TrackingError) -> None:
        """MLflow cannot be asked: what serves goes on."""
        self.problem = str(error)
        if self.model is None:
            self._serve_remembered(error)

    def _serve_remembered(self, error: TrackingError) -> None:
        """After a start: what served last, if that is not long ago."""
        try:
            self.model = load(self._cache, self._root, self._production.remembered(error))
            _logger.warning("Version %s of model %r, which served last, serves", self.model.number, self.model.name)
        except Exception as other:
            if other is not error:
                _logger.warning("What served last cannot serve: %s", other)
