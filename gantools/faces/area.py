"""Means over rectangles of pictures, exact and by the thousand: area interpolation (S0.2)."""

from __future__ import annotations

import torch
from torch import Tensor


def integral(pixels: Tensor) -> Tensor:
    """Sums of all pixels above and left of each corner: uint8 [N, H, W, 3] -> int32 [N,3,H+1,W+1].

    A mean over a rectangle is then four look-ups. 2^22 white pixels still fit an int32.
    """
    n, height, width, _ = pixels.shape
    sums = torch.zeros(n, 3, height + 1, width + 1, dtype=torch.int32, device=pixels.device)
    inner = pixels.permute(0, 3, 1, 2).cumsum(2, dtype=torch.int32)
    torch.cumsum(inner, 3, dtype=torch.int32, out=sums[:, :, 1:, 1:])
    return sums


def bins(start: Tensor, stop: Tensor, count: int) -> Tensor:
    """Edges of `count` bins over each start .. stop: [2, n, count], first and one past the last.

    Bin i of a length s is floor(i s / count) .. ceil((i + 1) s / count), torch's area
    interpolation: where count does not divide s, neighbours overlap.
    """
    i = torch.arange(count, device=start.device)
    length = (stop - start)[:, None]
    low = torch.div(i * length, count, rounding_mode="floor")
    high = -torch.div(-(i + 1) * length, count, rounding_mode="floor")
    return start[:, None] + torch.stack([low, high])


def level(sums: Tensor, size: tuple[int, int]) -> Tensor:
    """The whole pictures at `size` (h, w), as the networks' input [N, 3, h, w]."""
    height, width = sums.shape[2] - 1, sums.shape[3] - 1
    zero = torch.zeros(1, dtype=torch.long, device=sums.device)
    (top,), (bottom,) = bins(zero, zero + height, size[0])
    (left,), (right,) = bins(zero, zero + width, size[1])
    band = sums.index_select(2, bottom) - sums.index_select(2, top)
    total = band.index_select(3, right) - band.index_select(3, left)
    return _normalised(total, (bottom - top)[:, None] * (right - left))


def contents(sums: Tensor, owner: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Boxes' contents [n, 3, side, side] of the pictures `owner`, from bins [2, n, side]."""
    n = owner[:, None, None]
    top, bottom = rows[:, :, :, None]
    left, right = columns[:, :, None, :]
    corner = sums.permute(0, 2, 3, 1)  # [N, H+1, W+1, 3]
    total = (corner[n, bottom, right] - corner[n, top, right]) - (
        corner[n, bottom, left] - corner[n, top, left]
    )
    return _normalised(total.permute(0, 3, 1, 2), ((bottom - top) * (right - left))[:, None])


def _normalised(total: Tensor, count: Tensor) -> Tensor:
    """Sums over rectangles as the networks' input: (mean - 127.5) / 128."""
    return ((total.double() / count).float() - 127.5) * 0.0078125
