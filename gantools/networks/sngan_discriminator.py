"""SNGAN's discriminator: a residual network, every layer of it spectrally normalised (S3.25).

With classes it is the projection discriminator of Miyato and Koyama 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.config import Scaled
from gantools.networks.sizes import SQUARE
from gantools.networks.spectral_norm import Conv, Dense
from gantools.ops.haar import dwt
from gantools.ops.resample import Downsampling
from gantools.ops.resample import down as down_by
from gantools.report import Usage

# Resolution: channels after every block = last one >> shift, and how many blocks halve.
_SHAPES = {
    32: (128, (0, 0, 0, 0), 2),
    48: (1024, (4, 3, 2, 1, 0), 4),
    64: (1024, (4, 3, 2, 1, 0), 5),
    128: (1024, (4, 3, 2, 1, 0, 0), 5),
}


@dataclass(frozen=True)
class DiscriminatorConfig(Scaled):
    """Everything that rebuilds a discriminator; it stands in the network file."""

    resolution: int
    widths: tuple[int, ...]  # channels after every block
    halvings: int  # the first so many blocks halve the picture
    c_dim: int = 0
    img_channels: int = 3
    first_block: tuple[int, int] = SQUARE  # as in the generator; no layer depends on it
    downsample: Downsampling = "avg"
    wavelet: bool = False  # the first halving is a wavelet's (S3.19)


def discriminator_config(
    resolution: int, *, width: int | None = None, c_dim: int = 0, img_channels: int = 3
) -> DiscriminatorConfig:
    """The one for 32, 48, 64 or 128 pixels; width: channels at the end, by default the paper's.

    Usage for any other resolution.
    """
    if resolution not in _SHAPES:
        sizes = ", ".join(map(str, _SHAPES))
        raise Usage(f"SNGAN has no architecture for {resolution} pixels, but for {sizes}")
    base, shifts, halvings = _SHAPES[resolution]
    widths = tuple(max((width or base) >> shift, 1) for shift in shifts)
    return DiscriminatorConfig(resolution, widths, halvings, c_dim, img_channels)


def _conv(in_channels: int, out_channels: int, kernel: int, gain: float) -> Conv:
    layer = Conv(in_channels, out_channels, kernel)
    nn.init.xavier_uniform_(layer.weight, gain)
    return layer


class Block(nn.Module):
    """A residual block: x [N, I, H, W] -> [N, O, H, W], or half the size.

    The first block of a network reads a picture and has no activation before it. In the others the
    shortcut starts behind the activation too: Miyato et al. start it before, but mimicry's ReLU
    works in place, and its networks are the ones that were compared.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        first: bool,
        down: bool,
        how: Downsampling = "avg",
    ) -> None:
        super().__init__()
        hidden = out_channels if first else in_channels
        self.conv0 = _conv(in_channels, hidden, 3, math.sqrt(2))
        self.conv1 = _conv(hidden, out_channels, 3, math.sqrt(2))
        self.learned = down or in_channels != out_channels
        if self.learned:
            self.skip = _conv(in_channels, out_channels, 1, 1.0)
        self.first, self.down, self.how = first, down, how

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.first else F.relu(x)
        y = self.conv1(F.relu(self.conv0(x)))
        if self.down:
            # Pooling and a 1x1 convolution change places: pooled first it costs a quarter.
            x, y = down_by(x, self.how), down_by(y, self.how)
        return y + (self.skip(x) if self.learned else x)


class Discriminator(nn.Module):
    """images [N, C, H, W] (and label [N, c_dim]) -> logits [N, 1]."""

    def __init__(self, cfg: DiscriminatorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        channels = (cfg.img_channels * (4 if cfg.wavelet else 1), *cfg.widths)
        self.blocks = nn.ModuleList(
            Block(
                channels[i],
                channels[i + 1],
                first=i == 0,
                down=i < cfg.halvings,
                how=cfg.downsample,
            )
            for i in range(len(cfg.widths))
        )
        self.out = Dense(cfg.widths[-1], 1)
        nn.init.xavier_uniform_(self.out.weight)
        if cfg.c_dim:
            self.embed = Dense(cfg.c_dim, cfg.widths[-1], bias=False)
            nn.init.xavier_uniform_(self.embed.weight)

    def forward(
        self, images: Tensor, label: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """label [N, c_dim], one-hot, where the network has classes; dtype: of the convolutions."""
        if self.cfg.c_dim and label is None:
            raise ValueError("a conditional discriminator needs a label")
        x = self._trunk(images, dtype)[-1]
        x = F.relu(x).to(images.dtype).sum(dim=(2, 3))  # [N, C]
        logits = self.out(x)
        if not self.cfg.c_dim:
            return logits
        return logits + (x * self.embed(label)).sum(dim=1, keepdim=True)

    def features(self, images: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
        """What every block gives, from the picture's side on: a perceptual space."""
        return self._trunk(images, dtype)

    def _trunk(self, images: Tensor, dtype: torch.dtype | None) -> list[Tensor]:
        images = dwt(images) if self.cfg.wavelet else images
        x = images.to(dtype or images.dtype, memory_format=torch.channels_last)
        taken: list[Tensor] = []
        for block in self.blocks:
            x = block(x)
            taken.append(x)
        return taken
