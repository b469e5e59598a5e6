"""--resolution 64 or 64x96 as a network's shape: a first block of cells, doubled some times."""

from __future__ import annotations

from typing import Any

from gantools.networks.sizes import FEWEST, MOST
from gantools.report import Usage

NEAR = 3  # sizes that are named where one does not work


def told(height: int, width: int) -> str:
    """As --resolution takes it."""
    return str(height) if height == width else f"{height}x{width}"


def of(height: int, width: int, what: str = "--resolution") -> dict[str, Any]:
    """The settings `resolution` and `first_block` of pictures of this size.

    The first block has the fewest cells, 4 or more along each side; resolution is the side of the
    square network with as many doublings. Usage where it would have more than 16 or no doubling;
    `what` is what asked for it.
    """
    times = _doublings(height, width)
    block = height >> times, width >> times
    if not times or max(block) > MOST:
        raise Usage(
            f"{what} {told(height, width)}: both sides have to be {FEWEST} to {MOST} times the "
            f"same power of two from 2 on; near sizes: {', '.join(near(height, width))}"
        )
    return {"resolution": 4 << times, "first_block": block}


def _doublings(height: int, width: int) -> int:
    """How often both sides can be halved and keep FEWEST cells."""
    times = 0
    while not (height | width) >> times & 1 and min(height, width) >> (times + 1) >= FEWEST:
        times += 1
    return times


def near(height: int, width: int) -> list[str]:
    """The sizes that work and differ least, by the shares of the sides."""
    found = {
        (h, w): abs(h - height) / height + abs(w - width) / width
        for times in range(1, max(height, width).bit_length() + 1)
        for h in _nearest(height, times)
        for w in _nearest(width, times)
        if height != width or h == w
    }
    best = sorted(found, key=lambda size: (found[size], size))
    return [told(*size) for size in best[:NEAR]]


def _nearest(side: int, times: int) -> set[int]:
    """The multiples of 2^times with 4 to 16 cells below and above."""
    cells = (side >> times, (side >> times) + 1)
    return {min(max(n, FEWEST), MOST) << times for n in cells}
