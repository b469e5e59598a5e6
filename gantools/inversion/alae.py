"""ALAE's encoder: a picture to one w, from the statistics of its layers (papers.md S4.17).

It grows with its generator, whose fading it mirrors. Encoder and latent discriminator are trained
with the generator (training.alae); the encoder of paper 004 (inversion.dse) descends from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gantools.inversion.dse_blocks import moments, normalised, statistics
from gantools.inversion.encoder import must_fit
from gantools.io.latent import Latent
from gantools.networks import stylegan
from gantools.networks.config import Doubling, plausible
from gantools.networks.growing import Conv, Dense, fade, shrunk, steps_down
from gantools.networks.network import Network
from gantools.networks.sizes import SQUARE
from gantools.ops.resample import box_down, fir, fir_kernel

ARCH = "alae"
EPS = 1e-5  # of the instance norms, whose gradients R1 squares: the published code's


@dataclass(frozen=True)
class AlaeConfig(Doubling):
    """Everything that rebuilds an encoder: what its generator has; it stands in its file."""

    resolution: int
    widths: tuple[int, ...]  # channels at 4, 8, 16, …, resolution
    w_dim: int = 512
    img_channels: int = 3
    lod: float = 0.0  # the level of detail it was saved at
    first_block: tuple[int, int] = SQUARE

    @classmethod
    def of(cls, cfg: stylegan.GeneratorConfig) -> AlaeConfig:
        """For a generator."""
        return cls(
            cfg.resolution, cfg.widths, cfg.w_dim, cfg.img_channels, cfg.lod, cfg.first_block
        )

    def check(self) -> None:
        """ValueError where a file says what cannot be."""
        plausible([*self.widths, self.w_dim, self.img_channels])
        if self.resolution != 2 << len(self.widths) or not math.isfinite(self.lod):
            raise ValueError("an impossible configuration")
        steps_down(self.lod, len(self.widths))


class Block(nn.Module):
    """One resolution: x [N, I, H, W] -> [N, O, H/2, W/2], normalised, and its share of w.

    Convolution, lrelu, statistics, instance norm; blur, halving convolution, and the same again.
    """

    kernel: Tensor

    def __init__(self, inputs: int, outputs: int, config: AlaeConfig) -> None:
        super().__init__()
        self.from_rgb = Conv(config.img_channels, inputs, 1)
        self.conv1 = Conv(inputs, inputs, 3)
        self.conv2 = Conv(inputs, outputs, 3, scale="down")
        self.style1 = Dense(2 * inputs, config.w_dim)
        self.style2 = Dense(2 * outputs, config.w_dim)
        self.register_buffer("kernel", fir_kernel((1, 2, 1)), persistent=False)

    def read(self, images: Tensor) -> Tensor:
        """Its input of pictures [N, C, H, W]."""
        return functional.leaky_relu(self.from_rgb(images), 0.2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, first = self._told(self.conv1(x), self.style1)
        x, second = self._told(self.conv2(fir(x, self.kernel, (1, 1))), self.style2)
        return x, first + second

    def _told(self, x: Tensor, style: nn.Module) -> tuple[Tensor, Tensor]:
        x = functional.leaky_relu(x, 0.2)
        found = moments(x)
        return normalised(x, found, EPS), style(statistics(found))


class AlaeEncoder(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] -> w [N, w_dim], the sum of all layers' shares.

    network: {name, id} of the generator.
    """

    def __init__(self, config: AlaeConfig, network: Mapping[str, Any]) -> None:
        super().__init__()
        self.config, self.network = config, dict(network)
        for i, (resolution, width) in enumerate(
            zip(config.resolutions, config.widths, strict=True)
        ):
            block = Block(width, config.widths[max(i - 1, 0)], config)
            setattr(self, f"b{resolution}", block)

    def blocks(self) -> list[Block]:
        """The blocks from 4x4 up."""
        return [getattr(self, f"b{resolution}") for resolution in self.config.resolutions]

    def forward(self, images: Tensor, lod: float | None = None) -> Tensor:
        """Of pictures of `resolution >> floor(lod)` pixels, or larger: they are averaged.

        lod None: the file's own. The uppermost block fades in with its share of w.
        """
        cfg = self.config
        down, share = steps_down(cfg.lod if lod is None else lod, len(cfg.widths))
        *lower, top = self.blocks()[: len(cfg.widths) - down]
        images = shrunk(images, cfg.sizes[len(lower)])
        x, w = top(top.read(images))
        if share:
            x, w = fade(x, lower[-1].read(box_down(images)), share), w * (1 - share)
        for block in reversed(lower):
            x, own = block(x)
            w = w + own
        return w  # type: ignore[no-any-return]

    @property
    def space(self) -> str:
        """Of its latents."""
        return "w"

    @property
    def network_id(self) -> str:
        """The identity of the network whose latents it gives."""
        return str(self.network.get("id"))

    def check(self, network: Network) -> None:
        """Usage where it was trained with another network."""
        theirs = AlaeConfig.of(network.g.cfg) if network.family == "stylegan" else None
        must_fit(self.network, network, theirs == self.config)

    @torch.no_grad()
    def latents(self, keys: Sequence[str], pictures: Tensor) -> list[Latent]:
        """The latents of pictures [N, C, H, W] in [-1, 1]; ValueError for other sizes."""
        made = self(pictures).float().cpu().numpy()
        header = {"network": self.network}
        return [
            Latent(key, self.space, {"w": made[i : i + 1]}, dict(header))
            for i, key in enumerate(keys)
        ]
