"""The reduced spectrum: power averaged around the origin of the frequencies (S3.2).

Eqs 2-3 of paper 003: F = DFT(x), not normalised; S(r) is the mean of |F|² over the ring
r <= rho < r + 1. rho is the distance from the origin with the row and the column of the highest
frequency of an even side standing at both ends of the axis, as in the paper's code. In a picture
that is not square rho counts cycles per pixel, times the shorter side N: rings are circles in
frequency, bins are as many and mean the same as those of N x N pixels, and none is empty.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

LARGE = 1 << 22  # pixels


def bins(height: int, width: int) -> int:
    """How many bins a picture's spectrum has, DC included: 46 for 64x64."""
    return int(_rings(height, width)[0].max()) + 1


def frequencies(height: int, width: int) -> np.ndarray:
    """Where each bin begins, as a share of the highest frequency: f / f_nyq, [bins], float64.

    f_nyq is that of the corner, N/sqrt(2) of ring numbers; an axis ends at 1/sqrt(2).
    """
    return np.arange(bins(height, width)) * math.sqrt(2) / min(height, width)


def counts(height: int, width: int) -> np.ndarray:
    """How many frequencies each bin holds, [bins]: 1, 8, 16, 20, 24, 40, …"""
    ring, weight = _rings(height, width)
    return np.bincount(ring.ravel(), weight.ravel())


def reduced(images: Tensor) -> Tensor:
    """S of every picture, mean of its channels: [N, C, H, W] -> [N, bins] (Eq 3).

    Differentiable any number of times. Half precision is computed in float32. An impulse of height
    a has S = a² in all bins; shifts, flips, turns by 90° and the sign change nothing.
    """
    return _sums(images, duplicated=True) / images.shape[1]


def energy(images: Tensor) -> Tensor:
    """Where the mean square of every picture is: [N, C, H, W] -> [N, bins], whose sum it is.

    Parseval (Eqs 6-9): of a difference of pictures, the part of its MSE that each frequency has.
    """
    _, channels, height, width = images.shape
    return _sums(images, duplicated=False) / (channels * (height * width) ** 2)


def ring_means(half: Tensor, width: int, *, whole: bool) -> Tensor:
    """Means over the rings of numbers on the half-plane of rfft2: [N, H, W // 2 + 1] -> [N, bins].

    whole: each counts as often as the whole plane of `width` columns has it; else once.
    """
    ring, weight = _mean_on_device(half.shape[1], width, whole, half.device, half.dtype)
    found = half.new_zeros(len(half), bins(half.shape[1], width))
    return found.index_add(1, ring, half.flatten(1) * weight)


@lru_cache(64)
def _mean_on_device(
    height: int, width: int, whole: bool, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(bin, weight) of each number of the half-plane; weights of a ring sum to 1."""
    ring, weight = _rings(height, width)[0].ravel(), np.ones(height * (width // 2 + 1))
    if whole:
        weight = _multiplicities(height, width, duplicated=False).ravel()
    weight = weight / np.bincount(ring, weight)[ring]
    with torch.inference_mode(False):
        return torch.from_numpy(ring).to(device), torch.from_numpy(weight).to(device, dtype)


def _sums(images: Tensor, *, duplicated: bool) -> Tensor:
    """Sums over channels and rings; means over rings where `duplicated`.

    A CPU's caches hold a quarter of a megapixel: there a few pictures at a time are 3x as fast.
    Of a large picture one channel is in memory at a time.
    """
    pixels = images.shape[2] * images.shape[3]
    few = max(1, (1 << 18) // pixels)
    if images.device.type == "cpu" and len(images) > few:
        return torch.cat([_sums(part, duplicated=duplicated) for part in images.split(few)])
    if pixels > LARGE:
        parts = [_sums_of_few(channel, duplicated) for channel in images.split(1, dim=1)]
        return torch.stack(parts).sum(0)
    return _sums_of_few(images, duplicated)


def _sums_of_few(images: Tensor, duplicated: bool) -> Tensor:
    x = images if images.dtype in (torch.float32, torch.float64) else images.float()
    ring, weight = _on_device(*x.shape[2:], duplicated, x.device, x.dtype)
    # Real and imaginary part stay side by side, each with its own entry in `ring`.
    power = torch.view_as_real(torch.fft.rfft2(x)).square().sum(1).flatten(1)
    found = x.new_zeros(len(x), bins(*x.shape[2:]))
    return found.index_add(1, ring, power * weight)


@lru_cache(64)
def _on_device(
    height: int, width: int, duplicated: bool, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(bin, weight) of each number of the half-plane of rfft2, [H * (W // 2 + 1) * 2]."""
    ring, weight = _rings(height, width)
    if duplicated:
        weight = weight / np.bincount(ring.ravel(), weight.ravel())[ring]
    else:
        weight = _multiplicities(height, width, duplicated=False)
    both = [np.repeat(x.ravel(), 2) for x in (ring, weight)]
    with torch.inference_mode(False):  # they outlive the call, and gradients may need them
        return (
            torch.from_numpy(both[0]).to(device),
            torch.from_numpy(both[1]).to(device, dtype),
        )


@lru_cache(64)
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(bin, how often it counts) of the half-plane of rfft2, each [H, W // 2 + 1]."""
    short, long = sorted((height, width))
    common = math.gcd(short, long)
    p, q = short // common, long // common  # rho² = a² + b² p²/q² = ((a q)² + (b p)²) / q²
    scale_v, scale_u = (p, q) if height <= width else (q, p)
    u = np.minimum(np.arange(height), height - np.arange(height))[:, None]
    v = np.arange(width // 2 + 1)[None]
    square = ((u * scale_u) ** 2 + (v * scale_v) ** 2) // q**2  # floor(sqrt(x)) needs no fraction
    root = np.sqrt(square).astype(np.int64)
    root -= root * root > square
    root += (root + 1) ** 2 <= square
    return root, _multiplicities(height, width, duplicated=True)


def _multiplicities(height: int, width: int, *, duplicated: bool) -> np.ndarray:
    """How often each number of the half-plane is in the whole plane, [H, W // 2 + 1]."""
    rows, columns = np.ones(height), np.full(width // 2 + 1, 2.0)
    columns[0] = 1
    if duplicated and height % 2 == 0:
        rows[height // 2] = 2
    if not duplicated and width % 2 == 0:
        columns[-1] = 1
    return rows[:, None] * columns[None]
