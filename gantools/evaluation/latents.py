"""What the numbers of W look like: histograms, moments and correlations (papers.md S2.16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gantools.report import Usage

BINS = 100
FIRST = 8  # features with a histogram of their own
QUANTILES = (0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)


@dataclass(frozen=True)
class Statistics:
    """Of w [count, dim]: moments and quantiles of all scalars, histograms, correlations.

    edges [BINS + 1] are those of all histograms; counts [BINS] of all scalars, features
    [<= FIRST, BINS] of the first features. correlation [dim, dim]; 0 where a feature is constant.
    """

    count: int
    moments: dict[str, float]
    quantiles: dict[str, float]
    means: np.ndarray
    deviations: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    features: np.ndarray
    correlation: np.ndarray

    def results(self) -> dict[str, Any]:
        """The numbers for a table; correlations without the diagonal.

        correlation_chance is the mean |r| of features that are independent, of as many samples.
        """
        r = np.abs(self.correlation[~np.eye(len(self.correlation), dtype=bool)])
        return {
            **self.moments,
            "correlation_mean": float(r.mean()) if r.size else 0.0,
            "correlation_max": float(r.max()) if r.size else 0.0,
            "correlation_chance": float(np.sqrt(2 / (np.pi * self.count))),
            "quantiles": self.quantiles,
            "features": {
                str(i): {"mean": float(self.means[i]), "std": float(self.deviations[i])}
                for i in range(len(self.features))
            },
        }

    def histograms(self) -> dict[str, Any]:
        """Edges and counts, of all scalars and of the first features."""
        return {
            "edges": self.edges.tolist(),
            "all": self.counts.tolist(),
            "features": self.features.tolist(),
        }


def statistics(w: np.ndarray) -> Statistics:
    """Statistics of w [N, dim], in float64; Usage for fewer than two."""
    if len(w) < 2:
        raise Usage(f"statistics need two latents or more, here are {len(w)}")
    x = w.astype(np.float64)
    means, deviations = x.mean(0), x.std(0)
    standard = np.divide(x - means, deviations, out=np.zeros_like(x), where=deviations > 0)
    edges = np.histogram_bin_edges(x, BINS)
    first = [np.histogram(column, edges)[0] for column in x[:, :FIRST].T]
    return Statistics(
        len(w),
        _moments(x),
        {f"{q:g}": float(v) for q, v in zip(QUANTILES, np.quantile(x, QUANTILES), strict=True)},
        means,
        deviations,
        edges,
        np.histogram(x, edges)[0],
        np.array(first),
        standard.T @ standard / len(w),
    )


# Skewness and excess kurtosis are 0 for a normal distribution.
def _moments(x: np.ndarray) -> dict[str, float]:
    mean, std = float(x.mean()), float(x.std())
    y = (x - mean) / std if std else x * 0
    return {
        "mean": mean,
        "std": std,
        "skewness": float((y**3).mean()),
        "kurtosis": float((y**4).mean()) - 3 if std else 0.0,
    }
