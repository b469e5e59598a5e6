"""What changes during a run: EMA half-life, lazy regularisation, ADA's p (S0.9, S2.20)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

G_INTERVAL, D_INTERVAL, ADA_INTERVAL = 4, 16, 4
W_AVG_BETA = 0.995


def ema_beta(ema_kimg: float, rampup: float | None, batch: int, images: int) -> float:
    """0.5^(batch / half-life); the half-life is ema_kimg, early on rampup * images (S0.9)."""
    half_life = ema_kimg * 1000
    if rampup is not None:
        half_life = min(half_life, images * rampup)
    return float(0.5 ** (batch / max(half_life, 1e-8)))


def lazy_adam(lr: float, interval: int) -> tuple[float, tuple[float, float]]:
    """(lr c, beta^c) of Adam (0, 0.99) with a regulariser every k steps; c = k/(k+1)."""
    c = interval / (interval + 1)
    return lr * c, (0.0, 0.99**c)


def ada_step(p: Tensor, mean_sign: Tensor, target: float, batch: int, kimg: float) -> Tensor:
    """The next p: one fixed step towards more or less augmentation, never below 0 (S2.20).

    mean_sign is E[sign D(real)] since the last step; float32 throughout. There is no upper bound:
    from 1 on every transformation is drawn always.
    """
    step = batch * ADA_INTERVAL / (kimg * 1000)
    return (p + torch.sign(mean_sign - target).to(p.dtype) * step).clamp_min(0)


@torch.no_grad()
def move_average(
    average: torch.nn.Module, now: torch.nn.Module, beta: float, *, buffers: bool = False
) -> None:
    """average <- lerp(now, average, beta) for parameters; buffers are copied (S0.9).

    buffers: average them too, as moments of a batch norm, which have to fit averaged weights.
    """
    torch._foreach_lerp_(list(average.parameters()), list(now.parameters()), 1 - beta)
    if buffers:
        torch._foreach_lerp_(list(average.buffers()), list(now.buffers()), 1 - beta)
        return
    for old, new in zip(average.buffers(), now.buffers(), strict=True):
        old.copy_(new)


def best_of(scores: Iterable[tuple[int, float]]) -> int | None:
    """The images count of the smallest score; ties go to the earliest (S0.15); None for none."""
    best: tuple[float, int] | None = None
    for images, score in scores:
        if not math.isnan(score) and (best is None or (score, images) < best):
            best = (score, images)
    return None if best is None else best[1]
