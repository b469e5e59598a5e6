"""Projection by optimisation: the tensors of latents by Adam, for a batch of pictures at once.

Losses are summed over the batch and every random number belongs to one sample, so a result does
not depend on its neighbours (papers.md S2.11, S2.12; formats.md 5.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from gantools.inversion import lbfgs, schedule
from gantools.inversion import noise as noise_maps
from gantools.inversion.curvature import Frame
from gantools.inversion.image_loss import asked, image_loss
from gantools.inversion.lreq_adam import LREQAdam
from gantools.inversion.methods import Method
from gantools.inversion.perceptual import Embed, distance

Tensors = dict[str, Tensor]  # the tensors of latents by name (io.latent), each [N, ...]
Render = Callable[[Tensors], Tensor]  # -> pictures [N,C,H,W]
Loss = Callable[[Tensor], Tensor]  # pictures -> one loss per sample, [N]
Usual = Callable[[Tensors], Tensor]  # how far from the network's own latents, [N]
Beside = Callable[[Tensors, Tensor], Tensor]  # a loss [N] of the tensors and their pictures
Hold = Callable[[Tensors], None]  # brings tensors back to where they may be, in place
Jitter = Callable[[int, Tensors, float], Tensors]  # step, tensors, strength -> with noise on them
Watch = Callable[[int, Tensors, Tensor, Tensor], None]  # step, tensors after it, pictures, losses


@dataclass
class Projection:
    """Where an optimisation ended: tensors as they started, by name, and last losses [N]."""

    tensors: Tensors
    loss: Tensor


def objective(embed: Embed, target: Tensor, method: Method) -> Loss:
    """perceptual · d(x, target) + mse · mean (x − target)²; the target is embedded once.

    Methods with more terms than these: as in `image_loss`.
    """
    if asked(method):
        return image_loss(embed, target, method)
    with torch.no_grad():
        wanted = embed(target) if method.perceptual else []

    def loss(images: Tensor) -> Tensor:
        total = method.mse * (images - target).square().mean((1, 2, 3))
        if method.perceptual:
            total = total + method.perceptual * distance(embed(images), wanted)
        return total

    return loss


def residuals(embed: Embed, images: Tensor, method: Method) -> list[Tensor]:
    """Tensors [N, ...] whose squared differences from the target's add up to `objective`.

    Of its terms the perceptual distance and the mean square; the others are no sums of squares.
    """
    found = [images * math.sqrt(method.mse / images[0].numel())]
    if method.perceptual:
        found += [x * math.sqrt(method.perceptual) for x in embed(images)]
    return found


def descend(
    frame: Frame,
    render: Render,
    loss: Loss,
    method: Method,
    *,
    usual: Usual | None = None,
    watch: Watch | None = None,
) -> Projection:
    """Minimise the loss of render(w) and what `usual` adds by L-BFGS in a frame's coordinates.

    It begins at the frame's origin; method.steps evaluations, the first move method.lr long. The
    best that was seen is the result. What has noise on it cannot be minimised so.
    """
    taken = 0

    def evaluate(u: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal taken
        free = u.detach().requires_grad_(True)
        tensors = frame(free)
        images = render(tensors)
        losses = loss(images)
        if usual is not None:
            losses = losses + usual(tensors)
        gradient = torch.autograd.grad(losses.sum(), free)[0]
        if watch is not None:
            watch(taken, _detached(tensors), images.detach(), losses.detach())
        taken += 1
        return losses.detach(), gradient

    u, losses = lbfgs.minimise(frame.begin(), evaluate, method.steps, method.lr)
    return Projection(frame(u), losses)


def optimise(
    start: Tensors,
    render: Render,
    loss: Loss,
    method: Method,
    *,
    usual: Usual | None = None,
    beside: Beside | None = None,
    hold: Hold | None = None,
    jitter: Jitter | None = None,
    rates: Mapping[str, float] | None = None,
    watch: Watch | None = None,
) -> Projection:
    """Minimise the loss of render(tensors), what `usual` and `beside` add, and of the noise maps.

    start: every tensor is optimised; noise maps `n.j` [N,1,H,W] are brought to mean 0 and
    deviation 1 after every step. jitter: noise on the others before rendering; needed if
    method.w_noise > 0. rates: what a tensor's learning rate is multiplied by. hold: after every
    step.
    """
    tensors = {name: t.detach().clone().requires_grad_(True) for name, t in start.items()}
    maps = [t for name, t in tensors.items() if name.startswith("n.")]
    share = {name: (rates or {}).get(name, 1.0) for name in tensors}
    groups = [{"params": [t], "share": share[name]} for name, t in tensors.items()]
    adam = _optimiser(groups, method)
    if not method.steps:
        with torch.no_grad():
            return Projection(_detached(tensors), loss(render(tensors)))
    for step in range(method.steps):
        rate = schedule.learning_rate(step, method.steps, method.lr, method.ramp, method.ramp_down)
        for group in adam.param_groups:
            group["lr"] = rate * group["share"]
        images = render(_jittered(tensors, step, method, jitter))
        losses = loss(images)
        if usual is not None:
            losses = losses + usual(tensors)
        if beside is not None:
            losses = losses + beside(tensors, images)
        if maps and method.noise_reg:
            losses = losses + method.noise_reg * noise_maps.regularisation(maps, method.noise_rule)
        adam.zero_grad()
        losses.sum().backward()  # a sum: every sample's gradient is its own
        adam.step()
        noise_maps.normalise(maps)
        if hold is not None:
            with torch.no_grad():
                hold(tensors)
        if watch is not None:
            watch(step, _detached(tensors), images.detach(), losses.detach())
    return Projection(_detached(tensors), losses.detach())


def _optimiser(groups: list[dict[str, Any]], method: Method) -> Optimizer:
    if method.optimiser == "lreq":
        return LREQAdam(groups, lr=method.lr)
    return torch.optim.Adam(groups, lr=method.lr, betas=method.betas, fused=True)


def _detached(tensors: Tensors) -> Tensors:
    return {name: t.detach() for name, t in tensors.items()}


def _jittered(tensors: Tensors, step: int, method: Method, jitter: Jitter | None) -> Tensors:
    strength = schedule.w_noise(step, method.steps, method.w_noise, method.w_noise_length)
    return tensors if strength == 0 or jitter is None else jitter(step, tensors, strength)
