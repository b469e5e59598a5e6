"""PSNR, SSIM, MS-SSIM, MSE and cosine, in the papers' variants (S1.19, S3.6, S4.4, S4.19).

Pictures are [N, C, H, W]; every function gives one number per picture, [N].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gantools.ops.bands import filtered

Rounding = Literal["round", "truncate"]


def _gaussian(size: int, sigma: float) -> tuple[float, ...]:
    offset = np.arange(size) - (size - 1) / 2
    g = np.exp(-(offset**2) / (2 * sigma**2))
    return tuple((g / g.sum()).tolist())


GAUSSIAN = _gaussian(11, 1.5)  # SSIM's window along an axis
LEVEL_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of MS-SSIM, from the finest on


def levels(x: Tensor, rounding: Rounding = "round") -> Tensor:
    """Grey levels 0..255 (a float tensor of whole numbers) of pictures in [-1, 1].

    round: clip(round((x + 1) · 127.5)), our writer's. truncate: ⌊clamp(x/2 + ½, 0, 1) · 255⌋,
    S3.6, in float32 as published: a level that came from 8 bits may end up one below.
    """
    if rounding == "truncate":
        return ((x / 2 + 0.5).clamp(0, 1) * 255).floor()
    return ((x + 1) * 127.5).round().clamp(0, 255)


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference per picture, in float64; in grey levels squared for 0..255."""
    return (a.double() - b.double()).square().flatten(1).mean(1)


def psnr(a: Tensor, b: Tensor, peak: float = 255.0) -> Tensor:
    """10 log10(peak² / MSE) in dB; infinite for equal pictures (S3.6)."""
    return 10 * torch.log10(peak**2 / mse(a, b))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine between the flattened pictures, which should be in [-1, 1] (S4.19)."""
    return functional.cosine_similarity(a.double().flatten(1), b.double().flatten(1), dim=1)


def ssim(a: Tensor, b: Tensor, window: int = 7, peak: float = 255.0) -> Tensor:
    """SSIM with a uniform window and the sample covariance, scikit-image's defaults (S4.19).

    Mean over the windows that lie inside and over the channels; computed in float64. ValueError
    where the picture is smaller than the window.
    """
    if min(a.shape[2:]) < window:
        raise ValueError(f"a picture of {a.shape[3]}x{a.shape[2]} pixels is below the window")

    unbiased = window**2 / (window**2 - 1)
    mean = _inside([1 / window] * window)
    return _ssim(a.double(), b.double(), mean, peak, unbiased).flatten(1).mean(1)


def ssim_gaussian(a: Tensor, b: Tensor, peak: float = 1.0) -> Tensor:
    """SSIM with an 11x11 Gaussian window, σ 1.5, and a zero border of 5, as a loss uses it (S4.4).

    Differentiable, in the pictures' own dtype. DSE applies it to [-1, 1] with the constants of a
    range of 1: that is the default.
    """

    def mean(x: Tensor) -> Tensor:
        return filtered(x, GAUSSIAN, "zeros")

    return _ssim(a, b, mean, peak, 1.0).flatten(1).mean(1)


def ms_ssim(a: Tensor, b: Tensor, peak: float = 255.0) -> Tensor:
    """Multi-scale SSIM of grey levels, as PGGAN measures variety (S1.19); float64.

    The product of cs^weight over the first four levels and ssim^weight of the fifth, each a mean
    over the windows that lie inside and over the channels, those below 0 taken as 0.
    """
    a, b = a.double(), b.double()
    found: list[Tensor] = []
    for level, weight in enumerate(LEVEL_WEIGHTS):
        light, structure = _terms(a, b, _gaussian_inside(a), peak, 1.0)
        last = level == len(LEVEL_WEIGHTS) - 1
        kept = light * structure if last else structure
        found.append(kept.flatten(1).mean(1).clamp(min=0) ** weight)
        a, b = _halved(a), _halved(b)
    return torch.stack(found).prod(0)


# Means over an 11x11 Gaussian, σ 1.5, both shrunk together where the picture is smaller.
def _gaussian_inside(x: Tensor) -> Callable[[Tensor], Tensor]:
    size = min(11, *x.shape[2:])
    return _inside(_gaussian(size, 1.5 * size / 11))


# Weighted means over the square windows that lie inside. Sums of shifted pictures: in float64 far
# faster on a CPU than a convolution by channels.
def _inside(weights: Sequence[float]) -> Callable[[Tensor], Tensor]:
    def mean(x: Tensor) -> Tensor:
        for dim in (3, 2):
            inside = x.shape[dim] - len(weights) + 1
            total = x.narrow(dim, 0, inside) * weights[0]
            for shift, weight in enumerate(weights[1:], 1):
                total.add_(x.narrow(dim, shift, inside), alpha=weight)
            x = total
        return x

    return mean


# 2x2 means; a last row or column of an odd size stands for itself.
def _halved(x: Tensor) -> Tensor:
    height, width = x.shape[2:]
    return functional.avg_pool2d(functional.pad(x, (0, width % 2, 0, height % 2), "replicate"), 2)


def _ssim(
    a: Tensor, b: Tensor, mean: Callable[[Tensor], Tensor], peak: float, unbiased: float
) -> Tensor:
    light, structure = _terms(a, b, mean, peak, unbiased)
    return light * structure


# Wang et al. 2004, equation 13, with K = (0.01, 0.03): what means say, and what variances do.
def _terms(
    a: Tensor, b: Tensor, mean: Callable[[Tensor], Tensor], peak: float, unbiased: float
) -> tuple[Tensor, Tensor]:
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    ma, mb = mean(a), mean(b)
    va, vb = unbiased * (mean(a * a) - ma * ma), unbiased * (mean(b * b) - mb * mb)
    cov = unbiased * (mean(a * b) - ma * mb)
    return (2 * ma * mb + c1) / (ma * ma + mb * mb + c1), (2 * cov + c2) / (va + vb + c2)
