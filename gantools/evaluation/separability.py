"""Linear separability: how well hyperplanes in a latent space tell attributes (papers.md S0.18).

Karras et al. 2019, section 4.2: 2^ΣH(Y|X) over attributes, Y the label of a picture and X what a
linear SVM says of its latent, on the samples that it was fitted to.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gantools.evaluation import bootstrap
from gantools.report import SampleError

KEPT = 0.5  # the share of the samples whose labels are surest
LEAST = 2  # samples of each class, so that a fit has something to tell apart


@dataclass(frozen=True)
class Attribute:
    """One attribute: the samples [n] that count, their classes [n], and where the two part."""

    name: str
    kept: np.ndarray
    positive: np.ndarray
    threshold: float


def attribute(name: str, scores: np.ndarray, threshold: float | None = None) -> Attribute:
    """The half of the scores [N] (NaN: not known) farthest from the threshold, and their classes.

    Without one it is the middle of scores of two values, which are labels, are all equally sure and
    are all kept; of others the median. SampleError where one class is left alone.
    """
    known = np.flatnonzero(~np.isnan(scores))
    found = scores[known]
    values = np.unique(found)
    if len(values) < 2:
        raise SampleError(f"{len(known)} labels of one value: nothing to tell apart")
    two = len(values) == 2
    if threshold is None:
        threshold = float(values.mean() if two else np.median(found))
    order = np.argsort(-np.abs(found - threshold), kind="stable")
    chosen = known if two else known[order[: int(len(known) * KEPT)]]
    positive = scores[chosen] > threshold
    if min(positive.sum(), (~positive).sum()) < LEAST:
        sides = f"{positive.sum()} of {len(positive)} samples are above {threshold:g}"
        raise SampleError(f"{sides}: one class alone is not told apart")
    return Attribute(name, chosen, positive, threshold)


def predicted(x: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, bool]:
    """What a linear SVM says of the latents x [n, dim] that it is fitted to [n]; if it converged.

    scikit-learn's LinearSVC: squared hinge, C = 1, the latents as they are. Its primal solver,
    which is taken where there are more samples than dimensions, draws no random numbers.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    model = LinearSVC(dual="auto", random_state=0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(x, positive)
    return model.predict(x), not told


def cells(said: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Each sample's cell of the table [X, Y], counted along its rows: 0 to 3."""
    return 2 * said.astype(np.int64) + positive


def conditional_entropy(tables: np.ndarray) -> np.ndarray:
    """H(Y|X) in bits [...] of counts or probabilities [..., X, Y]; 0 log 0 is 0."""
    p = tables / tables.sum(axis=(-2, -1), keepdims=True)
    given = p.sum(axis=-1, keepdims=True)  # P(X)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.where(p > 0, -p * np.log2(p / given), 0.0)
    return np.maximum(bits.sum(axis=(-2, -1)), 0.0)


@dataclass(frozen=True)
class Separability:
    """H(Y|X) in bits of each attribute, by name, and 2 to the power of their sum."""

    entropies: dict[str, float]
    interval: tuple[float, float]
    unfinished: list[str]  # attributes whose SVM did not converge

    @property
    def score(self) -> float:
        """2^ΣH: 1 where hyperplanes tell all, 2 for each balanced attribute that they do not."""
        return float(2 ** sum(self.entropies.values()))


def separability(x: np.ndarray, attributes: Sequence[Attribute], seed: int = 0) -> Separability:
    """Of latents x [N, dim], with a 95 % bootstrap interval over the samples, the fits fixed."""
    found, unfinished = [], []
    for one in attributes:
        said, converged = predicted(x[one.kept], one.positive)
        found.append(cells(said, one.positive))
        if not converged:
            unfinished.append(one.name)
    table = _incidence(attributes, found, len(x))
    counts = (table @ np.ones(len(x))).reshape(-1, 2, 2)
    entropies = conditional_entropy(counts).tolist()
    resampled = []
    for chosen in bootstrap.resamples(len(x), seed):
        drawn = table @ np.bincount(chosen, minlength=len(x))
        resampled.append([2 ** conditional_entropy(drawn.reshape(-1, 2, 2)).sum()])
    low, high = bootstrap.ends(np.array(resampled))[0].tolist()
    names = [one.name for one in attributes]
    return Separability(dict(zip(names, entropies, strict=True)), (low, high), unfinished)


def _incidence(
    attributes: Sequence[Attribute], found: Sequence[np.ndarray], count: int
) -> sparse.csr_matrix:
    """[4 K, N]: which samples are in which cell of which attribute's table."""
    rows = np.concatenate([4 * k + cell for k, cell in enumerate(found)])
    columns = np.concatenate([one.kept for one in attributes])
    ones = np.ones(len(rows))
    return sparse.csr_matrix((ones, (rows, columns)), shape=(4 * len(attributes), count))
