"""Where a projection starts: w of the network's own, their mean and how far they stray from it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Mapping = Callable[[Tensor, Tensor | None], Tensor]  # z [N,z_dim], label -> ws [N,L,w_dim]


@torch.no_grad()
def own_w(
    mapping: Mapping,
    z_dim: int,
    *,
    c_dim: int = 0,
    count: int = 10_000,
    seed: int = 123,
    device: str = "cpu",
) -> Tensor:
    """w [count, w_dim] of `count` z of RandomState(seed), psi 1 (S2.12).

    A conditional network (c_dim > 0) gets its classes in turn.
    """
    z = torch.from_numpy(np.random.RandomState(seed).randn(count, z_dim).astype(np.float32))
    parts = []
    for first in range(0, count, 1000):
        part = z[first : first + 1000].to(device)
        turn = torch.arange(first, first + len(part), device=device)
        label = torch.eye(c_dim, device=device)[turn % c_dim] if c_dim else None
        parts.append(mapping(part, label)[:, 0])
    return torch.cat(parts)


def statistics(w: Tensor) -> tuple[Tensor, float]:
    """(mean w [w_dim], deviation) of w [N, w_dim] (S2.12).

    The deviation is √(mean over samples of Σ over dimensions (w − mean)²).
    """
    exact = w.double()
    mean = exact.mean(0)
    deviation = math.sqrt(float((exact - mean).square().sum()) / len(w))
    return mean.float(), deviation


def normal(seed: int, shape: tuple[int, ...], device: str) -> Tensor:
    """N(0,1) numbers of their own seed, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(device)
