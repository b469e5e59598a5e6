"""Modulated convolution with the style on the activations (StyleGAN2; design.md section 5).

y = demod(s) · conv(W, x·s) equals a convolution with per-sample weights W·s exactly, shares W over
the batch and needs no grouped convolution. A style is a vector [N, I], or a map [N, I, h, w] with
one vector for every cell (papers.md S2.3).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.ops.convolve import conv2d

Conv = Callable[[Tensor, Tensor], Tensor]

EPS = 1e-8


# S2.3: d = rsqrt(Σ_c s²·Q + 1e-8) with Q[o,c] = Σ_k W². The style is taken where the output lies,
# not at each tap of the kernel, so the sum over taps meets W alone.
def demodulation(weight: Tensor, styles: Tensor, *, taps: bool = False) -> Tensor:
    """rsqrt(Σ (W·s)² + 1e-8) for W [O, I, k, k]: [N, O] of s [N, I], [N, O, h, w] of a map.

    taps: of a map, each tap takes the style of the cell that it reads, as the convolution does,
    and nothing beyond the border (a k x k convolution of s² with W²). Along the border, or within
    a kernel of where the style changes, it differs from the first reading.
    """
    if styles.ndim == 2:
        return torch.rsqrt(styles.square() @ weight.square().sum(dim=[2, 3]).t() + EPS)
    if taps:
        return torch.rsqrt(
            conv2d(styles.square(), weight.square(), padding=weight.shape[-1] // 2) + EPS
        )
    energy = weight.square().sum(dim=[2, 3], keepdim=True)  # [O, I, 1, 1]
    return torch.rsqrt(conv2d(styles.square(), energy) + EPS)


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    conv: Conv,
    *,
    demodulate: bool = True,
    gain: float = 1.0,
    bias: Tensor | None = None,
    taps: bool = False,
) -> Tensor:
    """Convolve x [N, I, H, W] with W [O, I, k, k] scaled by s; x's dtype is the arithmetic.

    s is [N, I] or a map [N, I, H, W] of x's size. `conv(x, weight)` is the plain convolution (with
    its resampling); where that enlarges, the map is stretched bilinearly before it demodulates.
    `gain` multiplies the result where it costs nothing; `bias` [O] is added after demodulation in
    the same pass. `taps` as in `demodulation`. In half precision weights and styles are divided by
    their largest entries first, which demodulation undoes (formats.md 2a).
    """
    if not demodulate:
        y = conv(x * _over_cells(styles.to(x.dtype)), weight.to(x.dtype))
        return y * gain if gain != 1.0 else y
    if x.dtype == torch.float16:
        weight = weight * (
            weight[0].numel() ** -0.5 / weight.abs().amax(dim=[1, 2, 3], keepdim=True)
        )
        styles = styles / styles.abs().amax(dim=tuple(range(1, styles.ndim)), keepdim=True)
    y = conv(x * _over_cells(styles.to(x.dtype)), weight.to(x.dtype))
    scale = demodulation(weight, _stretched(styles, y), taps=taps) * gain
    scale = _over_cells(scale.to(y.dtype))
    if bias is None:
        return y * scale
    return torch.addcmul(bias.to(y.dtype).view(1, -1, 1, 1), y, scale)


def _over_cells(styles: Tensor) -> Tensor:
    return styles[:, :, None, None] if styles.ndim == 2 else styles


# Bilinear weights sum to 1, so a constant map stays constant to the border.
def _stretched(styles: Tensor, y: Tensor) -> Tensor:
    if styles.ndim == 2 or styles.shape[2:] == y.shape[2:]:
        return styles
    return F.interpolate(styles, size=y.shape[2:], mode="bilinear", align_corners=False)
