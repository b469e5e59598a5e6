"""Standing statistics of BigGAN: batch norm's moments measured anew (Brock et al. 2019, 2; 2d)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools.io import seeds
from gantools.networks.batch_norm import Moments
from gantools.networks.biggan import Generator
from gantools.networks.spectral_norm import SpectralNorm

Draw = Callable[[Any, int, int], tuple[Tensor, Tensor | None]]


def drawn(cfg: Any, seed: int, count: int) -> tuple[Tensor, Tensor | None]:
    """z [count, z_dim] as generate draws it, psi 1, and labels of classes drawn uniformly."""
    random = np.random.RandomState(seed % 2**32)
    z = seeds.truncated(random.standard_normal((count, cfg.z_dim)))
    if not cfg.c_dim:
        return torch.from_numpy(z), None
    return torch.from_numpy(z), torch.eye(cfg.c_dim)[random.randint(cfg.c_dim, size=count)]


@torch.no_grad()
def standing(
    g: Generator, rows: int, num: int, batch: int, seed: int = 0, *, draw: Draw = drawn
) -> Generator:
    """The generator with moments of its own pictures: a row for each psi of 0, …, 1, or psi 1's.

    Of each row the mean moments of `num` pictures in batches of `batch`; the last one is whole too.
    The weights stay. The rows are of the same pictures but for psi.
    """
    cfg = g.cfg
    plain = Generator(replace(cfg, n_stats=1)).to(next(g.parameters()).device)
    kept = g.state_dict()
    state = {n: kept[n] if v.shape == kept[n].shape else v for n, v in plain.state_dict().items()}
    plain.load_state_dict(state)
    psis = [i / (rows - 1) for i in range(rows)] if rows > 1 else [1.0]
    tables = [_moments(plain, psi, num, batch, seed, draw) for psi in psis]
    made = Generator(replace(cfg, n_stats=rows, peer_rows=False)).to(next(g.parameters()).device)
    found = {n: torch.stack([table[n] for table in tables]) for n in tables[0]}
    whole = plain.state_dict() | {n: v if rows > 1 else v[0] for n, v in found.items()}
    made.load_state_dict(whole)
    return made.eval().requires_grad_(False)


def _moments(
    g: Generator, psi: float, num: int, batch: int, seed: int, draw: Draw
) -> dict[str, Tensor]:
    """mean and var of every batch norm, by the names of the state."""
    g.train()
    norms = {n: m for n, m in g.named_modules() if isinstance(m, Moments)}
    for module in g.modules():
        if isinstance(module, SpectralNorm):  # the weights are to stay what they are
            module.eval()
    device = next(g.parameters()).device
    for k in range(1, -(-num // batch) + 1):
        for norm in norms.values():
            norm.momentum = 1 / k  # running means of momentum 1/k are means of all so far
        z, label = draw(g.cfg, seeds.derive(seed, str(k), "standing"), batch)
        g(z.to(device) * psi, None if label is None else label.to(device))
    return {
        f"{name}.{part}": getattr(norm, part).clone()
        for name, norm in norms.items()
        for part in ("mean", "var")
    }
