"""Training of attribute models: thesis 002's Algorithm 2 (papers.md S2.9).

A direction moves styles. In front of block i the earlier styles have already become features, and
the model learns what moving them would have made of these: a 1x1 convolution without bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.io.seeds import derive
from gantools.latents.edit import length
from gantools.networks.stylegan2 import Generator
from gantools.networks.stylegan2_blocks import State, advance, first, picture_from, table
from gantools.report import SampleError

REACH = 20.0  # of the largest displacement, in units of w
HELD_OUT = 8  # batches on which a model is judged
BETAS = (0.9, 0.999)

Compare = Callable[[Tensor, Tensor], Tensor]  # pictures [N,C,H,W] twice -> distances [N]
Watch = Callable[[int, float], None]  # step, its loss


@dataclass(frozen=True)
class Settings:
    """S2.9's hyper-parameters. reach: c is drawn from U[-reach, reach], in strengths."""

    first: int
    reach: float
    steps: int
    lr: float = 1e-4
    batch: int = 12
    feature_weight: float = 1.0
    perceptual_weight: float = 1.0
    seed: int = 0

    def story(self) -> dict[str, Any]:
        """For the file; `first` has its own place there."""
        return {name: value for name, value in vars(self).items() if name != "first"}


def reach_of(vector: np.ndarray, num_ws: int, norm: str) -> float:
    """c_max = 20 / |v|: of all layers together (fro), or of the one that moves most (row).

    A vector [w_dim] stands for every layer, as [L, w_dim] with equal rows does.
    """
    rows = np.broadcast_to(np.atleast_2d(vector), (num_ws, np.shape(vector)[-1]))
    return REACH / length(rows, norm)


@dataclass(frozen=True)
class Batch:
    """Samples before and after: what stands in front of block `first`, and how it goes on.

    source: of the samples; target: of the samples moved by c along the direction, with styles and
    noise of the blocks from `first` on, and their pictures.
    """

    c: Tensor  # [N]
    source: State
    target: State
    styles: list[Tensor]
    noise: list[Tensor]
    picture: Tensor

    def finished(self, g: Generator, state: State) -> Tensor:
        """The pictures of other features with the target's styles and noise."""
        return picture_from(g.synthesis, state, self.styles, self.noise)


@torch.no_grad()
def batch_of(g: Generator, vector: Tensor, settings: Settings, draws: torch.Generator) -> Batch:
    """One batch: one z for all layers of a sample, new noise, c; vector [L, w_dim]."""
    n, before = settings.batch, settings.first - 1
    ws = g.mapping(_normal((n, g.cfg.z_dim), draws, vector), _labels(g, n, draws, vector))
    noise = [_normal((n, 1, *shape), draws, vector) for shape in g.noise_shapes]
    c = settings.reach * (2 * torch.rand(n, generator=draws).to(vector) - 1)
    moved = ws + c[:, None, None] * vector
    source, target = (
        advance(g.synthesis, first(g.synthesis, n), list(w[:, :before].unbind(1)), noise[:before])
        for w in (ws, moved)
    )
    styles, later = list(moved[:, before:].unbind(1)), noise[before:]
    picture = picture_from(g.synthesis, target, styles, later)
    return Batch(c, source, target, styles, later, picture)


def _normal(shape: tuple[int, ...], draws: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(shape, generator=draws).to(like)


def _labels(g: Generator, n: int, draws: torch.Generator, like: Tensor) -> Tensor | None:
    if not g.cfg.c_dim:
        return None
    chosen = torch.randint(g.cfg.c_dim, (n,), generator=draws)
    return torch.eye(g.cfg.c_dim)[chosen].to(like)


def moved(weight: Tensor, state: State, c: Tensor) -> State:
    """(f, r) + c M(f, r), M = weight [C+R, C+R]; c [N]. As latents.attribute_model, with torch."""
    by = c[:, None, None, None]
    if state.r is None:
        return State(state.index, state.f + by * F.conv2d(state.f, weight[..., None, None]), None)
    up = state.r.repeat_interleave(2, 2).repeat_interleave(2, 3)
    change = F.conv2d(torch.cat([state.f, up], 1), weight[..., None, None])
    df, dr = change.split([state.f.shape[1], state.r.shape[1]], 1)
    return State(state.index, state.f + by * df, state.r + by * F.avg_pool2d(dr, 2))


def losses(g: Generator, weight: Tensor, batch: Batch, compare: Compare) -> tuple[Tensor, Tensor]:
    """(MSE of f + MSE of r, perceptual distance of the pictures), both means over the batch."""
    made, target = moved(weight, batch.source, batch.c), batch.target
    features = F.mse_loss(made.f, target.f)
    if made.r is not None and target.r is not None:
        features = features + F.mse_loss(made.r, target.r)
    return features, compare(batch.finished(g, made), batch.picture).mean()


def learn(
    g: Generator,
    vector: np.ndarray,
    settings: Settings,
    compare: Compare,
    watch: Watch = lambda step, loss: None,
) -> tuple[np.ndarray, dict[str, float]]:
    """The weight [C+R, C+R] of a direction [w_dim] or [L, w_dim], and its held-out losses.

    It starts from 0, which moves no feature: what a plain direction does. `watch` is called after
    every step. SampleError where the direction moves nothing before block `first`, or where the
    loss is no number any more.
    """
    whole = torch.from_numpy(np.array(np.atleast_2d(vector), np.float32)).to(g.mapping.w_avg)
    whole = whole.expand(g.num_ws, -1)
    if not whole[: settings.first - 1].any():
        raise SampleError(f"it does not move the layers 0-{settings.first - 2}")
    draws = torch.Generator().manual_seed(derive(settings.seed, "", "attribute model"))
    size = sum(channels(g, settings.first))
    weight = torch.zeros(size, size, device=whole.device, requires_grad=True)
    adam = torch.optim.Adam([weight], lr=settings.lr, betas=BETAS)
    for step in range(settings.steps):
        features, distance = losses(g, weight, batch_of(g, whole, settings, draws), compare)
        loss = settings.feature_weight * features + settings.perceptual_weight * distance
        if not torch.isfinite(loss):
            raise SampleError(f"the training diverged at step {step}: lower --lr")
        adam.zero_grad()
        loss.backward()
        adam.step()
        watch(step, float(loss.detach()))
    made = weight.detach()
    return made.cpu().numpy(), judged(g, made, whole, settings, compare)


def channels(g: Generator, block: int) -> tuple[int, int]:
    """Channels of f and of r (0 before block 3) in front of a block."""
    row = table(g.cfg)[block - 1]
    return row.f[0], row.r[0] if row.r else 0


@torch.no_grad()
def judged(
    g: Generator, weight: Tensor, vector: Tensor, settings: Settings, compare: Compare
) -> dict[str, float]:
    """Mean losses on samples that no training sees, of the model and of M = 0 (styles only)."""
    draws = torch.Generator().manual_seed(derive(settings.seed, "", "attribute model, held out"))
    sums = np.zeros(4)
    for _ in range(HELD_OUT):
        batch = batch_of(g, vector, settings, draws)
        for at, m in enumerate((weight, torch.zeros_like(weight))):
            sums[2 * at : 2 * at + 2] += [float(x) for x in losses(g, m, batch, compare)]
    names = ("features", "distance", "features_styles_only", "distance_styles_only")
    return dict(zip(names, (sums / HELD_OUT).tolist(), strict=True))
