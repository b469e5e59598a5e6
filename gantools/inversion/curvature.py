"""Coordinates of w in which a projection's loss is about equally curved along every axis.

A loss that is a sum of squared residuals r(w) bends as 2 J^T J, its Gauss-Newton matrix, J the
Jacobian of r. It is much the same all over a network's own w, and far from a multiple of the
identity: an optimiser that treats all numbers of w alike goes slowly along most axes. The matrix is
estimated once for a network, for each layer by itself, from random projections of the residuals of
some of its own samples, and the optimiser walks in coordinates in which it is about the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Residuals = Callable[[Tensor], Sequence[Tensor]]  # w [N, K, w_dim] -> tensors [N, ...]
BATCH = 16  # samples at once
FLATTEST = 0.3  # of the mean curvature is added to every axis's: flat ones are not followed blindly


def curvature(residuals: Residuals, w: Tensor, generator: torch.Generator) -> Tensor:
    """2 E[J^T J] of each layer [K, D, D], in float64, over samples w [N, K, D].

    With u of N(0, 1) as large as the residuals, g = J^T u has E[g g^T] = J^T J: one backward pass a
    sample. The generator is the CPU's.
    """
    total = torch.zeros((*w.shape[1:], w.shape[2]), dtype=torch.float64)
    for part in w.split(BATCH):
        free = part.detach().requires_grad_(True)
        found = residuals(free)
        weights = [torch.randn(r.shape, generator=generator).to(r) for r in found]
        seen = torch.stack([(r * u).sum() for r, u in zip(found, weights, strict=True)]).sum()
        gradient = torch.autograd.grad(seen, free)[0].cpu().double()
        total += torch.einsum("nki,nkj->kij", gradient, gradient)
    return 2 * total / len(w)


def axes(matrix: Tensor, flattest: float = FLATTEST) -> Tensor:
    """A [K, D, D], float32, with A^T (H + flattest · mean curvature) A = 1 for every layer's H."""
    bends, directions = torch.linalg.eigh(matrix)
    bends = bends.clamp(min=0)
    even = flattest * bends.mean() + torch.finfo(torch.float32).tiny  # a loss without any bend
    return (directions * (bends + even).rsqrt()[:, None]).float()


@dataclass(frozen=True)
class Frame:
    """w = origin [N, K, D] + A u, for each layer its A [D, D] of `axes` [K, D, D]."""

    origin: Tensor
    axes: Tensor

    def begin(self) -> Tensor:
        """The coordinates of the origin, [N, K · D]: zeros."""
        return torch.zeros_like(self.origin).flatten(1)

    def __call__(self, u: Tensor) -> dict[str, Tensor]:
        """The latents' tensors at coordinates [N, K · D]."""
        moved = torch.einsum("nkj,kij->nki", u.view_as(self.origin), self.axes)
        return {"w": self.origin + moved}
