"""Are the node arrays of tree models safe to predict with?

scikit-learn follows child and feature indices in C without bounds checks, so a forged file could read foreign memory or
crash the process (https://github.com/scikit-learn/scikit-learn/pull/34558). Every index is checked here, after loading
and before use. Children come after their parent in every tree scikit-learn grows; demanding that rules out endless
loops as well.

Known limit: HistGradientBoosting with ``categorical_features`` carries a preprocessor of its own; that a forged one
keeps the number of columns is not checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlops_assets.tracking.errors import UntrustedModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Nodes = npt.NDArray[np.void]

_BITSET_WORDS = 8  # 256 categories, 32 bits a word
_LEAF = -1  # sklearn.tree._tree.TREE_LEAF


def check_nodes(model: object) -> None:
    """Check every tree inside a model.

    Args:
        model: A loaded scikit-learn object of any depth.

    Raises:
        UntrustedModelError: A tree points outside its own nodes, features or bitsets, or sits where no tree belongs.
    """
    from sklearn.ensemble._forest import BaseForest
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.tree import BaseDecisionTree
    from sklearn.tree._tree import Tree

    checked: set[int] = set()
    for item in _walk(model):
        if isinstance(item, BaseForest):
            # A forest checks the width of the input once and then calls its trees unchecked.
            for member in item.estimators_:
                _check_tree(member.tree_, item.n_features_in_, checked)
        elif isinstance(item, BaseDecisionTree) and hasattr(item, "tree_"):
            _check_tree(item.tree_, item.n_features_in_, checked)
        elif isinstance(item, BaseHistGradientBoosting) and hasattr(item, "_predictors"):
            _check_boosting(item, checked)
        elif isinstance(item, Tree | TreePredictor):
            _demand(id(item) in checked, f"a {type(item).__name__} outside of any estimator")


def _walk(root: object) -> Iterator[object]:
    """Every object reachable from a model, owners before what they hold."""
    import numpy as np

    seen: set[int] = set()
    stack = [root]
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, str | bytes | int | float | type(None)):
            continue
        seen.add(id(item))
        yield item
        children: list[Any] = list(getattr(item, "__dict__", {}).values())
        if isinstance(item, dict):
            children += list(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            children += list(item)
        elif isinstance(item, np.ndarray) and item.dtype == object:
            children += item.ravel().tolist()
        stack.extend(reversed(children))


def _check_tree(tree: Any, n_features: int, checked: set[int]) -> None:
    """Check a `sklearn.tree._tree.Tree` against the width of the input its owner accepts."""
    checked.add(id(tree))
    # Before the arrays are touched: their length is taken from node_count, their memory from capacity.
    _demand(1 <= tree.node_count <= tree.capacity, "a tree with an impossible number of nodes")
    nodes = tree.__getstate__()["nodes"]
    inner = nodes["left_child"] != _LEAF
    _check_children(nodes["left_child"], nodes["right_child"], inner)
    _check_range(nodes["feature"][inner], n_features, "feature index")


def _check_boosting(model: Any, checked: set[int]) -> None:
    """Check all trees of a HistGradientBoosting model and the tables they index into."""
    import numpy as np

    bins, n_features = model._bin_mapper, int(model.n_features_in_)  # noqa: SLF001 (no public access to the fitted trees)
    is_categorical = np.asarray(bins.is_categorical_, dtype=bool)
    _demand(is_categorical.shape == (n_features,), "a bin mapper for another number of features")
    _demand(len(bins.bin_thresholds_) == n_features, "bin thresholds for another number of features")
    for predictor in (tree for iteration in model._predictors for tree in iteration):  # noqa: SLF001 (as above)
        checked.add(id(predictor))
        _check_predictor(predictor, n_features, is_categorical)


def _check_predictor(predictor: Any, n_features: int, is_categorical: npt.NDArray[np.bool_]) -> None:
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    nodes = predictor.nodes
    _demand(nodes.ndim == 1 and len(nodes) > 0 and nodes.dtype == PREDICTOR_RECORD_DTYPE, "a malformed node array")
    inner = nodes["is_leaf"] == 0
    _check_children(nodes["left"], nodes["right"], inner)
    _check_range(nodes["feature_idx"][inner], n_features, "feature index")
    categorical = nodes[inner & (nodes["is_categorical"] != 0)]
    _demand(bool(is_categorical[categorical["feature_idx"]].all()), "a categorical split on a numeric feature")
    for bitsets in (predictor.raw_left_cat_bitsets, predictor.binned_left_cat_bitsets):
        _demand(bitsets.ndim == 2 and bitsets.shape[1] == _BITSET_WORDS, "malformed category bitsets")  # noqa: PLR2004 (2-D)
        _check_range(categorical["bitset_idx"], len(bitsets), "bitset index")


def _check_children(left: npt.NDArray[Any], right: npt.NDArray[Any], inner: npt.NDArray[np.bool_]) -> None:
    import numpy as np

    parents = np.flatnonzero(inner)
    for child in (left[inner].astype(np.int64), right[inner].astype(np.int64)):
        _demand(bool(((child > parents) & (child < len(left))).all()), "a child index out of range")


def _check_range(values: npt.NDArray[Any], stop: int, what: str) -> None:
    _demand(bool(((values >= 0) & (values < stop)).all()), f"a {what} out of range")


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise UntrustedModelError(
            f"The model was not loaded: it contains {what}, which scikit-learn never writes and which could crash the "
            "process. The file is forged or damaged; restore it from a backup or train the model again."
        )
