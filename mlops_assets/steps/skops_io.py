"""Models as bytes in skops' format: dumping, and loading only what is on our allow-list.

skops builds only types that the caller allows. The allow-list is `TRUSTED_TYPES` below, never a list inside the file.
Some allowed types (the node arrays of trees) can crash the process if their content is forged, so a caller compares the
file's SHA-256 with the registered one **before** it calls `load_model`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlops_assets.errors import DataError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

TRUSTED_TYPES: tuple[str, ...] = (
    # HistGradientBoosting with categorical features keeps partial(check_array, …) in its own preprocessor.
    "functools.partial",
    "sklearn.utils.validation.check_array",
    "mlops_assets.steps.features.date_part_names",
    "mlops_assets.steps.features.date_parts",
    "numpy.dtype",
    # How TargetEncoder cross-fits, from scikit-learn 1.9.
    "sklearn.model_selection._split.StratifiedKFold",
    # Only for files whose SHA-256 was checked: forged nodes read outside of their array.
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""Types that pipelines of our estimators hold beyond skops' own defaults."""


class UntrustedModelError(DataError):
    """A model was not loaded: its file is damaged, holds other types than ours, or needs other libraries."""


def dump_model(pipeline: Pipeline) -> bytes:
    """Serialize a fitted pipeline.

    The bytes differ from call to call (skops writes object ids), so they are no identity of the content.
    """
    import skops.io

    data: bytes = skops.io.dumps(pipeline)
    return data


def load_model(data: bytes, what: str, libraries: Mapping[str, str] | None = None) -> Pipeline:
    """Build a pipeline from what `dump_model` gave.

    Args:
        data: Content of a file whose SHA-256 was checked.
        what: Names the model in messages: ``version 3 of model 'churn'``.
        libraries: Library to version, of what the model was trained with.

    Raises:
        UntrustedModelError: The file is damaged, holds a type that is not on our list, or was trained with a
            scikit-learn that the installed one cannot read.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(io.BytesIO(data), trusted=list(TRUSTED_TYPES))
    except Exception as error:  # a damaged file, or one of another version, may raise anything
        if way_out := _other_version(libraries or {}):
            why = f"{way_out} ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        elif isinstance(error, UntrustedTypesFoundException):
            untrusted = sorted(set(held_types(data)) - set(TRUSTED_TYPES))
            why = (
                f"it holds types that are not trusted: {', '.join(untrusted)}. Expected a scikit-learn pipeline of our"
                " own training. Train the model again, or promote another version."
            )
        else:
            why = (
                f"the file is damaged or was made by another program ({error}). Restore it from a backup, train the"
                " model again, or promote another version."
            )
        raise UntrustedModelError(f"{what[:1].upper()}{what[1:]} was not loaded: {why}") from error


def held_types(data: bytes) -> list[str]:
    """The types in a dumped model that a loader needs on its allow-list; sorted."""
    import skops.io

    return sorted(skops.io.get_untrusted_types(data=data))


def _other_version(libraries: Mapping[str, str]) -> str:
    """What to do when the installed scikit-learn is not the one of the training; empty if it is, or is unknown."""
    import sklearn

    trained, installed = libraries.get("scikit-learn", ""), sklearn.__version__
    if not trained or trained.split(".")[:2] == installed.split(".")[:2]:
        return ""
    return (
        f"it was trained with scikit-learn {trained}, and {installed} is installed, which cannot read it. Install"
        f" scikit-learn {trained}, or set MLOPS_BACKEND=docker, which serves a model by the image that trained it, or"
        " train and promote a new model"
    )
