"""Latent spaces and the conversions between them (papers.md S2.1, S2.2). No torch here.

Spaces are the nodes of a graph and conversions its edges. An edge that `loses` something changes
the picture and is taken only where the caller allows it; no edge leads back from w to z, nor from
the features behind a block to what stood before it. A new space is new edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from gantools.io.latent import Latent
from gantools.io.space import Size, scaled, spatial, split
from gantools.report import SampleError


class Source(Protocol):
    """What conversions take from a network."""

    @property
    def num_ws(self) -> int:
        """L, the rows of w+, and the last block."""

    def styles(self, latent: Latent) -> np.ndarray:
        """w [L, w_dim] of a z latent, as it is rendered."""

    def noise(self, latent: Latent) -> dict[int, np.ndarray]:
        """The maps [1,H,W] with which it would be rendered, one for every block with noise."""

    def need_blocks(self) -> None:
        """SampleError where the family has no blocks to start at."""

    def const(self) -> np.ndarray:
        """f_1 [C,h,w]; SampleError where the family has no blocks to start at."""

    def after_a_block(self, latent: Latent) -> dict[str, np.ndarray]:
        """f and r behind the first block of a latent that has features."""


Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Step:
    """One conversion; `loses` says what the picture is changed by, empty where it is kept."""

    start: str
    end: str
    convert: Callable[[Latent, Source], Tensors]
    loses: str = ""


def _map(latent: Latent, source: Source) -> Tensors:
    return {"w": source.styles(latent)}


def _map_to_one(latent: Latent, source: Source) -> Tensors:
    w = source.styles(latent)
    if (w != w[0]).any():
        raise SampleError("its truncation has a cutoff, so the layers differ: convert it to w+")
    return {"w": w[:1]}


def _widen(latent: Latent, source: Source) -> Tensors:
    return {**latent.tensors, "w": np.repeat(latent.tensors["w"], source.num_ws, axis=0)}


def _attach(latent: Latent, source: Source) -> Tensors:
    return {**latent.tensors, **{f"n.{j}": n for j, n in source.noise(latent).items()}}


def _drop(latent: Latent, source: Source) -> Tensors:
    return {n: t for n, t in latent.tensors.items() if not n.startswith("n.")}


def _mean(latent: Latent, source: Source) -> Tensors:
    return {**latent.tensors, "w": latent.tensors["w"].mean(axis=0, keepdims=True)}


def _start(latent: Latent, source: Source) -> Tensors:
    return {**latent.tensors, "f": source.const()}


def _start_with_noise(latent: Latent, source: Source) -> Tensors:
    return {**_attach(latent, source), "f": source.const()}


def _run(latent: Latent, source: Source) -> Tensors:
    used = {f"s.{latent.first}", f"n.{latent.first}"}
    kept = {n: t for n, t in latent.tensors.items() if n not in used}
    if "w" in kept:
        kept["w"] = kept["w"][1:]
    return {**kept, **source.after_a_block(latent)}


def _map_the_rest(latent: Latent, source: Source) -> Tensors:
    kept = {n: t for n, t in latent.tensors.items() if n not in {"z", "y"}}
    return {**kept, "w": source.styles(latent)[latent.first - 1 :]}


# A view of each w in all cells of its block's features; a file holds them written out.
def _spread(latent: Latent, source: Source) -> Tensors:
    kept = {n: t for n, t in latent.tensors.items() if n != "w"}
    shape = (latent.tensors["f"] if "f" in latent.tensors else source.const()).shape
    size: Size = (shape[1], shape[2])
    for j, row in enumerate(latent.tensors["w"], latent.first):
        to = scaled(size, latent.first, j)
        kept[f"s.{j}"] = np.broadcast_to(row[:, None, None], (len(row), *to))
    return kept


def _mean_cell(latent: Latent, source: Source) -> Tensors:
    kept = {n: t for n, t in latent.tensors.items() if not n.startswith("s.")}
    maps = [latent.tensors[f"s.{j}"] for j in range(latent.first, source.num_ws + 1)]
    return {**kept, "w": np.stack([s.mean(axis=(1, 2)) for s in maps])}


LOSSY = "; --lossy does it all the same"
NOISE = "the noise maps"
LAYERS = "all of the layers but their mean"
CELLS = "all of the style maps but their mean"
STEPS = (
    Step("z", "w", _map_to_one),
    Step("zy", "w", _map_to_one),
    Step("z", "w+", _map),
    Step("zy", "w+", _map),
    Step("w", "w+", _widen),
    Step("nw", "nw+", _widen),
    Step("w", "nw", _attach),
    Step("w+", "nw+", _attach),
    Step("nw", "w", _drop, loses=NOISE),
    Step("nw+", "w+", _drop, loses=NOISE),
    Step("w+", "w", _mean, loses=LAYERS),
    Step("nw+", "nw", _mean, loses=LAYERS),
)
SPACES = tuple(dict.fromkeys(step.end for step in STEPS))  # without features or style maps
SPATIAL = (
    Step("z", "fnz1", _start_with_noise),
    Step("zy", "fnz1", _start_with_noise),
    Step("w+", "fw+1", _start),
    Step("nw+", "fnw+1", _start),
    Step("w+", "sw+", _spread),
    Step("nw+", "nsw+", _spread),
    Step("sw+", "nsw+", _attach),
    Step("sw+", "fsw+1", _start),
    Step("nsw+", "fnsw+1", _start),
    Step("nsw+", "sw+", _drop, loses=NOISE),
    Step("sw+", "w+", _mean_cell, loses=CELLS),
    Step("nsw+", "nw+", _mean_cell, loses=CELLS),
)


def _of_block(i: int, last: int) -> list[Step]:
    """The edges of fw+i and its kind; the last block has no noise to lose and none behind it."""
    kinds = ("fw+", "fnw+", "fsw+", "fnsw+", "fnz")
    run = [Step(f"{kind}{i}", f"{kind}{i + 1}", _run) for kind in kinds if i < last]
    noise = NOISE if i < last else ""
    return [
        *run,
        Step(f"fw+{i}", f"fnw+{i}", _attach),
        Step(f"fw+{i}", f"fsw+{i}", _spread),
        Step(f"fnw+{i}", f"fnsw+{i}", _spread),
        Step(f"fsw+{i}", f"fnsw+{i}", _attach),
        Step(f"fnz{i}", f"fnw+{i}", _map_the_rest),
        Step(f"fnw+{i}", f"fw+{i}", _drop, loses=noise),
        Step(f"fnsw+{i}", f"fsw+{i}", _drop, loses=noise),
        Step(f"fsw+{i}", f"fw+{i}", _mean_cell, loses=CELLS),
        Step(f"fnsw+{i}", f"fnw+{i}", _mean_cell, loses=CELLS),
    ]


@cache
def steps(last: int = 0) -> dict[str, list[Step]]:
    """The edges by where they start; of a network with `last` blocks also those with features."""
    found: dict[str, list[Step]] = {}
    indexed = [step for i in range(1, last + 1) for step in _of_block(i, last)]
    for step in (*STEPS, *(SPATIAL if last else ()), *indexed):
        found.setdefault(step.start, []).append(step)
    return found


@cache
def chain(start: str, end: str, last: int = 0) -> tuple[Step, ...] | None:
    """The conversions from one space to another that lose least, then the fewest; None for none.

    last: L of the network; 0 for what needs no features and no style maps.
    """
    best: dict[str, tuple[int, int, tuple[Step, ...]]] = {start: (0, 0, ())}
    todo = [start]
    while todo:
        at = todo.pop(0)
        losses, length, so_far = best[at]
        for step in steps(last).get(at, ()):
            found = (losses + bool(step.loses), length + 1, (*so_far, step))
            if step.end not in best or found[:2] < best[step.end][:2]:
                best[step.end] = found
                todo.append(step.end)
    return best[end][2] if end in best else None


def meeting(starts: Sequence[str], last: int, needs: str) -> str:
    """The smallest space, not of z, to which all of them convert without loss.

    needs: letters that its name must hold, f (features) and s (style maps). SampleError where there
    is none. Of all that would do: the first block, without style maps, without noise.
    """
    found = [
        end
        for end in {step.end for edges in steps(last).values() for step in edges}
        if "z" not in end
        and all(letter in end for letter in needs)
        and all(_keeps(start, end, last) for start in starts)
    ]
    if found:
        return min(found, key=_rank)
    kinds = ", ".join(dict.fromkeys(starts))
    raise SampleError(f"no space takes {kinds} without loss; convert one of them (project --lossy)")


def _keeps(start: str, end: str, last: int) -> bool:
    path = chain(start, end, last)
    return path is not None and not any(step.loses for step in path)


def _rank(space: str) -> tuple[int, bool, bool, str]:
    kind, index = split(space)
    return index or 0, "s" in kind, "n" in kind, kind


def why_not(start: str, end: str, last: int) -> str:
    """The reason that no chain leads from one space to another."""
    (_, i), (kind, j) = split(start), split(end)
    if max(i or 0, j or 0) > last:
        return f"the network has blocks 1 to {last}"
    if "z" in end and "z" not in start:
        return "nothing leads back from w to z"
    if i == 1 and j is None:
        return "its f need not be the network's constant, and then no styles give its picture"
    if i is not None and j is None:
        return f"the blocks before {i} cannot be undone, so its features have no styles of theirs"
    if i is not None and j is not None and j < i:
        between = f"block {j}" if j == i - 1 else f"blocks {j} to {i - 1}"
        return f"{between} cannot be undone"
    return f"no conversion makes {kind}"


def way(start: str, end: str, source: Source) -> tuple[Step, ...]:
    """The conversions that lead from one space to another; SampleError where none do."""
    last = source.num_ws if spatial(start) or spatial(end) else 0
    if last:
        source.need_blocks()
    path = chain(start, end, last)
    if path is None:
        raise SampleError(f"nothing converts {start} to {end}: {why_not(start, end, last)}")
    return path


def check_kept(path: Sequence[Step], hint: str = "") -> None:
    """SampleError where conversions change the picture, with what is lost and a hint behind it."""
    lost = [step.loses for step in path if step.loses]
    if lost:
        raise SampleError(
            f"{path[0].start} to {path[-1].end} loses {' and '.join(lost)}, which changes the "
            f"picture{hint}"
        )


def convert(latent: Latent, space: str, source: Source, *, lossy: bool = False) -> Latent:
    """The latent in another space: `convert(x)` renders as x does, to rounding.

    SampleError where no conversion exists, or where it would lose something and `lossy` is not
    set; the message says what.
    """
    path = way(latent.space, space, source)
    if not lossy:
        check_kept(path, LOSSY)
    for step in path:
        latent = Latent(latent.key, step.end, step.convert(latent, source), latent.header)
    return latent
