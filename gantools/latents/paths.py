"""Neighbouring latents on paths, and how far their pictures are apart (papers.md S0.17).

Karras et al. 2019, section 4.1: E[d(G(p(t)), G(p(t + eps))) / eps²] over pairs of latents, p an arc
in z or a line in w, t uniform in [0, 1) (full) or 0 (end).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from gantools.io.latent import Latent
from gantools.io.seeds import derive
from gantools.latents import spatial
from gantools.latents.inputs import drawn, styles
from gantools.latents.mixing import slerp
from gantools.latents.render import images
from gantools.latents.sampled import completed
from gantools.networks.network import Network

PATHS = ("zfull", "wfull", "zend", "wend")
EPSILON = 1e-4

Distance = Callable[[Tensor, Tensor], Tensor]
"""Pictures [N, C, H, W] and [N, C, H, W] -> their distances [N]."""


@dataclass(frozen=True)
class Pair:
    """Two latents between which paths go: z [2, z_dim], one class y [c_dim], one noise, and t."""

    key: str
    z: np.ndarray
    y: np.ndarray
    noise: dict[str, np.ndarray]
    t: float
    seed: int = 0


def pair(network: Network, index: int, seed: int = 0) -> Pair:
    """The pair `index`; its class is uniform. What it is depends on (seed, index) alone."""
    key = f"pair{index:06d}"
    rng = np.random.default_rng(derive(seed, key, "path length"))
    z = rng.standard_normal((2, network.g.cfg.z_dim), dtype=np.float32)
    y = np.zeros(network.g.cfg.c_dim, np.float32)
    t = float(rng.random())
    if len(y):
        y[rng.integers(len(y))] = 1
    noisy = network.g.noise_shapes and not network.starts_from_features  # those draw it below
    maps = enumerate(drawn(network, key, seed), 1) if noisy else ()
    return Pair(key, z, y, {f"n.{j}": n.numpy() for j, n in maps}, t, seed)


def ends(network: Network, between: Pair, path: str, epsilon: float) -> tuple[Latent, Latent]:
    """The latents at t and t + epsilon of the path `path`, which share all else.

    An arc has the length √z_dim that N(0, I) has, where NVIDIA's has 1: to networks that normalise
    z it is the same, and others know no other length.
    """
    t = between.t if path.endswith("full") else 0.0
    a, b = (_latent(network, between, z) for z in between.z)
    if path.startswith("w"):
        return _on_line(a, b, t), _on_line(a, b, t + epsilon)
    units = between.z.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    radius = units.shape[1] ** 0.5
    points = [radius * slerp(units[0], units[1], at) for at in (t, t + epsilon)]
    start, end = (_latent(network, between, z.astype(np.float32)) for z in points)
    return start, end


def _latent(network: Network, between: Pair, z: np.ndarray) -> Latent:
    """A z of the pair as the network renders it: in w+ with noise, where it has w."""
    y = {"y": between.y} if len(between.y) else {}
    latent = Latent(between.key, "zy" if y else "z", {"z": z, **y}, {"psi": 1.0})
    if network.starts_from_features:
        return spatial.with_w(network, completed(network, latent, seed=between.seed))
    if not network.has_w:
        return latent
    w = styles(network, [latent], psi=1.0)[0].cpu().numpy()
    return replace(
        latent, space="nw+" if between.noise else "w+", tensors={"w": w, **between.noise}
    )


def _on_line(a: Latent, b: Latent, t: float) -> Latent:
    start, end = (x.tensors["w"].astype(np.float64) for x in (a, b))
    w = (start + t * (end - start)).astype(np.float32)
    return replace(a, tensors={**a.tensors, "w": w})


@torch.no_grad()
def lengths(
    network: Network,
    pairs: Iterable[Pair],
    paths: Sequence[str],
    distance: Distance,
    *,
    epsilon: float = EPSILON,
    batch: int = 64,
) -> Iterator[np.ndarray]:
    """distance / epsilon² on every path: rows [n, len(paths)] in the order of the pairs.

    In float32, as pictures come from the network: neither rounded nor clamped. Distances of
    neighbours are small differences, in which a rounding shows; so on a CPU pairs are compared one
    by one, and no batch changes them.
    """
    incoming = iter(pairs)
    while group := [*islice(incoming, max(1, batch // 2))]:
        columns = [_distances(network, group, path, distance, epsilon) for path in paths]
        yield torch.stack(columns, dim=1).double().cpu().numpy() / epsilon**2


def _distances(
    network: Network, group: Sequence[Pair], path: str, distance: Distance, epsilon: float
) -> Tensor:
    sides = zip(*(ends(network, one, path, epsilon) for one in group), strict=True)
    # TF32, a GPU's way with convolutions unless it is told, would drown what is between neighbours.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        a, b = (images(network, [*side], noise="none") for side in sides)  # but their own
        at_once = 1 if network.device == "cpu" else len(group)
        parts = zip(a.split(at_once), b.split(at_once), strict=True)
        return torch.cat([distance(x, y) for x, y in parts])
