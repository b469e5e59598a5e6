"""Distributions of numbers: quantiles, W1, interpolation (papers.md S2.17-S2.19). numpy only.

A distribution is a sorted array of values, each with its count, and Q its quantile
function; all of its numbers count alike, whatever their place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

EXACT = 2**22  # scalars that a pool keeps before it turns to bins; 4096 w of 512 are half of it
BIN_BITS = 21  # of a float32's 32: its sign, its exponent and 12 bits of its mantissa


@dataclass(frozen=True)
class Distribution:
    """values [m] ascending, float64, and how many scalars each stands for, [m].

    ends [m + 1]: P, the share of scalars below each value; areas [m + 1]: the integral of Q from
    0 to P.
    """

    values: np.ndarray
    counts: np.ndarray
    ends: np.ndarray = field(init=False)
    areas: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        total = np.concatenate([[0.0], np.cumsum(self.counts)])
        ends = total / total[-1]
        areas = np.concatenate([[0.0], np.cumsum(self.values * np.diff(ends))])
        object.__setattr__(self, "ends", ends)
        object.__setattr__(self, "areas", areas)

    @classmethod
    def of(cls, scalars: np.ndarray) -> Distribution:
        """Of an array of any shape, exactly; ValueError where it is empty."""
        if not scalars.size:
            raise ValueError("a distribution of no numbers")
        values = np.sort(scalars, axis=None).astype(np.float64)
        return cls(values, np.ones(len(values)))

    def area(self, shares: np.ndarray) -> np.ndarray:
        """The integral of Q from 0 to each share in [0, 1]; linear between the values' ends."""
        return np.interp(shares, self.ends, self.areas)

    def rank(self, values: np.ndarray) -> np.ndarray:
        """The share of scalars below each value."""
        return self.ends[np.searchsorted(self.values, values)]

    def density(self, edges: np.ndarray) -> np.ndarray:
        """Heights [n] of a histogram with edges [n + 1], the area of all of them 1."""
        return np.histogram(self.values, edges, weights=self.counts, density=True)[0]

    def targets(self, dim: int) -> np.ndarray:
        """T [dim] ascending: the mean of Q over each of `dim` equal shares (S2.19).

        Where dim divides the count that is the mean of consecutive groups of the sorted scalars.
        """
        return np.maximum.accumulate(dim * np.diff(self.area(np.arange(dim + 1) / dim)))


class Pool:
    """Scalars that come in blocks, in any order and cut; in memory that has a bound.

    Up to `exact` of them are kept, so that their distribution is that of a full sort. Beyond,
    they are counted and added up in bins of equal float32 bits, and a bin stands for its mean: no
    scalar moves by more than the bin's width, |x|/4096, so neither quantile targets nor W1 do.
    """

    def __init__(self, exact: int = EXACT) -> None:
        self.count = 0
        self._exact = exact
        self._blocks: list[np.ndarray] = []
        self._counts = np.zeros(0)
        self._sums = np.zeros(0)

    @property
    def is_exact(self) -> bool:
        """Whether all scalars are still there."""
        return not len(self._counts)

    def update(self, block: np.ndarray) -> None:
        """Take in finite numbers of any shape, as float32."""
        flat = np.asarray(block, np.float32).ravel()
        self.count += len(flat)
        if self.is_exact and self.count <= self._exact:
            self._blocks.append(flat.copy())
            return
        if self.is_exact:
            self._counts, self._sums = np.zeros(2**BIN_BITS), np.zeros(2**BIN_BITS)
        waiting, self._blocks = [*self._blocks, flat], []
        for some in waiting:
            for start in range(0, len(some), 2**20):
                self._add(some[start : start + 2**20])

    def _add(self, flat: np.ndarray) -> None:
        bins = _ordered(flat) >> (32 - BIN_BITS)
        self._counts += np.bincount(bins, minlength=2**BIN_BITS)
        self._sums += np.bincount(bins, flat, minlength=2**BIN_BITS)

    def distribution(self) -> Distribution:
        """What has come so far; ValueError where nothing has."""
        if self.is_exact:
            return Distribution.of(np.concatenate(self._blocks or [np.zeros(0)]))
        held = np.flatnonzero(self._counts)
        return Distribution(self._sums[held] / self._counts[held], self._counts[held])


# The bits of a float32 as a number that grows with it: negative ones count down.
def _ordered(x: np.ndarray) -> np.ndarray:
    bits = (x + np.float32(0)).view(np.uint32)  # -0 becomes 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def w1(source: Distribution, target: Distribution) -> float:
    """∫ |Q_S - Q_T|, their 1-Wasserstein distance, exactly (S2.17); symmetric.

    A value s of the source holds the shares from P_low to P_high, where Q_T is below it up to its
    rank in T.
    """
    s, low, high = source.values, source.ends[:-1], source.ends[1:]
    split = np.clip(target.rank(s), low, high)
    at_low, at_split, at_high = (target.area(p) for p in (low, split, high))
    below = s * (split - low) - (at_split - at_low)
    above = (at_high - at_split) - s * (high - split)
    return max(float((below + above).sum()), 0.0)


def equalized(values: np.ndarray, target: Distribution, c: float) -> np.ndarray:
    """(1 - c) x + c T⁻¹(S(x)) of values of any shape, in their type (S2.18, Eq. 7.1).

    S is their own empirical distribution, so their order is kept; equal ones stay equal, at the
    mean of the quantiles that they share. With c = 1 the sorted values are T's targets.
    """
    if c == 0:
        return values
    flat = values.ravel()
    _, place, counts = np.unique(flat, return_inverse=True, return_counts=True)
    ends = np.concatenate([[0], np.cumsum(counts)])
    quantiles = np.diff(target.area(ends / len(flat))) * len(flat) / counts
    moved = (1 - c) * flat + c * np.maximum.accumulate(quantiles)[place.ravel()]
    return moved.reshape(values.shape).astype(values.dtype)
