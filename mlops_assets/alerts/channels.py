"""Sending through Apprise, one object for each URL. URLs are secrets: messages name a target by position and scheme.

Apprise is imported when the first alert is sent: the import takes a second, and most ticks send nothing.
"""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlops_assets.alerts.message import FAILURE, LATE, PROMOTION, TEST, AlertError
from mlops_assets.errors import SettingsError

if TYPE_CHECKING:
    from mlops_assets.alerts.message import Alert

SEND_SECONDS = 15
"""Limit for one message to one target; Dagster gives a whole tick 60 seconds."""

CONNECT_SECONDS = 10.0
"""Less than `SEND_SECONDS`: the connection's own time-out gives a reason, and nothing is delivered after it."""

PAUSE_SECONDS = 1.0
"""Between two messages to a target, unless its service needs more."""

_KNOWN_SHORT = 4
_EXPLANATION = "Socket Exception: "
_MOODS = {FAILURE: "failure", LATE: "failure", PROMOTION: "success", TEST: "info"}


class Target:
    """One place that alerts are sent to.

    Attributes:
        id: A digest of the URL, which reveals nothing of it.
        name: For people: the position in the list and the scheme.
    """

    def __init__(self, place: int, url: str) -> None:
        """Take a URL of Apprise; `check` parses it."""
        self._url = url
        self.id = hashlib.sha256(url.encode()).hexdigest()[:16]
        scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*)://", url)
        self.name = f"target {place} ({scheme[1].lower() if scheme else 'no scheme'})"

    def __repr__(self) -> str:
        """Show the name only."""
        return f"Target({self.name!r})"

    def check(self) -> None:
        """Parse the URL.

        Raises:
            SettingsError: Apprise does not understand it.
        """
        if self._apprise is None:
            raise SettingsError(
                f"MLOPS_ALERT_URLS: {self.name} is not a valid Apprise URL. See https://appriseit.com/services/ for the"
                " format of each service; write special characters in passwords as %40 (@), %2F (/), %3A (:)."
            )

    def send(self, alert: Alert) -> None:
        """Send, once; give up after `SEND_SECONDS`.

        Raises:
            AlertError: It was not delivered; the reason contains no part of the URL but the scheme.
        """
        try:
            self.check()
            result = self._apprise.notify(
                title=alert.title,
                body=alert.body,
                body_format="text",
                notify_type=_MOODS.get(alert.kind, "warning"),
                log_level=logging.DEBUG,
            )
        except SettingsError as error:
            raise AlertError(str(error)) from None
        except Exception as error:  # of a plugin: its text and cause may contain secrets
            raise AlertError(f"{self.name}: {type(error).__name__}") from None
        if not result:
            raise AlertError(f"{self.name}: {self._reason(result.logs())}")

    @cached_property
    def _apprise(self) -> Any:
        """None if Apprise does not understand the URL."""
        apprise = _quiet_apprise()
        asset = apprise.AppriseAsset(app_id="mlops-assets", app_desc="mlops-assets", service_timeout=SEND_SECONDS)
        plugin = apprise.Apprise.instantiate(self._url, asset=asset)
        if plugin is None:
            return None
        if plugin.request_rate_per_sec == apprise.NotifyBase.request_rate_per_sec:  # no rate that the service requires
            plugin.request_rate_per_sec = PAUSE_SECONDS
        plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, CONNECT_SECONDS)
        return apprise.Apprise([plugin], asset=asset)

    def _reason(self, entries: Any) -> str:
        lines = [
            entry.message.removeprefix(_EXPLANATION)
            for entry in entries
            if entry.level in {"WARNING", "ERROR", "CRITICAL"} or entry.message.startswith(_EXPLANATION)
        ]
        return self._without_secrets("; ".join(dict.fromkeys(lines))) or "Apprise gave no reason"

    def _without_secrets(self, text: str) -> str:
        """Remove every part of the URL but the scheme: where the tokens are depends on the service."""
        parts = set(re.split(r"[\s:/@?&=,#<>\"']+", self._url.partition("://")[2]))
        for part in sorted({*parts, *map(unquote, parts)} - {""}, key=len, reverse=True):
            # Short ones, such as a port, may be part of a word by chance.
            border = r"\b" if len(part) < _KNOWN_SHORT and part.isalnum() else ""
            text = re.sub(border + re.escape(part) + border, "***", text, flags=re.IGNORECASE)
        return text


class Channels:
    """All targets."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Take URLs of Apprise; the same one twice counts once."""
        self.targets = tuple(Target(place, url) for place, url in enumerate(dict.fromkeys(urls), start=1))

    def __repr__(self) -> str:
        """Show no URL."""
        return f"Channels({', '.join(self.names)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The targets' names, for people."""
        return tuple(target.name for target in self.targets)

    def check(self) -> None:
        """Parse all URLs.

        Raises:
            SettingsError: Apprise does not understand one, named by its position.
        """
        for target in self.targets:
            target.check()


@cache
def _quiet_apprise() -> Any:
    """The library. Its log is read in `Target.send` and goes nowhere else: it may contain URLs and tokens."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.DEBUG)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)  # at DEBUG it logs paths, which are tokens
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what its plugins import
        import apprise

        manager: Any = apprise.manager_plugins.NotificationManager
        manager().load_modules()
    return apprise
