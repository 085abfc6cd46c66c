"""A loaded model: scores requests, several at a time, and writes the answers.

The fitted stages are those of the pipeline that predicts each day. Only the bookkeeping around them is left out:
scikit-learn's ColumnTransformer takes 4 of 6 ms for one row. That the result is the pipeline's own is checked with the
model's input example before the model serves.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlops_assets.errors import DataError, MlopsAssetsError
from mlops_assets.serving.requests import JSON, SOURCE, Columns, CsvForm, columns_of, rows_in, table_of
from mlops_assets.steps.features import DATETIME, EMPTY, class_probabilities, kinds_of, model_columns
from mlops_assets.steps.predict import PREDICTION
from mlops_assets.store.disk import read_regular
from mlops_assets.store.layout import MODEL_DESCRIPTION

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from mlops_assets.assets.production import Champion
    from mlops_assets.runtime.model_cache import ModelCache


class UnusableModelError(MlopsAssetsError):
    """A version was not put into service."""


class ServedModel:
    """A model that answers.

    Attributes:
        name: Registered model.
        number: Its version.
        sha256: Of its file.
        kinds: The features and their kinds, in their order.
    """

    def __init__(self, champion: Champion, pipeline: Pipeline) -> None:
        """Take a pipeline that was loaded by our checks; it is not changed."""
        self.name, self.number, self.sha256 = champion.name, champion.number, champion.file.sha256
        self.kinds = kinds_of(pipeline)
        self._pipeline, self._rest = pipeline, pipeline[1:]
        self._groups = [
            (_without_names(fitted), list(names))
            for _, fitted, names in pipeline.named_steps["features"].transformers_
            if fitted != "drop"
        ]
        classes = np.asarray(pipeline.classes_).tolist()
        scores = "".join(f",{_literal(f'score_{label}')}:%r" for label in classes)
        self._row_texts = [f"{{{_literal(PREDICTION)}:{_literal(label)}{scores}}}" for label in classes]

    def check(self, example: Mapping[str, Any]) -> None:
        """Score the input example, as a request and by the pipeline as a whole.

        Args:
            example: ``columns`` and ``data``.

        Raises:
            UnusableModelError: The answers differ, or are no probabilities.
            DataError: The model's file and its description do not fit together.
        """
        columns = columns_of(json.dumps({"dataframe_split": example}).encode(), JSON, self.kinds, CsvForm())
        answer = self._probabilities(columns)
        expected = class_probabilities(self._pipeline, pd.DataFrame(self._features(columns), copy=False))
        if not (len(answer) and np.isfinite(answer).all() and np.allclose(answer, expected, rtol=1e-9, atol=0)):
            raise UnusableModelError(
                "its answers to its own input example are not those of its pipeline, or no probabilities. Report this"
                " with the versions of scikit-learn and numpy; promote another version meanwhile."
            )

    def score(self, requests: Sequence[Columns]) -> list[NDArray[np.float64] | Exception]:
        """The probabilities of each request's rows, or why there are none. Shape (rows, classes) each.

        Requests are scored in one go, which costs little more than one of them. If that fails, each is scored by
        itself: none fails because of another's values.
        """
        if len(requests) > 1 and all(isinstance(values, list) for one in requests for values in one.values()):
            ends = accumulate((rows_in(one) for one in requests), initial=0)
            used = (name for name, kind in self.kinds.items() if kind != EMPTY)
            merged = {name: [*chain.from_iterable(one[name] for one in requests)] for name in used}
            try:
                proba = self._probabilities(merged)
            except Exception:  # noqa: S110  # each by itself says whose it is
                pass
            else:
                return [proba[start:end] for start, end in pairwise(ends)]
        return [self._alone(one) for one in requests]

    def answer(self, columns: Columns, proba: NDArray[np.float64]) -> bytes:
        """The answer as JSON: a record a row, as `predictions.csv` has it, and who predicted.

        Raises:
            ValueError: The model gave something that is no number.
        """
        if not np.isfinite(proba).all():
            raise ValueError(f"version {self.number} of model {self.name!r} gave scores that are no numbers")
        winners = proba.argmax(axis=1).tolist() if len(proba) else []
        rows = [self._row_texts[winner] % tuple(row) for winner, row in zip(winners, proba.tolist(), strict=True)]
        facts: dict[str, Any] = {"model_name": self.name, "model_version": self.number}
        if ignored := [name for name in columns if name not in self.kinds]:
            facts["ignored_columns"] = ignored
        return f'{{"predictions":[{",".join(rows)}],{json.dumps(facts)[1:]}'.encode()

    def _alone(self, columns: Columns) -> NDArray[np.float64] | Exception:
        try:
            return self._probabilities(columns)
        except Exception as error:  # whatever it is, the others are answered
            return error

    def _probabilities(self, columns: Columns) -> NDArray[np.float64]:
        if not rows_in(columns):
            return np.zeros((0, len(self._row_texts)))
        features = self._features(columns)
        matrix = np.hstack([fitted.transform(self._block(features, names)) for fitted, names in self._groups])
        return class_probabilities(self._rest, matrix)

    def _features(self, columns: Columns) -> dict[str, Any]:
        return model_columns(table_of(columns, self.kinds), self.kinds, SOURCE)

    def _block(self, features: Mapping[str, Any], names: list[str]) -> Any:
        """The features of a stage as an array; dates as a frame, which is what their stage takes."""
        block = {name: features[name] for name in names}
        is_dates = self.kinds[names[0]] == DATETIME
        return pd.DataFrame(block, copy=False) if is_dates else np.column_stack(list(block.values()))


def load(cache: ModelCache, root: Path, champion: Champion) -> ServedModel:
    """Load a version by our own checks (SHA-256, allow-list of types) and score its input example.

    Args:
        cache: Of the models that were loaded last.
        root: The data root.
        champion: The version; its files lie below the data root.

    Raises:
        MlopsAssetsError: It cannot serve; the message says why.
    """
    _refuse_other_libraries(champion.file.libraries)
    model = ServedModel(champion, cache.load(root, champion.file))
    description = (root / champion.file.path).with_name(MODEL_DESCRIPTION)
    try:
        example = json.loads(read_regular(description))["example"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{description} cannot be read: {error}. It is fetched again when MLflow answers.") from error
    model.check(example)
    return model


def _refuse_other_libraries(libraries: Mapping[str, str]) -> None:
    """Refuse a model of another scikit-learn: it may load, and score differently.

    The daily predictions of such a version run in the image that trained it; a server in that image is not there yet.
    """
    import sklearn

    trained, installed = libraries.get("scikit-learn", ""), sklearn.__version__
    if trained and trained.split(".")[:2] != installed.split(".")[:2]:
        raise UnusableModelError(
            f"it was trained with scikit-learn {trained}, and the model server has {installed}. Start the server where"
            f" scikit-learn {trained} is installed, or train and promote a new version."
        )


def _without_names(fitted: Any) -> Any:
    """A copy of a fitted stage that takes arrays without warning that they have no names."""
    fitted = copy.deepcopy(fitted)
    for one in (fitted, *(stage for _, stage in getattr(fitted, "steps", ()))):
        vars(one).pop("feature_names_in_", None)
    return fitted


def _literal(value: Any) -> str:
    """A value as JSON, in a template for ``%``."""
    return json.dumps(value).replace("%", "%%")
