"""Layers of the StyleGAN2 family: equalised learning rate, activation, convolutions of D."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.processes import Processes
from gantools.ops.convolve import conv2d
from gantools.ops.resample import conv_down

SQRT2 = math.sqrt(2)


class Dense(nn.Module):
    """Fully connected, equalised learning rate: act(x (W g)ᵀ + b lr_mult), g = lr_mult / √in.

    x [N, in] -> [N, out]; W is stored as N(0, 1) / lr_mult. gain: whether lrelu's √2 stands behind
    the activation (StyleGAN2) or in the weights, where the bias does not see it (StyleGAN1).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        lr_mult: float = 1.0,
        bias_init: float = 0.0,
        lrelu: bool = False,
        bias: bool = True,
        gain: Literal["behind", "weight"] = "behind",
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features).div_(lr_mult))
        self.bias = nn.Parameter(torch.full([out_features], bias_init / lr_mult)) if bias else None
        self.lr_mult = lr_mult
        self.lrelu = lrelu
        self.weighted = lrelu and gain == "weight"

    def forward(self, x: Tensor) -> Tensor:
        scale = (SQRT2 if self.weighted else 1.0) * self.lr_mult
        weight = self.weight * (scale / math.sqrt(self.weight.shape[1]))
        bias = None if self.bias is None else self.bias * self.lr_mult
        y = F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
        if not self.lrelu:
            return y
        y = F.leaky_relu(y, 0.2)
        return y if self.weighted else y * SQRT2


class Conv(nn.Module):
    """Convolution of a discriminator, equalised learning rate, optionally halving the picture.

    x [N, I, H, W] -> [N, O, H, W] or [N, O, H/2, W/2]; gain multiplies the activation's own √2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        bias: bool = True,
        lrelu: bool = True,
        down: bool = False,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.lrelu = lrelu
        self.down = down
        self.clamp = clamp

    def forward(self, x: Tensor, fir_kernel: Tensor, gain: float = 1.0) -> Tensor:
        # gain·lrelu(a) = lrelu(gain·a): the gain goes with the weights and the bias.
        whole = SQRT2 * gain if self.lrelu else gain
        weight = (self.weight * (whole / math.sqrt(self.weight[0].numel()))).to(x.dtype)
        bias = None if self.bias is None else (self.bias * whole).to(x.dtype)
        y = (
            conv_down(x, weight, fir_kernel, bias)
            if self.down
            else conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        )
        if not self.lrelu:
            return y
        F.leaky_relu_(y, 0.2)
        return y if self.clamp is None else y.clamp(-self.clamp * gain, self.clamp * gain)


def groups_of(n: int, group: int) -> int:
    """How many groups the minibatch stddev makes of n samples: ceil(n / group), 0: one of all."""
    return math.ceil(n / (group or n))


def minibatch_stddev(
    x: Tensor, group: int, features: int = 1, processes: Processes | None = None
) -> Tensor:
    """Append the standard deviation over groups of the batch as channels (papers.md S1.6, S0.8).

    x [N, C, H, W] -> [N, C + features, H, W]. There are ceil(N / group) groups, of `group` samples
    or as near to that as N allows; samples i, i + groups, … stand together. 0: the whole batch.

    processes: those that the batch is divided over, as `training.distributed.Ranks` does it: each
    has whole groups, or equally many samples of every group.
    """
    n, c, h, w = x.shape
    groups = groups_of(n, group)
    whole = groups_of(n * processes.world, group) if processes is not None else groups
    if processes is not None and whole % processes.world:
        groups = whole
    else:
        processes = None  # whole groups: nothing to gather
    y = x.to(torch.promote_types(x.dtype, torch.float32)).reshape(n, features, c // features, h, w)
    if n % groups == 0:
        deviation = _deviation(y.reshape(n // groups, groups, *y.shape[1:]), processes)
    else:
        deviation = torch.cat([_deviation(y[i::groups, None]) for i in range(groups)])
    y = deviation[:, :, None, None].repeat(math.ceil(n / groups), 1, h, w)[:n]  # [N, F, H, W]
    return torch.cat([x, y.to(x.dtype)], dim=1)


def _deviation(y: Tensor, processes: Processes | None = None) -> Tensor:
    """[G, n, F, c, H, W] -> [n, F]: over G, of all processes, then the mean over c, H and W."""

    def mean(y: Tensor) -> Tensor:
        own = y.mean(dim=0)
        return own if processes is None else processes.mean(own)

    y = y - mean(y)
    y = (mean(y.square()) + 1e-8).sqrt()
    return y.mean(dim=[2, 3, 4])


class MinibatchStddev(nn.Module):
    """`minibatch_stddev` as a layer; group 1 or no features: nothing is appended.

    processes: those that the batch is divided over, None for this one alone; a trainer sets it.
    """

    def __init__(self, group: int, features: int = 1) -> None:
        super().__init__()
        self.group, self.features = group, features if group != 1 else 0
        self.processes: Processes | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, C + features, H, W]."""
        if not self.features:
            return x
        return minibatch_stddev(x, self.group, self.features, self.processes)
