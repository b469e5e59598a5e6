"""How a network's own latents are distributed: the targets of S2.18 and S2.19."""

from __future__ import annotations

import torch

from gantools.io.latent import Latent
from gantools.latents.distribution import parts, scalars
from gantools.latents.labelling import sample_w
from gantools.latents.source import NetworkSource
from gantools.latents.spaces import convert
from gantools.networks.network import Network
from gantools.ops.quantiles import Distribution, Pool

STYLES = 4096  # z of the target of w
FEATURES = 1024  # of those of F and R, which have far more numbers each


def of_styles(network: Network, *, count: int = STYLES, seed: int = 0) -> Distribution:
    """The scalars of W, psi 1."""
    return Distribution.of(sample_w(network, count, seed=seed))


@torch.no_grad()
def of_features(
    network: Network, first: int, *, count: int = FEATURES, seed: int = 0
) -> dict[str, Distribution]:
    """The scalars of `f` and, where there is one, `r` in front of block `first`.

    Of w that the network maps, with new noise for each in the blocks before. SampleError where
    the family has no such blocks.
    """
    source = NetworkSource(network, noise_mode="random", seed=seed)
    pools: dict[str, Pool] = {}
    for i, w in enumerate(sample_w(network, count, seed=seed)):
        made = convert(Latent(f"target {i}", "w", {"w": w[None]}), f"fnw+{first}", source)
        for part, names in parts(made).items():
            if part != "w":
                pools.setdefault(part, Pool()).update(scalars(made, names))
    return {part: pool.distribution() for part, pool in pools.items()}
