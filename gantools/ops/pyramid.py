"""Laplacian pyramids with the 5x5 binomial filter of Burt and Adelson, borders mirrored (S1.18)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def laplacian(images: Tensor, count: int) -> list[Tensor]:
    """`count` levels of images [N, C, H, W], finest first: what the next one, enlarged, leaves.

    The last is the low-pass, and their sum, each enlarged to the one before, is the picture. Odd
    sides are halved upwards. Every level that is halved needs 3 pixels a side.
    """
    levels = [images]
    for _ in range(count - 1):
        levels.append(blurred(levels[-1])[:, :, ::2, ::2])
        levels[-2] = levels[-2] - enlarged(levels[-1], levels[-2])
    return levels


def blurred(x: Tensor, gain: float = 1) -> Tensor:
    """x [N, C, H, W] by 1, 4, 6, 4, 1 along both axes, times the gain."""
    channels = x.shape[1]
    row = torch.tensor([1.0, 4, 6, 4, 1], device=x.device, dtype=x.dtype) * gain**0.5 / 16
    kernel = row.expand(channels, 1, 1, 5)
    x = functional.pad(x, (2, 2, 2, 2), mode="reflect")
    x = functional.conv2d(x, kernel, groups=channels)
    return functional.conv2d(x, kernel.transpose(2, 3), groups=channels)


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """x at twice its size, which is that of `like`, by zeros between and the same filter."""
    spread = torch.zeros_like(like)
    spread[:, :, ::2, ::2] = x
    return blurred(spread, 4)
