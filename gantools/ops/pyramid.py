"""Laplacian pyramids with the 5x5 binomial filter of Burt and Adelson, borders mirrored (S1.18)."""

from __future__ import annotations

import torch
from torch import Tensor

from gantools.ops.bands import band, filtered, fits, product

TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def laplacian(images: Tensor, count: int) -> list[Tensor]:
    """`count` levels of images [N, C, H, W], finest first: what the next one, enlarged, leaves.

    The last is the low-pass, and their sum, each enlarged to the one before, is the picture. Odd
    sides are halved upwards. Every level that is halved needs 3 pixels a side.
    """
    levels = [images]
    for _ in range(count - 1):
        levels.append(halved(levels[-1]))
        levels[-2] = levels[-2] - enlarged(levels[-1], levels[-2])
    return levels


def blurred(x: Tensor) -> Tensor:
    """x [N, C, H, W] by 1, 4, 6, 4, 1 over 16 along both axes."""
    return filtered(x, TAPS, "reflect")


def halved(x: Tensor) -> Tensor:
    """Every other row and column of x blurred."""
    if fits(x):
        return product(x, _matrix(x, 2)[::2], _matrix(x, 3)[::2])
    return blurred(x)[:, :, ::2, ::2]


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """x at twice its size, which is that of `like`, by zeros between and the same filter."""
    if fits(like):
        return product(4 * x, _matrix(like, 2)[:, ::2], _matrix(like, 3)[:, ::2])
    spread = torch.zeros_like(like)
    spread[:, :, ::2, ::2] = 4 * x
    return blurred(spread)


def _matrix(x: Tensor, axis: int) -> Tensor:
    return band(TAPS, x.shape[axis], "reflect", x)
