"""Intervals of means by resampling: the percentile bootstrap (Efron 1979)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gantools.io.seeds import derive

RESAMPLES = 1000
NAMED = f"95 % percentile bootstrap, {RESAMPLES} resamples"


def intervals(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """95 % intervals [K, 2] of the column means of [N, K]; every column sees the same resamples.

    Infinite values make infinite ends: an end is a resample's mean, never between two.
    """
    means = [values[chosen].mean(0) for chosen in resamples(len(values), seed)]
    return ends(np.array(means).reshape(RESAMPLES, -1))


def resamples(count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """The indices [count] of every resample: drawn with replacement."""
    generator = np.random.default_rng(derive(seed, "bootstrap"))
    for _ in range(RESAMPLES):
        yield generator.integers(count, size=count)


def ends(found: np.ndarray) -> np.ndarray:
    """95 % intervals [K, 2] of K statistics [resamples, K]."""
    ordered = np.sort(found, axis=0)
    cut = RESAMPLES // 40
    return np.stack([ordered[cut - 1], ordered[-cut]], axis=1)


def summary(name: str, values: np.ndarray, seed: int = 0) -> dict[str, float | list[float]]:
    """{name: mean, name_ci: [low, high]} of values [N]; no interval where there is one value."""
    found: dict[str, float | list[float]] = {name: float(values.mean())}
    if len(values) > 1:
        found[f"{name}_ci"] = intervals(values[:, None], seed)[0].tolist()
    return found
