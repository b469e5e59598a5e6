"""Intervals of means by resampling: the percentile bootstrap (Efron 1979)."""

from __future__ import annotations

import numpy as np

from gantools.io.seeds import derive

RESAMPLES = 1000
NAMED = f"95 % percentile bootstrap, {RESAMPLES} resamples"


def intervals(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """95 % intervals [K, 2] of the column means of [N, K]; every column sees the same resamples.

    Infinite values make infinite ends: an end is a resample's mean, never between two.
    """
    count = len(values)
    generator = np.random.default_rng(derive(seed, "bootstrap"))
    means = np.empty((RESAMPLES, values.shape[1]))
    for i in range(RESAMPLES):
        means[i] = values[generator.integers(count, size=count)].mean(0)
    means.sort(axis=0)
    cut = RESAMPLES // 40
    return np.stack([means[cut - 1], means[-cut]], axis=1)


def summary(name: str, values: np.ndarray, seed: int = 0) -> dict[str, float | list[float]]:
    """{name: mean, name_ci: [low, high]} of values [N]; no interval where there is one value."""
    found: dict[str, float | list[float]] = {name: float(values.mean())}
    if len(values) > 1:
        found[f"{name}_ci"] = intervals(values[:, None], seed)[0].tolist()
    return found
