"""LREQAdam: Adam without a first moment, with a rate of each parameter's own (papers.md S4.11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

BETA2 = 0.99
EPS = 1e-8


class LREQAdam(Optimizer):
    """lr · rate · √(1 − β₂ᵗ) · g / (√v + ε), v the running mean of g².

    params: groups with `params` and, where it is not 1, `rate`: a weight that is drawn with that
    deviation then learns as an explicitly equalised one of N(0, 1), but for ε.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.0015,
        beta2: float = BETA2,
        eps: float = EPS,
    ) -> None:
        super().__init__(params, {"lr": lr, "beta2": beta2, "eps": eps, "rate": 1.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient; ValueError for a closure."""
        if closure is not None:
            raise ValueError("LREQAdam takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        mean = state["exp_avg_sq"]
        mean.mul_(group["beta2"]).addcmul_(gradient, gradient, value=1 - group["beta2"])
        scale = (1 - group["beta2"] ** float(state["step"])) ** 0.5
        size = group["lr"] * group["rate"] * scale
        parameter.addcdiv_(gradient, mean.sqrt().add_(group["eps"]), value=-size)
