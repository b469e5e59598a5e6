"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

A set's manifold is the union of balls around its features, each as wide as the distance to the
k-th neighbour in the set. Products in float32 decide what they can; where rounding could matter the
differences are taken in float64, so that all counts are those of exact arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gantools.evaluation import matrices
from gantools.report import Usage

K = 3
TILES = 2  # of rows of a matrix of distances are held at once
SPARE = 8  # candidates beyond the k-th whose distances are taken exactly
EXACT = 1 << 18  # numbers of differences held at once
ALL = slice(None)
MEASURES = ("precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Manifolds:
    """What two sets of features have of each other.

    real, fake: radii of the balls, float64 [N] and [M]. nearest: the distance of each generated
    feature to a nearest real one, float64 [M].
    """

    precision: float
    recall: float
    density: float
    coverage: float
    real: np.ndarray
    fake: np.ndarray
    nearest: np.ndarray

    def results(self) -> dict[str, float]:
        """The four measures."""
        return {name: getattr(self, name) for name in MEASURES}


class _Features:
    """Features [N, D] as given, and shifted to a centre in float32 with what products need."""

    def __init__(self, given: np.ndarray, centre: np.ndarray) -> None:
        self.given = given
        self.dim: int = given.shape[1]
        self.tiles: list[Tensor] = []
        self.squares = np.empty(len(given), np.float32)
        for rows in matrices.spans(len(given)):
            shifted = (given[rows] - centre).astype(np.float32)
            self.squares[rows] = np.einsum("nd,nd->n", shifted, shifted)
            self.tiles.append(matrices.tile(shifted))

    def __len__(self) -> int:
        return len(self.given)

    def tiles_of(self, rows: slice) -> list[Tensor]:
        """The tiles of rows that begin and end with one."""
        first, stop, _ = rows.indices(len(self))
        return self.tiles[first // matrices.TILE : -(-stop // matrices.TILE)]


def compare(real: np.ndarray, fake: np.ndarray, k: int = K) -> Manifolds:
    """Both manifolds of features float32 [N, D] and [M, D], and what each holds of the other.

    precision: the share of fake inside a ball of real, its surface included; recall: of real in
    those of fake. density: how many balls of real hold a feature of fake, on average, over k;
    coverage: the share of balls of real that hold one; both without the surface, as their authors
    have it. Memory grows with N + M, not with N M. Usage where a set has not more than k features.
    """
    for features in (real, fake):
        if len(features) <= k:
            raise Usage(f"neighbour {k} needs {k + 1} pictures or more, here are {len(features)}")
    centre = real.mean(axis=0, dtype=np.float64)
    x, y = _Features(real, centre), _Features(fake, centre)
    of_real, of_fake = _squared_radii(x, k), _squared_radii(y, k)
    in_real, balls, nearest = np.zeros(len(y), bool), 0, np.empty(len(y))
    in_fake, holds = np.zeros(len(x), bool), np.zeros(len(x), bool)
    for rows in _blocks(len(y)):
        lower = _lower(y, rows, x)
        nearest[rows] = _exact(y, _numbers(rows), x, lower.argmin(axis=1))
        i, j, closed, inside = _held(y, rows, x, lower, of_real)
        in_real[i[closed]] = True
        balls += int(np.count_nonzero(inside))
        holds[j[inside]] = True
        _, j, closed, _ = _held(y, rows, x, lower, of_fake[rows, None])
        in_fake[j[closed]] = True
    return Manifolds(
        precision=float(in_real.mean()),
        recall=float(in_fake.mean()),
        density=balls / (k * len(y)),
        coverage=float(holds.mean()),
        real=np.sqrt(of_real),
        fake=np.sqrt(of_fake),
        nearest=np.sqrt(nearest),
    )


def radii(features: np.ndarray, k: int = K) -> np.ndarray:
    """The distance of every feature [N, D] to its k-th neighbour (not itself), float64 [N]."""
    centre = features.mean(axis=0, dtype=np.float64)
    return np.sqrt(_squared_radii(_Features(features, centre), k))


# The exact distances of those that are nearest by their lower bounds decide, unless another one's
# lower bound is below: then the whole row is taken exactly.
def _squared_radii(x: _Features, k: int) -> np.ndarray:
    found = np.empty(len(x))
    count = min(k + SPARE, len(x) - 1)
    near, bounds = _nearest(x, count)
    for rows in _blocks(len(x)):
        own = _numbers(rows)
        exact = _exact(x, np.repeat(own, count), x, near[rows].ravel()).reshape(-1, count)
        found[rows] = np.partition(exact, k - 1, axis=1)[:, k - 1]
        for i in own[(found[rows] > bounds[rows]) & (count < len(x) - 1)]:
            others = np.delete(np.arange(len(x)), i)
            exact = _exact(x, np.full(len(others), i), x, others)
            found[i] = np.partition(exact, k - 1)[k - 1]
    return found


# Of every row the others [N, count] with the least lower bounds, and the largest of these [N].
# Distances are symmetric: a block of rows meets itself and later rows only, and tells both.
def _nearest(x: _Features, count: int) -> tuple[np.ndarray, np.ndarray]:
    near = np.zeros((len(x), count), np.intp)
    bounds = np.full((len(x), count), np.inf, np.float32)
    for rows in _blocks(len(x)):
        later = slice(rows.start, len(x))
        lower = _lower(x, rows, x, later)
        own = _numbers(rows)
        lower[own - rows.start, own - rows.start] = np.inf
        _keep(near, bounds, own, lower, _numbers(later))
        beyond = lower[:, len(own) :].T
        closer = np.flatnonzero(beyond.min(axis=1) < bounds[rows.stop :].max(axis=1))
        _keep(near, bounds, closer + rows.stop, beyond[closer], own)
    return near, bounds.max(axis=1)


# Rows i take the best of what they have and of what is new, lower bounds [rows, others].
def _keep(
    near: np.ndarray, bounds: np.ndarray, i: np.ndarray, lower: np.ndarray, others: np.ndarray
) -> None:
    count = near.shape[1]
    both = np.concatenate([bounds[i], lower], axis=1)
    best = np.argpartition(both, count - 1, axis=1)[:, :count]
    held = np.take_along_axis(near[i], np.minimum(best, count - 1), axis=1)
    near[i] = np.where(best < count, held, others[np.maximum(best - count, 0)])
    bounds[i] = np.take_along_axis(both, best, axis=1)


def _blocks(count: int) -> Iterator[slice]:
    size = TILES * matrices.TILE
    return (slice(at, min(at + size, count)) for at in range(0, count, size))


def _numbers(rows: slice) -> np.ndarray:
    return np.arange(rows.start, rows.stop)


# |x|² + |y|² - 2xy is wrong in float32 by at most this times |x|² + |y|²: D products and sums in
# each term, and what the shift to the centre rounded.
def _rounding(dim: int) -> np.float32:
    return np.float32((dim + 8) * 2.0**-23)


# Below the squared distances [rows, columns], by twice what rounding can make of them at most.
def _lower(a: _Features, rows: slice, b: _Features, columns: slice = ALL) -> np.ndarray:
    less = 1 - _rounding(a.dim)
    lower = matrices.products(a.tiles_of(rows), b.tiles_of(columns))
    lower *= -2
    lower += less * a.squares[rows, None]
    lower += less * b.squares[columns]
    return lower


# Squared distances of the pairs a[i], b[j] in float64; the same for a pair wherever it stands.
def _exact(a: _Features, i: np.ndarray, b: _Features, j: np.ndarray) -> np.ndarray:
    found = np.empty(len(i))
    step = max(EXACT // a.dim, 1)
    for at in range(0, len(i), step):
        part = slice(at, at + step)
        difference = a.given[i[part]].astype(np.float64) - b.given[j[part]]
        found[part] = (difference * difference).sum(axis=1)
    return found


# Pairs (i, j) that may be within their limits (squared, [N] or [rows, 1]), and which of them are:
# with the surface, and without.
def _held(
    a: _Features, rows: slice, b: _Features, lower: np.ndarray, limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    i, j = np.nonzero(lower <= np.nextafter(limits.astype(np.float32), np.float32(np.inf)))
    limit = np.broadcast_to(limits, lower.shape)[i, j]
    slack = 2 * _rounding(a.dim) * (a.squares[i + rows.start] + b.squares[j])
    closed = lower[i, j] + slack < limit
    inside = closed.copy()
    i += rows.start
    unsure = np.flatnonzero(~closed)
    exact = _exact(a, i[unsure], b, j[unsure])
    closed[unsure], inside[unsure] = exact <= limit[unsure], exact < limit[unsure]
    return i, j, closed, inside


def interval(real: np.ndarray, fake: np.ndarray, k: int, splits: int) -> dict[str, list[float]]:
    """95 % intervals of the measures by the jackknife over `splits` parts of each set.

    Leaving out one part at a time keeps the density of the sets, on which the measures depend.
    Shares stay in [0, 1].
    """
    from scipy.special import stdtrit

    def without(features: np.ndarray, part: int) -> np.ndarray:
        return features[np.arange(len(features)) % splits != part]

    parts = range(splits)
    left = [[*compare(without(real, part), fake, k).results().values()] for part in parts]
    right = [[*compare(real, without(fake, part), k).results().values()] for part in parts]
    variance = (splits - 1) * (np.var(left, axis=0) + np.var(right, axis=0))
    half = stdtrit(splits - 1, 0.975) * np.sqrt(variance)
    found = {}
    for name, value, h in zip(
        MEASURES, compare(real, fake, k).results().values(), half, strict=True
    ):
        top = np.inf if name == "density" else 1.0
        found[name] = [float(np.clip(end, 0, top)) for end in (value - h, value + h)]
    return found


def measure(
    real: Iterable[np.ndarray], fake: Iterable[np.ndarray], *, k: int = K, splits: int = 0
) -> tuple[Manifolds, dict[str, Any], dict[str, Any]]:
    """(manifolds, values, protocol) of two streams of features in blocks [n, D].

    values: precision, recall, density, coverage, and <name>_ci for splits. Usage where a set is too
    small.
    """
    x, y = (matrices.whole(blocks) for blocks in (real, fake))
    fewest = min(len(x), len(y))
    if splits and fewest < splits * (k + 1):
        raise Usage(f"{splits} parts need {splits * (k + 1)} pictures or more, here are {fewest}")
    found = compare(x, y, k)
    values: dict[str, Any] = found.results()
    protocol: dict[str, Any] = {"k": k, "surface": "in precision and recall"}
    if splits:
        values |= {f"{name}_ci": ends for name, ends in interval(x, y, k, splits).items()}
        protocol["interval"] = f"95 %, jackknife over {splits} parts of each set"
    return found, values, protocol
