"""Real or generated, by the features of a spectrum: an SVM or neighbours, judged fairly (S3.26).

Nothing of a picture that is judged is known to what judges it: scales are those of the training
part, and equal pictures stand in one fold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gantools.io import tensorfile
from gantools.io.seeds import derive
from gantools.report import Usage

Method = Literal["svm", "knn"]
METHODS = ("svm", "knn")
NEIGHBOURS = 5
COST = 1.0  # of the SVM's slack: scikit-learn's default, as the published comparisons have
FORMAT = 1
KIND = "spectral classifier"
_SHAPES = {"mean": 1, "std": 1, "points": 2, "weights": 1, "bias": 1}


@dataclass(frozen=True)
class Classifier:
    """What tells generated pictures from real ones.

    mean, std [d]: of the training features. points [m, d], standardised: the support vectors, or
    all of them; weights [m]: their signed coefficients, or +1 for generated and -1 for real ones.
    story: how features are made (`size`, `fit`, `threshold`, `jpeg`, …) and how it was judged.
    """

    method: Method
    mean: np.ndarray
    std: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    story: dict[str, Any]

    def scores(self, features: np.ndarray) -> np.ndarray:
        """[n] of [n, d], above 0 for generated: the SVM's decision, or the neighbours' majority."""
        few = max(1, (1 << 22) // len(self.points))  # distances in memory at a time
        parts = [features[at : at + few] for at in range(0, len(features), few)]
        return np.concatenate([self._of_few(part) for part in parts])

    def _of_few(self, features: np.ndarray) -> np.ndarray:
        x = (features - self.mean) / self.std
        away = ((x[:, None] - self.points[None]) ** 2).sum(2)  # [n, m]
        if self.method == "svm":
            return np.exp(-away / x.shape[1]) @ self.weights + self.bias[0]
        nearest = np.argsort(away, axis=1, kind="stable")[:, :NEIGHBOURS]
        return self.weights[nearest].mean(1)


def train(
    features: np.ndarray,
    generated: np.ndarray,
    method: Method,
    story: Mapping[str, Any] | None = None,
) -> Classifier:
    """Of features [n, d] and whether each is of a generated picture, [n] bool."""
    mean, std = features.mean(0), features.std(0)
    std = np.where(std > 0, std, 1)
    x, signs = (features - mean) / std, np.where(generated, 1.0, -1.0)
    if method == "knn":
        return Classifier(method, mean, std, x, signs, np.zeros(1), dict(story or {}))
    from sklearn.svm import SVC

    found = SVC(C=COST, kernel="rbf", gamma=1 / x.shape[1]).fit(x, generated)
    return Classifier(
        method,
        mean,
        std,
        found.support_vectors_,
        found.dual_coef_[0],
        np.array(found.intercept_, float),
        dict(story or {}),
    )


def folds(pictures: Sequence[Sequence[str]], count: int, seed: int) -> list[np.ndarray]:
    """The fold, 0 to count - 1, of every picture of every set, each picture told by its digest.

    By chance, but equal pictures, of whichever set, have one fold, and each set is spread evenly.
    """
    known: dict[str, int] = {}
    for one in pictures:
        fresh = sorted({p for p in one if p not in known}, key=lambda p: derive(seed, p, "fold"))
        known |= {picture: i % count for i, picture in enumerate(fresh)}
    return [np.array([known[picture] for picture in one]) for one in pictures]


def judged(
    features: np.ndarray, generated: np.ndarray, fold: np.ndarray, method: Method
) -> np.ndarray:
    """Whether each picture is taken for generated, [n] bool, by what the other folds trained."""
    found = np.zeros(len(generated), bool)
    for i in np.unique(fold):
        own = fold == i
        if len(np.unique(generated[~own])) < 2:
            raise Usage("--folds: too few different pictures of a set for so many parts")
        found[own] = train(features[~own], generated[~own], method).scores(features[own]) > 0
    return found


def summary(taken: np.ndarray, generated: np.ndarray) -> dict[str, Any]:
    """accuracy with its exact (Clopper-Pearson) 95 % interval, and that of both sets."""
    from scipy.stats import binomtest

    right = taken == generated
    ends = binomtest(int(right.sum()), len(right)).proportion_ci(0.95, "exact")
    return {
        "accuracy": float(right.mean()),
        "accuracy_ci": [float(ends.low), float(ends.high)],
        "accuracy_real": float(right[~generated].mean()),
        "accuracy_fake": float(right[generated].mean()),
    }


def save(path: Path, classifier: Classifier) -> None:
    """Write it as a safetensors file, atomically."""
    story = {"format": FORMAT, "kind": KIND, "method": classifier.method, **classifier.story}
    tensorfile.write(path, {name: getattr(classifier, name) for name in _SHAPES}, story)


def load(path: Path) -> Classifier:
    """Read it; Usage where the file is damaged, or something else."""
    if not path.is_file():
        raise Usage(f"{path}: no such file")
    if not tensorfile.looks_like(path):
        raise Usage(f"{path.name}: not a classifier: spectrum classify -o x.safetensors writes one")
    story, tensors = tensorfile.read(path)
    if story.get("kind") != KIND:
        raise Usage(f"{path.name}: a {story.get('kind', 'safetensors')} file, not a classifier")
    if story.get("format") != FORMAT or story.get("method") not in METHODS:
        raise Usage(f"{path.name}: a classifier that this version does not know")
    try:
        arrays = {name: np.array(tensors[name], np.float64) for name in _SHAPES}
        _check(arrays)
    except (KeyError, ValueError):
        raise Usage(f"{path.name}: a classifier whose tensors do not fit each other") from None
    own = {"format", "kind", "method"}
    told = {name: value for name, value in story.items() if name not in own}
    return Classifier(method=story["method"], **arrays, story=told)


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    """ValueError unless shapes fit each other and all is finite."""
    wide, count = len(arrays["mean"]), len(arrays["points"])
    wanted = {"mean": (wide,), "std": (wide,), "points": (count, wide), "weights": (count,)}
    wanted["bias"] = (1,)
    for name, array in arrays.items():
        if array.shape != wanted[name] or not count or not np.isfinite(array).all():
            raise ValueError(name)
    if not wide or math.isclose(float(np.abs(arrays["std"]).min()), 0, abs_tol=1e-300):
        raise ValueError("std")
