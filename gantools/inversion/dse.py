"""The residual encoders of paper 004: a picture to w, to z, or to z and a class (S4.8-S4.10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from gantools.inversion.dse_blocks import Block, Cbn, Conv, Dense, Noise, Plan, Style
from gantools.inversion.encoder import must_fit
from gantools.io.latent import Latent
from gantools.networks.config import Config, plausible
from gantools.networks.network import Network
from gantools.report import Usage

ARCH = "dse"
WIDEST = 512  # channels at the bottom at most; the papers' are 512
FUSED_FROM = 128  # pixels: E_Blur's blocks halve with their second convolution (S4.8)
FAMILIES = ("pggan", "stylegan", "stylegan2", "biggan")


@dataclass(frozen=True)
class DseConfig(Config):
    """Everything that rebuilds an encoder; it stands in its file.

    size, img_channels: of the network's pictures; cells: of its first block. start, widest:
    channels at the picture's size and at most. num_ws, w_dim: the styles, 0 where it has none.
    z_dim: of z, 0 where it gives styles. c: BigGAN's condition, the last `condition` numbers of
    which are the class's embedding, on which its norms are conditioned too. psi: the truncation
    of the samples that it learned from, BigGAN's alone, with which its z are rendered. blur, fused:
    whether it is E_Blur, and how many of its blocks halve with their second convolution.
    """

    size: tuple[int, int]
    img_channels: int
    cells: tuple[int, int]
    start: int
    widest: int
    num_ws: int = 0
    w_dim: int = 0
    z_dim: int = 0
    c: int = 0
    condition: int = 0
    psi: float = 1.0
    cbn: Cbn = "batch"
    blur: bool = False
    fused: int = 0

    @classmethod
    def of(
        cls,
        network: Network,
        width: int | None = None,
        *,
        blur: bool = False,
        cbn: Cbn = "batch",
        psi: float = 1.0,
    ) -> DseConfig:
        """For a network; Usage for those that no encoder of this kind is for.

        width: channels at the first block's size, by default the network's own, 512 at most.
        """
        known = facts(network)
        (height, _), (cells, _) = known["size"], known["cells"]
        count = round(math.log2(height / cells)) + 1
        widest = width or min(WIDEST, network.g.cfg.widths[0])
        # 16 channels at 1024 pixels, 128 at 128 (S4.8): 512 from 32 pixels down.
        start = min(widest, max(1, widest * 8 >> (count - 1)))
        fused = sum(height >> i >= FUSED_FROM for i in range(count - 1)) if blur else 0
        own = psi if network.truncates_z else 1.0
        return cls(**known, start=start, widest=widest, psi=own, cbn=cbn, blur=blur, fused=fused)

    def check(self) -> None:
        """ValueError where a file says what cannot be."""
        plausible([*self.size, self.img_channels, *self.cells, self.start, self.widest])
        rest = [self.num_ws, self.w_dim, self.z_dim, self.c, self.condition, self.fused]
        plausible(rest, least=0)
        if not self.psi > 0 or not (self.w_dim or self.z_dim) or self.condition > self.c:
            raise ValueError("an impossible configuration")
        if self.w_dim and self.num_ws != 2 * self.halvings + 2:
            raise ValueError("an impossible configuration")
        if self.cbn not in get_args(Cbn) or self.size[0] != self.cells[0] << self.halvings:
            raise ValueError("an impossible configuration")

    @property
    def halvings(self) -> int:
        """How often the picture is halved; one block more than that."""
        return round(math.log2(self.size[0] / self.cells[0]))

    @property
    def space(self) -> str:
        """Of its latents."""
        return "w+" if self.w_dim else "zy" if self.condition else "z"

    def plans(self) -> list[Plan]:
        """The blocks, from the picture down."""
        found, inputs = [], self.start
        for i in range(self.halvings + 1):
            last = i == self.halvings
            outputs = inputs if last else min(2 * inputs, self.widest)
            added = not self.w_dim and not self.c
            found.append(
                Plan(
                    inputs, outputs, self.w_dim, self.condition, self.cbn, added, last, self.blur,
                    i < self.fused,
                )
            )  # fmt: skip
            inputs = outputs
        return found


@dataclass(frozen=True)
class Coded:
    """What an encoder gives: w [N, L, w_dim]; or z [N, z_dim] as the first layer reads it, and c.

    features [N, C, h, w]: its last map, which is as large as the network's first block (z_c).
    """

    features: Tensor
    w: Tensor | None = None
    z: Tensor | None = None
    c: Tensor | None = None

    @property
    def parts(self) -> list[Tensor]:
        """What stands for the picture."""
        return [part for part in (self.w, self.z, self.c) if part is not None]


class DseEncoder(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] -> Coded; without noise maps the same for equal pictures.

    network: {name, id} of the generator.
    """

    def __init__(self, config: DseConfig, network: Mapping[str, Any]) -> None:
        super().__init__()
        self.config, self.network = config, dict(network)
        self.from_rgb = Conv(config.img_channels, config.start, 1, bias=True)
        plans = config.plans()
        self.blocks = nn.ModuleList(Block(plan) for plan in plans)
        flat = plans[-1].outputs * math.prod(config.cells)
        if config.c:
            self.to_c = Dense(flat, config.c)
        if config.z_dim:
            self.to_z = Dense(config.c or flat, config.z_dim)

    def start_at(self, mean: Tensor) -> None:
        """Let a fresh encoder's styles begin around the mean w [w_dim]."""
        for layer in self.modules():
            if isinstance(layer, Style):
                layer.bias.data.copy_(mean)

    def noise_shapes(self) -> list[list[tuple[int, int]]]:
        """(height, width) of the noise maps that `forward` takes, block by block."""
        height, width = self.config.size
        return [
            block.noise_shapes((height >> i, width >> i))  # type: ignore[operator]
            for i, block in enumerate(self.blocks)
        ]

    def forward(
        self,
        images: Tensor,
        condition: Tensor | None = None,
        noise: Sequence[Noise] | None = None,
    ) -> Coded:
        """condition: class embeddings [N, condition] where it has class norms.

        noise: by block, as in `noise_shapes`; None: none. ValueError for pictures of another size.
        """
        cfg = self.config
        if images.shape[1:] != (cfg.img_channels, *cfg.size):
            raise ValueError(f"pictures {list(images.shape[1:])}: {cfg.size} are expected")
        if (condition is None) != (not cfg.condition):
            raise ValueError("an encoder with classes needs the picture's, another has none")
        x = functional.leaky_relu(self.from_rgb(images), 0.2)
        styles: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            x, own = block(x, None if noise is None else noise[i], condition)
            styles = own + styles  # the deepest stand in front: they are the coarsest
        if cfg.w_dim:
            return Coded(x, w=torch.stack(styles, 1))
        flat = x.flatten(1)
        c = self.to_c(flat) if cfg.c else None
        return Coded(x, z=self.to_z(flat if c is None else c), c=c)

    @property
    def space(self) -> str:
        """Of its latents."""
        return self.config.space

    @property
    def network_id(self) -> str:
        """The identity of the network whose latents it gives."""
        return str(self.network.get("id"))

    def check(self, network: Network) -> None:
        """Usage where it was trained for another network."""
        known = facts(network)
        same = all(getattr(self.config, name) == value for name, value in known.items())
        must_fit(self.network, network, same)

    @torch.no_grad()
    def latents(
        self, keys: Sequence[str], pictures: Tensor, condition: Tensor | None = None
    ) -> list[Latent]:
        """The latents of pictures [N, C, H, W] in [-1, 1]; as in `forward`."""
        made = self(pictures, condition)
        found: dict[str, Tensor] = {} if made.w is None else {"w": made.w}
        header: dict[str, Any] = {"network": self.network}
        if made.z is not None:
            found["z"] = made.z / self.config.psi
        if made.c is not None:
            found["y"] = made.c[:, -self.config.condition :]
            header["psi"] = self.config.psi
        return [
            Latent(
                key,
                self.space,
                {name: t[i].float().cpu().numpy() for name, t in found.items()},
                dict(header),
            )
            for i, key in enumerate(keys)
        ]


def facts(network: Network, arch: str = ARCH, families: Sequence[str] = FAMILIES) -> dict[str, Any]:
    """What a configuration takes from its network; Usage for those that it cannot be for.

    size, img_channels, cells, and num_ws and w_dim, or z_dim and where it has classes condition
    and c, as in DseConfig. families: those that encoders of --arch `arch` are for.
    """
    name, cfg, family = network.name, network.g.cfg, network.family
    if family not in families:
        raise Usage(f"--arch {arch}: {name} is a {family} network; it is for {', '.join(families)}")
    if network.starts_from_features:
        raise Usage(f"--arch {arch}: {name} starts from sampled features, which it does not give")
    if getattr(cfg, "lod", 0):
        raise Usage(f"--arch {arch}: {name} was saved while it was growing (lod {cfg.lod:g})")
    known = {"size": tuple(cfg.size), "img_channels": cfg.img_channels, "cells": cfg.first_block}
    if network.has_w:
        return known | {"num_ws": network.g.num_ws, "w_dim": cfg.w_dim}
    if family == "pggan" and cfg.c_dim:
        raise Usage(f"--arch {arch}: {name} has classes beside z, which it does not give")
    known["z_dim"] = cfg.z_dim
    if family == "biggan" and cfg.embedded:
        return known | {"condition": cfg.embedded, "c": cfg.condition if cfg.deep else cfg.embedded}
    return known
