"""What a network takes of latents: w and noise maps, as tensors on its device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gantools.io.latent import Latent
from gantools.io.seeds import derive
from gantools.networks.network import Network
from gantools.report import SampleError


def styles(
    network: Network,
    latents: Sequence[Latent],
    psi: float | None = None,
    cutoff: int | None = None,
) -> Tensor:
    """ws [N, L, w_dim] of latents in z, w, w+ and their noise variants.

    psi and cutoff truncate z; without psi each latent's own header does. A w stays what it is.
    """
    if not network.has_w:
        raise SampleError(f"{network.name} is a {network.family} network, which has z and no w")
    rows = [_styles(network, latent, psi, cutoff) for latent in latents]
    return torch.cat(rows)


def _styles(network: Network, latent: Latent, psi: float | None, cutoff: int | None) -> Tensor:
    # One latent at a time: a matrix product over a batch rounds differently from one over a row.
    check_class(network, latent)
    tensors = latent.tensors
    if "z" in tensors:
        z, label = of_z(network, latent)
        if psi is None:
            psi, cutoff = latent.truncation
        return network.g.mapping(z, label, psi, cutoff)
    if latent.spatial or "w" not in tensors:
        raise SampleError(f"a {latent.space} latent has no styles for all layers of the network")
    w = torch.from_numpy(np.ascontiguousarray(tensors["w"])).to(network.device)
    return w.expand(network.g.num_ws, -1)[None]


def of_z(network: Network, latent: Latent) -> tuple[Tensor, Tensor | None]:
    """z [1, z_dim] and, where the latent has one, its label [1, c_dim]."""
    z = torch.from_numpy(latent.tensors["z"]).to(network.device)[None]
    y = latent.tensors.get("y")
    return z, None if y is None else torch.from_numpy(y).to(network.device)[None]


def noise_maps(
    network: Network,
    latents: Sequence[Latent],
    mode: str = "const",
    seed: int = 0,
    layers: Sequence[int] | None = None,
) -> list[Tensor | None]:
    """A map [N, 1, H, W] for every layer with noise: the latent's own, or else by mode.

    const: the stored maps; random: N(0, 1) from (seed, key); none. `layers` (0-based) keeps noise
    in these layers only (S0.13).
    """
    shapes = network.g.noise_shapes
    keep = range(len(shapes)) if layers is None else set(layers)
    stored = [n.noise_const for n in network.g.synthesis.layers()] if mode == "const" else []
    per_sample = [_noise_of(network, latent, mode, seed, stored) for latent in latents]
    maps: list[Tensor | None] = []
    for i in range(len(shapes)):
        if i not in keep or all(own[i] is None for own in per_sample):
            maps.append(None)
            continue
        found = [own[i] for own in per_sample]
        zero = torch.zeros(1, *shapes[i], device=network.device)
        maps.append(torch.stack([zero if one is None else one for one in found]))
    return maps


def _noise_of(
    network: Network, latent: Latent, mode: str, seed: int, stored: Sequence[Tensor]
) -> list[Tensor | None]:
    own = latent.noise
    random = drawn(network, latent.key, seed) if mode == "random" else []
    maps: list[Tensor | None] = []
    for i in range(len(network.g.noise_shapes)):
        if i + 1 in own:
            maps.append(torch.from_numpy(own[i + 1]).to(network.device))
        elif mode == "const":
            maps.append(stored[i][None])
        else:
            maps.append(random[i].to(network.device) if random else None)
    return maps


def drawn(network: Network, key: str, seed: int) -> list[Tensor]:
    """N(0, 1) from (seed, key) for every layer with noise, [1, H, W] on the CPU."""
    generator = torch.Generator().manual_seed(derive(seed, key, "noise"))
    return [torch.randn(1, h, w, generator=generator) for h, w in network.g.noise_shapes]


def check_class(network: Network, latent: Latent) -> None:
    """SampleError where a conditional network's z has no class."""
    if network.g.cfg.c_dim and "z" in latent.tensors and "y" not in latent.tensors:
        raise SampleError("a conditional network needs a class, and this latent has none")
