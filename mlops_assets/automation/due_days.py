"""For each job, the days that have something to do: what they would start with, or what they wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from mlops_assets.automation.config import DOWNLOAD, PREDICT, TRAIN, Cadence
from mlops_assets.automation.delivery import Looks, examine, short_key
from mlops_assets.store.layout import DATA, TARGET, manifest_name

if TYPE_CHECKING:
    from mlops_assets.store.listing import Listing, Stamp, Survey
    from mlops_assets.store.manifest import Manifest

Objection = Callable[[str, str], "str | None"]
"""``(asset, ds)`` -> why the asset must not be made of that day (a check that stops it), or None."""

GENERATED = "generate"


@dataclass(frozen=True)
class Candidate:
    """A day that is not done.

    Attributes:
        ds: The day.
        key: What identifies the input that a run would work on; a run for the same input is never started twice.
        waits_for: What is missing, in words; None: it can start.
        is_upstream: Whether it waits for another job, which tells about it itself.
    """

    ds: str
    key: str = ""
    waits_for: str | None = None
    is_upstream: bool = False


@dataclass(frozen=True)
class Days:
    """Which days are looked at.

    Attributes:
        due: All days whose time has come, oldest first.
        first: Days before this one are only looked at if they were done already (and have changed since).
        trained: The days whose end a training belongs to, within the same bounds as ``first``.
    """

    due: Sequence[str]
    first: str
    trained: Sequence[str]


class Watcher:
    """Finds the candidates of each job in a data root."""

    def __init__(
        self,
        survey: Survey,
        cadence: Cadence,
        *,
        delivered: bool,
        delimiter: str,
        objections: Callable[[], Objection] = lambda: _no_objection,
        has_model: Callable[[], bool] = lambda: True,
    ) -> None:
        """Name the parts.

        Args:
            survey: Of the data root.
            cadence: The rules.
            delivered: Whether others deliver raw data; otherwise they are generated.
            delimiter: Between the cells of delivered files.
            objections: For each look, what says why an asset must not be made of a day.
            has_model: Whether there is a model to predict with; asked only if a day waits for nothing else.
        """
        self._survey, self._cadence, self._delivered, self._delimiter = survey, cadence, delivered, delimiter
        self._objections, self._has_model = objections, has_model

    def candidates(self, job: str, days: Days, looks: Looks | None, now: float) -> list[Candidate]:
        """The days of a job that are not done, oldest first; ``looks`` is brought up to date."""
        raw = self._survey.listing("raw_data")
        if job == DOWNLOAD:
            found = self._to_download(days, raw, looks, now)
        elif job == TRAIN:
            found = self._to_train(days, raw)
        elif job == PREDICT:
            found = self._to_predict(days, raw)
        else:
            raise ValueError(f"{job} has no days")
        return list(found)

    def _to_download(self, days: Days, raw: Listing, looks: Looks | None, now: float) -> Iterator[Candidate]:
        due = set(days.due)
        for ds in [one for one in looks or () if one not in due or one not in raw]:
            del looks[ds]  # type: ignore[union-attr]
        for ds in days.due:
            files = raw.get(ds, {})
            is_registered = manifest_name("raw_data") in files
            if ds < days.first and not is_registered:
                continue
            if not self._delivered:
                if not is_registered:
                    yield Candidate(ds, GENERATED)
                continue
            found = examine(self._survey, self._cadence, ds, files, looks, now, self._delimiter)
            if found.key is not None:
                yield Candidate(ds, found.key, found.problem)

    def _to_train(self, days: Days, raw: Listing) -> Iterator[Candidate]:
        objection = _Once(self._objections)
        processed, models = self._survey.listing("processed"), self._survey.listing("metrics")
        trained = {ds for ds, files in models.items() if manifest_name("metrics") in files}
        for ds in sorted({*days.trained, *(trained & set(days.due))}):
            registered = self._registered(ds, raw)
            if isinstance(registered, Candidate):
                if ds in days.trained:
                    yield registered
                continue
            digests = {info.name: info.sha256 for info in registered.files}
            # Raw data that came again are what counts; what people do with days by hand is theirs.
            if ds in trained and self._used("processed", ds, processed.get(ds, {})) == digests:
                continue
            if TARGET not in digests:
                yield Candidate(ds, waits_for=f"raw/{ds}/{TARGET} is missing")
            else:
                yield _unless_objected(objection, "processed", ds, _key(digests, raw[ds]))

    def _to_predict(self, days: Days, raw: Listing) -> Iterator[Candidate]:
        predicted, objection, has_model = (
            self._survey.listing("predictions"),
            _Once(self._objections),
            cache(self._has_model),
        )
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
            candidate = _unless_objected(objection, "predictions", ds, _key(digests, raw[ds]))
            if candidate.waits_for is None and not has_model():
                candidate = Candidate(ds, waits_for="no model is in production")
            yield candidate

    def _registered(self, ds: str, raw: Listing) -> Manifest | Candidate:
        """What is registered of a day; or that it is not (as it lies there now)."""
        files = raw.get(ds, {})
        manifest = self._survey.manifest("raw_data", ds, files)
        if manifest is None:
            return Candidate(ds, waits_for=f"raw_data of {ds} is not there yet", is_upstream=True)
        if self._delivered:
            delivery = examine(self._survey, self._cadence, ds, files, None, 0.0, self._delimiter)
            if delivery.key is not None:
                return Candidate(ds, waits_for=f"raw/{ds} is being delivered again", is_upstream=True)
        return manifest

    def _used(self, asset: str, ds: str, files: dict[str, Stamp]) -> dict[str, str]:
        """File name -> digest of the raw files that a published day was made from."""
        manifest = self._survey.manifest(asset, ds, files)
        inputs = manifest.inputs if manifest is not None else {}
        prefix = self._survey.store.relative("raw_data", ds, "")
        return {name.removeprefix(prefix): digest for name, digest in inputs.items() if name.startswith(prefix)}


class _Once:
    """Objections that are prepared only if they are asked for."""

    def __init__(self, prepare: Callable[[], Objection]) -> None:
        self._prepare = prepare

    @cached_property
    def _ask(self) -> Objection:
        return self._prepare()

    def __call__(self, asset: str, ds: str) -> str | None:
        return self._ask(asset, ds)


def _no_objection(_asset: str, _ds: str) -> str | None:
    return None


def _unless_objected(objection: Objection, asset: str, ds: str, key: str) -> Candidate:
    reason = objection(asset, ds)
    return Candidate(ds, key, reason, is_upstream=reason is not None)


def _key(digests: Mapping[str, str], files: Mapping[str, Stamp]) -> str:
    """The same content that was registered again is another input: others may have come between."""
    registered = files[manifest_name("raw_data")].changed
    return short_key((*sorted(digests.items()), registered))
