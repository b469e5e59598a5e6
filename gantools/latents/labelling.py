"""Labels of generated samples, and what a direction really does to them (S2.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from gantools.io.seeds import derive
from gantools.networks.network import Network

Read = Callable[[Tensor], Tensor]
"""Pictures [N, C, H, W] in about [-1, 1] -> labels [N, K]."""


@torch.no_grad()
def sample_w(network: Network, count: int, *, seed: int = 0, batch: int = 256) -> np.ndarray:
    """w [count, w_dim] float32 of seeded z, psi 1; classes at random where the network has some."""
    made = []
    for start in range(0, count, batch):
        indices = range(start, min(start + batch, count))
        z, label = zip(*(_draw(network, seed, i) for i in indices), strict=True)
        labels = torch.from_numpy(np.stack(label)) if network.g.cfg.c_dim else None
        ws = network.g.mapping(
            torch.from_numpy(np.stack(z)).to(network.device),
            None if labels is None else labels.to(network.device),
        )
        made.append(ws[:, 0].float().cpu().numpy())
    return np.concatenate(made)


def _draw(network: Network, seed: int, i: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(derive(seed, f"sample {i}", "direction"))
    z = rng.standard_normal(network.g.cfg.z_dim, dtype=np.float32)
    label = np.zeros(network.g.cfg.c_dim, np.float32)
    if len(label):
        label[rng.integers(len(label))] = 1
    return z, label


@torch.no_grad()
def labels_of(
    network: Network, w: np.ndarray, read: Read, *, batch: int = 32, shift: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Labels [n, K], batch by batch, of the pictures of w [N, w_dim] + shift [dim] or [L, dim]."""
    rows = 0 if shift is None else torch.from_numpy(np.atleast_2d(shift).astype(np.float32))
    for start in range(0, len(w), batch):
        part = torch.from_numpy(w[start : start + batch])[:, None].expand(-1, network.g.num_ws, -1)
        images = network.g.synthesis((part + rows).to(network.device), dtype=network.dtype)
        yield read(images).cpu().numpy()


def response(
    network: Network,
    w: np.ndarray,
    read: Read,
    vector: np.ndarray,
    *,
    layers: Sequence[int] | None = None,
    batch: int = 32,
) -> np.ndarray:
    """Mean change of every label [K] per strength 1 of `vector`, by central differences at w."""
    shift = np.broadcast_to(np.atleast_2d(vector), (network.g.num_ws, w.shape[1])).copy()
    if layers is not None:
        shift[[i for i in range(len(shift)) if i not in set(layers)]] = 0
    up = np.concatenate(list(labels_of(network, w, read, batch=batch, shift=shift)))
    down = np.concatenate(list(labels_of(network, w, read, batch=batch, shift=-shift)))
    return (up - down).mean(axis=0) / 2
