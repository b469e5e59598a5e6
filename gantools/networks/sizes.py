"""The sizes of networks and pictures, square or not, and the first block they are told by."""

from __future__ import annotations

from typing import Any

SQUARE = (4, 4)
"""The first block of the papers' networks."""
FEWEST, MOST = 4, 16
"""Cells along a side of a first block."""


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
