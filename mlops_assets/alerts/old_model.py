"""The alert about a model that has served for too long: trainings fail, do not run, or give nothing better."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mlops_assets.alerts.message import OLD_MODEL, Alert, alert
from mlops_assets.names import Names


class Serving(Protocol):
    """The model version that predicts; all attributes are read only."""

    @property
    def number(self) -> int:
        """The version."""

    @property
    def trained_through(self) -> str:
        """The last day whose rows it has seen, ``YYYY-MM-DD``; empty if unknown."""

    @property
    def created(self) -> dt.datetime:
        """When it was registered, UTC."""


@dataclass(frozen=True)
class OldModel:
    """Call it for the alert about the version that predicts now, if it is too old.

    Attributes:
        names: Of the pipeline.
        serving: Asks for the version that predicts; None: there is none.
        max_age_days: ``MLOPS_MODEL_MAX_AGE_DAYS``; 0: a model is never too old.
        link: To a version in MLflow's UI; None: there is no UI.
    """

    names: Names
    serving: Callable[[], Serving | None]
    max_age_days: int
    link: Callable[[int], str | None]

    def __call__(self, now: dt.datetime) -> list[Alert]:
        """At most one alert, with a key of its own for each version.

        Raises:
            MlopsAssetsError: The registry cannot be asked.
        """
        version = self.serving() if self.max_age_days else None
        if version is None:
            return []
        known = _day(version.trained_through)
        last = known or version.created.date()
        age = (now.date() - last).days
        if age <= self.max_age_days:
            return []
        what = f"trained on data up to {last}" if known else f"registered on {last}"
        name, link = self.names.of("model"), self.link(version.number)
        return [
            alert(
                f"{OLD_MODEL}/{name}/{version.number}",
                OLD_MODEL,
                f"Version {version.number}, which predicts, is {age} days old",
                [
                    f"It was {what}. An alert is sent after {self.max_age_days} days (MLOPS_MODEL_MAX_AGE_DAYS).",
                    "Look whether job train runs, and what the gate says of newer versions: mlops-assets models list.",
                    "This is sent once for each version.",
                ],
                [f"Model: {link}"] if link else [],
            )
        ]


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:  # empty, or a tag that was edited by hand
        return None
