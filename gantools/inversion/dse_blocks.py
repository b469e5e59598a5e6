"""Blocks of the residual encoders of paper 004 (papers.md S4.8, S4.9, S4.10, S4.11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks import spectral_norm
from gantools.networks.batch_norm import Moments
from gantools.networks.layers import SQRT2
from gantools.ops.resample import box_down, conv_box_down, fir, fir_kernel

Cbn = Literal["batch", "affine"]
Noise = Sequence[Tensor] | None  # maps [N, 1, H, W] in the order of the convolutions; None: none
EPS = 1e-8
SHARE = 0.111  # of the convolutions; the rest is the shortcut's


class Conv(nn.Conv2d):
    """A convolution that keeps the size, with the rate of LREQAdam (S4.11): rate = √2/√fan_in.

    Its weight is drawn N(0, rate²), and LREQAdam's steps of it are multiplied by the rate.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.rate = SQRT2 / math.sqrt(inputs * kernel * kernel)
        self.weight = nn.Parameter(torch.randn(self.weight.shape).mul_(self.rate))
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Dense(nn.Linear):
    """Fully connected with gain 1, drawn as `Conv`; its bias begins at 0."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.rate = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(self.weight.shape).mul_(self.rate))
        nn.init.zeros_(self.bias)


def rates(module: nn.Module) -> dict[str, float]:
    """By name of the parameter: what LREQAdam multiplies its learning rate by, if not 1."""
    return {
        f"{name}.weight": layer.rate
        for name, layer in module.named_modules()
        if isinstance(layer, Conv | Dense)
    }


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, biased variance) of every channel of x [N, C, H, W], each [N, C]."""
    var, mean = torch.var_mean(x, (2, 3), correction=0)
    return mean, var


def normalised(x: Tensor, found: tuple[Tensor, Tensor], eps: float = EPS) -> Tensor:
    """Instance norm with these moments, without affine."""
    mean, var = (part[:, :, None, None] for part in found)
    return (x - mean) * (var + eps).rsqrt()


def statistics(found: tuple[Tensor, Tensor]) -> Tensor:
    """Means and deviations [N, 2C] of what `moments` found.

    The deviation has a gradient where a channel is constant.
    """
    mean, var = found
    return torch.cat([mean, (var + EPS).sqrt()], 1)


class Style(Dense):
    """Means and deviations of C channels to one w: [N, C] each -> [N, w_dim]."""

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__(2 * channels, w_dim)

    def of(self, found: tuple[Tensor, Tensor]) -> Tensor:
        """found: as from `moments`."""
        return self(statistics(found))  # type: ignore[no-any-return]


class ClassNorm(Moments):
    """A batch norm with scale 1 + S c and offset O c of the class embedding c (S4.10).

    affine: as released, whose mean and variance stay 0 and 1, so that it normalises nothing.
    """

    def __init__(self, channels: int, condition: int, kind: Cbn) -> None:
        super().__init__(channels)
        self.kind = kind
        self.gain, self.shift = (
            spectral_norm.Dense(condition, channels, bias=False) for _ in range(2)
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [N, C, H, W], condition [N, condition] -> [N, C, H, W]."""
        y = self.normalised(x) if self.kind == "batch" else x
        gain, shift = self.gain(condition), self.shift(condition)
        return y * (1 + gain)[:, :, None, None] + shift[:, :, None, None]


class Finish(nn.Module):
    """What follows a convolution: noise · weight[C] + bias[C], leaky ReLU 0.2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.noise = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """noise [N, 1, H, W] or None for none."""
        shift = self.bias[:, None, None]
        if noise is not None:
            shift = shift + noise * self.noise[:, None, None]
        return F.leaky_relu(x + shift, 0.2)


@dataclass(frozen=True)
class Plan:
    """One block: channels in and out, and what kind it is.

    w_dim: of its two styles; 0: none. condition: of its class norms; 0: instance norms. added: the
    shortcut is added before pooling with weight 1 (S4.9), else mixed in after it (S4.8). last: one
    convolution, no pooling. blur: [1,2,1]² before the second convolution; fused: that one and the
    halving are one, of stride 2 (E_Blur).
    """

    inputs: int
    outputs: int
    w_dim: int = 0
    condition: int = 0
    cbn: Cbn = "batch"
    added: bool = False
    last: bool = False
    blur: bool = False
    fused: bool = False


class Block(nn.Module):
    """x [N, I, H, W] -> [N, O, H/2, W/2], or [N, O, H, W] where it is the last."""

    kernel: Tensor

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        a, b = plan.inputs, plan.outputs
        if plan.last and a != b:
            raise ValueError("the last block has one convolution and keeps its channels")
        self.conv1, self.finish1 = Conv(a, a, 3), Finish(a)
        if plan.w_dim:
            self.style1, self.style2 = Style(a, plan.w_dim), Style(a, plan.w_dim)
        if plan.condition:
            self.norm1 = ClassNorm(a, plan.condition, plan.cbn)
        if not plan.last:
            if plan.condition:
                self.norm2 = ClassNorm(a, plan.condition, plan.cbn)
            self.conv2, self.finish2 = Conv(a, b, 3), Finish(b)
        if a != b:
            self.short = Conv(a, b, 1, bias=True)
            if plan.added:
                self.gain = nn.Parameter(torch.ones(b))
                self.shift = nn.Parameter(torch.zeros(b))
        self.register_buffer("kernel", fir_kernel((1, 2, 1)), persistent=False)

    def noise_shapes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """(height, width) of the noise map of each convolution for an input of that size."""
        half = (size[0] // 2, size[1] // 2)
        return [size] if self.plan.last else [size, half if self.plan.fused else size]

    def forward(
        self, x: Tensor, noise: Noise, condition: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """The features and, where it has styles, (w of the result of conv 1, w of its input)."""
        maps: Sequence[Tensor | None] = [None, None] if noise is None else noise
        found = moments(x)
        y = self.finish1(self.conv1(self._norm(x, found, condition, 1)), maps[0])
        between = moments(y)
        styles = []
        if self.plan.w_dim:
            styles = [self.style2.of(between), self.style1.of(found)]
        if self.plan.last:
            # The second instance norm stays where the second convolution is left out (S4.8).
            y = normalised(y, between) if self.plan.w_dim else y
            return self._joined(y, x), styles
        y = self._norm(y, between, condition, 2)
        y = fir(y, self.kernel, (1, 1)) if self.plan.blur else y
        y = conv_box_down(y, self.conv2.weight) if self.plan.fused else self.conv2(y)
        y = self.finish2(y, maps[1])
        if self.plan.added:
            return box_down(self._joined(y, x)), styles
        return self._joined(y if self.plan.fused else box_down(y), box_down(x)), styles

    def _norm(
        self, x: Tensor, found: tuple[Tensor, Tensor], condition: Tensor | None, number: int
    ) -> Tensor:
        if condition is None:
            return normalised(x, found)
        return (self.norm1 if number == 1 else self.norm2)(x, condition)  # type: ignore[no-any-return]

    def _joined(self, y: Tensor, x: Tensor) -> Tensor:
        """With the shortcut, whose size is that of y."""
        wider = self.plan.inputs != self.plan.outputs
        x = self.short(x) if wider else x
        if not self.plan.added:
            return SHARE * y + (1 - SHARE) * x
        if wider:
            x = normalised(x, moments(x))
            x = x * self.gain[:, None, None] + self.shift[:, None, None]
        return y + x
