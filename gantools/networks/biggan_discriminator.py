"""BigGAN's discriminator and BigGAN-deep's: residual, spectrally normalised, projecting (2d)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.attention import SelfAttention
from gantools.networks.biggan_blocks import BOTTLENECK
from gantools.networks.config import Scaled
from gantools.networks.sizes import SQUARE
from gantools.networks.spectral_norm import Conv, Dense
from gantools.ops.resample import box_down
from gantools.report import Usage

# Resolution: channels behind every stage, in multiples of `ch`; how many stages halve.
_SHAPES = {
    32: ((4, 4, 4, 4), 2),
    64: ((1, 2, 4, 8, 16), 4),
    128: ((1, 2, 4, 8, 16, 16), 5),
    256: ((1, 2, 4, 8, 8, 16, 16), 6),
    512: ((1, 1, 2, 4, 8, 8, 16, 16), 7),
}
# BigGAN-deep: channels of the first convolution, then behind every stage.
_DEEP_SHAPES = {
    32: ((4, 4, 4, 4), 2),
    64: ((1, 2, 4, 8, 16), 4),
    128: ((1, 2, 4, 8, 16, 16), 5),
    256: ((1, 2, 4, 8, 8, 16, 16), 6),
}


@dataclass(frozen=True)
class DiscriminatorConfig(Scaled):
    """Everything that rebuilds a discriminator; it stands in the network file.

    halves: the blocks, from 0, that halve the picture. attention: attention stands behind so many
    blocks. stem: channels of BigGAN-deep's first convolution; 0: BigGAN. wide: a block's first
    convolution has as many channels as it gives, not as many as it takes.
    """

    resolution: int
    widths: tuple[int, ...]  # channels behind every block
    halves: tuple[int, ...]
    attention: tuple[int, ...] = ()
    stem: int = 0
    wide: bool = True
    c_dim: int = 0
    img_channels: int = 3
    first_block: tuple[int, int] = SQUARE  # as in the generator; no layer depends on it

    @property
    def inputs(self) -> tuple[int, ...]:
        """Channels that every block takes."""
        return (self.stem or self.img_channels, *self.widths[:-1])


def discriminator_config(
    resolution: int, *, ch: int = 96, deep: bool = False, c_dim: int = 0, attention: int = 64
) -> DiscriminatorConfig:
    """The paper's for 32 to 512 pixels, deep 32 to 256; Usage for any other resolution.

    ch: the unit of the channels. attention: behind the stage that gives so many pixels; 0 for none.
    """
    shapes = _DEEP_SHAPES if deep else _SHAPES
    if resolution not in shapes:
        sizes = ", ".join(map(str, shapes))
        raise Usage(f"BigGAN{'-deep' * deep} has no D for {resolution} pixels, but for {sizes}")
    times, halvings = shapes[resolution]
    stages = [ch * n for n in (times[1:] if deep else times)]
    depth = 2 if deep else 1
    last = [i for i in range(halvings) if resolution >> (i + 1) == attention]
    return DiscriminatorConfig(
        resolution,
        tuple(width for width in stages for _ in range(depth)),
        tuple(range(0, depth * halvings, depth)),
        tuple(depth * (i + 1) for i in last),
        ch * times[0] if deep else 0,
        c_dim=c_dim,
    )


def conv(in_channels: int, out_channels: int, kernel: int) -> Conv:
    """A convolution with spectral normalisation that keeps the size."""
    return Conv(in_channels, out_channels, kernel, columns=True)


class Block(nn.Module):
    """BigGAN's: x [N, I, H, W] -> [N, O, H, W], or half the size.

    The first block of a network reads a picture and has no activation before it.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, first: bool, halves: bool, wide: bool
    ) -> None:
        super().__init__()
        self.first, self.halves = first, halves
        inner = out_channels if wide else in_channels
        self.conv0 = conv(in_channels, inner, 3)
        self.conv1 = conv(inner, out_channels, 3)
        self.learned = halves or in_channels != out_channels
        if self.learned:
            self.skip = conv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The shortcut starts before the activation."""
        y = self.conv1(F.relu(self.conv0(x if self.first else F.relu(x))))
        # Pooling and a 1x1 convolution change places: pooled first it costs a quarter.
        x, y = (box_down(x), box_down(y)) if self.halves else (x, y)
        return y + (self.skip(x) if self.learned else x)


class DeepBlock(nn.Module):
    """BigGAN-deep's, a bottleneck: x [N, I, H, W] -> [N, O, H, W] with O >= I, or half the size.

    The shortcut keeps what it takes; only the channels that are new have weights.
    """

    def __init__(self, in_channels: int, out_channels: int, *, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        inner = out_channels // BOTTLENECK
        self.conv0 = conv(in_channels, inner, 1)
        self.conv1, self.conv2 = conv(inner, inner, 3), conv(inner, inner, 3)
        self.conv3 = conv(inner, out_channels, 1)
        self.learned = in_channels != out_channels
        if self.learned:
            self.skip = conv(in_channels, out_channels - in_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Activations before every convolution; the picture is halved before the last."""
        y = self.conv1(F.relu(self.conv0(F.relu(x))))
        y = F.relu(self.conv2(F.relu(y)))
        x, y = (box_down(x), box_down(y)) if self.halves else (x, y)
        return self.conv3(y) + (torch.cat([x, self.skip(x)], 1) if self.learned else x)


class Discriminator(nn.Module):
    """images [N, C, H, W] (and label [N, c_dim]) -> logits [N, 1]."""

    def __init__(self, cfg: DiscriminatorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        if cfg.stem:
            self.stem = conv(cfg.img_channels, cfg.stem, 3)
        self.blocks = nn.ModuleList(self._block(i) for i in range(len(cfg.widths)))
        self.attention = nn.ModuleDict(
            {str(i): SelfAttention(cfg.widths[i - 1]) for i in cfg.attention}
        )
        self.out = Dense(cfg.widths[-1], 1, columns=True)
        if cfg.c_dim:
            self.embed = Dense(cfg.c_dim, cfg.widths[-1], bias=False)

    def _block(self, i: int) -> nn.Module:
        cfg = self.cfg
        if cfg.stem:
            return DeepBlock(cfg.inputs[i], cfg.widths[i], halves=i in cfg.halves)
        halves = i in cfg.halves
        return Block(cfg.inputs[i], cfg.widths[i], first=i == 0, halves=halves, wide=cfg.wide)

    def forward(
        self, images: Tensor, label: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """label [N, c_dim], one-hot, where the network has classes; dtype: of the convolutions."""
        if self.cfg.c_dim and label is None:
            raise ValueError("a conditional discriminator needs a label")
        x = self.features(images, dtype)[-1]
        x = F.relu(x).to(images.dtype).sum(dim=(2, 3))  # [N, C]
        logits = self.out(x)
        if not self.cfg.c_dim:
            return logits  # type: ignore[no-any-return]
        return logits + (x * self.embed(label)).sum(dim=1, keepdim=True)  # type: ignore[no-any-return]

    def features(self, images: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
        """What every block gives, from the picture's side on: a perceptual space."""
        x = images.to(dtype or images.dtype, memory_format=torch.channels_last)
        x = self.stem(x) if self.cfg.stem else x
        taken: list[Tensor] = []
        for i, block in enumerate(self.blocks, 1):
            x = block(x)
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
            taken.append(x)
        return taken
