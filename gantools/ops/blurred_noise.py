"""Blurred normal noise: N(0, 1) maps whose channels are smoother and smoother (papers.md S2.21)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def radius(sigma_max: float) -> int:
    """k, the kernel's half width in cells: 3 sigma, rounded up. ValueError below 0."""
    if not (math.isfinite(sigma_max) and sigma_max >= 0):
        raise ValueError(f"sigma_max {sigma_max}: a number from 0 on is expected")
    return math.ceil(3 * sigma_max)


def gaussians(channels: int, sigma_max: float) -> Tensor:
    """One-dimensional Gaussians [C, 2k+1] of sum 1, float64; the kernel K is their outer square.

    Channel n has sigma n/(C-1) sigma_max, in cells; the first is the delta kernel.
    """
    k = radius(sigma_max)
    x = torch.arange(-k, k + 1, dtype=torch.float64)
    sigma = torch.linspace(0, sigma_max, channels, dtype=torch.float64)[:, None]
    bells = torch.exp(-(x**2) / (2 * sigma.clamp(min=1e-3) ** 2))  # at 0 cells: the delta
    return bells / bells.sum(1, keepdim=True)


def blur_channels(noise: Tensor, sigma_max: float, *, as_printed: bool = False) -> Tensor:
    """White noise [N, C, H+2k, W+2k] -> [N, C, H, W] of unit variance: K * x / sqrt(ΣK²).

    Nothing is padded, so that a map's border is like its middle, and a map that is cut from a
    larger one is that one's part. as_printed: times sqrt(ΣK²), as Algorithm 5 of the paper has
    it against its own Theorem 2; the standard deviation is ΣK² then, 0.005 at sigma 4.
    """
    kernels = gaussians(noise.shape[1], sigma_max)
    root = kernels.square().sum(1)  # sqrt(ΣK²), K being separable
    scale = root if as_printed else 1 / root
    rows = kernels[:, None, None, :]
    columns = (kernels * scale[:, None])[:, None, :, None]
    for weight in (rows, columns):
        noise = functional.conv2d(noise, weight.to(noise), groups=noise.shape[1])
    return noise


def blurred_noise(
    shape: tuple[int, int, int, int], sigma_max: float, generator: torch.Generator
) -> Tensor:
    """[N, C, H, W] of blurred normal noise, drawn and made on the generator's device.

    sigma_max is in cells, whatever the map's size: a larger map is not a smoother one.
    """
    count, channels, height, width = shape
    k = radius(sigma_max)
    drawn = torch.randn(
        (count, channels, height + 2 * k, width + 2 * k),
        generator=generator,
        device=generator.device,
    )
    return blur_channels(drawn, sigma_max)
