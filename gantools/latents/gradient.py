"""Directions by gradient through the generator (GANalyze, Goetschalckx et al. 2019).

A linear fit (papers.md S2.7) finds along which line a label varies among samples. This finds what
changes it in one picture: a vector per layer, so that an attribute network reads more of one label
and as much as before of every other, while the pixels change as little as they can and the
discriminator finds the picture no less real.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gantools.latents.directions import Fit
from gantools.report import SampleError

BATCH = 16  # samples per step
RATE = 0.025  # Adam's learning rate, in units of the deviation of w
STRENGTHS = (0.5, 3.5)  # in standard deviations of the label, either way
PSI = (0.5, 1.0)  # of the samples: photographs project to less than psi 1
OTHERS, PIXELS, REALISM = 0.5, 5.0, 0.5  # weights beside the label's own squared error
JUDGED = 16  # batches on which a learned direction is judged


@dataclass(frozen=True)
class World:
    """What a direction is learned in.

    synthesis: w [N, L, w_dim] -> pictures; read: pictures -> labels [N, K] in units of a deviation
    (both differentiable); realism: pictures -> logits [N], or None; layers: those that may move.
    """

    synthesis: Callable[[Tensor], Tensor]
    read: Callable[[Tensor], Tensor]
    num_ws: int
    realism: Callable[[Tensor], Tensor] | None = None
    layers: Sequence[int] | None = None


def learn(
    world: World,
    w: Tensor,
    column: int,
    limits: tuple[float, float],
    *,
    steps: int,
    seed: int,
    batch: int = BATCH,
    step: Callable[[], None] = lambda: None,
) -> Fit:
    """The direction [L, w_dim] of label `column` from samples w [M, w_dim] of psi 1.

    limits: the least and the largest label that is asked for: nobody smiles more than all others.
    sd and slope of the Fit are in units of the deviation that `read` uses. batch: pictures at
    once; less than 16 saves memory. `step` is called after every step. SampleError where no
    direction moves the label.
    """
    draws = torch.Generator().manual_seed(seed)
    mask = torch.ones(world.num_ws, 1, device=w.device)
    if world.layers is not None:
        mask[[i for i in range(world.num_ws) if i not in set(world.layers)]] = 0
    vector = torch.zeros(world.num_ws, w.shape[1], device=w.device, requires_grad=True)
    rate = RATE * float(w.std())
    adam = torch.optim.Adam([vector], lr=rate, betas=(0.9, 0.99))
    for i in range(steps):
        for group in adam.param_groups:
            group["lr"] = rate * min(1.0, (i + 1) / 10) * 0.5 * (1 + math.cos(math.pi * i / steps))
        start, strength = _starts(w, world.num_ws, draws), _strengths(draws).to(w)
        adam.zero_grad()
        for part, by in zip(start.split(batch), strength.split(batch), strict=True):
            loss = _loss(world, part, by, vector * mask, column, limits)
            (loss * (len(part) / BATCH)).backward()
        adam.step()
        step()
    found = (vector * mask).detach()
    return _judged(world, w, found, column, draws, batch)


def _loss(
    world: World,
    w: Tensor,
    strength: Tensor,
    vector: Tensor,
    column: int,
    limits: tuple[float, float],
) -> Tensor:
    with torch.no_grad():
        before = world.synthesis(w)
        labels = world.read(before)
        wanted = (labels[:, column] + strength).clamp(*limits) - labels[:, column]
    after = world.synthesis(w + strength[:, None, None] * vector)
    change = world.read(after) - labels
    own = torch.arange(change.shape[1], device=w.device) == column
    loss = (change[:, column] - wanted).square().mean()
    loss = loss + PIXELS * (after - before).square().mean()
    if not own.all():
        loss = loss + OTHERS * change[:, ~own].square().mean()
    if world.realism is not None:
        with torch.no_grad():
            real = world.realism(before)
        loss = loss + REALISM * (real - world.realism(after)).relu().mean()
    return loss


def _starts(w: Tensor, num_ws: int, draws: torch.Generator) -> Tensor:
    """[BATCH, L, w_dim]: samples at a random psi, half of them two mixed at a random layer."""
    first, second = (
        w[torch.randint(len(w), (BATCH,), generator=draws).to(w.device)] for _ in range(2)
    )
    cut = torch.randint(1, 2 * num_ws, (BATCH, 1, 1), generator=draws)
    mixed = torch.where(
        (torch.arange(num_ws)[None, :, None] < cut).to(w.device), first[:, None], second[:, None]
    )
    low, high = PSI
    psi = low + (high - low) * torch.rand((BATCH, 1, 1), generator=draws).to(w)
    mean = w.mean(0)
    return mean + psi * (mixed - mean)


def _strengths(draws: torch.Generator) -> Tensor:
    low, high = STRENGTHS
    size = low + (high - low) * torch.rand(BATCH, generator=draws)
    return torch.where(torch.rand(BATCH, generator=draws) < 0.5, -size, size)


@torch.no_grad()
def _judged(
    world: World, w: Tensor, vector: Tensor, column: int, draws: torch.Generator, batch: int
) -> Fit:
    """The vector as a Fit: r is the correlation of strength and change on samples of their own."""
    asked, changed = [], []
    for _ in range(JUDGED):
        start, strength = _starts(w, world.num_ws, draws), _strengths(draws).to(w)
        for part, by in zip(start.split(batch), strength.split(batch), strict=True):
            moved = world.synthesis(part + by[:, None, None] * vector)
            change = world.read(moved) - world.read(world.synthesis(part))
            asked.append(by.cpu().numpy())
            changed.append(change[:, column].cpu().numpy())
    s, c = np.concatenate(asked), np.concatenate(changed)
    length = float(vector.norm())
    r = float(np.corrcoef(s, c)[0, 1]) if length > 0 and c.std() > 0 else 0.0
    if not r > 0:
        raise SampleError(f"no direction moves this label (held-out correlation {r:.2f})")
    slope = float(s @ c / (s @ s)) / length
    quality = {"method": "gradient", "samples": len(w), "r": round(r, 4)}
    return Fit((vector / length).cpu().double().numpy(), 1.0, slope, quality)
