"""What models without coordinates say of the same rows: the 2D baseline, and the mean.

Two models learn from Morgan counts and RDKit's descriptors: a linear one, and gradient boosting. Of
a row of a fold, both are fitted to the other folds; of a test row, to all folds. The better one on
held-out rows of the folds speaks, for a row of a fold that on the *other* folds: no row is a judge
in its own case. The mean is that of the same training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.fitting.features import Features
from molgeo.fitting.outcome import Array
from molgeo.runtime.progress import Progress

MOST: Final = 10_000
"""Training rows, drawn at random if there are more."""

LINEAR: Final = "a linear model"
BOOSTED: Final = "gradient boosting"


class Baselines(NamedTuple):
    """Predictions for all rows of a fit, by models that did not see them.

    Attributes:
        values: (rows, targets) of the 2D baseline.
        mean: (rows, targets) of the mean of the training values.
        names: of each target, which model speaks for the test rows, and what it learns from.
    """

    values: Array
    mean: Array
    names: tuple[str, ...]


def baselines(
    features: Features,
    values: Array,
    fold: NDArray[np.int64],
    is_class: Sequence[bool],
    seed: int = 0,
    progress: Progress | None = None,
    parts: Sequence[int] | None = None,
) -> Baselines:
    """Fit and predict the 2D baseline and the mean.

    Args:
        features: of the molecules.
        values: (rows, targets); NaN if one is missing, 0 or 1 of classes.
        fold: (rows,) from 0; -1 for the test part. There are two folds or more.
        is_class: of each target, whether its values are classes; predictions are then the
            probabilities of 1.
        seed: of the models.
        progress: told (models fitted, models in all).
        parts: folds whose rows are predicted, two or more; None for all and the test part.
    """
    about = "Morgan counts and descriptors" if features.counts.shape[1] else "the composition"
    asked = range(-1, int(fold.max()) + 1) if parts is None else parts
    parts = [part for part in asked if (fold == part).any()]
    found, mean = np.full_like(values, np.nan), np.full_like(values, np.nan)
    names = []
    for k, labels in enumerate(values.T):
        known = np.isfinite(labels)
        kinds = {kind: np.full(len(values), np.nan) for kind in (LINEAR, BOOSTED)}
        for done, part in enumerate(parts):
            held = fold == part
            train = _some(np.flatnonzero(known & (fold >= 0) & ~held), seed)
            for kind, own in kinds.items():
                model = _Model(kind, features.of(train), labels[train], is_class[k], seed)
                own[held] = model.predict(features.of(held))
            mean[held, k] = labels[train].mean()
            if progress:
                progress(k * len(parts) + done + 1, values.shape[1] * len(parts))
        best = ""
        for part in reversed(parts):
            judges = known & np.isin(fold, parts) & (fold >= 0) & (fold != part)
            best = _better(kinds, labels, judges, is_class[k])
            found[fold == part, k] = kinds[best][fold == part]
        names.append(f"{best} on {about}")
    return Baselines(found, mean, tuple(names))


def _some(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Training rows, no more than `MOST`."""
    if len(rows) <= MOST:
        return rows
    return np.sort(np.random.RandomState(seed).permutation(rows)[:MOST])


def _better(
    kinds: Mapping[str, Array], labels: Array, rows: NDArray[np.bool_], is_class: bool
) -> str:
    """The kind of model with the smaller error on rows; of classes, the larger likelihood."""

    def error(predicted: Array) -> float:
        if not is_class:
            return float(np.abs(predicted[rows] - labels[rows]).mean())
        p = np.clip(predicted[rows], 1e-6, 1 - 1e-6)
        return float(-np.log(np.where(labels[rows] > 0.5, p, 1 - p)).mean())

    return min(kinds, key=lambda kind: error(kinds[kind]))


class _Model:
    """One model of scikit-learn's.

    Args:
        kind: `LINEAR` or `BOOSTED`.
        features: of the training rows.
        labels: of the training rows.
        is_class: whether they are classes.
        seed: of the model.
    """

    def __init__(
        self, kind: str, features: Features, labels: Array, is_class: bool, seed: int
    ) -> None:
        self.kind, self.is_class = kind, is_class
        self.common = features.common
        self.mean = features.descriptors.mean(0, np.float64)
        std = features.descriptors.std(0, np.float64)
        self.std = np.where(std > 0, std, 1.0)
        self.constant = float(labels.mean())
        self.model = None
        if np.ptp(labels) > 0:
            self.model = self._made(seed).fit(self._inputs(features), labels)

    def predict(self, features: Features) -> Array:
        """(rows,) values, or probabilities of 1."""
        if self.model is None:
            return np.full(len(features.counts), self.constant)
        inputs = self._inputs(features)
        if self.is_class:
            return np.asarray(self.model.predict_proba(inputs)[:, 1], np.float64)
        return np.asarray(self.model.predict(inputs), np.float64)

    def _inputs(self, features: Features) -> Array:
        descriptors = features.descriptors.astype(np.float64)
        if self.kind == LINEAR:
            descriptors = np.clip((descriptors - self.mean) / self.std, -5.0, 5.0)
        return np.hstack([descriptors, features.counts[:, self.common], features.groups])

    def _made(self, seed: int) -> Any:
        from sklearn import ensemble, linear_model

        if self.kind == LINEAR:
            if self.is_class:
                return linear_model.LogisticRegression(C=0.03, max_iter=2000)
            return linear_model.RidgeCV(np.logspace(0, 4, 9))
        kind = "Classifier" if self.is_class else "Regressor"
        return getattr(ensemble, f"HistGradientBoosting{kind}")(
            max_iter=150,
            learning_rate=0.08,
            max_leaf_nodes=15,
            min_samples_leaf=8,
            l2_regularization=1.0,
            max_features=0.2,
            max_bins=63,
            early_stopping=False,
            random_state=seed,
        )
