"""The FW+_i encoder (papers.md S2.10, Algorithm 3): a picture to f_i, r_i and the styles from i on.

The heads of f and r are 1x1 convolutions on the backbone's maps of their sizes, so that the encoder
takes pictures of other sizes than its network's too; the styles come from one pooled vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gantools.inversion import encoder_backbones as backbones
from gantools.io import network as networks
from gantools.io.latent import Latent
from gantools.io.space import told
from gantools.networks.config import Config, plausible
from gantools.networks.network import Network
from gantools.networks.stylegan2_blocks import Row, table
from gantools.networks.stylegan2_latents import need_blocks
from gantools.report import SampleError, Usage

ARCH = "fw"
LARGEST = 256  # pixels a side that the backbone sees at most (S2.10: 1024 by 0.25)
WIDTH = 32


@dataclass(frozen=True)
class EncoderConfig(Config):
    """Everything that rebuilds an encoder; it stands in its file.

    first: i; size: (height, width) of the network's pictures, of img_channels; f (C, h, w) and
    r (3, h/2, w/2; None before block 3) as the network's block i takes them; styles of w_dim
    numbers from block i on. width: the small backbone's channels at stride 2.
    """

    backbone: str
    first: int
    size: tuple[int, int]
    img_channels: int
    f: tuple[int, int, int]
    r: tuple[int, int, int] | None
    styles: int
    w_dim: int
    width: int = WIDTH

    @classmethod
    def of(cls, network: Network, first: int, backbone: str, width: int = WIDTH) -> EncoderConfig:
        """For block `first` of a network; Usage where it has no such block."""
        try:
            cfg = need_blocks(network.g.cfg, f"an encoder of fw+{first}", network.family)
        except SampleError as e:
            raise Usage(str(e)) from None
        if not 1 <= first <= cfg.num_ws:
            raise Usage(f"--first {first}: {network.name} has the blocks 1 to {cfg.num_ws}")
        row: Row = table(cfg)[first - 1]
        styles = cfg.num_ws + 1 - first
        return cls(
            backbone, first, cfg.size, cfg.img_channels, row.f, row.r, styles, cfg.w_dim, width
        )

    def check(self) -> None:
        """ValueError where a file says what cannot be."""
        plausible([self.first, *self.size, self.img_channels, *self.f, *(self.r or ())])
        plausible([self.styles, self.w_dim, self.width])

    @property
    def factor(self) -> int:
        """By how much pictures are reduced before the backbone: max(1, resolution / 256)."""
        return reduction(self.size)

    def stride(self, height: int) -> float:
        """Pixels that the backbone sees per cell of a map that is `height` high."""
        return self.size[0] / self.factor / height

    @property
    def cell(self) -> int:
        """Pixels along which sizes of pictures may change: a cell of r, or else of f."""
        return self.size[0] // (self.r or self.f)[1]


@dataclass(frozen=True)
class Encoded:
    """What an encoder gives: f [N, C, h, w], r [N, 3, h/2, w/2] or None, w [N, K, w_dim]."""

    f: Tensor
    r: Tensor | None
    w: Tensor


class Encoder(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] -> Encoded.

    network: {name, id} of the generator. Outputs are mean + sd · head: the moments of the network's
    own f, r and w are buffers, and heads start at 0, so that a fresh encoder gives their means.
    """

    f_mean: Tensor
    f_sd: Tensor
    r_mean: Tensor
    r_sd: Tensor
    w_mean: Tensor
    w_sd: Tensor

    def __init__(self, config: EncoderConfig, network: Mapping[str, Any]) -> None:
        super().__init__()
        self.config, self.network = config, dict(network)
        self.f_stride = config.stride(config.f[1])
        self.r_stride = config.stride(config.r[1]) if config.r else self.f_stride
        seen = (config.size[0] // config.factor, config.size[1] // config.factor)
        self.reduce = backbones.reduced(config.factor)
        self.backbone = backbones.make(
            config.backbone, config.img_channels, seen, max(1, int(self.f_stride)), config.width
        )
        maps = self.backbone.maps
        for stride in (self.f_stride, self.r_stride):
            if stride not in maps:
                raise Usage(_no_map(config, seen, sorted(maps)))
        self.f = _head(nn.Conv2d(maps[int(self.f_stride)], config.f[0], 1))
        self._moments("f", (1, config.f[0], 1, 1))
        if config.r:
            self.r = _head(nn.Conv2d(maps[int(self.r_stride)], config.r[0], 1))
            self._moments("r", (1, config.r[0], 1, 1))
        self.s = _head(nn.Linear(self.backbone.pooled, config.styles * config.w_dim))
        self._moments("w", (1, 1, config.w_dim))

    def _moments(self, name: str, shape: tuple[int, ...]) -> None:
        self.register_buffer(f"{name}_mean", torch.zeros(shape))
        self.register_buffer(f"{name}_sd", torch.ones(shape))

    def start_at(self, own: Iterable[Encoded]) -> None:
        """Take the moments of a network's own latents: per channel of f and r, per number of w."""
        over = {"f": (0, 2, 3), "r": (0, 2, 3), "w": (0, 1)}
        sums: dict[str, list[Tensor]] = {}
        for part in own:
            for name, dims in over.items():
                x = getattr(part, name)
                if x is not None:
                    x = x.double()
                    count = torch.tensor(float(x.numel() // x.sum(dims).numel()))
                    now = [count, x.sum(dims, keepdim=True), x.square().sum(dims, keepdim=True)]
                    before = sums.get(name)
                    sums[name] = (
                        [a + b for a, b in zip(before, now, strict=True)] if before else now
                    )
        for name, (count, total, squares) in sums.items():
            mean = total / count
            sd = (squares / count - mean.square()).clamp_min(1e-12).sqrt()
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_sd").copy_(sd)

    @property
    def first(self) -> int:
        """i, the block that its features are for."""
        return self.config.first

    @property
    def network_id(self) -> str:
        """The identity of the network whose latents it gives."""
        return str(self.network.get("id"))

    def check(self, network: Network) -> None:
        """Usage where it was trained for another network."""
        wanted = EncoderConfig.of(network, self.first, self.config.backbone, self.config.width)
        must_fit(self.network, network, wanted == self.config)

    def forward(self, images: Tensor) -> Encoded:
        """Latents of pictures whose sides are multiples of `config.cell`; else ValueError."""
        cell, cfg = self.config.cell, self.config
        if images.shape[1] != cfg.img_channels or any(n % cell or not n for n in images.shape[2:]):
            raise ValueError(
                f"pictures {list(images.shape[1:])}: {cfg.img_channels} channels and sides that "
                f"are multiples of {cell} pixels are expected"
            )
        maps, vector = self.backbone(self.reduce(images))
        f = self.f(maps[int(self.f_stride)]) * self.f_sd + self.f_mean
        r = None
        if cfg.r:
            r = self.r(maps[int(self.r_stride)]) * self.r_sd + self.r_mean
        w = self.s(vector).unflatten(1, (cfg.styles, cfg.w_dim)) * self.w_sd + self.w_mean
        return Encoded(f, r, w)

    @property
    def space(self) -> str:
        """Of its latents."""
        return f"fw+{self.first}"

    @torch.no_grad()
    def latents(self, keys: Sequence[str], pictures: Tensor) -> list[Latent]:
        """The latents of pictures [N, C, H, W] in [-1, 1]; ValueError for sizes as in forward."""
        made = self(pictures)
        found = {"f": made.f, "r": made.r, "w": made.w}
        return [
            Latent(
                key,
                self.space,
                {n: t[i].float().cpu().numpy() for n, t in found.items() if t is not None},
                {"network": self.network},
            )
            for i, key in enumerate(keys)
        ]


def reduction(size: tuple[int, int]) -> int:
    """Pixels a side of a picture [height, width] that make one of what a backbone sees."""
    return 1 << max(0, int(math.log2(min(size) / LARGEST)))


def must_fit(named: Mapping[str, Any], network: Network, same: bool) -> None:
    """Usage where an encoder is not for a network.

    named: {name, id} of the network that it was trained for; same: whether it is shaped for it.
    """
    if not networks.fits(named, {**network.meta, "id": network.id}) or not same:
        raise Usage(
            f"an encoder for {named.get('name')} ({str(named.get('id'))[:12]}), not for "
            f"{network.name} ({network.id[:12]}): give its own network with --net"
        )


def _head(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _no_map(config: EncoderConfig, seen: tuple[int, int], strides: list[int]) -> str:
    wanted = told(config.f[1:]) + (" and " + told(config.r[1:]) if config.r else "")
    there = ", ".join(f"{seen[0] // s}x{seen[1] // s}" for s in strides)
    return (
        f"--first {config.first}: f and r are {wanted}, and --backbone {config.backbone} has maps "
        f"of {there} from a picture of {seen[0]}x{seen[1]}: choose another --first or --backbone"
    )
