"""Noise maps under optimisation: the regulariser and the normalisation (papers.md S2.13)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Rule = Literal["official", "thesis"]


def _pyramid(noise: Tensor, rule: Rule) -> Iterator[Tensor]:
    """Levels of a map [N,1,H,W], each the 2×2 mean of the one before.

    `official` (the StyleGAN2 projector) evaluates a level and then stops at sizes <= 8, so a
    4² map counts once; `thesis` (Algorithm 1) takes the levels of 8 and more, so it never does.
    The two agree on powers of two from 8 on, not on 4, 6 or 48.
    """
    while rule == "official" or min(noise.shape[2:]) >= 8:
        yield noise
        if min(noise.shape[2:]) <= 8:
            return
        noise = functional.avg_pool2d(noise, 2)


def regularisation(maps: Sequence[Tensor], rule: Rule = "official") -> Tensor:
    """Autocorrelation at shift 1 over the pyramid, summed over the maps: [N].

    Σ (mean n·roll_x(n,1))² + (mean n·roll_y(n,1))²; maps are [N,1,H,W], of any shape.
    0 for an empty list.
    """
    total = torch.zeros(())
    for noise in maps:
        for level in _pyramid(noise, rule):
            for axis in (3, 2):
                total = total + (level * level.roll(1, axis)).mean((1, 2, 3)).square()
    return total


@torch.no_grad()
def normalise(maps: Sequence[Tensor]) -> None:
    """Bring every map [N,1,H,W] to mean 0 and (population) deviation 1 per sample, in place."""
    for noise in maps:
        noise.sub_(noise.mean((1, 2, 3), keepdim=True))
        noise.mul_(noise.square().mean((1, 2, 3), keepdim=True).rsqrt())
