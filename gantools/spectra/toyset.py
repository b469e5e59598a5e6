"""Pictures with two peaks in their spectrum, and others for the testbeds of paper 003 (S3.4, S3.5).

A picture of the toy set is the mean of two random pictures of twice the side, each of which has
all of its power on a thin ring of frequencies; its middle is kept. `clean` does as the paper says.
`official` has what its authors' script does besides: phases folded into (-pi/2, pi/2), whole rows
of the first two channels without one, and the mirrored half of the rings off by one row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

RANGES = ((0.05, 0.15), (0.75, 0.85))  # of f_nyq: where the two peaks are drawn from
NYQUIST = math.sqrt(2)  # in units of the axis'


def official(size: int, seed: int = 0) -> Iterator[np.ndarray]:
    """uint8 [size, size, 3] without end, as the authors' script draws them from one generator."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        drawn = [_drawn(2 * size, generator) for _ in RANGES]
        frequencies = [_frequency(u, of) for (u, _), of in zip(drawn, RANGES, strict=True)]
        rings = [official_ring(2 * size, f) for f in frequencies]
        peaks = [official_peak(r, phase) for r, (_, phase) in zip(rings, drawn, strict=True)]
        yield _levels(torch.stack(peaks).sum(0) / len(RANGES), truncated=True)


def clean(size: int, generator: torch.Generator) -> np.ndarray:
    """One picture, uint8 [size, size, 3], with the right phases and symmetry."""
    x = torch.zeros(3, 2 * size, 2 * size)
    for of in RANGES:
        u, phase = _drawn(2 * size, generator)
        x += _clean_peak(2 * size, _frequency(u, of), phase)
    return _levels(x / len(RANGES), truncated=False)


def pink(size: int, generator: torch.Generator) -> np.ndarray:
    """Noise whose amplitude falls as 1/f, as in photographs; uint8 [size, size, 3], grey mean."""
    f = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None])
    f[0, 0] = math.inf
    white = torch.fft.rfft2(torch.randn(3, size, size, generator=generator))
    x = torch.fft.irfft2(white / f, s=(size, size))
    return _levels(0.35 * x / x.std(), truncated=False, crop=False)


def high_pass(x: Tensor) -> Tensor:
    """[N, C, H, W] convolved with [[1, -1], [-1, 1]], its border mirrored: the teaser's (S3.5).

    Constants become 0, a checkerboard of ±1 one of ±4.
    """
    y = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    y = y[:, :, 1:] - y[:, :, :-1]
    return (y[..., :-1] - y[..., 1:])[:, :, : x.shape[2], : x.shape[3]] * -1


def high_passed(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, C] -> the same, filtered and cut at 0 and 255 around grey."""
    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    y = ((high_pass(x)[0] + 1) * 127.5).round().clamp(0, 255)
    return y.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _drawn(side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What one peak draws, in the script's order: u of its frequency, phases [3, R, R/2 + 1]."""
    u = torch.rand(1, generator=generator)
    return u, torch.rand(3, side, side // 2 + 1, generator=generator)


def _frequency(u: Tensor, of: Sequence[float]) -> Tensor:
    low, high = of
    return (u * (high - low) + low) * NYQUIST


def _gauss(r: Tensor, middle: float | Tensor, sigma: float) -> Tensor:
    return torch.exp(-((r - middle) ** 2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)


def _quadrant(side: int, frequency: Tensor, rows: Tensor) -> Tensor:
    """A ring of about a pixel's width, [len(rows), R/2 + 1]; its four quadrants sum to R²/3."""
    half, sigma = side // 2, 1 / (side // 2 + 1)
    columns = torch.linspace(0, 1, half + 1)
    r = torch.hypot(rows[:, None], columns[None])
    usual = torch.hypot(torch.linspace(0, 1, half)[:, None], columns[None])
    return _gauss(r, frequency, sigma) / (4 * _gauss(usual, 1 / NYQUIST, sigma).sum()) * side**2 / 3


def official_ring(side: int, frequency: Tensor) -> Tensor:
    """The script's amplitudes of rfft2, [R, R/2 + 1]: a quadrant and its mirror image."""
    quadrant = _quadrant(side, frequency, torch.linspace(0, 1, side // 2))
    return torch.cat([quadrant, quadrant.flipud()])


def official_peak(ring: Tensor, u: Tensor) -> Tensor:
    """The script's picture [3, R, R] of a ring and of phases u / 2 pi, [3, R, R/2 + 1]."""
    phase = (u * 2 * math.pi).clone()
    for row in (0, -1):  # meant: the four frequencies that are their own mirror images
        phase[:2, row] = 0
    tangent = torch.tan(phase)
    real = ring / (1 + tangent**2).sqrt()
    return torch.fft.irfft2(torch.complex(real, real * tangent), norm="ortho")


def _clean_peak(side: int, frequency: Tensor, u: Tensor) -> Tensor:
    """[3, R, R] with all phases, and an amplitude that is the same at u and at -u."""
    rows = torch.fft.fftfreq(side).abs() * 2  # 1 is the axis' highest frequency
    amplitude = _quadrant(side, frequency, rows)
    spectrum = torch.polar(amplitude.expand_as(u).contiguous(), u * 2 * math.pi)
    return torch.fft.irfft2(spectrum, s=(side, side), norm="ortho")


def _levels(x: Tensor, *, truncated: bool, crop: bool = True) -> np.ndarray:
    """The middle of [3, R, R] in [-1, 1] as uint8 [R/2, R/2, 3], rounded or cut off."""
    side = x.shape[1]
    if crop:
        first = round((side - side // 2) / 2)
        x = x[:, first : first + side // 2, first : first + side // 2]
    y = (x + 1) * 127.5
    y = (y if truncated else y.round()).clamp(0, 255)
    return y.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
