"""Parts of a latent with a distribution of their own: styles, F, R (papers.md S2.18). No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gantools.io.latent import Latent
from gantools.ops.quantiles import Distribution, equalized
from gantools.report import SampleError


def parts(latent: Latent) -> dict[str, list[str]]:
    """Tensor names of its parts: `w` (rows and style maps), `f`, `r`; no noise, no z."""
    found: dict[str, list[str]] = {}
    for name in latent.tensors:
        if (part := part_of(name)) is not None:
            found.setdefault(part, []).append(name)
    return found


def part_of(name: str) -> str | None:
    """The part that a tensor belongs to, by its name; None for noise and z."""
    part = "w" if name.startswith("s.") else name
    return part if part in {"w", "f", "r"} else None


def scalars(latent: Latent, names: Sequence[str]) -> np.ndarray:
    """The numbers of these tensors, one after another."""
    return np.concatenate([latent.tensors[name].ravel() for name in names])


def equalize(latent: Latent, targets: Mapping[str, Distribution], c: float) -> Latent:
    """The latent with each part brought towards its target, all tensors of a part together.

    SampleError where it has no such part, or one that has no target.
    """
    found = parts(latent)
    if not found or not set(found) <= set(targets):
        raise SampleError(f"--equalize takes styles and features, not {latent.space}")
    tensors = dict(latent.tensors)
    for part, names in found.items():
        moved = equalized(scalars(latent, names), targets[part], c)
        sizes = np.cumsum([tensors[name].size for name in names])[:-1]
        for name, piece in zip(names, np.split(moved, sizes), strict=True):
            tensors[name] = piece.reshape(tensors[name].shape)
    return replace(latent, tensors=tensors)
