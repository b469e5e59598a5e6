"""From latents to pictures: batches of latents of one space through the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gantools.io.latent import Latent
from gantools.latents import spatial
from gantools.latents.inputs import check_class, noise_maps, of_z, styles
from gantools.networks.network import Network
from gantools.report import SampleError, Usage


@torch.no_grad()
def images(
    network: Network,
    latents: Sequence[Latent],
    *,
    psi: float | None = None,
    cutoff: int | None = None,
    noise: str = "const",
    noise_layers: Sequence[int] | None = None,
    seed: int = 0,
) -> Tensor:
    """The pictures of latents, [N, C, H, W] float32, about [-1, 1].

    psi, cutoff as in `styles`; noise, noise_layers and seed as in `noise_maps`. Latents with
    features or style maps have to give pictures of one size (ValueError).
    """
    if any(latent.spatial for latent in latents):
        if not all(latent.spatial for latent in latents):
            raise ValueError("latents with and without features or style maps in one batch")
        own = [spatial.with_w(network, latent, psi, cutoff) for latent in latents]
        return torch.cat([spatial.picture(network, x, noise, seed, noise_layers) for x in own])
    if not network.has_w:
        return _from_z(network, latents, psi)
    ws = styles(network, latents, psi, cutoff)
    if not network.g.noise_shapes:  # StyleGAN3
        return network.g.synthesis(ws, dtype=network.dtype)
    plain = noise_layers is None and not any(latent.noise for latent in latents)
    if plain and noise in {"const", "none"}:
        return network.g.synthesis(ws, noise, dtype=network.dtype)
    maps = noise_maps(network, latents, noise, seed, noise_layers)
    return network.g.synthesis(ws, maps, dtype=network.dtype)


def _from_z(network: Network, latents: Sequence[Latent], psi: float | None) -> Tensor:
    for latent in latents:
        check_z(network, latent, psi)
    own_psi: dict[str, Any] = {}
    if network.truncates_z:
        own_psi["psi"] = [latent.truncation[0] if psi is None else psi for latent in latents]
    z, labels = zip(*(of_z(network, latent) for latent in latents), strict=True)
    own = [label for label in labels if label is not None]
    label = torch.cat(own) if own else None
    return network.g(torch.cat(z), label, dtype=network.dtype, **own_psi)  # type: ignore[no-any-return]


def check_z(network: Network, latent: Latent, psi: float | None = None) -> None:
    """SampleError where a network without w cannot render the latent as it is meant."""
    check_class(network, latent)
    if latent.space not in {"z", "zy"}:
        raise SampleError(f"a {latent.space} latent, and {network.family} networks have z and no w")
    psi = latent.truncation[0] if psi is None else psi
    if network.truncates_z:
        try:
            network.check_psi(psi, "its psi is")
        except Usage as e:
            raise SampleError(str(e)) from None
    elif psi != 1:
        raise SampleError(
            f"its psi is {psi:g}, and {network.family} networks have no w to truncate"
        )
