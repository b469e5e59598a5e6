"""How a network's own latents are distributed: the targets of S2.18 and S2.19."""

from __future__ import annotations

import torch
from torch import Tensor

from gantools.io.seeds import derive
from gantools.io.space import scaled
from gantools.latents.labelling import sample_w
from gantools.networks.network import Network
from gantools.networks.stylegan2_blocks import State, advance, first
from gantools.networks.stylegan2_latents import need_blocks
from gantools.ops.quantiles import Distribution, Pool

STYLES = 4096  # z of the target of w
FEATURES = 1024  # of those of F and R, which have far more numbers each
BATCH = 32


def of_styles(network: Network, *, count: int = STYLES, seed: int = 0) -> Distribution:
    """The scalars of W, psi 1."""
    return Distribution.of(sample_w(network, count, seed=seed))


@torch.no_grad()
def of_features(
    network: Network, block: int, *, count: int = FEATURES, seed: int = 0
) -> dict[str, Distribution]:
    """The scalars of `f` and, where there is one, `r` in front of a block; in bounded memory.

    Of w that the network maps, with new noise for each in the blocks before. SampleError where
    the family has no such blocks.
    """
    need_blocks(network.g.cfg, "a space with features", network.family)
    rows = torch.from_numpy(sample_w(network, count, seed=seed)).to(network.device)
    pools: dict[str, Pool] = {}
    for i, w in enumerate(rows.split(BATCH)):
        state = _before(network, w, block, derive(seed, f"target {i}", "noise"))
        for part, values in (("f", state.f), ("r", state.r)):
            if values is not None:
                pools.setdefault(part, Pool()).update(values.float().cpu().numpy())
    return {part: pool.distribution() for part, pool in pools.items()}


def _before(network: Network, w: Tensor, block: int, seed: int) -> State:
    """What stands in front of a block for each w [N, w_dim]."""
    g = torch.Generator().manual_seed(seed)
    start = _start(network, len(w), g)
    size = (start.f.shape[2], start.f.shape[3])
    passed = range(start.index, block)
    sizes = [scaled(size, start.index, j + 1) for j in passed]
    noise = [torch.randn(len(w), 1, *n, generator=g).to(network.device) for n in sizes]
    return advance(network.g.synthesis, start, [w] * len(passed), noise, dtype=network.dtype)


def _start(network: Network, count: int, g: torch.Generator) -> State:
    """The constant, or sampled features with an r of 0 (S2.20)."""
    cfg = network.g.cfg
    if not network.starts_from_features:
        return first(network.g.synthesis, count)
    f = network.g.sampled(count, g)
    half = (count, cfg.img_channels, f.shape[2] // 2, f.shape[3] // 2)
    return State(cfg.fnz, f, torch.zeros(half, device=f.device) if cfg.fnz > 2 else None)
