"""What encoders of whole latents learn from: the generator's own samples (papers.md S4.12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gantools.io.seeds import derive, truncated
from gantools.networks.network import Network


class Drawing(Protocol):
    """Settings of a training that say which samples are drawn.

    psi, cutoff: their truncation. samples: so many alone, over and over; 0: always new ones.
    """

    @property
    def seed(self) -> int: ...

    @property
    def psi(self) -> float: ...

    @property
    def cutoff(self) -> int | None: ...

    @property
    def samples(self) -> int: ...


def usual_truncation(network: Network) -> tuple[float, int | None]:
    """psi and cutoff of S4.12: 0.7 in 8 layers of StyleGAN2 and half of StyleGAN1's; BigGAN 0.4."""
    if network.truncates_z:
        return 0.4, None
    if not network.has_w:
        return 1.0, None
    count: int = network.g.num_ws
    return 0.7, count // 2 if network.family == "stylegan" else min(8, count)


@dataclass(frozen=True)
class Sample:
    """What an encoder should say, the class embeddings that it is told, pictures [N, C, H, W]."""

    parts: list[Tensor]
    condition: Tensor | None
    images: Tensor


@torch.no_grad()
def draw(network: Network, config: Drawing, numbers: range) -> Sample:
    """The network's samples of these numbers (S4.12), at psi and cutoff.

    Every random number of sample n comes from (seed, n). Those below 0 never repeat.
    """
    cfg, device = network.g.cfg, network.device
    drawn, classes = [], []
    for n in numbers:
        own = n % config.samples if config.samples and n >= 0 else n
        generator = torch.Generator().manual_seed(derive(config.seed, str(own), "encoder"))
        drawn.append(torch.randn(cfg.z_dim, generator=generator))
        classes.append(int(torch.randint(max(1, cfg.c_dim), (), generator=generator)))
    z = torch.stack(drawn)
    if network.truncates_z:
        z = torch.from_numpy(np.asarray(truncated(z.numpy())))
    z = z.to(device)
    label = torch.eye(cfg.c_dim, device=device)[classes] if cfg.c_dim else None
    if network.has_w:
        w = network.g.mapping(z, label, config.psi, config.cutoff)
        return Sample([w], None, network.g.synthesis(w, "const", dtype=network.dtype))
    if not network.truncates_z:
        return Sample([z], None, network.g(z, dtype=network.dtype))
    images = network.g(z, label, psi=config.psi, dtype=network.dtype)
    z = z * config.psi
    if label is None:
        return Sample([z], None, images)
    y = network.g.embedded(label)
    return Sample([z, torch.cat([z, y], 1) if cfg.deep else y], y, images)
