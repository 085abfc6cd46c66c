"""``evaluate``: how good a model is on rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.steps.declaration import Outcome
from mlops_assets.steps.features import class_probabilities, kinds_of, model_frame
from mlops_assets.steps.judging import positive_index, row_losses, scarce_classes
from mlops_assets.store.layout import METRICS, MODEL, VAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_assets.steps.parameters import Parameters


def evaluate(inputs: Mapping[str, Any], params: Parameters, ds: str) -> Outcome:
    """Score the held-out rows of the day.

    Args:
        inputs: ``val.csv`` and the fitted pipeline.
        params: ``target_column``, ``positive_label``.
        ds: The day, for messages.

    Returns:
        ``metrics.json``: ``metrics`` (see :func:`scores`; null where the rows leave it undefined), ``confusion_matrix``
        (rows are true classes, columns predicted ones, in the order of ``classes``), ``rows``.
    """
    val, pipeline = inputs[VAL], inputs[MODEL]
    truth = val[params.target_column].to_numpy()
    if not len(truth):
        return Outcome({METRICS: {"rows": 0, "metrics": {}}}, {"warnings": ["no row was held out: no metrics"]})
    proba = class_probabilities(pipeline, model_frame(val, kinds_of(pipeline), f"split/{ds}/{VAL}"))
    classes = np.asarray(pipeline.classes_)
    metrics = scores(truth, proba, classes, params.positive_label)
    labels = [*classes, *sorted(set(truth) - set(classes))]  # a class may be new on the held-out rows
    content = {
        "rows": len(truth),
        "classes": [str(one) for one in labels],
        "metrics": metrics,
        "confusion_matrix": _confusion(truth, classes[proba.argmax(axis=1)], labels),
    }
    undefined = [name for name, value in metrics.items() if value is None]
    warnings = [f"undefined on these rows (a class is missing among them): {', '.join(undefined)}"] if undefined else []
    warnings += [f"{one}: the metrics say little" for one in scarce_classes(truth, classes)]
    defined = {name: value for name, value in metrics.items() if value is not None}
    return Outcome(
        {METRICS: content}, {"rows_val": len(truth), **defined, **({"warnings": warnings} if warnings else {})}
    )


def scores(
    truth: NDArray[Any], proba: NDArray[np.float64], classes: NDArray[Any], positive_label: str | None
) -> dict[str, float | None]:
    """The usual scores of a classifier, by scikit-learn's definitions.

    Args:
        truth: Shape (n,), labels.
        proba: Shape (n, k), probability of each class.
        classes: Shape (k,), labels in the order of the columns of ``proba``.
        positive_label: The positive class of a binary problem; None: the last of ``classes``.

    Returns:
        ``roc_auc``, ``average_precision``, ``f1``, ``precision``, ``recall`` (binary: of the positive class; else macro
        means, ``roc_auc`` one against the rest), ``log_loss``, ``accuracy``, ``brier`` (binary: mean squared error of
        the positive class's probability; else summed over the classes). None where a score is undefined.
    """
    from sklearn import metrics

    predicted = classes[proba.argmax(axis=1)]
    hits = truth[:, None] == classes[None, :]
    binary = len(classes) == 2  # noqa: PLR2004
    columns = [positive_index(classes, positive_label)] if binary else list(range(len(classes)))
    # One against the rest for each column: for a binary problem that is the positive class, else the mean is "macro".
    pairs = [(hits[:, k], predicted == classes[k], proba[:, k]) for k in columns]
    ranked = all(true.any() and not true.all() for true, _, _ in pairs)
    # One call for three scores: each of f1_score, precision_score and recall_score computes all of them.
    threshold = [
        metrics.precision_recall_fscore_support(true, guess, average="binary", zero_division=0)
        for true, guess, _ in pairs
    ]
    squares = (hits[:, columns] - proba[:, columns]) ** 2
    return {
        "roc_auc": _mean(metrics.roc_auc_score(true, p) for true, _, p in pairs) if ranked else None,
        "average_precision": _mean(metrics.average_precision_score(true, p) for true, _, p in pairs)
        if ranked
        else None,
        "log_loss": float(np.mean(row_losses(hits, proba))),
        "f1": _mean(f1 for _, _, f1, _ in threshold),
        "precision": _mean(precision for precision, *_ in threshold),
        "recall": _mean(recall for _, recall, *_ in threshold),
        "accuracy": float(np.mean(predicted == truth)),
        "brier": float(np.mean(squares.sum(axis=1))),
    }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _confusion(truth: NDArray[Any], predicted: NDArray[Any], classes: list[Any]) -> list[list[int]]:
    from sklearn.metrics import confusion_matrix

    matrix: list[list[int]] = confusion_matrix(truth, predicted, labels=classes).tolist()
    return matrix
