"""The Haar wavelet transform of one level and its inverse (S3.19)."""

from __future__ import annotations

import torch
from torch import Tensor

from gantools.ops.resample import downsample, upsample


def dwt(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, 4C, H/2, W/2], orthonormal: blocks of C channels LL, Dy, Dx, Dxy.

    Of a cell [[a, b], [c, d]]: (a + b + c + d)/2, (c + d - a - b)/2, (b + d - a - c)/2 and
    (a + d - b - c)/2. SWAGAN's own sums are twice as large.
    """
    top, bottom = x[:, :, ::2], x[:, :, 1::2]
    low, high = _pair(top + bottom), _pair(bottom - top)
    bands = [low[0] + low[1], high[0] + high[1], low[1] - low[0], high[1] - high[0]]
    return torch.cat(bands, dim=1) / 2


def iwt(y: Tensor) -> Tensor:
    """The inverse of `dwt`: [N, 4C, H, W] -> [N, C, 2H, 2W]."""
    mean, dy, dx, dxy = y.chunk(4, dim=1)
    a, b = mean - dy - dx + dxy, mean - dy + dx - dxy
    c, d = mean + dy - dx - dxy, mean + dy + dx + dxy
    rows = [torch.stack(pair, dim=4).flatten(3) for pair in ((a, b), (c, d))]
    return torch.stack(rows, dim=3).flatten(2, 3) / 2


def bands_up(y: Tensor, kernel: Tensor) -> Tensor:
    """The coefficients of the picture at twice the size, by FIR: [N, 4C, H, W] -> [N, 4C, 2H, 2W].

    SWAGAN's way from one resolution's coefficients to the next.
    """
    return dwt(upsample(iwt(y), kernel))


def bands_down(y: Tensor, kernel: Tensor) -> Tensor:
    """The coefficients of the picture at half the size: [N, 4C, H, W] -> [N, 4C, H/2, W/2]."""
    return dwt(downsample(iwt(y), kernel))


def _pair(x: Tensor) -> tuple[Tensor, Tensor]:
    """Even and odd columns."""
    return x[..., ::2], x[..., 1::2]
