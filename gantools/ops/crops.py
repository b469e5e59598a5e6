"""Parts of pictures that paper 004's losses and measures look at (papers.md S4.6)."""

from __future__ import annotations


def part(name: str, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a part of a face: `full`, `at1` or `at2` (S4.6).

    at1 is without an eighth at the left and at the right, at2 without 1/8 + 1/32 at every side.
    """
    if name == "at1":
        return slice(0, height), slice(width // 8, -width // 8)
    if name == "at2":
        return _inner(height), _inner(width)
    return slice(0, height), slice(0, width)


def _inner(size: int) -> slice:
    return slice(size // 8 + size // 32, -size // 8 - size // 32)
