"""How usual a w is: the Gaussian prior of Zhu et al. 2020 (P_N space), for codes that edit well.

The mapping network ends in a leaky ReLU of slope 0.2; its inverse brings w to about a normal
distribution, whose mean and covariance a network's own w give. Codes far from it show a picture as
well as others, and come apart when they are edited.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SLOPE = 5.0  # the inverse of the mapping's leaky ReLU
FLATTEST = 1e-4  # of the largest variance: flatter directions count as if they had this one


@dataclass(frozen=True)
class Prior:
    """mean [w_dim] and whitening [w_dim, w_dim] of leaky_relu(w, 5)."""

    mean: Tensor
    whitening: Tensor

    @classmethod
    def of(cls, w: Tensor) -> Prior:
        """The prior of a network whose mapping made w [N, w_dim]."""
        p = functional.leaky_relu(w.double(), SLOPE)
        mean = p.mean(0)
        variances, axes = torch.linalg.eigh((p - mean).T @ (p - mean) / len(p))
        spread = variances.clamp(min=float(variances[-1]) * FLATTEST).sqrt()
        return cls(mean.float(), (axes / spread).float())

    def __call__(self, w: Tensor) -> Tensor:
        """Mean square of the whitened coordinates of w [N, K, w_dim]: [N], about 1 for its own.

        Just 0 at the mean of p; below 1 for truncated codes, without bound for unusual ones.
        """
        return self.coordinates(w).square().mean((1, 2))

    def coordinates(self, w: Tensor) -> Tensor:
        """p of w [N, K, w_dim], whitened: about N(0, 1) for a network's own."""
        return (functional.leaky_relu(w, SLOPE) - self.mean) @ self.whitening


def unusual(z: Tensor) -> Tensor:
    """The same of z [N, z_dim], which is normal: the mean square, [N].

    Of a normal distribution that is cut off too, but for its ends (inversion.z_space).
    """
    return z.square().mean(1)
