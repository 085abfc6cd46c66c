"""The channels: Apprise, one object for each URL. URLs are secrets, so targets are told apart by place and scheme.

Apprise is imported when the first alert is sent: it takes a second, and most looks for news find none.
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

from mlops_assets.alerts.errors import AlertError
from mlops_assets.alerts.message import FAILURE, LATE, PROMOTION, TEST
from mlops_assets.errors import SettingsError

if TYPE_CHECKING:
    from mlops_assets.alerts.message import Alert

SEND_SECONDS = 15
"""After this time sending to one target has failed; Dagster gives a whole tick 60 seconds."""

CONNECT_SECONDS = 10.0
"""Less than that: what is given up by its own time-out says why, and cannot be delivered after all."""

PAUSE_SECONDS = 1.0
"""Between two messages to a target, unless its service wants more."""

_KNOWN_SHORT = 4
_EXPLANATION = "Socket Exception: "
_MOODS = {FAILURE: "failure", LATE: "failure", PROMOTION: "success", TEST: "info"}


class Target:
    """One place that alerts go to.

    Attributes:
        id: A digest of the URL: the same for the same URL, and nothing can be read from it.
        name: For people: its place in the list and its scheme.
    """

    def __init__(self, place: int, url: str) -> None:
        """Take a URL of Apprise; it is not looked at yet."""
        self._url = url
        self.id = hashlib.sha256(url.encode()).hexdigest()[:16]
        scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*)://", url)
        self.scheme = scheme[1].lower() if scheme else "no scheme"
        self.name = f"target {place} ({self.scheme})"

    def __repr__(self) -> str:
        """Show the name only."""
        return f"Target({self.name!r})"

    def check(self) -> None:
        """Whether Apprise understands the URL.

        Raises:
            SettingsError: It does not.
        """
        if self._apprise is None:
            raise SettingsError(
                f"MLOPS_ALERT_URLS: {self.name} is no URL that Apprise understands. Look up how it is written for the"
                " service at https://appriseit.com/services/; special characters in passwords are written as %40 (@),"
                " %2F (/), %3A (:)."
            )

    def send(self, alert: Alert) -> None:
        """Send, once; give up after `SEND_SECONDS`.

        Raises:
            AlertError: It was not delivered, with a reason that holds nothing of the URL.
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
        except Exception as error:  # a plugin's own; its text and its cause may hold anything
            raise AlertError(f"{self.name}: {type(error).__name__}") from None
        if not result:
            raise AlertError(f"{self.name}: {self._reason(result.logs())}")

    @cached_property
    def _apprise(self) -> Any:
        """None if the URL is not understood."""
        apprise = _quiet_apprise()
        asset = apprise.AppriseAsset(app_id="mlops-assets", app_desc="mlops-assets", service_timeout=SEND_SECONDS)
        plugin = apprise.Apprise.instantiate(self._url, asset=asset)
        if plugin is None:
            return None
        if plugin.request_rate_per_sec == apprise.NotifyBase.request_rate_per_sec:  # nothing that the service asks for
            plugin.request_rate_per_sec = PAUSE_SECONDS
        plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, CONNECT_SECONDS)
        return apprise.Apprise([plugin], asset=asset)

    def _reason(self, entries: Any) -> str:
        lines = [
            entry.message.removeprefix(_EXPLANATION)
            for entry in entries
            if entry.level in {"WARNING", "ERROR", "CRITICAL"} or entry.message.startswith(_EXPLANATION)
        ]
        return self._without_secrets("; ".join(dict.fromkeys(lines))) or "Apprise gives no reason"

    def _without_secrets(self, text: str) -> str:
        """Without any part of the URL but the scheme: tokens stand anywhere, depending on the service."""
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
    def ids(self) -> tuple[str, ...]:
        """What tells the targets apart in the outbox."""
        return tuple(target.id for target in self.targets)

    @property
    def names(self) -> tuple[str, ...]:
        """What tells the targets apart for people."""
        return tuple(target.name for target in self.targets)

    def check(self) -> None:
        """Whether Apprise understands all URLs.

        Raises:
            SettingsError: It does not understand one, named by its place.
        """
        for target in self.targets:
            target.check()

    def send(self, target_id: str, alert: Alert) -> None:
        """Send to one target.

        Raises:
            AlertError: It was not delivered.
        """
        next(target for target in self.targets if target.id == target_id).send(alert)

    def name(self, target_id: str) -> str:
        """The name of a target."""
        return next(target.name for target in self.targets if target.id == target_id)


@cache
def _quiet_apprise() -> Any:
    """The library. What it logs is read here, and goes nowhere else: it may hold URLs and tokens."""
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
