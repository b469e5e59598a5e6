"""Kernel distance of features (KID: Bińkowski et al. 2018): unbiased MMD² with (x·y/D + 1)³."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gantools.io.seeds import derive
from gantools.report import Usage

SUBSETS = 100
SUBSET_SIZE = 1000
BLOCK = 512  # rows of a kernel matrix held at once

Subset = tuple[np.ndarray, np.ndarray]  # indices into the real and into the generated set


def kid(real: np.ndarray, fake: np.ndarray, subsets: Iterable[Subset]) -> np.ndarray:
    """MMD² of each pair of subsets of features [N, D] and [M, D]; the mean of them is the KID."""
    return np.array([mmd2(real[i], fake[j]) for i, j in subsets])


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
    """The unbiased estimate of MMD² between [N, D] and [M, D], exact over all pairs, in float64.

    Memory: one block of 512 rows of a kernel matrix.
    """
    _enough(min(len(real), len(fake)))
    x, y = real.astype(np.float64), fake.astype(np.float64)
    n, m = len(x), len(y)
    within = _sum_off_diagonal(x) / (n * (n - 1)) + _sum_off_diagonal(y) / (m * (m - 1))
    across = sum(_kernel(rows, y).sum() for rows in _blocks(x)) / (n * m)
    return float(within - 2 * across)


def _enough(count: int) -> None:
    if count < 2:
        raise Usage(f"the kernel distance needs two pictures or more, here are {count}")


def _sum_off_diagonal(x: np.ndarray) -> float:
    everything = sum(_kernel(rows, x).sum() for rows in _blocks(x))
    diagonal = (np.einsum("nd,nd->n", x, x) / x.shape[1] + 1) ** 3
    return float(everything - diagonal.sum())


def _blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    return (x[start : start + BLOCK] for start in range(0, len(x), BLOCK))


# k(x, y) = (x·y/D + 1)³
def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    k = x @ y.T
    k /= x.shape[1]
    k += 1
    return k * k * k  # numpy's power is several times slower


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
    x, y = (np.concatenate([*blocks] or [np.zeros((0, 1))]) for blocks in (real, fake))
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
