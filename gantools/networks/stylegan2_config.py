"""The shape of a StyleGAN2 network (papers.md S2.0, S2.20), and what follows from it alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from gantools.io.space import level
from gantools.networks.config import Doubling
from gantools.networks.sizes import SQUARE

Architecture = Literal["skip", "resnet", "orig", "wavelet"]
MOST_BLUR = 2  # sigma_max of sampled features, in sides of a map: beyond, every map is one number


@dataclass(frozen=True)
class GeneratorConfig(Doubling):
    """Everything that rebuilds a generator; it stands in the network file."""

    resolution: int
    widths: tuple[int, ...]  # channels at 4, 8, 16, …, resolution
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0  # classes; 0 is unconditional
    img_channels: int = 3
    mapping_layers: int = 8
    mapping_lr_mult: float = 0.01
    label_mode: Literal["embed", "concat"] = "embed"  # concat: TensorFlow StyleGAN2 (version 4)
    architecture: Architecture = "skip"
    conv_clamp: float | None = None
    num_fp16_res: int = 0  # how many of the upper resolutions were trained in half precision
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    torgb_all: bool = False  # orig: a ToRGB at every resolution (growing, StyleGAN2 configs A-D)
    first_block: tuple[int, int] = SQUARE  # its height and width; doubled from block to block
    fnz: int = 0  # i of FNZ_i: starts at this block (1-based), from sampled features; 0: a constant
    noise_blur: float = 0.0  # of these: sigma_max in cells (S2.21); 0 is N(0, I)

    def check(self) -> None:
        """ValueError where a file says what cannot be."""
        if self.fnz not in range(self.num_ws + 1) or (self.fnz and self.architecture != "skip"):
            raise ValueError(f"fnz is {self.fnz} in {self.num_ws} blocks of {self.architecture}")
        if not 0 <= self.noise_blur <= MOST_BLUR * max(self.size):
            raise ValueError(f"noise_blur is {self.noise_blur}")

    @property
    def wavelet(self) -> bool:
        """Whether its ToRGB make wavelet coefficients."""
        return self.architecture == "wavelet"

    @property
    def num_ws(self) -> int:
        """L, the number of style vectors: 2 log2(resolution) - 2, with wavelets two fewer."""
        return 2 * len(self.widths)

    @property
    def first(self) -> int:
        """The first block that it has, 1-based (S2.0): 1, or i of FNZ_i."""
        return max(self.fnz, 1)

    @property
    def features(self) -> tuple[int, int, int]:
        """(channels, height, width) of what its first block takes."""
        return (self.widths[level(self.first)], *self.sizes[level(self.first)])


def widths(resolution: int, channel_base: int = 32768, channel_max: int = 512) -> tuple[int, ...]:
    """min(channel_base / r, channel_max) for r = 4, 8, …, resolution (S2.0)."""
    return tuple(
        min(channel_base // 2**i, channel_max) for i in range(2, int(math.log2(resolution)) + 1)
    )
