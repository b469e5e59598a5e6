"""Whether the tensors of a latent with features or style maps fit each other (papers.md S2.1)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gantools.io.space import Size, scaled, split, told
from gantools.report import SampleError

Tensors = Mapping[str, np.ndarray]


def check(space: str, tensors: Tensors) -> None:
    """SampleError unless f, r, styles and noise are all there, and each of the size of its block.

    r [3, h/2, w/2] stands beside f [C, h, w] from block 3 on; s.j is as large as F_j, n.j as what
    block j gives. What depends on a network (how many blocks, channels) is not known here.
    """
    kind, index = split(space)
    first = index or 1
    names = _expected(space, kind, first, index is not None, tensors)
    for name in names:
        if name not in tensors:
            raise SampleError(f"a {space} latent without its tensor {name}")
    surplus = sorted(set(tensors) - set(names))
    if surplus:
        raise SampleError(f"a {space} latent with a tensor {surplus[0]}, which has no place there")
    anchor = tensors["f" if index else "s.1"]
    size = (int(anchor.shape[1]), int(anchor.shape[2]))
    if index and first > 2:
        _check_half(tensors["r"], size)
    for name in names:
        _check_size(name, tensors[name], size, first)


def last_block(space: str, tensors: Tensors) -> int | None:
    """The last block that it has a style for; None for fnz, whose z serves any number of them."""
    kind, index = split(space)
    first = index or 1
    if "z" in kind:
        return None
    count = _count("s", tensors) if "s" in kind else len(tensors["w"])
    return first + count - 1


def _count(letter: str, tensors: Tensors) -> int:
    return sum(name.startswith(f"{letter}.") for name in tensors)


def _expected(space: str, kind: str, first: int, features: bool, tensors: Tensors) -> list[str]:
    names = ["f", "r"][: 2 if first > 2 else 1] if features else []
    if "z" in kind:
        blocks = _count("n", tensors) + 1
        names += ["z", *(["y"] if "y" in tensors else [])]
    elif "s" in kind:
        blocks = max(_count("s", tensors), 1)
        names += [f"s.{j}" for j in range(first, first + blocks)]
    else:
        if "w" not in tensors:
            raise SampleError(f"a {space} latent without its tensor w")
        blocks = len(tensors["w"])
        names.append("w")
    if "n" in kind:
        names += [f"n.{j}" for j in range(first, first + blocks - 1)]
    return names


def _check_half(r: np.ndarray, size: Size) -> None:
    if (2 * r.shape[1], 2 * r.shape[2]) != size:
        raise SampleError(
            f"its r is {told(r.shape[1:])} and its f {told(size)}: r is half as high and wide"
        )


def _check_size(name: str, value: np.ndarray, size: Size, first: int) -> None:
    letter, _, number = name.partition(".")
    if not number:
        return
    j = int(number)
    wanted = scaled(size, first, j if letter == "s" else j + 1)
    if value.shape[1:] != wanted or (letter == "n" and len(value) != 1):
        what = "style map" if letter == "s" else "noise map"
        raise SampleError(
            f"its {what} {name} is {told(value.shape[1:])}, and its place is {told(wanted)}"
        )
