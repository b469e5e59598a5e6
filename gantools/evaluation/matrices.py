"""Matrices of features: whole, and their products in tiles that a processor's caches hold.

Products of float32 are oneDNN's, which compiles its kernels for the processor that it finds. The
BLAS of numpy and of torch know fewer processors, and take twice to four times as long on others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

TILE = 512  # rows


def whole(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """All features of blocks [n, D] as one array [N, D]; of a single block no copy is made."""
    every = [*blocks]
    if len(every) == 1:
        return every[0]
    return np.concatenate(every) if every else np.zeros((0, 1), np.float32)


def spans(count: int) -> list[slice]:
    """The rows of each tile of `count` rows, in order; the last may be shorter."""
    return [slice(at, min(at + TILE, count)) for at in range(0, count, TILE)]


def tile(rows: np.ndarray) -> Tensor:
    """Features [n, D] as `product` takes them; laid out anew where oneDNN does the work."""
    x = torch.from_numpy(rows)
    if x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return x.to_mkldnn()
    return x


def product(a: Tensor, b: Tensor) -> Tensor:
    """x·y of all rows of two tiles [n, D] and [m, D] in their precision, dense [n, m]."""
    if a.is_mkldnn:
        return functional.linear(a, b).to_dense()
    return a @ b.T


def products(a: Sequence[Tensor], b: Sequence[Tensor]) -> np.ndarray:
    """x·y of all rows of tiles and of others, float32 [rows of a, rows of b]."""
    found = torch.empty(sum(map(len, a)), sum(map(len, b)))
    stripes = found.split([len(rows) for rows in a])
    for rows, stripe in zip(a, stripes, strict=True):
        for others, part in zip(b, stripe.split([len(o) for o in b], dim=1), strict=True):
            part.copy_(product(rows, others))
    return found.numpy()
