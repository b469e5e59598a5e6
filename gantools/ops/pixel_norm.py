"""Channels over their root mean square: PixelNorm (S1.5), and z of StyleGAN.

One function to autograd, which keeps its output and a number for each pixel, where written out it
keeps three tensors of x's size and walks through memory twice as often. Both outputs are known to
autograd, so that it can be differentiated as often as one likes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x · rsqrt(mean(x²) + eps) over the second dimension."""
    if not torch.is_grad_enabled():
        return x * _over(x, eps)
    y, _ = _PixelNorm.apply(x, eps)
    return y  # type: ignore[no-any-return]


def _over(x: Tensor, eps: float) -> Tensor:
    return x.square().mean(dim=1, keepdim=True).add_(eps).rsqrt_()


class _PixelNorm(Function):
    """y = x r with r = rsqrt(mean(x²) + eps); dr = -r² y/C · dx."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        r = _over(x, eps)
        y = x * r
        ctx.save_for_backward(y, r)
        return y, r

    @staticmethod
    def backward(ctx: Any, by_y: Tensor, by_r: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        y, r = ctx.saved_tensors
        along = r * (by_y * y).mean(dim=1, keepdim=True) + by_r * r.square() / y.shape[1]
        return torch.addcmul(by_y * r, y, along, value=-1), None
