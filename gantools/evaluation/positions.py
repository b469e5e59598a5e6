"""Whether pictures keep things in the same places: the layout probe (papers.md S2.25).

A generator that begins with a learned constant may have memorised where its edges lie. Layouts are
edge maps, low-pass; they are compared with what the same maps give when each is shifted at random,
around the borders, which keeps what is in a picture and forgets where.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gantools import report
from gantools.io.seeds import derive
from gantools.report import SampleError, Usage

SHIFTS = 200  # random shifts of the whole set
RARE = 0.001  # share of shifted pairs that are as alike as a near-duplicate, at least
ENOUGH = 0.05  # mean correlation from which on places are called fixed
MOST = 4096  # pictures: every pair is compared


def layout(pixels: np.ndarray, grid: int) -> np.ndarray:
    """The low-pass edge map [grid, grid] of a picture uint8 [H, W, C], of mean 0 and std 1.

    The length of the grey levels' gradient, averaged over cells. SampleError for a flat picture
    and for one that is smaller than the grid.
    """
    colour = pixels[..., : 1 if pixels.shape[2] < 3 else 3]
    grey = colour.astype(np.float32).mean(axis=2)
    if min(grey.shape) <= grid:
        raise SampleError(f"{grey.shape[1]}x{grey.shape[0]} pixels are too few for --grid {grid}")
    down, right = np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1]
    edges = Image.fromarray(np.hypot(down, right))
    cells = np.asarray(edges.resize((grid, grid), Image.Resampling.BOX), np.float64)
    spread = cells.std()
    if spread < 1e-6:
        raise SampleError("a picture without edges has no layout")
    return (cells - cells.mean()) / spread


def layouts(pictures: Iterable[tuple[str, np.ndarray]], grid: int) -> Iterator[np.ndarray]:
    """The layout of every picture; what has none is reported."""
    for name, pixels in pictures:
        try:
            yield layout(pixels, grid)
        except SampleError as e:
            report.failed(name, e)


@dataclass(frozen=True)
class Layouts:
    """How alike the layouts of a set are.

    common [grid, grid]: their mean. pairs, shifted: the correlations of all pairs, and after one
    random shift of each. alike, chance [SHIFTS]: the mean of `pairs`, and of the same after
    every shift.
    """

    common: np.ndarray
    pairs: np.ndarray
    shifted: np.ndarray
    alike: float
    chance: np.ndarray

    def results(self) -> dict[str, float | bool]:
        """positions: the mean correlation, 0 by chance, 1 where all layouts are one.

        positions_p: share of shifts that reach it. duplicates: share of pairs beyond all but 0.1 %
        of the shifted ones. fixed: whether it is 0.05 or more and no shift reached it.
        """
        p = (1 + np.count_nonzero(self.chance >= self.alike)) / (1 + len(self.chance))
        bound = np.quantile(self.shifted, 1 - RARE)
        duplicates = float(np.mean(self.pairs > bound))
        return {
            "positions": self.alike,
            "positions_p": float(p),
            "duplicates": duplicates,
            "nearest": float(self.pairs.max()),
            "fixed": bool(self.alike >= ENOUGH and self.alike > self.chance.max()),
        }


def compare(maps: np.ndarray, seed: int = 0) -> Layouts:
    """Layouts [N, grid, grid] with one another; Usage for fewer than 3, and for more than 4096."""
    if not 3 <= len(maps) <= MOST:
        raise Usage(f"layouts are compared of 3 to {MOST} pictures, here are {len(maps)}")
    generator = np.random.default_rng(derive(seed, "positions", "shifts"))
    shifted = _shifted(maps, generator)
    chance = [_alike(_shifted(maps, generator)) for _ in range(SHIFTS)]
    return Layouts(maps.mean(0), _pairs(maps), _pairs(shifted), _alike(maps), np.array(chance))


def _shifted(maps: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    height, width = maps.shape[1:]
    down = generator.integers(height, size=(len(maps), 1, 1))
    right = generator.integers(width, size=(len(maps), 1, 1))
    rows = (np.arange(height)[:, None] + down) % height
    columns = (np.arange(width) + right) % width
    return maps[np.arange(len(maps))[:, None, None], rows, columns]


# The mean over pairs i < j of <m_i, m_j>, from their sum: |Σ m|² = Σ |m|² + 2 Σ_{i<j} <m_i, m_j>.
def _alike(maps: np.ndarray) -> float:
    count, cells = len(maps), maps[0].size
    total = maps.sum(0)
    return float(((total**2).sum() - (maps**2).sum()) / (count * (count - 1) * cells))


def _pairs(maps: np.ndarray) -> np.ndarray:
    flat = maps.reshape(len(maps), -1).astype(np.float32)
    return (flat @ flat.T / flat.shape[1])[np.triu_indices(len(maps), 1)]
