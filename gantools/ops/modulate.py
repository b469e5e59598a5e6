"""Modulated convolution with the style on the activations (StyleGAN2; design.md section 5).

y = demod(s) · conv(W, x·s) equals a convolution with per-sample weights W·s exactly, shares W over
the batch and needs no grouped convolution.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Conv = Callable[[Tensor, Tensor], Tensor]


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """rsqrt(Σ (W·s)² + 1e-8) for W [O, I, k, k] and s [N, I] -> [N, O]."""
    energy = weight.square().sum(dim=[2, 3])  # [O, I]
    return torch.rsqrt(styles.square() @ energy.t() + 1e-8)


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    conv: Conv,
    *,
    demodulate: bool = True,
    gain: float = 1.0,
    bias: Tensor | None = None,
) -> Tensor:
    """Convolve x [N, I, H, W] with W [O, I, k, k] scaled by s [N, I]; x's dtype is the arithmetic.

    `conv(x, weight)` is the plain convolution (with its resampling). `gain` multiplies the result
    where it costs nothing; `bias` [O] is added after demodulation in the same pass. In half
    precision weights and styles are divided by their largest entries first, which demodulation
    undoes (formats.md 2a).
    """
    if not demodulate:
        y = conv(x * styles.to(x.dtype)[:, :, None, None], weight.to(x.dtype))
        return y * gain if gain != 1.0 else y
    if x.dtype == torch.float16:
        weight = weight * (
            weight[0].numel() ** -0.5 / weight.abs().amax(dim=[1, 2, 3], keepdim=True)
        )
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    scale = demodulation(weight, styles) * gain
    y = conv(x * styles.to(x.dtype)[:, :, None, None], weight.to(x.dtype))
    scale = scale.to(y.dtype)[:, :, None, None]
    if bias is None:
        return y * scale
    return torch.addcmul(bias.to(y.dtype).view(1, -1, 1, 1), y, scale)
