"""What measuring one classifier (``evaluate``) and comparing several (``gate``) share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_ROWS_OF_CLASS = 10
"""Fewer held-out rows of a class than this say nothing about a model."""


def scarce_classes(truth: NDArray[Any], classes: NDArray[Any]) -> list[str]:
    """In words, the classes with too few rows to judge a model."""
    counts = {str(label): int((truth == label).sum()) for label in classes}
    return [
        f"only {count} held-out row{'' if count == 1 else 's'} of class {label} (of {len(truth):,} rows; at least"
        f" {MIN_ROWS_OF_CLASS} are needed to judge a model)"
        for label, count in counts.items()
        if count < MIN_ROWS_OF_CLASS
    ]


def row_losses(hits: NDArray[np.bool_], proba: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log loss of each row, ``-ln p(true class)``; a class that the model does not know has the smallest p.

    Args:
        hits: Shape (n, k), whether the row is of the class.
        proba: Shape (n, k).
    """
    smallest = np.finfo(np.float64).eps
    return -np.log(np.clip((hits * proba).sum(axis=1), smallest, 1.0))


def positive_index(classes: NDArray[Any], positive_label: str | None) -> int:
    """The place of the positive class of a binary problem.

    Raises:
        DataError: No class is called so.
    """
    if positive_label is None:
        return len(classes) - 1
    names = [str(one) for one in classes]
    if positive_label not in names:
        raise DataError(
            f"The positive label {positive_label!r} is none of the classes {', '.join(names)}. Set"
            " MLOPS_POSITIVE_LABEL to one of them."
        )
    return names.index(positive_label)
