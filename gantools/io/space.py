"""Names of latent spaces, and the sizes of what stands in them (papers.md S2.0, S2.1). No numpy."""

from __future__ import annotations

import re

Size = tuple[int, int]
NAME = re.compile(r"(z|zy|n?w\+?|n?sw\+)|(fn?s?w\+|fnz)([1-9]\d?)")
SPELT = "z, zy, w, w+, nw, nw+, sw+, nsw+, fw+I, fsw+I, fnw+I, fnsw+I, fnzI (I: a block, from 1)"


def split(space: str) -> tuple[str, int | None]:
    """`fnw+5` as ("fnw+", 5), `nw+` as ("nw+", None); ValueError where there is no such space."""
    found = NAME.fullmatch(space)
    if found is None:
        raise ValueError(f"unknown latent space {space!r}")
    plain, features, index = found.groups()
    return plain or features, None if index is None else int(index)


def spatial(space: str) -> bool:
    """Whether it holds style maps or features: its pictures start at a block, of any size."""
    kind, index = split(space)
    return index is not None or "s" in kind


def without_noise(space: str) -> str:
    """`fw+5` of `fnw+5`; spaces without noise maps, and fnz, as they are."""
    return space if "z" in space else space.replace("n", "")


def with_noise(space: str) -> str:
    """`fnw+5` of `fw+5`; spaces with noise maps, and those of z, as they are."""
    if "n" in space or "z" in space:
        return space
    return f"fn{space[1:]}" if space.startswith("f") else f"n{space}"


def level(index: int) -> int:
    """How often F_index has been doubled: 0 for blocks 1 and 2, 1 for 3 and 4, …"""
    return (index - 1) // 2


def told(size: tuple[int, ...]) -> str:
    """`16x32`, as messages have it."""
    return "x".join(map(str, size))


def scaled(size: Size, start: int, index: int) -> Size:
    """The size of F_index where F_start has `size`; ValueError where that is no whole number."""
    up = level(index) - level(start)
    if up >= 0:
        return size[0] << up, size[1] << up
    if size[0] % (1 << -up) or size[1] % (1 << -up):
        raise ValueError(f"{size[0]}x{size[1]} cannot be halved {-up} times")
    return size[0] >> -up, size[1] >> -up
