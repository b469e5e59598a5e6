"""How far optimised latents are from a network's own: prior, distribution, smooth style maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gantools.inversion.methods import Method
from gantools.inversion.optimise import Tensors
from gantools.inversion.prior import Prior, unusual
from gantools.latents.distribution import part_of
from gantools.latents.masks import blur_matrix
from gantools.ops.quantiles import Distribution


@dataclass
class Usual:
    """The terms of a method that look at the latents and not at their pictures, weighted: [N].

    prior: of w, for method.prior. targets: the distributions of the network's own numbers by part
    (w, f, r), for method.dist (S2.19).
    """

    method: Method
    prior: Prior | None = None
    targets: Mapping[str, Distribution] | None = None
    _quantiles: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def __call__(self, tensors: Tensors) -> Tensor:
        """The sum for a batch of latents' tensors [N, ...]."""
        some = next(iter(tensors.values()))
        total = torch.zeros(len(some), device=some.device)
        if self.method.prior and "z" in tensors:
            total = total + self.method.prior * unusual(tensors["z"])
        elif self.prior is not None and self.method.prior:
            total = total + self.method.prior * self._unusual(tensors, self.prior)
        if self.targets is not None and self.method.dist:
            total = total + self.method.dist * self._unlike(tensors, self.targets)
        if self.method.style_smooth:
            total = total + self.method.style_smooth * self._rough(tensors)
        return total

    # A block counts as much with a map of styles as with one.
    def _unusual(self, tensors: Tensors, prior: Prior) -> Tensor:
        if "w" in tensors:
            return prior(tensors["w"])
        maps = _maps(tensors)
        return torch.stack([prior(s.flatten(2).transpose(1, 2)) for s in maps]).mean(0)

    def _unlike(self, tensors: Tensors, targets: Mapping[str, Distribution]) -> Tensor:
        parts: dict[str, list[Tensor]] = {}
        for name, t in tensors.items():
            if (part := part_of(name)) is not None:
                parts.setdefault(part, []).append(t.flatten(1))
        losses = []
        for part, found in parts.items():
            values = torch.cat(found, 1)
            wanted = (part, values.shape[1])
            if wanted not in self._quantiles:
                quantiles = torch.from_numpy(targets[part].targets(values.shape[1]))
                self._quantiles[wanted] = quantiles.to(values)
            losses.append(distribution_loss(values, self._quantiles[wanted]))
        return torch.stack(losses).sum(0)

    def _rough(self, tensors: Tensors) -> Tensor:
        """Mean over the style maps of MSE(s, blur(s)), the blur a share of the map (S2.26)."""
        maps = _maps(tensors)
        if not maps:
            return torch.zeros(len(tensors["w"]), device=tensors["w"].device)
        return torch.stack([_roughness(s, self.method.style_radius) for s in maps]).mean(0)


def _maps(tensors: Tensors) -> list[Tensor]:
    return [t for name, t in tensors.items() if name.startswith("s.")]


def _roughness(s: Tensor, radius: float) -> Tensor:
    rows, columns = (torch.from_numpy(blur_matrix(n, radius * n)).to(s) for n in s.shape[2:])
    return (s - rows @ s @ columns.T).square().mean((1, 2, 3))


def distribution_loss(values: Tensor, targets: Tensor) -> Tensor:
    """MSE(sorted S, T) (Eq. 7.2) of values [N, ...] and T [n] ascending: [N].

    n is the count of numbers in a sample; each part of a latent (styles, F, R) has its own T. The
    gradient of a scalar is 2 (s - T_rank) / n: 0 where S is a permutation of T. ValueError where
    the counts differ.
    """
    flat = values.flatten(1)
    if flat.shape[1:] != targets.shape:
        raise ValueError(f"{flat.shape[1]} scalars a sample and {list(targets.shape)} targets")
    return (flat.sort(dim=1).values - targets).square().mean(1)
