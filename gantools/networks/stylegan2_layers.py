"""The layers of StyleGAN2: modulated convolutions, ToRGB, the skip of resnet (S2.0, S2.3)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.layers import SQRT2, Dense
from gantools.networks.stylegan2_config import GeneratorConfig
from gantools.ops.convolve import conv2d
from gantools.ops.modulate import modulated_conv
from gantools.ops.resample import conv_up
from gantools.ops.styled import rendering, styled_conv, styled_rgb


def over_channels(dense: Dense, w: Tensor) -> Tensor:
    """A layer on w [N, I] -> [N, O]; on a map [N, I, h, w] the same in every cell (S2.3)."""
    return dense(w) if w.ndim == 2 else dense(w.movedim(1, -1)).movedim(-1, 1)  # type: ignore[no-any-return]


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU: [N, I, H, W] -> [N, O, H, W], or 2H."""

    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        cfg: GeneratorConfig,
        size: tuple[int, int],
        *,
        up: bool,
    ) -> None:
        super().__init__()
        self.affine = Dense(cfg.w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise_const", torch.randn(size))
        self.up = up
        self.clamp = cfg.conv_clamp

    def forward(
        self,
        x: Tensor,
        w: Tensor,
        noise: Tensor | None,
        kernel: Tensor,
        gain: float = 1.0,
        *,
        taps: bool = False,
    ) -> Tensor:
        """w [N, w_dim], or a map [N, w_dim, h, w] of x's size, whose `taps` is as in ops.modulate.

        noise [1 or N, 1, H, W] at the output's size, or None.
        """
        if noise is not None:
            noise = noise * self.noise_strength
        limit = None if self.clamp is None else self.clamp * gain
        gain = SQRT2 * gain
        styles = over_channels(self.affine, w)
        if rendering(x) and styles.ndim == 2:
            up = kernel if self.up else None
            return styled_conv(
                x, self.weight, styles, self.bias,
                noise=noise, up_filter=up, gain=gain, clamp=limit,
            )  # fmt: skip
        # √2·gain·lrelu(a) = lrelu(√2·gain·a): the gain is folded into demodulation, noise and bias.
        y = modulated_conv(
            x, self.weight, styles, self._conv(kernel),
            gain=gain, bias=self.bias * gain, taps=taps,
        )  # fmt: skip
        if noise is not None:
            y.add_((noise * gain).to(y.dtype))
        F.leaky_relu_(y, 0.2)
        return y if limit is None else y.clamp(-limit, limit)

    def _conv(self, kernel: Tensor) -> Any:
        if self.up:
            return lambda x, weight: conv_up(x, weight, kernel)
        return lambda x, weight: conv2d(x, weight, padding=1)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution without demodulation: x [N, C, H, W] -> [N, 3, H, W]."""

    def __init__(self, in_channels: int, cfg: GeneratorConfig) -> None:
        super().__init__()
        self.affine = Dense(cfg.w_dim, in_channels, bias_init=1)
        channels = cfg.img_channels * (4 if cfg.wavelet else 1)
        self.weight = nn.Parameter(torch.randn(channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.clamp = cfg.conv_clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """w [N, w_dim], or a map [N, w_dim, H, W]."""
        styles = over_channels(self.affine, w) / math.sqrt(self.weight.shape[1])
        if rendering(x) and len(x) == 1 and styles.ndim == 2:
            return styled_rgb(x, self.weight, styles, self.bias, clamp=self.clamp)
        bias = self.bias.to(x.dtype)
        y = modulated_conv(
            x, self.weight, styles, lambda x, w: conv2d(x, w, bias), demodulate=False
        )
        if self.clamp is not None:
            y = y.clamp(-self.clamp, self.clamp)
        return y.float() if y.dtype != torch.float64 else y


class Skip(nn.Module):
    """The residual path of architecture resnet: 1x1 convolution with upsampling, no bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))

    def forward(self, x: Tensor, kernel: Tensor, gain: float) -> Tensor:
        """x [N, I, H, W] -> [N, O, 2H, 2W], times gain."""
        weight = self.weight * (gain / math.sqrt(self.weight.shape[1]))
        return conv_up(x, weight.to(x.dtype), kernel)
