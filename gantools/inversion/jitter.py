"""Noise on the styles while they are optimised: each picture has a stream of its own (S2.12)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gantools.inversion.optimise import Jitter, Tensors
from gantools.io.seeds import derive
from gantools.networks.network import Network


def jitter(network: Network, space: str, seed: int, keys: Sequence[str], w_std: float) -> Jitter:
    """Noise of w_std times a strength, the same in all cells of a map; of z in its spaces.

    The streams of pictures come from (seed, key).
    """
    streams = [torch.Generator().manual_seed(derive(seed, k, "w-noise")) for k in keys]
    in_z = "z" in space
    dim = network.g.cfg.z_dim if in_z else network.g.cfg.w_dim

    def jittered(step: int, tensors: Tensors, strength: float) -> Tensors:
        if in_z:
            rows = 1
        else:
            styles = sum(n[0] == "s" for n in tensors)
            rows = tensors["w"].shape[1] if "w" in tensors else styles
        drawn = torch.stack([torch.randn(rows, dim, generator=s) for s in streams])
        noise = drawn.to(network.device) * (w_std * strength)
        each = iter(noise.unbind(1))
        moved = {n: t + next(each)[..., None, None] for n, t in tensors.items() if n[0] == "s"}
        if in_z:
            moved["z"] = tensors["z"] + noise[:, 0]
        if "w" in tensors:
            moved["w"] = tensors["w"] + noise
        return tensors | moved

    return jittered
