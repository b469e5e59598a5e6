"""Latents of networks that start from sampled features: FNZ_i of a z (papers.md S2.20-S2.22)."""

from __future__ import annotations

import numpy as np
import torch

from gantools.io.latent import Latent
from gantools.io.seeds import derive
from gantools.io.space import Size, scaled
from gantools.latents.drawn import Draw, DrawnLatent, features
from gantools.latents.spatial import noise_maps
from gantools.networks.network import Network
from gantools.networks.stylegan2_tiles import cell
from gantools.report import SampleError, Usage


def completed(
    network: Network,
    latent: Latent,
    *,
    noise: str = "random",
    seed: int = 0,
    size: Size | None = None,
    key: str | None = None,
) -> Latent:
    """A z latent of a network that starts from features in fnzI; every other latent as it is.

    As in `drawn`, and all of it there.
    """
    return whole(network, drawn(network, latent, noise=noise, seed=seed, size=size, key=key))


def drawn(
    network: Network,
    latent: Latent,
    *,
    noise: str = "random",
    seed: int = 0,
    size: Size | None = None,
    key: str | None = None,
) -> Latent:
    """A z latent of a network that starts from features in fnzI; every other latent as it is.

    f follows from (seed, key) as in training, r is 0, and the noise maps are those of the mode;
    nothing of them is there yet where they have another size than the network's.
    size: of the picture in cells of f; None is the network's own. key: whose f and noise it has, by
    default its own.
    """
    if not network.starts_from_features or latent.space not in {"z", "zy"}:
        return latent
    network.check(latent)
    cfg = network.g.cfg
    own = cfg.features[1:]
    draw = Draw(seed, key or latent.key, size or own, noise)
    space = f"fnz{cfg.fnz}"
    made = DrawnLatent(latent.key, space, latent.tensors, latent.header, draw=draw)
    return whole(network, made) if draw.size == own else made


@torch.no_grad()
def whole(network: Network, latent: Latent) -> Latent:
    """A drawn latent in fnzI with all of its f, r and noise maps; every other latent as it is."""
    if not isinstance(latent, DrawnLatent):
        return latent
    draw, first, (height, width) = latent.draw, latent.first, latent.draw.size
    tensors = {**latent.tensors, "f": _features(network, draw)}
    if first > 2 and not (height % 2 or width % 2):
        tensors["r"] = np.zeros((network.channels, height // 2, width // 2), np.float32)
    for j, n in enumerate(noise_maps(network, latent), first):
        shape = scaled(draw.size, first, j + 1)
        tensors[f"n.{j}"] = np.zeros((1, *shape), np.float32) if n is None else n[0].cpu().numpy()
    return Latent(latent.key, latent.space, tensors, latent.header)


def _features(network: Network, draw: Draw) -> np.ndarray:
    if draw.size != network.g.cfg.features[1:]:
        height, width = draw.size
        return features(network, draw.seed, draw.key, ((0, height), (0, width)))[0].numpy()
    generator = torch.Generator().manual_seed(derive(draw.seed, draw.key, "features"))
    return network.g.sampled(1, generator)[0].numpy()


def writable(latent: Latent) -> Latent:
    """The latent; SampleError where its r would be half a cell larger or smaller than it can be."""
    if latent.first > 2 and "f" in latent.tensors and "r" not in latent.tensors:
        height, width = latent.tensors["f"].shape[1:]
        raise SampleError(
            f"its f would be {height}x{width}, and r is half as high and wide: latents need an "
            "even number of cells"
        )
    return latent


def cells(network: Network, size: Size) -> Size:
    """The cells (h, w) of f that make a picture of `size` pixels (S2.22); Usage where none do."""
    if not network.starts_from_features:
        raise Usage(
            f"--size: {network.name} starts from a constant, so its pictures have one size, "
            f"{network.size[0]}x{network.size[1]}; networks of train stylegan2 --fnz have any"
        )
    cfg = network.g.cfg
    each = cell(cfg, cfg.fnz)
    if size[0] % each or size[1] % each:
        near = "x".join(str(max(round(n / each), 1) * each) for n in size)
        raise Usage(
            f"--size {size[0]}x{size[1]}: a cell of F_{cfg.fnz} makes {each} pixels, so both sides "
            f"are multiples of {each}; the nearest is {near}"
        )
    return size[0] // each, size[1] // each
