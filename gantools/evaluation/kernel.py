"""Kernel distance of features (KID: Bińkowski et al. 2018): unbiased MMD² with (x·y/D + 1)³."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools.evaluation import matrices
from gantools.io.seeds import derive
from gantools.report import Usage

SUBSETS = 100
SUBSET_SIZE = 1000

Subset = tuple[np.ndarray, np.ndarray]  # indices into the real and into the generated set


def kid(real: np.ndarray, fake: np.ndarray, subsets: Iterable[Subset]) -> np.ndarray:
    """MMD² of each pair of subsets of features [N, D] and [M, D]; the mean of them is the KID.

    As `mmd2`. Memory above the features: one subset.
    """
    x, y = _centred(real, fake)
    return np.array([_mmd2(replace(x, chosen=i), replace(y, chosen=j)) for i, j in subsets])


def draw_subsets(
    generator: np.random.Generator,
    real: int,
    fake: int,
    count: int = SUBSETS,
    size: int = SUBSET_SIZE,
) -> Iterator[Subset]:
    """`count` pairs of index sets of `size` each, without repetition inside a set.

    size is at most the smaller set's; Usage where that is below 2.
    """
    size = min(size, real, fake)
    _enough(size)
    for _ in range(count):
        yield generator.permutation(real)[:size], generator.permutation(fake)[:size]


def mmd2(real: np.ndarray, fake: np.ndarray) -> float:
    """The unbiased estimate of MMD² between [N, D] and [M, D], over all pairs.

    Products are taken in the precision of the features, of their differences from a centre; the
    rest in float64. Of float32 features it is off by some 1e-10 of the mean of the kernel.
    """
    _enough(min(len(real), len(fake)))
    return _mmd2(*_centred(real, fake))


def _enough(count: int) -> None:
    if count < 2:
        raise Usage(f"the kernel distance needs two pictures or more, here are {count}")


@dataclass(frozen=True)
class _Tile:
    """Rows [n, D] less a centre c, and what is missing in their products, float64 [n].

    x·y = (x - c)·(y - c) + (x·c - c·c/2) + (y·c - c·c/2): what is large is exact, and what is
    rounded is small.
    """

    rows: Tensor
    lost: Tensor


@dataclass(frozen=True)
class _Centred:
    """Features [N, D] and what their tiles are made of; those that are chosen, in their order."""

    features: np.ndarray
    centre: np.ndarray
    lost: np.ndarray
    chosen: np.ndarray

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterator[_Tile]:
        for part in matrices.spans(len(self)):
            rows = self.features[self.chosen[part]]
            rows -= self.centre
            yield _Tile(matrices.tile(rows), torch.from_numpy(self.lost[self.chosen[part]]))


# The centre is between the two means: sets that are far from each other stay near to it.
def _centred(real: np.ndarray, fake: np.ndarray) -> tuple[_Centred, _Centred]:
    means = [of_set.mean(axis=0, dtype=np.float64) for of_set in (real, fake)]
    centre = ((means[0] + means[1]) / 2).astype(real.dtype)
    x, y = (
        _Centred(of_set, centre, _lost(of_set, centre), np.arange(len(of_set)))
        for of_set in (real, fake)
    )
    return x, y


def _lost(features: np.ndarray, centre: np.ndarray) -> np.ndarray:
    c = centre.astype(np.float64)
    parts = [features[rows].astype(np.float64) @ c for rows in matrices.spans(len(features))]
    return np.concatenate(parts) - c @ c / 2


# One of the two sets is held at a time.
def _mmd2(x: _Centred, y: _Centred) -> float:
    n, m = len(x), len(y)
    held = [*x]
    across = sum(float(_kernel(a, b).sum()) for b in y for a in held)
    within = _sum_off_diagonal(held) / (n * (n - 1))
    held.clear()
    held.extend(y)
    return within + _sum_off_diagonal(held) / (m * (m - 1)) - 2 * across / (n * m)


# The matrix is symmetric: tiles beyond its diagonal count twice.
def _sum_off_diagonal(x: list[_Tile]) -> float:
    total = 0.0
    for i, a in enumerate(x):
        own = _kernel(a, a)
        total += float(own.sum() - own.diagonal().sum())
        total += 2 * sum(float(_kernel(a, b).sum()) for b in x[i + 1 :])
    return total


# k(x, y) = (x·y/D + 1)³ of all pairs of two tiles, float64 [n, m]
def _kernel(a: _Tile, b: _Tile) -> Tensor:
    k = matrices.product(a.rows, b.rows).double()
    k.add_(a.lost[:, None]).add_(b.lost)
    k.div_(a.rows.shape[1]).add_(1)
    return k.square().mul_(k)


def interval(real: np.ndarray, fake: np.ndarray, splits: int) -> tuple[float, float]:
    """A 95 % interval: Student's t over the MMD² of `splits` disjoint parts of both sets.

    The estimate is unbiased, so the mean of the parts estimates the same number.
    """
    from scipy.special import stdtrit

    values = [mmd2(real[k::splits], fake[k::splits]) for k in range(splits)]
    half = stdtrit(splits - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(splits)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def measure(
    real: Iterable[np.ndarray],
    fake: Iterable[np.ndarray],
    *,
    subsets: int = SUBSETS,
    size: int = SUBSET_SIZE,
    splits: int = 0,
    seed: int = 0,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(values, protocol) of two streams of features in blocks [n, D]: kid, kid_std, kid_ci.

    subsets 0: one estimate over all pairs, without kid_std. Usage where a set is too small.
    """
    x, y = (matrices.whole(blocks) for blocks in (real, fake))
    fewest = min(len(x), len(y))
    _enough(fewest)
    protocol: dict[str, Any] = {"kernel": "(x·y/D + 1)³, unbiased", "subsets": subsets}
    if subsets:
        generator = np.random.default_rng(derive(seed, "kid", "subsets"))
        found = kid(x, y, draw_subsets(generator, len(x), len(y), subsets, size))
        values = {"kid": float(found.mean()), "kid_std": float(found.std())}
        protocol |= {"subset_size": min(size, fewest), "seed": seed}
    else:
        values = {"kid": mmd2(x, y)}
    if not splits:
        return values, protocol
    if fewest < 2 * splits:
        raise Usage(f"{splits} parts need {2 * splits} pictures or more, here are {fewest}")
    protocol["interval"] = f"95 %, Student's t over {splits} disjoint parts of each set"
    return {**values, "kid_ci": list(interval(x, y, splits))}, protocol
