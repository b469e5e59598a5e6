"""Pivotal tuning: a personal copy of the network that renders given latents as their pictures.

Roich et al. 2022: the latents (pivots) stay, the synthesis weights move; a locality term holds the
rest of the latent space in its place (formats.md 5.5).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gantools.inversion.perceptual import Embed, distance


@dataclass(frozen=True)
class Tuning:
    """Settings; the paper's, with its 30 units of w said in deviations of w."""

    steps: int = 350  # times that each picture is seen
    lr: float = 3e-4
    mse: float = 1.0  # weight of the mean squared difference in [-1,1]; perceptual has 1
    locality: float = 0.1  # weight of the locality term; 0 for none
    reach: float = 2.0  # how far beside the pivot locality is asked for, in deviations of w


def tune(
    g: Any,
    ws: Tensor,
    noise: Sequence[Tensor],
    target: Tensor,
    embed: Embed,
    tuning: Tuning,
    *,
    w_std: float,
    seed: int = 0,
    batch: int = 4,
    watch: Callable[[int], object] | None = None,
) -> Any:
    """A copy of the generator g, tuned to render ws [N,L,w_dim] with noise as target [N,C,H,W].

    noise: the latents' maps [N,1,H,W], or none for the stored ones. The mapping network and w_avg
    stay, so directions keep their meaning.
    """
    tuned = copy.deepcopy(g)
    tuned.synthesis.requires_grad_(True)
    adam = torch.optim.Adam(tuned.synthesis.parameters(), lr=tuning.lr)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        wanted = [embed(target[i : i + 1]) for i in range(len(target))]
    for step in range(tuning.steps):
        order = torch.randperm(len(ws), generator=rng)
        for chosen in order.split(batch):
            images = _render(tuned, ws, noise, chosen)
            goal = [torch.cat([wanted[i][k] for i in chosen]) for k in range(len(wanted[0]))]
            loss = distance(embed(images), goal).sum()
            loss = loss + tuning.mse * (images - target[chosen]).square().mean((1, 2, 3)).sum()
            if tuning.locality:
                near = _beside(g, ws[chosen], tuning.reach * w_std, rng)
                loss = loss + tuning.locality * _locality(g, tuned, near, embed, tuning.mse)
            adam.zero_grad()
            loss.backward()
            adam.step()
        if watch is not None:
            watch(step)
    return tuned.requires_grad_(False)


def _render(g: Any, ws: Tensor, noise: Sequence[Tensor], chosen: Tensor) -> Tensor:
    if not g.noise_shapes:
        return g.synthesis(ws[chosen])
    return g.synthesis(ws[chosen], [n[chosen] for n in noise] or "const")


@torch.no_grad()
def _beside(g: Any, ws: Tensor, reach: float, rng: torch.Generator) -> Tensor:
    """Each pivot moved by `reach` towards a random w: w_p + reach · (w_r − w_p) / ‖w_r − w_p‖."""
    z = torch.randn(len(ws), g.cfg.z_dim, generator=rng).to(ws.device)
    label = None
    if g.cfg.c_dim:
        turn = torch.randint(g.cfg.c_dim, (len(ws),), generator=rng)
        label = torch.eye(g.cfg.c_dim)[turn].to(ws.device)
    away = g.mapping(z, label) - ws
    return ws + reach * away / away.norm(dim=2, keepdim=True)


def _locality(g: Any, tuned: Any, ws: Tensor, embed: Embed, mse: float) -> Tensor:
    with torch.no_grad():
        before = g.synthesis(ws)
        wanted = embed(before)
    now = tuned.synthesis(ws)
    gone = distance(embed(now), wanted) + mse * (now - before).square().mean((1, 2, 3))
    return gone.sum()
