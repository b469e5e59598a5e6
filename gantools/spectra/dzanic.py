"""The fit of Dzanic et al. 2020, as their script computes it (S3.26, X.6).

|DFT| of the grey picture, not squared, beyond half of the corner's radius, in 200 bins that are
smoothed by a moving average; y_i (x / x_0)^b1 by Nelder-Mead from b1 = -2. Kept from the script:
the centre one pixel beside the zero frequency, and a residual that is a matrix (each y less each
f), so that its spectral norm is minimised and not the sum of squares. Bins without a frequency
have no value there; here they are left out of the fit.
"""

from __future__ import annotations

import numpy as np

from gantools.report import SampleError

BINS = 200
BEGIN = 0.5  # of the corner's radius: where the bins begin
THRESHOLD = 0.85  # where the fit begins; the paper's text has 0.75
SPAN = 5  # of the moving average; the published example fits match 3
GREY = np.array([0.2989, 0.5870, 0.1140])


def grey(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> rounded luma [H, W], float64."""
    return np.floor(pixels @ GREY + 0.5)


def binned(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(middle, mean |DFT|) of the 200 bins of a grey picture [H, W]; nan where a bin is empty."""
    height, width = x.shape
    size = np.abs(np.fft.fftshift(np.fft.fft2(x)))
    middle = [(n + 1) // 2 - 1 for n in (height, width)]
    down, across = (np.arange(n) - m for n, m in zip((height, width), middle, strict=True))
    radius = np.sqrt(down[:, None] ** 2.0 + across[None] ** 2.0)
    corner = np.hypot(*((n + 1) // 2 for n in (height, width)))
    beyond = radius > BEGIN * corner
    radii, sizes = radius[beyond], size[beyond]
    edges = np.linspace(radii.min(), radii.max(), BINS + 1)
    where = np.maximum(np.searchsorted(edges, radii) - 1, 0)
    counts = np.bincount(where, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = np.bincount(where, sizes, BINS) / counts
    return (edges[1:] + edges[:-1]) / 2, means


def smoothed(y: np.ndarray, span: int = SPAN) -> np.ndarray:
    """A centred moving average, narrower near the ends; nan is passed over."""
    near = np.minimum(np.arange(len(y)), np.arange(len(y))[::-1]).clip(max=span // 2)
    windows = [y[i - k : i + k + 1] for i, k in enumerate(near)]
    known = [window[~np.isnan(window)] for window in windows]
    return np.array([window.mean() if len(window) else np.nan for window in known])


def fit(
    x: np.ndarray, y: np.ndarray, threshold: float = THRESHOLD, span: int = SPAN
) -> tuple[float, float, float]:
    """(b1, y_i, y_f) of the bins (x, y) from threshold on; SampleError where nothing is there."""
    from scipy.optimize import minimize

    first = round(BINS * (threshold - BEGIN) / (1 - BEGIN))
    ratio, value = (x / x.max())[first:], smoothed(y, span)[first:]
    ratio, value = ratio[~np.isnan(value)], value[~np.isnan(value)]
    if len(value) < 2:
        raise SampleError("too small for the fit of Dzanic et al.")
    ratio = ratio / ratio[0]

    def residual(c: np.ndarray) -> float:
        return _matrix_norm(value, value[0] * ratio ** c[0])

    found = minimize(residual, [-2.0], method="Nelder-Mead")
    return float(found.x[0]), float(value[0]), float(value[-1])


def features(
    pixels: np.ndarray, threshold: float = THRESHOLD, span: int = SPAN
) -> tuple[float, float, float]:
    """(b1, y_i, y_f) of a picture, uint8 [H, W, 3]."""
    if min(pixels.shape[:2]) < 16:
        raise SampleError("too small for the fit of Dzanic et al.")
    return fit(*binned(grey(pixels)), threshold, span)


def _matrix_norm(y: np.ndarray, f: np.ndarray) -> float:
    """The largest singular value of y_i - f_j, a matrix of rank 2."""
    n = len(y)
    left = np.array([[y @ y, y.sum()], [y.sum(), n]])
    right = np.array([[n, -f.sum()], [-f.sum(), f @ f]])
    product = left @ right
    half, det = np.trace(product) / 2, np.linalg.det(left) * np.linalg.det(right)
    return float(np.sqrt(half + np.sqrt(max(half * half - det, 0))))
