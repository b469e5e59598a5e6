"""pSp's encoder: a picture to w+, layer by layer from a pyramid of its features (papers.md S4.18).

Richardson et al. 2021. The published one sees 256x256 pixels, and styles come from maps of 16x16,
32x32 and 64x64. Here those are a 16th, an 8th and a quarter of what is seen, which is the network's
own size, and of networks above 256 pixels means of as many pixels as bring it there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gantools.inversion import encoder_backbones as backbones
from gantools.inversion.dse import facts
from gantools.inversion.encoder import must_fit, reduction
from gantools.inversion.irse import UNITS, WIDTH, IrSe, widths
from gantools.io.latent import Latent
from gantools.networks.config import Config, plausible
from gantools.networks.layers import Dense
from gantools.networks.network import Network

ARCH = "psp"
FAMILIES = ("stylegan", "stylegan2")
DEPTH = 50
FROM = (0, 3, 7)  # the first styles of the coarse, the medium and the fine level
STRIDES = (16, 8, 4)  # pixels seen for each cell of theirs


@dataclass(frozen=True)
class PspConfig(Config):
    """Everything that rebuilds an encoder; it stands in its file.

    size, img_channels: of the network's pictures; num_ws, w_dim: its styles. width, depth: of the
    backbone (inversion.irse), 512 and 50 as published; width is that of the pyramid too.
    """

    size: tuple[int, int]
    img_channels: int
    num_ws: int
    w_dim: int
    width: int = WIDTH
    depth: int = DEPTH

    @classmethod
    def of(cls, network: Network, width: int | None = None, depth: int = DEPTH) -> PspConfig:
        """For a network; Usage for those that no encoder of this kind is for.

        width: by default the network's channels at its first block, 512 at most.
        """
        own = _facts(network)
        return cls(**own, width=width or min(WIDTH, network.g.cfg.widths[0]), depth=depth)

    def check(self) -> None:
        """ValueError where a file says what cannot be."""
        plausible([*self.size, self.img_channels, self.num_ws, self.w_dim, self.width])
        if self.depth not in UNITS or len(self.size) != 2 or self.num_ws > 64:
            raise ValueError("an impossible configuration")

    @property
    def factor(self) -> int:
        """Pixels a side that make one of what is seen."""
        return reduction(self.size)

    def level(self, style: int) -> int:
        """The level of a style: 0 coarse, 1 medium, 2 fine."""
        return sum(style >= first for first in FROM) - 1

    @property
    def levels(self) -> int:
        """How many levels there are styles of."""
        return self.level(self.num_ws - 1) + 1

    def halvings(self, level: int) -> int:
        """Convolutions that halve a level's map to a single cell; one at least."""
        seen = max(self.size) / self.factor / STRIDES[level]
        return max(1, math.ceil(math.log2(max(1.0, seen))))


class Style(nn.Module):
    """map2style: a map to one style by convolutions that halve it, [N, C, h, w] -> [N, w_dim]."""

    def __init__(self, channels: int, w_dim: int, halvings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(halvings):
            layers += [nn.Conv2d(channels, channels, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = Dense(channels, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, h, w], of at most 2^halvings cells a side."""
        return self.linear(self.convs(x).flatten(1))  # type: ignore[no-any-return]


class PspEncoder(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] -> w [N, L, w_dim]: the mean w, and what is added to it.

    network: {name, id} of the generator.
    """

    mean: Tensor

    def __init__(self, config: PspConfig, network: Mapping[str, Any]) -> None:
        super().__init__()
        self.config, self.network = config, dict(network)
        self.reduce = backbones.reduced(config.factor)
        self.trunk = IrSe(config.img_channels, config.width, config.depth)
        self.styles = nn.ModuleList(
            Style(config.width, config.w_dim, config.halvings(config.level(i)))
            for i in range(config.num_ws)
        )
        _, fine, medium, _ = widths(config.width)
        if config.levels > 1:
            self.latlayer1 = nn.Conv2d(medium, config.width, 1)
        if config.levels > 2:
            self.latlayer2 = nn.Conv2d(fine, config.width, 1)
        self.register_buffer("mean", torch.zeros(config.num_ws, config.w_dim))

    def start_at(self, mean: Tensor) -> None:
        """Take the mean w [w_dim] of the network, to which the encoder's w are added."""
        self.mean.copy_(mean)

    def forward(self, images: Tensor) -> Tensor:
        """ValueError for pictures of another size."""
        cfg = self.config
        if images.shape[1:] != (cfg.img_channels, *cfg.size):
            raise ValueError(f"pictures {list(images.shape[1:])}: {cfg.size} are expected")
        maps = self.levels(images)
        added = [style(maps[cfg.level(i)]) for i, style in enumerate(self.styles)]
        return self.mean + torch.stack(added, 1)

    def levels(self, images: Tensor) -> list[Tensor]:
        """The pyramid, coarse to fine, as far as there are styles: [N, width, h, w] each."""
        _, fine, medium, coarse = self.trunk(self.reduce(images))
        found = [coarse]
        if self.config.levels > 1:
            found.append(_finer(coarse, self.latlayer1(medium)))
        if self.config.levels > 2:
            found.append(_finer(found[1], self.latlayer2(fine)))
        return found

    @property
    def space(self) -> str:
        """Of its latents."""
        return "w+"

    @property
    def network_id(self) -> str:
        """The identity of the network whose latents it gives."""
        return str(self.network.get("id"))

    def check(self, network: Network) -> None:
        """Usage where it was trained for another network."""
        own = _facts(network)
        same = all(getattr(self.config, name) == value for name, value in own.items())
        must_fit(self.network, network, same)

    @torch.no_grad()
    def latents(self, keys: Sequence[str], pictures: Tensor) -> list[Latent]:
        """The latents of pictures [N, C, H, W] in [-1, 1]; ValueError as in `forward`."""
        made = self(pictures).float().cpu()
        header = {"network": self.network}
        return [
            Latent(key, self.space, {"w": w.numpy()}, dict(header))
            for key, w in zip(keys, made, strict=True)
        ]


def _finer(coarse: Tensor, lateral: Tensor) -> Tensor:
    """A level of the pyramid: the one below at its size, corners on corners, and its own map."""
    size = list(lateral.shape[2:])
    return lateral + functional.interpolate(coarse, size, mode="bilinear", align_corners=True)


def _facts(network: Network) -> dict[str, Any]:
    """What a configuration takes from its network; Usage for those that it cannot be for."""
    own = facts(network, ARCH, FAMILIES)
    return {name: own[name] for name in ("size", "img_channels", "num_ws", "w_dim")}
