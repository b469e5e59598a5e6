"""The frames of a run's projections: axes of w by the curvature of its loss, once for each size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gantools.inversion.canvas import Canvas
from gantools.inversion.curvature import Frame, axes, curvature
from gantools.inversion.methods import Method
from gantools.inversion.optimise import residuals
from gantools.inversion.perceptual import Embed
from gantools.inversion.prior import Prior
from gantools.io.seeds import derive
from gantools.io.space import Size


class Frames:
    """Frames for a method that asks for them; own: w [M, w_dim] of the network's mapping."""

    def __init__(
        self, embed: Embed, method: Method, own: Tensor, prior: Prior | None, seed: int
    ) -> None:
        self.embed, self.method, self.prior, self.seed = embed, method, prior, seed
        self.own = own[: method.curvature]
        self._axes: dict[Size, Tensor] = {}

    def at(self, canvas: Canvas, origin: Tensor) -> Frame:
        """Of starts w [N, K, w_dim] in a canvas's space."""
        if canvas.size not in self._axes:
            self._axes[canvas.size] = axes(self._curvature(canvas, origin.shape[1]))
        return Frame(origin.detach(), self._axes[canvas.size].to(origin))

    def _curvature(self, canvas: Canvas, layers: int) -> Tensor:
        def found(w: Tensor) -> list[Tensor]:
            seen = residuals(self.embed, canvas({"w": w}), self.method)
            if self.prior is None:
                return seen
            return [*seen, self.prior.coordinates(w) * math.sqrt(self.method.prior / w[0].numel())]

        w = self.own[:, None].expand(-1, layers, -1)
        generator = torch.Generator().manual_seed(derive(self.seed, "", "curvature"))
        return curvature(found, w, generator)
