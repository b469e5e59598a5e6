"""Masks for mixing: named shapes, pictures, their move, blur and size (papers.md S2.4, S2.6).

A mask is 0 where the lower latent shows and 1 where the upper one does. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gantools.io.space import Size

Grid = tuple[np.ndarray, np.ndarray]
HALF_AXES = 0.46, 0.36  # of the ellipse, in heights and widths: about a face in its crop


def _ellipse(grid: Grid) -> np.ndarray:
    distances = [(g - 0.5) / half for g, half in zip(grid, HALF_AXES, strict=True)]
    return np.asarray(np.hypot(*distances)) / 2


# From 0 to 1 in the order in which the move covers the picture; 0.5 is the edge of the shape.
SHAPES: dict[str, Callable[[Grid], np.ndarray]] = {
    "left": lambda grid: grid[1],
    "right": lambda grid: 1 - grid[1],
    "top": lambda grid: grid[0],
    "bottom": lambda grid: 1 - grid[0],
    "ellipse": _ellipse,
}
GRADIENT = "gradient"
NAMES = (*SHAPES, GRADIENT)


@dataclass(frozen=True)
class Mask:
    """One mask. shape: of `NAMES`, or a picture [H, W] in 0..1; name: for the history."""

    name: str
    shape: str | np.ndarray

    def at(self, size: Size, moved: float) -> np.ndarray:
        """The mask [H, W]; `moved` takes it from 0 everywhere over itself at 0.5 to 1 everywhere.

        The edges of shapes wander and are one px soft; grey values rise (S2.6, Fig 4.2).
        """
        if isinstance(self.shape, np.ndarray) or self.shape == GRADIENT:
            grey = centres(size)[1] if isinstance(self.shape, str) else resized(self.shape, size)
            return np.clip(grey + 2 * moved - 1, 0, 1)
        order = SHAPES[self.shape](centres(size))
        px = size[1] if self.shape in {"left", "right"} else size[0]
        return np.clip((moved - order) * px + 0.5, 0, 1)


def centres(size: Size) -> Grid:
    """y and x [H, W] of the centres of cells, in 0..1."""
    y, x = ((np.arange(n) + 0.5) / n for n in size)
    grid = np.meshgrid(y, x, indexing="ij")
    return grid[0], grid[1]


def resized(mask: np.ndarray, size: Size, blur: float = 0) -> np.ndarray:
    """A mask [H, W] in another size, by area where it shrinks and bilinear where it grows.

    blur: the deviation of a Gaussian before that, in sides of the picture (their geometric mean).
    """
    sigma = blur * float(np.sqrt(mask.shape[0] * mask.shape[1]))
    rows, columns = (
        _resize(have, want) @ blur_matrix(have, sigma)
        for have, want in zip(mask.shape, size, strict=True)
    )
    # Rounding must not take an input that is not there at all, nor leave a trace of one.
    return np.clip(np.round(rows @ mask @ columns.T, 12), 0, 1)


def _resize(have: int, want: int) -> np.ndarray:
    """[want, have], rows summing to 1."""
    edges = np.arange(want + 1) * (have / want)
    if want <= have:
        cells = np.arange(have)
        overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
        return np.maximum(overlap, 0) * (want / have)
    at = np.clip((edges[1:] + edges[:-1]) / 2 - 0.5, 0, have - 1)
    low = np.minimum(at.astype(int), max(have - 2, 0))
    rows = np.zeros((want, have))
    rows[np.arange(want), low] += 1 - (at - low)
    rows[np.arange(want), np.minimum(low + 1, have - 1)] += at - low
    return rows


def blur_matrix(n: int, sigma: float) -> np.ndarray:
    """[n, n]: the Gaussian blur of n cells whose last ones go on for ever; rows summing to 1.

    sigma: its deviation in cells; 0 for none.
    """
    blur = np.eye(n)
    if not sigma:
        return blur
    reach = int(np.ceil(4 * sigma))
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-((steps / sigma) ** 2) / 2)
    blur[:] = 0
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        blur[np.arange(n), np.clip(np.arange(n) + step, 0, n - 1)] += weight
    return blur
