"""What the growing networks share (Karras et al. 2018; papers.md S1.1-S1.8): PGGAN, StyleGAN1.

lod is the level of detail: 0 is full resolution, 1 half of it, and 1.25 a quarter of the way from
1 to 2. A network at lod makes and takes pictures of `resolution >> floor(lod)` pixels; NVIDIA's own
enlarge them to full size, which nearest_up does to them afterwards.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.layers import SQRT2
from gantools.ops.convolve import conv2d
from gantools.ops.pixel_norm import pixel_norm
from gantools.ops.resample import Upsampling, box_down, conv_box_down, nearest_up, up, up_conv


def steps_down(lod: float, count: int) -> tuple[int, float]:
    """(floor, fraction) of lod for a network of `count` resolutions; ValueError outside of them."""
    if not 0 <= lod <= count - 1:
        raise ValueError(f"lod {lod:g}: this network has levels of detail from 0 to {count - 1}")
    return int(lod), lod - int(lod)


def fade(fine: Tensor, coarse: Tensor, share: float) -> Tensor:
    """fine, and `share` of it replaced by coarse (S1.7)."""
    return fine.lerp(coarse, share) if share else fine


def crossfade(images: Tensor, lod: float) -> Tensor:
    """Real pictures as the generator makes them at lod: faded towards their own halves (S1.8).

    images [N, C, H, W] of the resolution of lod; only its fraction matters.
    """
    share = lod % 1
    return fade(images, nearest_up(box_down(images)), share) if share else images


def shrunk(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Box averages [N, C, *size] of pictures that are as large, or a power of two larger."""
    height, width = images.shape[2:]
    times = height // size[0]
    if times & (times - 1) or (height, width) != (size[0] * times, size[1] * times):
        wanted = f"{size[0]}x{size[1]}"
        raise ValueError(f"pictures of {height}x{width} pixels where {wanted} are wanted")
    return images if times == 1 else F.avg_pool2d(images, times)


def feature_norm(x: Tensor) -> Tensor:
    """PixelNorm of features of any dtype (S1.5); of 16 bits' the eps is larger."""
    return pixel_norm(x) if x.dtype.itemsize > 2 else pixel_norm(x.float(), eps=1e-4).to(x.dtype)


def dtype_at(size: int, top: int, dtype: torch.dtype | None, full: torch.dtype) -> torch.dtype:
    """The arithmetic at `size` of `top` pixels: `dtype` in the four upper resolutions."""
    return dtype if dtype is not None and size >= max(top // 8, 8) else full


class Weight(nn.Module):
    """A weight [O, I, …] of equalised learning rate (S1.4): N(0, 1), scaled by gain/√fan_in in use.

    equalized False: drawn at that scale and used as it is (the baselines of S1.14).
    """

    def __init__(self, *shape: int, gain: float = SQRT2, equalized: bool = True) -> None:
        super().__init__()
        scale = gain / math.sqrt(math.prod(shape[1:]))
        self.weight = nn.Parameter(torch.randn(shape).mul_(1 if equalized else scale))
        self.scale = scale if equalized else 1.0

    def scaled(self, dtype: torch.dtype) -> Tensor:
        """The weight as it is used."""
        return (self.weight * self.scale).to(dtype)


class Conv(Weight):
    """Convolution with He's gain in the weights: x [N, I, H, W] -> [N, O, H, W], 2H or H/2.

    Nothing is multiplied after the activation, unlike in StyleGAN2. scale: how it enlarges before
    (S3.9), or "down": it averages 2x2 after ("fused scale", the same to rounding). padding: what
    stands around the picture.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        bias: bool = True,
        gain: float = SQRT2,
        equalized: bool = True,
        scale: Upsampling | Literal["", "down"] = "",
        padding: Literal["zeros", "reflect"] = "zeros",
    ) -> None:
        super().__init__(out_channels, in_channels, kernel, kernel, gain=gain, equalized=equalized)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.resized, self.mirrored = scale, padding == "reflect"

    def forward(self, x: Tensor) -> Tensor:
        weight = self.scaled(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        pad = weight.shape[-1] // 2
        if self.mirrored and pad:
            x = up(x, self.resized) if self.resized and self.resized != "down" else x
            return conv2d(F.pad(x, (pad,) * 4, mode="reflect"), weight, bias)
        if not self.resized:
            return conv2d(x, weight, bias, padding=pad)
        y = conv_box_down(x, weight) if self.resized == "down" else up_conv(x, weight, self.resized)
        return y if bias is None else y + bias[:, None, None]


class Dense(Weight):
    """Fully connected, x [N, I] -> [N, O]: linear in x (S1.4)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        gain: float = SQRT2,
        equalized: bool = True,
    ) -> None:
        super().__init__(out_features, in_features, gain=gain, equalized=equalized)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.scaled(x.dtype), bias)
