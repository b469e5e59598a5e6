"""The quality score by the spectrum (papers.md S1.17)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from gantools.faces.quality import quality


def cloud(seed: int, n: int = 64, slope: float = 1.0) -> np.ndarray:
    """A picture whose spectrum falls like a photograph's, float [n, n, 3], about 30..220."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None])
    f[0, 0] = 1
    planes = [np.fft.ifft2(np.fft.fft2(rng.normal(size=(n, n))) / f**slope).real for _ in range(3)]
    x = np.stack(planes, -1)
    return 125 + 95 * x / np.abs(x).max()


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(x, (sigma, sigma, 0))


@given(seed=st.integers(0, 10_000), n=st.sampled_from([64, 65, 96, 128]))
@settings(max_examples=300, deadline=None)
def test_blur_lowers_it(seed: int, n: int) -> None:
    """S1.17: Q falls under Gaussian blur of 0, 1, 2, 4 px, also after rounding to 8 bits."""
    x = cloud(seed, n)
    for kind in (np.float64, np.uint8):
        scores = [quality(blurred(x, sigma).round().astype(kind)) for sigma in (0, 1, 2, 4)]
        assert scores == sorted(scores, reverse=True) and len(set(scores)) == 4
        assert all(0 <= score <= 1 for score in scores)


@given(
    seed=st.integers(0, 10_000),
    period=st.floats(3, 12),  # finer diagonal grids lie beyond the largest ring
    angle=st.floats(0, 3.14),
    grid=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_stripes_and_halftones_lower_it(seed: int, period: float, angle: float, grid: bool) -> None:
    """S1.17: a pattern has directions, and one ring that outweighs the rest."""
    x = cloud(seed)
    v, u = np.mgrid[:64, :64]
    along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
    pattern = np.sin(2 * np.pi * along / period)
    if grid:
        pattern = pattern * np.sin(2 * np.pi * across / period)
    assert quality(x + 30 * pattern[..., None]) < quality(x)


@given(seed=st.integers(0, 10_000), n=st.integers(8, 40), gain=st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_what_it_does_not_depend_on(seed: int, n: int, gain: float) -> None:
    """S1.17: flips, turns by 90 degrees, contrast and brightness."""
    x = cloud(seed, n)
    for same in (x[:, ::-1], x[::-1], np.rot90(x), x.swapaxes(0, 1), x * gain, x + 1000):
        assert quality(same) == pytest.approx(quality(x), rel=1e-6)


def test_closed_forms() -> None:
    """White noise fills rings like r², whitening's own picture all alike; flat ones have none."""
    assert quality(np.full((32, 32, 3), 77, np.uint8)) == 0
    assert quality(np.zeros((1, 1, 3), np.uint8)) == 0
    slopes = [np.mean([quality(cloud(i, 128, slope)) for i in range(5)]) for slope in (1, 2, 3)]
    assert slopes == sorted(slopes, reverse=True)  # 1/f² in power is the broadest; steeper is less
    # A plain wave: one ring (and its neighbours under the window), one direction.
    wave = 100 + 50 * np.sin(np.arange(128) * 2 * np.pi / 8)
    assert quality(np.broadcast_to(wave[None, :, None], (128, 128, 3))) < 0.01


def test_one_long_edge_is_worse_than_texture() -> None:
    """Symmetry alone: equal radial spectra, one of them from few directions."""
    x = cloud(3, 128)
    f = np.fft.fftfreq(128)
    angle = np.arctan2(f[:, None], f[None])
    one_way = np.fft.fft2(x, axes=(0, 1)) * (0.05 + np.abs(np.cos(angle)))[..., None]
    assert quality(np.fft.ifft2(one_way, axes=(0, 1)).real) < 0.8 * quality(x)
