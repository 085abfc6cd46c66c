"""The registered model as a whole: versions and promotions (inherited), the gate's verdicts, the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mlops_assets.tracking.entities import VERDICT_TAG, Verdict, Version
from mlops_assets.tracking.model_files import fetch_files
from mlops_assets.tracking.promotions import Promotions
from mlops_assets.tracking.tag_json import to_tag


class Registry(Promotions):
    """The versions of one registered model, which of them is in production, and why."""

    def unjudged(self, basis: str) -> list[Version]:
        """The versions that the gate has to judge, by number.

        That is, versions of ours without a final verdict that were never promoted, demoted or archived. An undecided
        one counts only if what it was judged on has changed.

        Args:
            basis: Identity of what would be judged on now.
        """
        decided = {number for past in self.history() for number in (past.from_version, past.to_version)}
        return [
            version
            for version in self.versions()
            if version.is_ours
            and version.number not in decided
            and version.stage not in {"Production", "Archived"}
            and (version.verdict is None or not (version.verdict.is_final or version.verdict.basis == basis))
        ]

    def as_of(self, days: Sequence[str]) -> dict[str, Version]:
        """Day -> the newest promoted version that has not seen the day; days without one are left out.

        A version that was rolled back counts as never promoted.

        Raises:
            TrackingError: MLflow cannot be asked.
        """
        versions = {version.number: version for version in self.versions()}
        promoted: list[Version] = []
        for one in self.history():
            if one.rollback:  # what was taken out of production is not what would have served
                promoted = [version for version in promoted if version.number != one.from_version]
            elif one.to_version in versions:
                promoted.append(versions[one.to_version])
        unseen = {ds: [one for one in promoted if (one.trained_through or one.ds) < ds] for ds in days}
        return {ds: found[-1] for ds, found in unseen.items() if found}

    def record_verdict(self, number: int, verdict: Verdict) -> None:
        """Keep a verdict as a tag of the version, and as its description for people.

        Raises:
            TrackingError: No such version, or MLflow refused.
        """
        with self._connection.errors(f"record the verdict on version {number}"):
            client = self._connection.client
            # The tag last: it is what counts, and after a crash in between both are written again.
            client.update_model_version(self._name, str(number), _sentence(verdict))
            client.set_model_version_tag(self._name, str(number), VERDICT_TAG, to_tag(asdict(verdict)))

    def fetch(self, version: Version, into: Path) -> None:
        """Put ``model.skops`` and ``model.json`` of a version into a folder.

        A file gets its name only after its SHA-256 was found to be the registered one; a file that is there and right
        is not fetched again.

        Args:
            version: Whose files.
            into: Folder; created when missing.

        Raises:
            TrackingError: The version was registered by hand, its files are missing or were changed, or MLflow refused
                or cannot be reached.
        """
        fetch_files(self._connection, version, into)


def _sentence(verdict: Verdict) -> str:
    text = f"{verdict.outcome.capitalize()} on {verdict.at[:10]}: {verdict.reason.rstrip('.')}"[:4000]
    return f"{text} ({_listed(verdict.scores)})." if verdict.scores else f"{text}."


def _listed(scores: Mapping[str, object]) -> str:
    shown = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in scores.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())[:900]
