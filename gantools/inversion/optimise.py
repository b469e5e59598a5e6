"""Projection by optimisation: w and noise maps by Adam, for a batch of pictures at once.

Losses are summed over the batch and every random number belongs to one sample, so a result does
not depend on its neighbours (papers.md S2.11, S2.12; formats.md 5.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gantools.inversion import noise as noise_maps
from gantools.inversion import schedule
from gantools.inversion.methods import Method
from gantools.inversion.perceptual import Embed, distance

Synthesis = Callable[[Tensor, list[Tensor]], Tensor]  # w [N,K,w_dim], maps -> [N,C,H,W]
Loss = Callable[[Tensor], Tensor]  # pictures -> one loss per sample, [N]
Usual = Callable[[Tensor], Tensor]  # w [N,K,w_dim] -> how far from the network's own, [N]
Draw = Callable[[int], Tensor]  # step -> standard normal numbers, shaped as w
Watch = Callable[[int, Tensor, Tensor, Tensor], None]  # step, w after it, pictures, losses


@dataclass
class Projection:
    """Where an optimisation ended: w [N,K,w_dim], noise maps [N,1,H,W], last losses [N]."""

    w: Tensor
    noise: list[Tensor]
    loss: Tensor


def objective(embed: Embed, target: Tensor, method: Method) -> Loss:
    """perceptual · d(x, target) + mse · mean (x − target)²; the target is embedded once."""
    with torch.no_grad():
        wanted = embed(target) if method.perceptual else []

    def loss(images: Tensor) -> Tensor:
        total = method.mse * (images - target).square().mean((1, 2, 3))
        if method.perceptual:
            total = total + method.perceptual * distance(embed(images), wanted)
        return total

    return loss


def optimise(
    start: Tensor,
    noise: Sequence[Tensor],
    synthesis: Synthesis,
    loss: Loss,
    method: Method,
    *,
    w_std: float = 1.0,
    prior: Usual | None = None,
    dist: Usual | None = None,
    draw: Draw | None = None,
    watch: Watch | None = None,
) -> Projection:
    """Minimise the loss of synthesis(w, noise) and, weighted, those of w and of the noise maps.

    start [N,K,w_dim], K = 1 (one w for all layers) or the number of layers. noise: maps
    [N,1,H,W] to be optimised, brought to mean 0 and deviation 1 after every step; empty where
    noise is no variable. prior, dist: needed if method.prior, method.dist > 0. draw: numbers for
    the noise on w; needed if method.w_noise > 0.
    """
    w = start.detach().clone().requires_grad_(True)
    maps = [n.detach().clone().requires_grad_(True) for n in noise]
    adam = torch.optim.Adam([w, *maps], lr=method.lr, betas=method.betas)
    losses = torch.zeros(len(w))
    for step in range(method.steps):
        rate = schedule.learning_rate(step, method.steps, method.lr, method.ramp, method.ramp_down)
        adam.param_groups[0]["lr"] = rate
        images = synthesis(_jittered(w, step, method, w_std, draw), maps)
        losses = loss(images)
        if prior is not None and method.prior:
            losses = losses + method.prior * prior(w)
        if dist is not None and method.dist:
            losses = losses + method.dist * dist(w)
        if maps and method.noise_reg:
            losses = losses + method.noise_reg * noise_maps.regularisation(maps, method.noise_rule)
        adam.zero_grad()
        losses.sum().backward()  # a sum: every sample's gradient is its own
        adam.step()
        noise_maps.normalise(maps)
        if watch is not None:
            watch(step, w.detach(), images.detach(), losses.detach())
    return Projection(w.detach(), [n.detach() for n in maps], losses.detach())


def _jittered(w: Tensor, step: int, method: Method, w_std: float, draw: Draw | None) -> Tensor:
    strength = schedule.w_noise(step, method.steps, method.w_noise, method.w_noise_length)
    if strength == 0 or draw is None:
        return w
    return w + draw(step) * (w_std * strength)
