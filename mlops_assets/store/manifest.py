"""The manifest: what a published partition holds, so that any reader can check it.

A manifest holds nothing that changes from one run to the next over the same inputs, save which model predicted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 2

_DIGITS = 20  # of any count of rows or bytes; one of hundreds could not be compared with a share
_MAYBE = type(None)
_KINDS: dict[str, Any] = {
    "asset": str,
    "partition": str,
    "files": list,
    "recipe": str,
    "inputs": dict,
    "settings": dict,
    "step_version": str,
    "image": str,
    "metadata": dict,
}
_FILE_KINDS: dict[str, Any] = {
    "name": str,
    "sha256": str,
    "size": int,
    "rows": (int, _MAYBE),
    "columns": (dict, _MAYBE),
    "delimiter": (str, _MAYBE),
    "missing_values": list,
    "problem": (str, _MAYBE),
}


@dataclass(frozen=True)
class FileInfo:
    """One file of a partition.

    Attributes:
        name: File name inside the partition's folder.
        sha256: Hex digest of its bytes.
        size: Bytes.
        rows: Data rows (header not counted) of a table; None for other files.
        columns: Column name -> Arrow type of a table, in the file's order; None for other files.
        delimiter: Between the cells of a delivered file; None for our own files.
        missing_values: What else than blanks means in a delivered file that there is no value.
        problem: Why a delivered file cannot be used; None where it can.
    """

    name: str
    sha256: str
    size: int
    rows: int | None = None
    columns: dict[str, str] | None = None
    delimiter: str | None = None
    missing_values: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Manifest:
    """What one partition of one asset holds and what it was made from.

    Attributes:
        asset: Asset name.
        partition: Partition key, ``YYYY-MM-DD``.
        files: The files, in the order of the step's declaration.
        recipe: What identifies the work that made it; see :mod:`mlops_assets.runtime.recipes`.
        inputs: Path below the data root -> what identifies the content of each file that was read.
        settings: The settings that the step declares, as they were.
        step_version: Version of the step that wrote it.
        image: The image that it ran in, where that is part of the recipe.
        metadata: What the step reported (JSON values).
    """

    asset: str
    partition: str
    files: tuple[FileInfo, ...]
    recipe: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    step_version: str = ""
    image: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def file(self, name: str) -> FileInfo:
        """The entry of one file.

        Raises:
            KeyError: The partition has no such file.
        """
        for info in self.files:
            if info.name == name:
                return info
        raise KeyError(name)

    @property
    def digest(self) -> str:
        """One digest for the partition: of its only file, or over those of all its files."""
        if len(self.files) == 1:
            return self.files[0].sha256
        import hashlib

        return hashlib.sha256("".join(info.sha256 for info in self.files).encode()).hexdigest()

    def to_json(self) -> str:
        """The manifest's text: the same for the same content."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read back what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is no manifest of a format that this version reads.
        """
        content = parsed_mapping(text)
        if content.pop("format", None) != FORMAT:
            raise ValueError(f"not a manifest of format {FORMAT}")
        _refuse_other_types(content, _KINDS)
        if not content["files"]:
            raise ValueError("'files' is empty")
        for info in content["files"]:
            _refuse_other_types(info, _FILE_KINDS)
            words = [*content["inputs"].values(), *(info["columns"] or {}).values(), *info["missing_values"]]
            if not all(isinstance(word, str) for word in words):
                raise ValueError("inputs, columns or missing values are no text")
        files = tuple(
            FileInfo(**{**info, "missing_values": tuple(info["missing_values"])}) for info in content["files"]
        )
        return cls(**{**content, "files": files})


def parsed_mapping(text: str | bytes) -> dict[str, Any]:
    """The content of a JSON file that another program may have written.

    Raises:
        ValueError: It is no JSON, no mapping, nested too deeply, or holds a number too large or a text of no Unicode.
    """
    try:
        content = json.loads(text, parse_int=_count)
    except RecursionError:
        content = None
    if not isinstance(content, dict):
        raise ValueError("no mapping, or nested too deeply")  # noqa: TRY004  # what json raises, too
    if "\\u" in (text if isinstance(text, str) else text.decode(errors="replace")):
        json.dumps(content, ensure_ascii=False).encode()  # half a character could not be printed in any message
    return content


def _count(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError("a number is too large")
    return int(digits)


def _refuse_other_types(content: Any, kinds: Mapping[str, Any]) -> None:
    if not isinstance(content, dict) or (unknown := content.keys() - kinds.keys()):
        raise ValueError(
            f"it has {sorted(unknown)[0]!r}" if isinstance(content, dict) else "a file is described by no mapping"
        )
    if wrong := [name for name, kind in kinds.items() if not isinstance(content.get(name, ...), kind)]:
        raise ValueError(f"{wrong[0]!r} is missing or of another type")
