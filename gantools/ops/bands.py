"""Separable filters of small pictures as products with banded matrices.

On a CPU that is several times as fast as convolutions by channels, gradients too: each of those
costs more to set up than a picture of 64 pixels to compute.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Border = Literal["zeros", "reflect"]
LARGEST = 256  # pixels a side up to which a matrix is the faster one


def fits(x: Tensor) -> bool:
    """Whether pictures [N, C, H, W] are small enough for matrices."""
    return max(x.shape[2:]) <= LARGEST


def band(taps: tuple[float, ...], length: int, border: Border, like: Tensor) -> Tensor:
    """[length, length]: the filter of an odd number of taps along an axis, as a matrix.

    zeros: nothing beyond the border; reflect: the picture mirrored there, without its last pixel,
    of at least (taps + 1) / 2 pixels. Of the device and the type of `like`; not to be changed.
    """
    return _band(taps, length, border, like.device, like.dtype)


@lru_cache(64)
def _band(
    taps: tuple[float, ...], length: int, border: Border, device: torch.device, dtype: torch.dtype
) -> Tensor:
    reach = len(taps) // 2
    wide = np.zeros((length, length + 2 * reach))
    for shift, tap in enumerate(taps):
        wide[np.arange(length), np.arange(length) + shift] = tap
    matrix = wide[:, reach : reach + length].copy()
    if border == "reflect":
        for beyond in range(1, reach + 1):
            matrix[:, beyond] += wide[:, reach - beyond]
            matrix[:, -1 - beyond] += wide[:, reach + length - 1 + beyond]
    with torch.inference_mode(False):  # it is kept, and may meet gradients next
        return torch.from_numpy(matrix).to(device, dtype)


def filtered(x: Tensor, taps: tuple[float, ...], border: Border) -> Tensor:
    """x [N, C, H, W] by the taps along both axes, as `band` has the border; of any size."""
    if fits(x):
        return product(x, *(band(taps, n, border, x) for n in x.shape[2:]))
    kernel = x.new_tensor(taps).expand(x.shape[1], 1, 1, len(taps))
    mode = "constant" if border == "zeros" else border
    x = functional.pad(x, [len(taps) // 2] * 4, mode=mode)
    x = functional.conv2d(x, kernel, groups=x.shape[1])
    return functional.conv2d(x, kernel.transpose(2, 3), groups=x.shape[1])


def product(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows [H', H] · x [N, C, H, W] · columns [W', W]ᵀ: [N, C, H', W']."""
    return rows @ (x @ columns.T)
