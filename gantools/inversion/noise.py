"""Noise maps under optimisation: the regulariser and the normalisation (papers.md S2.13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Rule = Literal["official", "thesis"]


def regularisation(maps: Sequence[Tensor], rule: Rule = "official") -> Tensor:
    """Autocorrelation at shift 1 over the pyramids of the maps, summed: [N].

    Σ (mean n·roll_x(n,1))² + (mean n·roll_y(n,1))²; maps are [N,1,H,W], of any shape.
    0 for an empty list. A level is the 2×2 mean of the one before. `official` (the StyleGAN2
    projector) evaluates a level and then stops at sizes <= 8, so a 4² map counts once; `thesis`
    (Algorithm 1) takes the levels of 8 and more, so it never does. The two agree on powers of two
    from 8 on, not on 4, 6 or 48.
    """
    total = torch.zeros(())
    waiting: dict[tuple[int, int], list[Tensor]] = {}
    for noise in maps:
        waiting.setdefault((noise.shape[2], noise.shape[3]), []).append(noise)
    while waiting:
        # Levels of one size count alike, whatever map they are of: one row of channels.
        size = max(waiting)
        level = torch.cat(waiting.pop(size), 1)
        if rule == "thesis" and min(size) < 8:
            continue
        for axis in (3, 2):
            total = total + (level * level.roll(1, axis)).mean((2, 3)).square().sum(1)
        if min(size) > 8:
            smaller = functional.avg_pool2d(level, 2)
            waiting.setdefault((smaller.shape[2], smaller.shape[3]), []).append(smaller)
    return total


@torch.no_grad()
def normalise(maps: Sequence[Tensor]) -> None:
    """Bring every map [N,1,H,W] to mean 0 and (population) deviation 1 per sample, in place."""
    for noise in maps:
        noise.sub_(noise.mean((1, 2, 3), keepdim=True))
        noise.mul_(noise.square().mean((1, 2, 3), keepdim=True).rsqrt())
