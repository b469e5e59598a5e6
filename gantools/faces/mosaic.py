"""Mosaics of what was accepted and what was rejected: Figs. 1-4 of paper 000 (S0.4)."""

from __future__ import annotations

import hashlib
import heapq

import numpy as np
from PIL import Image

CELLS, CELL, GAP = 64, 128, 2  # pictures at most; px
PAPER = 255


class Mosaic:
    """At most CELLS pictures of any number, each as likely as any other, shrunk into cells.

    Those with the smallest hashes of (seed, key) are shown, in the order of their hashes: neither
    order nor batches matter, and memory does not grow.
    """

    def __init__(self, seed: int, cells: int = CELLS) -> None:
        self._seed, self._cells = seed, cells
        self._heap: list[tuple[int, str, np.ndarray]] = []  # the largest hash first: negative

    def wants(self, key: str) -> bool:
        """Whether a picture would be shown if no other came."""
        return len(self._heap) < self._cells or -self._hash(key) > self._heap[0][0]

    def add(self, key: str, pixels: np.ndarray) -> None:
        """One picture, uint8 [H, W, 3]; each key once."""
        if not self.wants(key):
            return
        cell = -self._hash(key), key, _cell(pixels)
        if len(self._heap) < self._cells:
            heapq.heappush(self._heap, cell)
        else:
            heapq.heapreplace(self._heap, cell)

    def picture(self) -> np.ndarray:
        """uint8 [H, W, 3]: the cells in rows, as square as may be; one empty cell if there is none.

        Never two of one hash and key, so cells themselves are never compared.
        """
        cells = [pixels for _, _, pixels in sorted(self._heap, reverse=True)]
        columns = max(1, int(np.ceil(len(cells) ** 0.5)))
        rows = max(1, -(-len(cells) // columns))
        step = CELL + GAP
        sheet = np.full((rows * step - GAP, columns * step - GAP, 3), PAPER, np.uint8)
        for i, cell in enumerate(cells):
            y, x = i // columns * step, i % columns * step
            sheet[y : y + CELL, x : x + CELL] = cell
        return sheet

    def _hash(self, key: str) -> int:
        text = f"{self._seed}/{key}".encode("utf-8", "surrogateescape")
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def _cell(pixels: np.ndarray) -> np.ndarray:
    """The whole picture in the middle of a cell; small ones are not enlarged."""
    height, width = pixels.shape[:2]
    scale = min(1.0, CELL / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if scale < 1:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    cell = np.full((CELL, CELL, 3), PAPER, np.uint8)
    y, x = (CELL - size[1]) // 2, (CELL - size[0]) // 2
    cell[y : y + size[1], x : x + size[0]] = np.asarray(picture)
    return cell
