"""From latents to pictures: batches of latents of one space through the network."""

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
    _check_renderable(network, latent)
    tensors = latent.tensors
    if "z" in tensors:
        z, label = _inputs(network, latent)
        if psi is None:
            psi, cutoff = latent.truncation
        return network.g.mapping(z, label, psi, cutoff)
    w = torch.from_numpy(np.ascontiguousarray(tensors["w"])).to(network.device)
    return w.expand(network.g.num_ws, -1)[None]


def _inputs(network: Network, latent: Latent) -> tuple[Tensor, Tensor | None]:
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
    generator = torch.Generator().manual_seed(derive(seed, latent.key, "noise"))
    maps: list[Tensor | None] = []
    for i, (h, w) in enumerate(network.g.noise_shapes):
        drawn = torch.randn(1, h, w, generator=generator) if mode == "random" else None
        if i + 1 in own:
            maps.append(torch.from_numpy(own[i + 1]).to(network.device))
        elif mode == "const":
            maps.append(stored[i][None])
        else:
            maps.append(None if drawn is None else drawn.to(network.device))
    return maps


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

    psi, cutoff as in `styles`; noise, noise_layers and seed as in `noise_maps`.
    """
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
    z, labels = zip(*(_inputs(network, latent) for latent in latents), strict=True)
    own = [label for label in labels if label is not None]
    return network.g(torch.cat(z), torch.cat(own) if own else None, dtype=network.dtype)  # type: ignore[no-any-return]


def check_z(network: Network, latent: Latent, psi: float | None = None) -> None:
    """SampleError where a network without w cannot render the latent as it is meant."""
    _check_renderable(network, latent)
    if "z" not in latent.tensors:
        raise SampleError(f"a {latent.space} latent, and {network.family} networks have z and no w")
    psi = latent.truncation[0] if psi is None else psi
    if psi != 1:
        raise SampleError(
            f"its psi is {psi:g}, and {network.family} networks have no w to truncate"
        )


def _check_renderable(network: Network, latent: Latent) -> None:
    """SampleError where the latent has no styles for this network."""
    if not {"z", "w"} & set(latent.tensors):
        raise SampleError(f"latents of the space {latent.space} are not rendered by this version")
    if network.g.cfg.c_dim and "z" in latent.tensors and "y" not in latent.tensors:
        raise SampleError("a conditional network needs a class, and this latent has none")
