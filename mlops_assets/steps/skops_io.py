"""Models as bytes: dumping, loading what we trust, nothing else. Works without any MLflow server.

The format is skops, which builds only types that somebody allowed. The allow-list is the constant below, never the one
inside the file or its MLmodel. Two allowed types (the node arrays of trees) are dangerous by content, so
`mlops_assets.tracking.nodes` checks that.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.tracking.errors import UntrustedModelError
from mlops_assets.tracking.nodes import check_nodes

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

#: What pipelines of our estimators hold beyond skops' own defaults.
TRUSTED_TYPES: tuple[str, ...] = (
    # HistGradientBoosting with categorical features keeps partial(check_array, …) in its own preprocessor.
    "functools.partial",
    "sklearn.utils.validation.check_array",
    "mlops_assets.steps.features.date_part_names",
    "mlops_assets.steps.features.date_parts",
    "numpy.dtype",
    "sklearn.model_selection._split.StratifiedKFold",
    # How TargetEncoder cross-fits, from scikit-learn 1.9.
    # Safe only together with `check_nodes`.
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)


def dump_model(pipeline: Pipeline) -> bytes:
    """Serialize a fitted pipeline in skops' format.

    The bytes differ from call to call (skops writes object ids); compare models by `model_digest`.
    """
    import skops.io

    data: bytes = skops.io.dumps(pipeline)
    return data


def load_model(source: str | Path | bytes) -> Pipeline:
    """Build a pipeline from a file or bytes of `dump_model`.

    Args:
        source: Path of a ``.skops`` file, or its content.

    Raises:
        UntrustedModelError: The file holds a type that is not on our list, a tree that points outside itself, or is no
            skops file.
        FileNotFoundError: There is no such file.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    where = "the given bytes" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        pipeline = skops.io.load(io.BytesIO(data), trusted=list(TRUSTED_TYPES))
        check_nodes(pipeline)
    except UntrustedTypesFoundException as error:
        names = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED_TYPES))
        raise UntrustedModelError(
            f"The model in {where} was not loaded: it holds types that are not trusted: {', '.join(names)}. Expected a "
            "scikit-learn pipeline of our own training. Train the model again; if the types are yours, add them to "
            "TRUSTED_TYPES in mlops_assets/tracking/models.py after a review."
        ) from error
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, ImportError, MemoryError) as error:
        raise UntrustedModelError(
            f"The model in {where} was not loaded: the file is damaged or was made by another program ({error}). "
            "Expected a file that dump_model wrote. Restore it from a backup or train the model again."
        ) from error
    return pipeline
