"""PSNR, SSIM, MSE and cosine of pictures, in the papers' variants (S3.6, S4.4, S4.19).

Pictures are [N, C, H, W]; every function gives one number per picture, [N].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Rounding = Literal["round", "truncate"]


def levels(x: Tensor, rounding: Rounding = "round") -> Tensor:
    """Grey levels 0..255 (a float tensor of whole numbers) of pictures in [-1, 1].

    round: clip(round((x + 1) · 127.5)), our writer's. truncate: ⌊clamp(x/2 + ½, 0, 1) · 255⌋,
    S3.6.
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

    def mean(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, window, stride=1)

    unbiased = window**2 / (window**2 - 1)
    return _ssim(a.double(), b.double(), mean, peak, unbiased).flatten(1).mean(1)


def ssim_gaussian(a: Tensor, b: Tensor, peak: float = 1.0) -> Tensor:
    """SSIM with an 11x11 Gaussian window, σ 1.5, and a zero border of 5, as a loss uses it (S4.4).

    Differentiable, in the pictures' own dtype. DSE applies it to [-1, 1] with the constants of a
    range of 1: that is the default.
    """
    offset = torch.arange(-5, 6, device=a.device, dtype=a.dtype)
    g = torch.exp(-offset.square() / (2 * 1.5**2))
    g = (g / g.sum()).expand(a.shape[1], 1, 11)

    def mean(x: Tensor) -> Tensor:  # the window is a product: rows, then columns
        x = functional.conv2d(x, g[:, :, None, :], padding=(0, 5), groups=x.shape[1])
        return functional.conv2d(x, g[:, :, :, None], padding=(5, 0), groups=x.shape[1])

    return _ssim(a, b, mean, peak, 1.0).flatten(1).mean(1)


# Wang et al. 2004, equation 13, with K = (0.01, 0.03).
def _ssim(
    a: Tensor, b: Tensor, mean: Callable[[Tensor], Tensor], peak: float, unbiased: float
) -> Tensor:
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    ma, mb = mean(a), mean(b)
    va, vb = unbiased * (mean(a * a) - ma * ma), unbiased * (mean(b * b) - mb * mb)
    cov = unbiased * (mean(a * b) - ma * mb)
    return (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
