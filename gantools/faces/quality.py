"""How sharp and how free of patterns a picture is, from its spectrum (S1.17).

The power spectrum of a good photograph falls like 1/f² and is the same in all directions. Blur
takes the high frequencies away, and stripes, halftone grids and JPEG's blocks add directions. The
score is Q = B A: breadth B, the entropy of the whitened radial spectrum, 1 where every ring holds
as much; and symmetry A = exp(-s), s the scatter of ln P over directions, 1 where there is none.
CelebA-HQ was chosen by such a score; its formula was never published, and this one is S1.17's.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SECTORS = 16
"""Directions over half a turn; the other half of a real picture's spectrum is the same."""
LUMA = np.array([0.299, 0.587, 0.114])
ROUNDING = (LUMA**2).sum() / 12
"""Variance that rounding three channels to 8 bits gives the grey picture."""
NOTHING = 1e-12
"""Power, as a share of the mean, that counts as none."""


def quality(pixels: np.ndarray) -> float:
    """The score of a square uint8 or float picture [N, N, 3], 0..1; compare pictures of one size.

    N should be 64 or more: smaller pictures have too few frequencies to rank blur reliably.

    It does not change when the picture is mirrored, turned by 90 degrees, or made brighter,
    darker, stronger or weaker in contrast (but for clipping and rounding). 0 for a flat picture.
    """
    power = _power(pixels)
    bins, count, noise = _polar(len(pixels))
    power = np.bincount(bins.ravel(), power.ravel(), count.size + 1)[:-1].reshape(count.shape)
    if not power.sum() > 0:
        return 0.0
    noise = noise if pixels.dtype == np.uint8 else 0.0
    return _breadth(power, count, noise) * _symmetry(power, count, noise)


def _power(pixels: np.ndarray) -> np.ndarray:
    """|FFT|² [N, N//2 + 1] of the grey picture under a Hann window, without its mean.

    The half of the frequencies that is left out is the same: the others count twice for it.
    """
    window = _window(len(pixels))
    grey = pixels.astype(np.float64) @ LUMA
    grey = (grey - (grey * window).sum() / window.sum()) * window
    spectrum = np.fft.rfft2(grey)
    power: np.ndarray = spectrum.real**2 + spectrum.imag**2
    power[:, 1:] *= 2
    return power


@lru_cache(maxsize=8)
def _window(n: int) -> np.ndarray:
    """The Hann window [n, n]."""
    window = np.hanning(n + 2)[1:-1]
    return window[:, None] * window[None]


@lru_cache(maxsize=8)
def _polar(n: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Bin of each frequency of an n x n picture, frequencies in each bin, noise of rounding.

    Bins are rings x SECTORS, and one more for frequencies in no ring. Ring r holds the frequencies
    r + 1/2 .. r + 3/2, so the mean is in none. Sectors lie about the axes and the diagonals, so no
    frequency is on a border and symmetries swap whole sectors.
    """
    y, x = np.meshgrid(np.rint(np.fft.fftfreq(n) * n), np.arange(n // 2 + 1), indexing="ij")
    ring = np.rint(np.hypot(x, y)).astype(np.int64) - 1
    sector = np.rint(np.arctan2(y, x) * (SECTORS / np.pi)).astype(np.int64) % SECTORS
    rings = max(1, (n - 1) // 2)
    bins = np.where((ring >= 0) & (ring < rings), ring * SECTORS + sector, rings * SECTORS)
    count = np.bincount(bins.ravel(), np.where(x > 0, 2, 1).ravel(), rings * SECTORS + 1)[:-1]
    noise = ROUNDING * (_window(n) ** 2).sum()
    return bins, count.reshape(rings, SECTORS), float(noise)


def _breadth(power: np.ndarray, count: np.ndarray, noise: float) -> float:
    """Entropy of p_r ~ r² mean P over its largest value, ln n.

    noise: power that rounding adds everywhere, taken off: else it would count as fine detail.
    """
    n = len(power)
    p = np.arange(1, n + 1) ** 2 * np.maximum(power.sum(1) / count.sum(1) - noise, 0)
    if n < 2 or not p.sum() > 0:
        return 0.0
    p = p / p.sum()
    return float(-(p * np.log(np.maximum(p, NOTHING**2))).sum() / np.log(n))


def _symmetry(power: np.ndarray, count: np.ndarray, noise: float) -> float:
    """exp(-mean over the upper three quarters of the rings of the deviation of ln P over sectors).

    Rings too small to have a frequency in every sector are left out. Rounding's noise is the same
    in all directions and would make up for what blur takes away; a tenth of it is left, so that
    rings which hold nothing else scatter much.
    """
    wide = (count > 0).all(1) & (np.arange(len(power)) >= len(power) // 4)
    if not wide.any():
        return 1.0
    mean = np.maximum(power[wide] / count[wide] - noise, 0)
    floor = NOTHING * power.sum() / count.sum() + 0.1 * noise
    return float(np.exp(-np.log(mean + floor).std(1).mean()))
