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
    return normalised(total.double() / ((bottom - top)[:, None] * (right - left)))


def contents(sums: Tensor, owner: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Boxes' contents [n, 3, side, side] of the pictures `owner`, from bins [2, n, side]."""
    n = owner[:, None, None]
    top, bottom = rows[:, :, :, None]
    left, right = columns[:, :, None, :]
    total = (_at(sums, n, bottom, right) - _at(sums, n, top, right)) - (
        _at(sums, n, bottom, left) - _at(sums, n, top, left)
    )
    count = ((bottom - top) * (right - left))[:, None]
    return normalised(total.permute(0, 3, 1, 2).double() / count)


def fractional_level(sums: Tensor, size: tuple[int, int]) -> Tensor:
    """As `level`, with bins that share px at their edges, and means rounded to grey levels.

    This is OpenCV's area interpolation of 8-bit pictures.
    """
    total = sums
    for dim, count in zip((2, 3), size, strict=True):
        length = sums.shape[dim] - 1
        at = torch.arange(count + 1, dtype=torch.float64, device=sums.device) * (length / count)
        low, share = _split(at, length)
        view = [1, 1, 1, 1]
        view[dim] = count + 1
        share = share.view(view)
        below, above = total.index_select(dim, low), total.index_select(dim, low + 1)
        total = (below * (1 - share) + above * share).diff(dim=dim) * (count / length)
    return normalised(total.round())


def fractional_contents(
    sums: Tensor, owner: Tensor, low: Tensor, high: Tensor, side: int
) -> Tensor:
    """Contents [n, 3, side, side] of the boxes `low` .. `high` [n, 2] (x, y), black outside.

    Exact means over bins that share px: OpenCV's area interpolation, also where it enlarges.
    """
    steps = torch.arange(side + 1, dtype=torch.float64, device=sums.device) / side
    at = low[:, None] + (high - low)[:, None] * steps[:, None]  # [n, side + 1, 2]
    left, x = _split(at[..., 0], sums.shape[3] - 1)
    top, y = _split(at[..., 1], sums.shape[2] - 1)
    n, top, left = owner[:, None, None], top[:, :, None], left[:, None, :]
    x, y = x[:, None, :, None], y[:, :, None, None]
    upper = _at(sums, n, top, left) * (1 - x) + _at(sums, n, top, left + 1) * x
    lower = _at(sums, n, top + 1, left) * (1 - x) + _at(sums, n, top + 1, left + 1) * x
    total = (upper * (1 - y) + lower * y).diff(dim=1).diff(dim=2)
    count = (high - low).prod(1).double()[:, None, None, None] / side**2
    return normalised((total / count).permute(0, 3, 1, 2))


def _at(sums: Tensor, owner: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Sums [n, h, w, 3] at corners; fast where `sums` has its channels last in memory."""
    height, width = sums.shape[2:]
    at = (owner * height + row) * width + column
    flat = sums.permute(0, 2, 3, 1).reshape(-1, 3)
    return flat.index_select(0, at.flatten()).view(*at.shape, 3)


def _split(at: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Edges as the px before them and the share of the next one; beyond the picture is nothing."""
    inside = at.clamp(0, length)
    low = inside.floor().clamp(max=length - 1)
    return low.long(), inside - low


def normalised(means: Tensor) -> Tensor:
    """Grey levels as the networks' input: (mean - 127.5) / 128."""
    return (means.float() - 127.5) * 0.0078125
