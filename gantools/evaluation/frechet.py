"""Fréchet distance of features (FID: Heusel et al. 2017; S0.16, S1.23) from moments that merge.

‖μr − μf‖² + Tr(Σr + Σf − 2 (Σr Σf)^½), all in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gantools import report
from gantools.report import Usage

ROWS = 1024  # of features that are float64 at once
PANEL = 256  # columns of a matrix that are computed aside before they replace others
DDOF = 1
"""Divisor N - 1 as in pytorch-fid, torch-fidelity and StyleGAN1; NVIDIA's later code has 0."""


class Moments:
    """Count, mean [D] and scatter Σ (x - mean)(x - mean)ᵀ [D, D] of features, in float64.

    Memory does not grow with the count. Merging is Chan, Golub and LeVeque's (1979) pairwise
    update, so neither the order nor the cut into parts matters beyond rounding.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = np.zeros(dim)
        self.scatter = np.zeros((dim, dim))

    @classmethod
    def of(cls, features: np.ndarray) -> Moments:
        """The moments of features [N, D]."""
        moments = cls(features.shape[1])
        moments.update(features)
        return moments

    def update(self, features: np.ndarray) -> None:
        """Take in features [N, D], N from 0."""
        from scipy.linalg import blas

        if not len(features):
            return
        # About a point near the mean, and put right at the end: D² numbers are gone through once.
        near = features[:ROWS].mean(axis=0, dtype=np.float64)
        away = np.zeros(len(near))
        for start in range(0, len(features), ROWS):
            x = features[start : start + ROWS].astype(np.float64)
            x -= near
            away += x.sum(axis=0)
            # In place, one of the two equal triangles.
            added = blas.dsyrk(1.0, x.T, beta=1.0, c=self.scatter.T, lower=1, overwrite_c=1)
            self.scatter = added.T
        away /= len(features)
        _add_outer(self.scatter, away, -float(len(features)))
        self._move(len(features), near + away)
        _mirror(self.scatter)

    def merge(self, other: Moments) -> None:
        """Take in what another process has counted."""
        if other.count:
            self._move(other.count, other.mean)
            self.scatter += other.scatter

    # What the mean of `count` more features adds; their scatter about it is the caller's to add.
    def _move(self, count: int, mean: np.ndarray) -> None:
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        _add_outer(self.scatter, delta, self.count * count / total)
        self.count = total

    def without(self, part: Moments) -> Moments:
        """The moments of all but a part that was merged before (the jackknife's)."""
        rest = Moments(len(self.mean))
        rest.count = self.count - part.count
        rest.mean = (self.count * self.mean - part.count * part.mean) / rest.count
        delta = rest.mean - part.mean
        rest.scatter = self.scatter - part.scatter
        _add_outer(rest.scatter, delta, -rest.count * part.count / self.count)
        return rest

    def divided(self, ddof: int = DDOF) -> tuple[np.ndarray, float]:
        """(S [D, D], n) of the covariance S / n, n = count - ddof; Usage for too few features."""
        if self.count < 2:
            raise Usage(f"a covariance needs two pictures or more, here are {self.count}")
        return self.scatter, self.count - ddof


# matrix [D, D] += weight · v vᵀ, in place
def _add_outer(matrix: np.ndarray, v: np.ndarray, weight: float) -> None:
    for start in range(0, len(v), PANEL):
        rows = slice(start, start + PANEL)
        matrix[rows] += np.outer(v[rows] * weight, v)


# The upper triangle of a matrix [D, D] onto the lower, in place
def _mirror(matrix: np.ndarray) -> None:
    for start in range(0, len(matrix), PANEL):
        panel = slice(start, start + PANEL)
        corner = matrix[panel, panel]
        matrix[panel, panel] = np.triu(corner) + np.triu(corner, 1).T
        matrix[start + PANEL :, panel] = matrix[panel, start + PANEL :].T


@dataclass(frozen=True)
class Gaussian:
    """A mean [D] and a covariance [D, D] of nobody knows how many features, divided by N - 1."""

    mean: np.ndarray
    matrix: np.ndarray

    def divided(self, ddof: int = DDOF) -> tuple[np.ndarray, float]:
        """(Σ, 1); Usage for another ddof than 1, which the count would be needed for."""
        if ddof != DDOF:
            raise Usage("--ddof 0 needs a count, which statistics of mu and sigma do not have")
        return self.matrix, 1.0


def accumulate(blocks: Iterable[np.ndarray], dim: int, parts: int = 1) -> list[Moments]:
    """Moments of features that come in blocks [n, D]; row i is counted in part i mod `parts`."""
    moments = [Moments(dim) for _ in range(parts)]
    first = 0
    for block in blocks:
        for part, of_part in enumerate(moments):
            of_part.update(block[(part - first) % parts :: parts])
        first += len(block)
    return moments


def total(parts: Sequence[Moments]) -> Moments:
    """All parts merged; one alone is as it is."""
    if len(parts) == 1:
        return parts[0]
    whole = Moments(len(parts[0].mean))
    for part in parts:
        whole.merge(part)
    return whole


def fid(real: Moments | Gaussian, fake: Moments | Gaussian, ddof: int = DDOF) -> float:
    """‖μ1 − μ2‖² + Tr Σ1 + Tr Σ2 − 2 Tr (Σ1 Σ2)^½; symmetric, and 0 for a set and itself."""
    (s1, n1), (s2, n2) = real.divided(ddof), fake.divided(ddof)
    difference = real.mean - fake.mean
    root = trace_of_root(s1, s2) / np.sqrt(n1 * n2)
    spread = np.trace(s1) / n1 + np.trace(s2) / n2 - 2 * root
    return float(difference @ difference + max(spread, 0.0))  # below 0 by rounding only


def fid_from_features(real: np.ndarray, fake: np.ndarray, ddof: int = DDOF) -> float:
    """The Fréchet distance of features [N, D] and [M, D]."""
    return fid(Moments.of(real), Moments.of(fake), ddof)


def trace_of_root(cov1: np.ndarray, cov2: np.ndarray) -> float:
    """Tr (Σ1 Σ2)^½ of symmetric positive semidefinite matrices, also of singular ones.

    With Σ = L Lᵀ it is the sum of the singular values of L1ᵀ L2. They are the roots of the
    eigenvalues of the smaller Gram matrix; where one is so small that squaring would drown it in
    rounding (sets with less rank than dimensions), the slower singular values decide. Memory: two
    matrices besides those given.
    """
    from scipy.linalg import eigvalsh, svdvals

    product = _product(factor(cov1), factor(cov2))
    if product.size == 0:
        return 0.0
    if product.shape[0] < product.shape[1]:
        product = product.T
    gram = product.T @ product
    eigenvalues = eigvalsh(gram.T, overwrite_a=True, check_finite=False)
    if eigenvalues[0] > 1e-12 * eigenvalues[-1]:
        return float(np.sqrt(eigenvalues).sum())
    return float(svdvals(product, overwrite_a=True, check_finite=False).sum())


def factor(cov: np.ndarray) -> np.ndarray:
    """L [D, rank] with L Lᵀ = Σ, by Cholesky with pivots: the rank is where rounding begins."""
    from scipy.linalg import lapack

    lower, pivots, rank, _ = lapack.dpstrf(np.array(cov, order="F"), lower=1, overwrite_a=1)
    for start in range(0, rank, PANEL):
        panel = slice(start, min(start + PANEL, rank))
        lower[pivots - 1, panel] = np.tril(lower[:, panel], -start)
    factored: np.ndarray = lower[:, :rank]
    return factored


# L1ᵀ L2 [rank1, rank2] in the place of L2, which has as many rows or more.
def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    rank = first.shape[1]
    for start in range(0, second.shape[1], PANEL):
        panel = slice(start, start + PANEL)
        second[:rank, panel] = first.T @ second[:, panel]
    return second[:rank]


def interval(
    real: Sequence[Moments], fake: Sequence[Moments], ddof: int = DDOF
) -> tuple[float, float]:
    """A 95 % interval of the distance, by the jackknife over the K parts of each set.

    Leaving out one part at a time keeps the bias of a finite count nearly as it is, where a
    bootstrap's repeated samples add to it. Variance: Σ over both sets of (K-1)/K Σ (θ_k - mean)².
    """
    from scipy.special import stdtrit

    wholes = total(real), total(fake)
    count = len(real)
    left = [fid(wholes[0].without(part), wholes[1], ddof) for part in real]
    right = [fid(wholes[0], wholes[1].without(part), ddof) for part in fake]
    variance = (count - 1) * (np.var(left) + np.var(right))
    centre, half = fid(*wholes, ddof), stdtrit(count - 1, 0.975) * np.sqrt(variance)
    return float(centre - half), float(centre + half)


Measurable = Iterable[np.ndarray] | Moments | Gaussian


def measure(
    real: Measurable,
    fake: Measurable,
    dim: int,
    *,
    ddof: int = DDOF,
    splits: int = 0,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(values, protocol) of two sets: fid, and fid_ci for splits.

    A set is a stream of features in blocks [n, dim], or what is known of it. Usage where it is too
    small, or where an interval would need the features.
    """
    parts = [_parts(of_set, dim, splits) for of_set in (real, fake)]
    wholes = [total(p) if isinstance(p, list) else p for p in parts]
    values: dict[str, Any] = {"fid": fid(wholes[0], wholes[1], ddof)}
    protocol: dict[str, Any] = {"ddof": ddof}
    fewest = min((w.count for w in wholes if isinstance(w, Moments)), default=dim)
    if splits and isinstance(parts[0], list) and isinstance(parts[1], list):
        if fewest < 2 * splits:
            raise Usage(f"{splits} parts need {2 * splits} pictures or more, here are {fewest}")
        values["fid_ci"] = list(interval(parts[0], parts[1], ddof))
        protocol["interval"] = f"95 %, jackknife over {splits} parts of each set"
    if fewest < dim:
        few = f"{fewest} pictures for {dim} dimensions"
        report.note(f"{few}: this FID is far above that of many", once=True)
    return values, protocol


def _parts(of_set: Measurable, dim: int, splits: int) -> list[Moments] | Gaussian:
    if not isinstance(of_set, Moments | Gaussian):
        return accumulate(of_set, dim, max(splits, 1))
    if splits:
        raise Usage("--splits: an interval needs the features, and statistics are sums of them")
    return [of_set] if isinstance(of_set, Moments) else of_set
