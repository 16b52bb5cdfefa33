"""Boosted trees, fitted only to see what they would gain. They need scikit-learn, an optional extra
(`pip install 'everafter[trees]'`), and are neither stored nor asked when suppliers are scored."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from everafter.learning.rules import Bools, Design, Floats, logit


def has_trees() -> bool:
    """Whether scikit-learn is installed."""
    return find_spec("sklearn") is not None


def fit_trees(design: Design, churned: Bools, weights: Floats) -> "TreePredictor":
    """Fit 80 small trees on the evidence and all features."""
    ensemble: Any = import_module("sklearn.ensemble")
    model = ensemble.HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=80,
        max_leaf_nodes=6,
        min_samples_leaf=60,
        l2_regularization=5.0,
        early_stopping=False,
        random_state=0,
    )
    inputs = _inputs(design)
    varied = np.array([len(np.unique(column[~np.isnan(column)])) > 1 for column in inputs.T])
    model.fit(inputs[:, varied], churned, sample_weight=weights)
    return TreePredictor(model, varied)


class TreePredictor:
    """Log odds by fitted trees."""

    def __init__(self, model: Any, varied: Bools) -> None:
        """Args:
        varied: the inputs that the model has: those with more than one value.
        """
        self._model, self._varied = model, varied

    def __call__(self, design: Design) -> Floats:
        return logit(self._model.predict_proba(_inputs(design)[:, self._varied])[:, 1])


def _inputs(design: Design) -> Floats:
    return np.column_stack([design.evidence, design.features])
