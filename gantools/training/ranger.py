"""Ranger: rectified Adam, centred gradients and Lookahead (papers.md S4.18).

Liu et al. 2019 (torch's RAdam), Yong et al. 2020 and Zhang et al. 2019, put together by Wright as
version 20.4.11, whose constants these are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

BETAS = (0.95, 0.999)
EPS = 1e-5
EVERY, SHARE = 6, 0.5  # Lookahead's k and α


class Ranger(torch.optim.RAdam):
    """A step of RAdam; after every sixth weights go back half of the way to those after the last.

    A gradient of several dimensions first loses its mean over all of them but the first, in place,
    where that leaves anything: rows of one number keep theirs, which could else never learn.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-4) -> None:
        super().__init__(params, lr=lr, betas=BETAS, eps=EPS)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient; ValueError for a closure."""
        if closure is not None:
            raise ValueError("Ranger takes no closure")
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        # RAdam begins a parameter's state by itself, so what it starts from waits until then.
        slow = {p: p.clone() for p in moved if "slow" not in self.state[p]}
        for parameter in moved:
            if parameter.ndim > 1 and parameter[0].numel() > 1:
                gradient = parameter.grad
                gradient -= gradient.mean(tuple(range(1, gradient.ndim)), keepdim=True)
        super().step()
        for parameter in moved:
            state = self.state[parameter]
            if parameter in slow:
                state["slow"] = slow[parameter]
            if int(state["step"]) % EVERY == 0:
                state["slow"].lerp_(parameter, SHARE)
                parameter.copy_(state["slow"])
