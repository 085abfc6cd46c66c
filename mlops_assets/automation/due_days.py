"""For each job, the days that are not done: with what input they would start, or what they wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from mlops_assets.automation.config import DOWNLOAD, PREDICT, TRAIN, AutomationConfig
from mlops_assets.automation.delivery import Observations, examine, short_key
from mlops_assets.store.layout import DATA, TARGET, manifest_name

if TYPE_CHECKING:
    from mlops_assets.store.listing import Listing, Stamp, Survey
    from mlops_assets.store.manifest import Manifest

Objection = Callable[[str, str], "str | None"]
"""``(asset, ds)`` -> why the asset must not be made for that day (a check that stops it), or None."""

GENERATED = "generate"


@dataclass(frozen=True)
class Candidate:
    """A day that is not done.

    Attributes:
        ds: The day.
        key: Identifies the input that a run would work on; a run for the same input is never started twice.
        waits_for: What is missing, as a sentence; None: it can start.
        waits_for_other_job: Whether it waits for another job, whose own failure or delay is alerted.
    """

    ds: str
    key: str = ""
    waits_for: str | None = None
    waits_for_other_job: bool = False


@dataclass(frozen=True)
class Days:
    """The days of a job at an instant.

    Attributes:
        due: All days that are due, oldest first.
        first: Earlier days count only if they were done already (and their data changed since).
        trained: The days whose end a training belongs to, within the same bounds as ``first``.
    """

    due: Sequence[str]
    first: str
    trained: Sequence[str]


class DueDays:
    """Finds the candidates of each job in a data root."""

    def __init__(
        self,
        survey: Survey,
        config: AutomationConfig,
        *,
        delivered: bool,
        delimiter: str,
        objections: Callable[[], Objection] = lambda: _no_objection,
    ) -> None:
        """Nothing is read until first use.

        Args:
            survey: Of the data root.
            config: When what runs.
            delivered: Whether raw data are delivered as files; otherwise they are generated.
            delimiter: Between the cells of delivered files.
            objections: Prepares, for each look that needs it, the function that knows which checks stop a day.
        """
        self._survey, self._config, self._delivered, self._delimiter = survey, config, delivered, delimiter
        self._objections = objections

    def candidates(self, job: str, days: Days, observations: Observations, now: float) -> list[Candidate]:
        """The days of a job that are not done, oldest first; ``observations`` is updated."""
        raw = self._survey.listing("raw_data")
        if job == DOWNLOAD:
            found = self._to_download(days, raw, observations, now)
        elif job == TRAIN:
            found = self._to_train(days, raw)
        elif job == PREDICT:
            found = self._to_predict(days, raw)
        else:
            raise ValueError(f"{job} has no days")
        return list(found)

    def _to_download(self, days: Days, raw: Listing, observations: Observations, now: float) -> Iterator[Candidate]:
        due = set(days.due)
        for ds in [one for one in observations if one not in due or one not in raw]:
            del observations[ds]
        for ds in days.due:
            files = raw.get(ds, {})
            is_registered = manifest_name("raw_data") in files
            if ds < days.first and not is_registered:
                continue
            if not self._delivered:
                if not is_registered:
                    yield Candidate(ds, GENERATED)
                continue
            found = examine(self._survey, self._config, ds, files, observations, now, self._delimiter)
            if found.key is not None:
                yield Candidate(ds, found.key, found.problem)

    def _to_train(self, days: Days, raw: Listing) -> Iterator[Candidate]:
        objections = cache(self._objections)
        processed, models = self._survey.listing("processed"), self._survey.listing("metrics")
        trained = {ds for ds, files in models.items() if manifest_name("metrics") in files}
        for ds in sorted({*days.trained, *(trained & set(days.due))}):
            registered = self._registered(ds, raw)
            if isinstance(registered, Candidate):
                if ds in days.trained:
                    yield registered
                continue
            digests = {info.name: info.sha256 for info in registered.files}
            # Only redelivered raw data start a training again; changes that people make by hand do not.
            if ds in trained and self._used("processed", ds, processed.get(ds, {})) == digests:
                continue
            if TARGET not in digests:
                yield Candidate(ds, waits_for=f"raw/{ds}/{TARGET} is missing")
            else:
                yield _unless_objected(objections(), "processed", ds, _key(digests, raw[ds]))

    def _to_predict(self, days: Days, raw: Listing) -> Iterator[Candidate]:
        predicted, objections = self._survey.listing("predictions"), cache(self._objections)
        for ds in days.due:
            used = self._used("predictions", ds, predicted.get(ds, {}))
            if ds < days.first and not used:
                continue
            registered = self._registered(ds, raw)
            if isinstance(registered, Candidate):
                if not used:
                    yield registered
                continue
            digests = {info.name: info.sha256 for info in registered.files if info.name == DATA}
            if used == digests:
                continue
            yield _unless_objected(objections(), "predictions", ds, _key(digests, raw[ds]))

    def _registered(self, ds: str, raw: Listing) -> Manifest | Candidate:
        """The manifest of a day's raw data; or a candidate that waits until the data are registered."""
        files = raw.get(ds, {})
        manifest = self._survey.manifest("raw_data", ds, files)
        if manifest is None:
            return Candidate(ds, waits_for=f"raw_data of {ds} is not available yet", waits_for_other_job=True)
        if self._delivered:
            delivery = examine(self._survey, self._config, ds, files, {}, 0.0, self._delimiter)
            if delivery.key is not None:
                return Candidate(ds, waits_for=f"raw/{ds} is being delivered again", waits_for_other_job=True)
        return manifest

    def _used(self, asset: str, ds: str, files: dict[str, Stamp]) -> dict[str, str]:
        """File name -> digest of the raw files that a published partition was made from."""
        manifest = self._survey.manifest(asset, ds, files)
        inputs = manifest.inputs if manifest is not None else {}
        prefix = self._survey.store.relative("raw_data", ds, "")
        return {name.removeprefix(prefix): digest for name, digest in inputs.items() if name.startswith(prefix)}


def _no_objection(_asset: str, _ds: str) -> str | None:
    return None


def _unless_objected(objection: Objection, asset: str, ds: str, key: str) -> Candidate:
    reason = objection(asset, ds)
    return Candidate(ds, key, reason, waits_for_other_job=reason is not None)


def _key(digests: Mapping[str, str], files: Mapping[str, Stamp]) -> str:
    """Content that is registered again is a new input: other content may have been there in between."""
    registered = files[manifest_name("raw_data")].changed
    return short_key((*sorted(digests.items()), registered))
