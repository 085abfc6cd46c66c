"""Which alerts are sent where, as a user sets it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mlops_assets.alerts.message import CHECK, FAILURE, KINDS, LATE, OLD_MODEL, PROMOTION, REJECTION, RETRY, TICK
from mlops_assets.declared import names, setting

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S")
_BETWEEN_URLS = re.compile(r",?\s+|,(?=[a-zA-Z][a-zA-Z0-9+.-]*://)")
"""A comma that no scheme follows is part of a URL."""


def _split_urls(value: Any) -> Any:
    return tuple(url for url in _BETWEEN_URLS.split(value) if url) if isinstance(value, str) else value


def _apprise_urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    if wrong := [str(place) for place, url in enumerate(urls, start=1) if not _URL.match(url)]:
        raise ValueError(f"expected Apprise URLs, such as mailto://…; number {', '.join(wrong)} is not one")
    return urls


def _known_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"{', '.join(unknown)}: expected some of {', '.join(KINDS)}")
    return kinds


def _web_address(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]\S*", value):
        raise ValueError("expected an address, http(s)://host:port")
    return value


@dataclass(frozen=True)
class AlertConfig:
    """Which alerts are sent where."""

    urls: tuple[str, ...] = setting(
        (),
        "Targets of alerts: [Apprise URLs](https://appriseit.com/services/), separated by spaces. They hold passwords.",
        name="alert_urls",
        secret=True,
        parse=_split_urls,
        check=_apprise_urls,
    )
    kinds: tuple[str, ...] = setting(
        (FAILURE, CHECK, LATE, TICK, PROMOTION, REJECTION, OLD_MODEL),
        f"Kinds of alerts to send, separated by commas (also available: `{RETRY}`).",
        name="alert_on",
        parse=names,
        check=_known_kinds,
    )
    model_max_age_days: int = setting(
        30,
        "Send an `old_model` alert when the model that predicts was trained on data that end more days ago than this;"
        " 0: never.",
        ge=0,
        le=36_500,
    )
    dagster_url: str = setting("http://127.0.0.1:3000", "Base of links to Dagster's UI.", check=_web_address)
