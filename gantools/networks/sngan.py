"""SNGAN's generator, a residual network with batch norm (Miyato et al. 2018; papers.md S3.25).

In the form of mimicry's code: bilinear upsampling, or another of paper 003's (S3.9),
class-conditional batch norm with labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.batch_norm import BatchNorm
from gantools.networks.config import Scaled
from gantools.networks.sizes import SQUARE
from gantools.ops.haar import iwt
from gantools.ops.resample import Upsampling, up
from gantools.ops.styled import rendering
from gantools.report import Usage

# Resolution: G's channels = first one >> shift, at the bottom and after every doubling.
_SHAPES = {
    32: (256, (0, 0, 0, 0)),
    48: (512, (0, 1, 2, 3)),
    64: (1024, (0, 1, 2, 3, 4)),
    128: (1024, (0, 0, 1, 2, 3, 4)),
}


@dataclass(frozen=True)
class GeneratorConfig(Scaled):
    """Everything that rebuilds a generator; it stands in the network file."""

    resolution: int
    widths: tuple[int, ...]  # channels at the bottom and after every doubling
    z_dim: int = 128
    c_dim: int = 0  # classes; 0 is unconditional
    img_channels: int = 3
    first_block: tuple[int, int] = SQUARE  # the picture is resolution / 4 times as large
    upsample: Upsampling = "bilinear"  # not reshape
    wavelet: bool = False  # the last doubling is a wavelet's (S3.19)

    @property
    def bottom(self) -> tuple[int, int]:
        """(height, width) where it starts: first_block, or for 48 pixels 6x6."""
        doublings = len(self.widths) - 1 + self.wavelet
        height, width = self.size
        if height % 2**doublings or width % 2**doublings:
            raise ValueError(f"{height}x{width} pixels cannot be halved {doublings} times")
        return height >> doublings, width >> doublings


def generator_config(
    resolution: int, *, width: int | None = None, c_dim: int = 0, img_channels: int = 3
) -> GeneratorConfig:
    """The one for 32, 48, 64 or 128 pixels; width: channels at the bottom, by default the paper's.

    Usage for any other resolution.
    """
    if resolution not in _SHAPES:
        sizes = ", ".join(map(str, _SHAPES))
        raise Usage(f"SNGAN has no architecture for {resolution} pixels, but for {sizes}")
    base, shifts = _SHAPES[resolution]
    widths = tuple(max((width or base) >> shift, 1) for shift in shifts)
    return GeneratorConfig(resolution, widths, c_dim=c_dim, img_channels=img_channels)


def conv(in_channels: int, out_channels: int, kernel: int, gain: float) -> nn.Conv2d:
    """A convolution that keeps the size, Xavier-uniform weights times gain."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    return layer


def _apply(layer: nn.Conv2d, x: Tensor) -> Tensor:
    assert layer.bias is not None
    return F.conv2d(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype), padding=layer.padding)


class Block(nn.Module):
    """A residual block that doubles the picture: x [N, I, H, W] -> [N, O, 2H, 2W]."""

    def __init__(self, in_channels: int, out_channels: int, cfg: GeneratorConfig) -> None:
        super().__init__()
        c_dim, self.upsample = cfg.c_dim, cfg.upsample
        self.norm0 = BatchNorm(in_channels, c_dim)
        self.conv0 = conv(in_channels, out_channels, 3, math.sqrt(2))
        self.norm1 = BatchNorm(out_channels, c_dim)
        self.conv1 = conv(out_channels, out_channels, 3, math.sqrt(2))
        self.skip = conv(in_channels, out_channels, 1, 1.0)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        y = up(F.relu(self.norm0(x, label)), self.upsample)
        y = F.relu(self.norm1(_apply(self.conv0, y), label))
        # A 1x1 convolution and upsampling change places where its weights sum to 1; between zeros
        # the shortcut's bias stands on the samples alone.
        return _apply(self.conv1, y) + up(_apply(self.skip, x), self.upsample)


class Generator(nn.Module):
    """z [N, z_dim] -> image [N, C, H, W] in (-1, 1)."""

    def __init__(self, cfg: GeneratorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.fc = nn.Linear(cfg.z_dim, math.prod(cfg.bottom) * cfg.widths[0])
        nn.init.xavier_uniform_(self.fc.weight)
        pairs = zip(cfg.widths, cfg.widths[1:], strict=False)
        self.blocks = nn.ModuleList(Block(i, o, cfg) for i, o in pairs)
        self.norm = BatchNorm(cfg.widths[-1])
        channels = cfg.img_channels * (4 if cfg.wavelet else 1)
        self.torgb = conv(cfg.widths[-1], channels, 3, 1.0)

    @property
    def num_ws(self) -> int:
        """No style vectors: this family has z alone."""
        return 0

    @property
    def noise_shapes(self) -> list[tuple[int, int]]:
        """No noise."""
        return []

    def forward(
        self, z: Tensor, label: Tensor | None = None, *, dtype: torch.dtype | None = None
    ) -> Tensor:
        """label [N, c_dim], one-hot, where the network has classes; dtype: of the convolutions.

        On the CPU, in evaluation mode and without gradients, samples are rendered one after
        another: a picture then does not depend on its batch, to the bit.
        """
        if self.cfg.c_dim and label is None:
            raise ValueError("a conditional generator needs a label")
        if not self.cfg.c_dim:
            label = None
        if len(z) == 1 or self.training or not rendering(z):
            return self._batch(z, label, dtype)
        labels = [None] * len(z) if label is None else list(label.split(1))
        rows = zip(z.split(1), labels, strict=True)
        return torch.cat([self._batch(row, own, dtype) for row, own in rows])

    def _batch(self, z: Tensor, label: Tensor | None, dtype: torch.dtype | None) -> Tensor:
        cfg = self.cfg
        x = self.fc(z).reshape(-1, cfg.widths[0], *cfg.bottom)
        x = x.to(dtype or z.dtype, memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x, label)
        rgb = _apply(self.torgb, F.relu(self.norm(x))).to(z.dtype)
        return torch.tanh(iwt(rgb) if cfg.wavelet else rgb)
