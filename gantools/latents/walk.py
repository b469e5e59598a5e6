"""A smooth closed walk through z (papers.md S1.25). numpy only."""

from __future__ import annotations

import numpy as np


def walk(frames: int, z_dim: int, sigma: float, seed: int) -> np.ndarray:
    """N(0, I) per frame, Gaussian-filtered over time with wrap, brought back to unit RMS.

    frames x z_dim, float32; sigma is the filter's, in frames. The last frame is followed by the
    first as smoothly as any other: a video of it loops.
    """
    z = np.random.RandomState(seed % 2**32).randn(frames, z_dim)
    # The filter wraps around, so it is a product in the frequency domain.
    frequency = np.fft.rfftfreq(frames)[:, None]  # cycles per frame
    response = np.exp(-2 * (np.pi * sigma * frequency) ** 2)
    z = np.fft.irfft(np.fft.rfft(z, axis=0) * response, n=frames, axis=0)
    return (z / np.sqrt(np.mean(z**2))).astype(np.float32)
