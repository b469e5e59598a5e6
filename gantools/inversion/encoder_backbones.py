"""Backbones of encoders: maps of a picture at several strides, and one vector (papers.md S2.10)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.batch_norm import MOMENTUM, together
from gantools.networks.processes import Processes
from gantools.report import Usage

Backbone = Literal["small", "efficientnet-b0", "efficientnet-b0-scratch"]
BACKBONES: tuple[Backbone, ...] = ("small", "efficientnet-b0", "efficientnet-b0-scratch")
WEIGHTS = "efficientnet-b0"  # in io.weights
SMALL_UP_TO = 128  # pixels a side
FEWEST_CELLS = 4  # along the shorter side of the small backbone's last map
WIDEST = 4  # its channels grow up to so many times its width
Maps = dict[int, Tensor]  # stride -> [N, C, H / stride, W / stride]


class Norm(nn.BatchNorm2d):
    """Batch norm that does not count its batches: with a fixed momentum nothing asks for it.

    processes: those that the batch is divided over, None for this one alone; a trainer sets it.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.num_batches_tracked = None
        self.processes: Processes | None = None

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> the same."""
        if self.processes is None or not self.training:
            return super().forward(input)
        x = together(input, self.running_mean, self.running_var, self.processes, MOMENTUM, self.eps)
        return x * self.weight[:, None, None] + self.bias[:, None, None]

    def _load_from_state_dict(self, *args: Any) -> None:
        nn.Module._load_from_state_dict(self, *args)  # nn.BatchNorm2d's would add the count


def _conv(channels: int, width: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
    return [conv, Norm(width)]


class _Residual(nn.Module):
    """relu(x + two 3x3 convolutions of x): [N, C, H, W] -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(channels, channels), nn.ReLU(), *_conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Small(nn.Module):
    """gantools' own CNN: a pyramid of strides down to 4 cells, and up again to the finest map used.

    On the way up each map meets that of its size on the way down, so that also the finest one has
    seen far around every cell. Pictures [N, C, H, W] in [-1, 1] of any size.
    """

    def __init__(self, channels: int, size: tuple[int, int], finest: int, width: int) -> None:
        """size: (height, width) of the pictures it is trained on; finest: the smallest stride."""
        super().__init__()
        cells = min(size)
        self.strides = [1]
        while cells // self.strides[-1] >= 2 * FEWEST_CELLS:
            self.strides.append(2 * self.strides[-1])
        widths = [min(width * s // 2, width * WIDEST) for s in self.strides]
        stem = [nn.Sequential(*_conv(channels, widths[0]), nn.ReLU())]
        down = [
            nn.Sequential(*_conv(a, b, stride=2), nn.ReLU(), _Residual(b))
            for a, b in itertools.pairwise(widths)
        ]
        self.down = nn.ModuleList([*stem, *down])
        self.finest = min(finest, self.strides[-1])
        up = [
            (below, own)
            for s, own, below in zip(self.strides, widths, widths[1:], strict=False)
            if s >= self.finest
        ]
        self.across = nn.ModuleList(nn.Conv2d(below, own, 1) for below, own in up)
        self.up = nn.ModuleList(_Residual(own) for _, own in up)
        self.maps = {
            s: w for s, w in zip(self.strides, widths, strict=True) if s >= self.finest
        }  # stride -> channels
        self.pooled = 2 * widths[-1]
        self.last = nn.Sequential(*_conv(widths[-1], self.pooled, 1), nn.ReLU())

    def forward(self, x: Tensor) -> tuple[Maps, Tensor]:
        """The last map of each stride from `finest` on, and the pooled vector [N, pooled]."""
        seen = []
        for step in self.down:
            x = step(x)
            seen.append(x)
        maps = {self.strides[-1]: x}
        vector = self.last(x).mean((2, 3))
        first = len(seen) - 1 - len(self.up)
        for i in reversed(range(len(self.up))):
            lateral = seen[first + i]
            wide = F.interpolate(self.across[i](x), scale_factor=2.0, mode="nearest")
            x = self.up[i](lateral + wide[:, :, : lateral.shape[2], : lateral.shape[3]])
            maps[self.strides[first + i]] = x
        return maps, vector


class EfficientNet(nn.Module):
    """torchvision's EfficientNet-B0 without its classifier; pictures [N, 1 or 3, H, W] in [-1, 1].

    Of each stride the last activation counts (S2.10): of 256x256 pictures 16 channels at 128x128,
    24 at 64x64, 40 at 32x32, 112 at 16x16, 320 at 8x8; and 1280 pooled.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self) -> None:
        super().__init__()
        from torchvision import models

        # Paths are not dropped at random: a run's numbers come from its own generators alone.
        whole = models.efficientnet_b0(weights=None, stochastic_depth_prob=0.0, norm_layer=Norm)
        self.features = whole.features
        self.taps = {2: 1, 4: 2, 8: 3, 16: 5, 32: 7}  # stride -> its last stage
        self.maps = {2: 16, 4: 24, 8: 40, 16: 112, 32: 320}
        self.pooled = 1280
        # What ImageNet's pictures have, in [0, 1].
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("sd", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> tuple[Maps, Tensor]:
        """The last map of each stride, and the pooled vector [N, 1280]."""
        x = ((x + 1) / 2 - self.mean) / self.sd
        maps, stages = {}, {stage: stride for stride, stage in self.taps.items()}
        for stage, module in enumerate(self.features):
            x = module(x)
            if stage in stages:
                maps[stages[stage]] = x
        return maps, x.mean((2, 3))

    def fill(self) -> None:
        """ImageNet's weights; Usage where they are missing (io.weights)."""
        from gantools.io import weights

        state = torch.load(weights.locate(WEIGHTS), map_location="cpu", weights_only=True)
        head = "features."
        own = {n.removeprefix(head): t for n, t in state.items() if n.startswith(head)}
        own = {n: t for n, t in own.items() if not n.endswith(".num_batches_tracked")}
        self.features.load_state_dict(own)


def make(
    name: str, channels: int, size: tuple[int, int], finest: int, width: int
) -> Small | EfficientNet:
    """A backbone as it is drawn, for pictures of `channels` and `size`; Usage where it has no such.

    finest: the smallest stride that is needed; width: the small backbone's channels at stride 2.
    """
    if name == "small":
        return Small(channels, size, finest, width)
    if name not in BACKBONES:
        raise Usage(f"an encoder with the backbone {name!r}, which this version does not know")
    if channels == 4:
        raise Usage(f"--backbone {name} sees colour alone, and the pictures have alpha: use small")
    return EfficientNet()


def default(size: tuple[int, int]) -> Backbone:
    """For pictures of (height, width): small up to 128 pixels a side, above EfficientNet."""
    return "small" if min(size) <= SMALL_UP_TO else "efficientnet-b0"


def reduced(factor: int) -> Callable[[Tensor], Tensor]:
    """Means of factor x factor pixels (S2.10: pictures of more than 256 pixels are reduced)."""
    return lambda images: images if factor == 1 else F.avg_pool2d(images, factor)
