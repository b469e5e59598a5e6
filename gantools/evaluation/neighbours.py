"""Nearest neighbours of pictures in a set, by distances of features (S1.24)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gantools.report import Usage

Embedding = Callable[[Tensor], Tensor]
"""uint8 pictures [N, 3, H, W] -> features [N, D]."""
MOST = 1024  # queries: their features are held in memory


def centre(pixels: np.ndarray, share: float) -> np.ndarray:
    """The middle of a picture [H, W, C], `share` of each side: without hair and background."""
    if share == 1:
        return pixels
    height, width = pixels.shape[:2]
    rows, columns = max(1, round(height * share)), max(1, round(width * share))
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]


@dataclass(frozen=True, order=True)
class Neighbour:
    """A picture of the set, and how far it is from the query; the nearer, then the first key."""

    distance: float
    key: str


class Nearest:
    """The `top` nearest pictures of every query, of a set of any size as it streams by."""

    def __init__(self, keys: Sequence[str], features: Tensor, top: int) -> None:
        """keys and features [Q, D] of the queries. Usage for more than 1024 of them."""
        if len(keys) > MOST:
            raise Usage(f"neighbours are sought of at most {MOST} queries, here are {len(keys)}")
        self.keys = list(keys)
        self._features, self._top = features, top
        self._found: list[list[Neighbour]] = [[] for _ in keys]

    def add(self, keys: Sequence[str], features: Tensor) -> set[str]:
        """Pictures of the set [N, D]; the keys of those that are among the nearest so far.

        Distances are Euclidean, of differences: exactly 0 for equal features. Usage for another D.
        """
        dims = self._features.shape[1], features.shape[1]
        if dims[0] != dims[1]:
            raise Usage(f"features of {dims[0]} and of {dims[1]} dimensions do not compare")
        mode = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(self._features, features, compute_mode=mode).cpu().numpy()
        kept: set[str] = set()
        for i, row in enumerate(distances):
            candidates = [Neighbour(float(d), key) for d, key in zip(row, keys, strict=True)]
            self._found[i] = heapq.nsmallest(self._top, [*self._found[i], *candidates])
            kept |= {neighbour.key for neighbour in self._found[i]}
        return kept & set(keys)

    def results(self) -> dict[str, list[Neighbour]]:
        """The neighbours of each query, the nearest first."""
        return dict(zip(self.keys, self._found, strict=True))
