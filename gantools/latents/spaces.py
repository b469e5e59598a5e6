"""Latent spaces and the conversions between them (papers.md S2.1, S2.2). No torch here.

Spaces are the nodes of a graph and conversions its edges. An edge that `loses` something changes
the picture and is taken only where the caller allows it; no edge leads back from w to z. A new
space is new edges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gantools.io.latent import Latent
from gantools.report import SampleError


class Source(Protocol):
    """What conversions take from a network."""

    @property
    def num_ws(self) -> int:
        """L, the rows of w+."""

    def styles(self, latent: Latent) -> np.ndarray:
        """w [L, w_dim] of a z latent, as it is rendered."""

    def noise(self, latent: Latent) -> list[np.ndarray]:
        """The maps [1,H,W], one for every layer with noise, with which it would be rendered."""


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
    maps = {f"n.{j}": n for j, n in enumerate(source.noise(latent), 1)}
    return {**latent.tensors, **maps}


def _drop(latent: Latent, source: Source) -> Tensors:
    return {n: t for n, t in latent.tensors.items() if not n.startswith("n.")}


def _mean(latent: Latent, source: Source) -> Tensors:
    return {**latent.tensors, "w": latent.tensors["w"].mean(axis=0, keepdims=True)}


STEPS = (
    Step("z", "w", _map_to_one),
    Step("zy", "w", _map_to_one),
    Step("z", "w+", _map),
    Step("zy", "w+", _map),
    Step("w", "w+", _widen),
    Step("nw", "nw+", _widen),
    Step("w", "nw", _attach),
    Step("w+", "nw+", _attach),
    Step("nw", "w", _drop, loses="the noise maps"),
    Step("nw+", "w+", _drop, loses="the noise maps"),
    Step("w+", "w", _mean, loses="all of the layers but their mean"),
    Step("nw+", "nw", _mean, loses="all of the layers but their mean"),
)
SPACES = tuple(dict.fromkeys(step.end for step in STEPS))  # what can be converted to


def chain(start: str, end: str) -> list[Step] | None:
    """The conversions from one space to another that lose least, then the fewest; None for none."""
    best: dict[str, tuple[int, int, list[Step]]] = {start: (0, 0, [])}
    todo = [start]
    while todo:
        at = todo.pop(0)
        losses, length, steps = best[at]
        for step in STEPS:
            if step.start != at:
                continue
            found = (losses + bool(step.loses), length + 1, [*steps, step])
            if step.end not in best or found[:2] < best[step.end][:2]:
                best[step.end] = found
                todo.append(step.end)
    return best[end][2] if end in best else None


def convert(latent: Latent, space: str, source: Source, *, lossy: bool = False) -> Latent:
    """The latent in another space: `convert(x)` renders as x does, to rounding.

    SampleError where no conversion exists, or where it would lose something and `lossy` is not
    set; the message says what.
    """
    steps = chain(latent.space, space)
    if steps is None:
        raise SampleError(f"nothing converts {latent.space} to {space}")
    lost = [step.loses for step in steps if step.loses]
    if lost and not lossy:
        raise SampleError(
            f"{latent.space} to {space} loses {' and '.join(lost)}, which changes the picture; "
            "--lossy does it all the same"
        )
    for step in steps:
        latent = Latent(latent.key, step.end, step.convert(latent, source), latent.header)
    return latent
