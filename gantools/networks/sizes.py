"""The sizes of a network that doubles a first block: 4x4, 8x8, … or, say, 4x6, 8x12, …"""

from __future__ import annotations

from typing import Any

SQUARE = (4, 4)
"""The first block of the papers' networks."""
FEWEST, MOST = 4, 16
"""Cells along a side of a first block."""


class Doubling:
    """What the configurations of such networks share: sizes follow from first_block and widths.

    Blocks are named by the square network's sizes, b4, b8, …, whatever the first block is.
    """

    widths: tuple[int, ...]
    first_block: tuple[int, int]

    @property
    def wavelet(self) -> bool:
        """Whether the last block makes or takes wavelet coefficients, of twice its size (S3.19)."""
        return False

    @property
    def resolutions(self) -> list[int]:
        """4, 8, …, resolution: the blocks' names, and their sizes where the first is 4x4.

        With `wavelet` the last one is half the resolution.
        """
        return [4 << i for i in range(len(self.widths))]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every block."""
        height, width = self.first_block
        return [(height << i, width << i) for i in range(len(self.widths))]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        height, width = self.sizes[-1]
        return (2 * height, 2 * width) if self.wavelet else (height, width)


def scaled(resolution: int, first: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the pictures whose square kind has `resolution` pixels a side."""
    return resolution * first[0] // 4, resolution * first[1] // 4


def first_block(value: Any) -> tuple[int, int]:
    """A file's entry `first_block`, checked before anything is made of it; ValueError."""
    pair = tuple(value) if isinstance(value, list | tuple) else ()
    if len(pair) != 2 or not all(type(n) is int and FEWEST <= n <= MOST for n in pair):
        raise ValueError(f"first_block is {_short(value)}: two numbers from {FEWEST} to {MOST}")
    return pair


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
