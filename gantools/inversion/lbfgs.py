"""L-BFGS of many problems side by side (Nocedal and Wright, Numerical Optimization, algorithm 7.4).

Each sample of the batch has its own history, its own step and its own place, so that it ends where
it would end alone. A trial is one evaluation: a better point is taken, from a worse one the next
trial goes half as far in a direction that has learned from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]  # x [N, D] -> losses [N], gradients [N, D]
HISTORY = 100  # pairs of a sample at most
CURVED = 1e-10  # s·y at least, else a pair says nothing of the curvature


def minimise(x: Tensor, evaluate: Evaluate, steps: int, first: float) -> tuple[Tensor, Tensor]:
    """The best of `steps` evaluations from x [N, D]: points [N, D] and their losses [N].

    first: the length of the first step. Points where the loss is no number are not taken. The
    first evaluation is that of x.
    """
    loss, gradient = evaluate(x)
    history = _History(first / gradient.norm(dim=1, keepdim=True).clamp(min=CURVED))
    reach = torch.ones_like(loss)[:, None]
    for _ in range(steps - 1):
        step = -reach * history.times(gradient)
        trial = x + step
        tried, slope = evaluate(trial)
        history.add(step, slope - gradient)
        better = (tried < loss)[:, None]
        x = torch.where(better, trial, x)
        gradient = torch.where(better, slope, gradient)
        loss = torch.where(better[:, 0], tried, loss)
        reach = torch.where(better, torch.ones_like(reach), reach / 2)
    return x, loss


class _History:
    """Pairs of a step s and the change of the gradient y, and what the inverse Hessian is by them.

    A pair that a sample cannot use is 0 in it, and changes nothing. scale [N, 1]: the inverse
    Hessian without any pair.
    """

    def __init__(self, scale: Tensor) -> None:
        # s, y [N, D], 1 / s·y [N, 1]
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=HISTORY)
        self.scale = scale  # s·y / y·y of each sample's last pair

    def add(self, s: Tensor, y: Tensor) -> None:
        """A pair of every sample."""
        along = (s * y).sum(1, keepdim=True)
        usable = (along > CURVED) & y.isfinite().all(1, keepdim=True)
        none = torch.zeros_like(s)
        s, y = torch.where(usable, s, none), torch.where(usable, y, none)
        inverse = torch.where(usable, 1 / along, torch.zeros_like(along))
        scale = along / y.square().sum(1, keepdim=True)
        self.scale = torch.where(usable, scale, self.scale)
        self.pairs.append((s, y, inverse))

    def times(self, gradient: Tensor) -> Tensor:
        """The inverse Hessian times a gradient [N, D]: two loops over the pairs."""
        q, shares = gradient, []
        for s, y, inverse in reversed(self.pairs):
            share = inverse * (s * q).sum(1, keepdim=True)
            q = q - share * y
            shares.append(share)
        q = q * self.scale
        for (s, y, inverse), share in zip(self.pairs, reversed(shares), strict=True):
            q = q + s * (share - inverse * (y * q).sum(1, keepdim=True))
        return q
