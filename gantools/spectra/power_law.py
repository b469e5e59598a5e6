"""Power laws fitted to the tail of a spectrum, the features of spectral classifiers (S3.26)."""

from __future__ import annotations

import numpy as np

from gantools.report import SampleError

FAINTEST = 1e-8  # below any power that a change of one 8-bit level has; log of a flat picture's


def tail(frequencies: np.ndarray, threshold: float) -> np.ndarray:
    """Which bins are fitted, those from threshold (of f_nyq) on; SampleError for fewer than two."""
    chosen = np.flatnonzero(frequencies >= threshold)
    if len(chosen) < 2:
        raise SampleError(f"too small: a fit needs two bins above {threshold:g} f_nyq")
    return chosen


def fit(values: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """S = b1 ratio^b2 by least squares of the logarithms, in closed form.

    values [n, k] above 0, ratio [k] = r / r_c -> (log b1, b2) [n, 2]. Exact for a power law.
    """
    x, y = np.log(ratio), np.log(np.maximum(values, FAINTEST))
    centred = x - x.mean()
    b2 = y @ centred / (centred @ centred)
    return np.stack([y.mean(1) - b2 * x.mean(), b2], axis=1)


def features(spectra: np.ndarray, frequencies: np.ndarray, threshold: float) -> np.ndarray:
    """(log b1, b2) of reduced spectra [n, bins] at f / f_nyq [bins]: [n, 2]."""
    chosen = tail(frequencies, threshold)
    return fit(spectra[:, chosen], frequencies[chosen] / threshold)
