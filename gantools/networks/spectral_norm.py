"""Spectral normalisation by power iteration (Miyato et al. 2018, algorithm 1; papers.md S3.25)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def power_step(matrix: Tensor, u: Tensor) -> Tensor:
    """u <- W Wᵀ u, normalised: matrix [O, I], u [O]; without a gradient."""
    with torch.no_grad():
        v = F.normalize(matrix.t() @ u, dim=0, eps=1e-12)
        return F.normalize(matrix @ v, dim=0, eps=1e-12)


class SpectralNorm(nn.Module):
    """weight [O, …] -> weight / σ, σ = ‖Wᵀu‖ the estimate of its greatest singular value.

    Of a convolution W is [O, I k k]. u makes one step of the power iteration in every forward pass
    in training, none in evaluation. The gradient takes u as given, which is exact once u has
    arrived: ∂σ/∂W = u vᵀ with v = Wᵀu/σ. columns: u [I k k] stands on the other side, σ = ‖W u‖,
    half a step further than one power iteration from a u [O], as BigGAN's code has it.
    """

    u: Tensor

    def __init__(self, size: int, *, columns: bool = False) -> None:
        super().__init__()
        self.columns = columns
        self.register_buffer("u", F.normalize(torch.randn(size), dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight, of the same shape."""
        return weight / self.sigma(weight.flatten(1))

    def sigma(self, matrix: Tensor) -> Tensor:
        """σ of matrix [O, I], a scalar; steps u in training."""
        if self.training:
            self.step(matrix)
        u = self.u.clone()  # a second pass before the backward of the first must not change it
        return ((matrix if self.columns else matrix.t()) @ u).norm()

    def step(self, matrix: Tensor) -> None:
        """One step of u for matrix [O, I]."""
        self.u.copy_(power_step(matrix.t() if self.columns else matrix, self.u))


@torch.no_grad()
def settle(module: nn.Module) -> None:
    """One step of the power iteration in every layer of it that has one."""
    for layer in module.modules():
        norm = getattr(layer, "spectral_norm", None)
        if isinstance(norm, SpectralNorm):
            norm.step(layer.weight.flatten(1))  # type: ignore[union-attr,operator]


def _norm(weight: Tensor, *, columns: bool, normalised: bool) -> SpectralNorm | None:
    matrix = weight.flatten(1)
    return SpectralNorm(matrix.shape[int(columns)], columns=columns) if normalised else None


class Conv(nn.Conv2d):
    """A convolution with spectral normalisation, stride 1, that keeps the size.

    normalised False: without it. columns: as in SpectralNorm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        bias: bool = True,
        columns: bool = False,
        normalised: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, bias=bias)
        self.spectral_norm = _norm(self.weight, columns=columns, normalised=normalised)

    def kernel(self, dtype: torch.dtype) -> Tensor:
        """The weight [O, I, k, k] as it is used."""
        weight = self.weight if self.spectral_norm is None else self.spectral_norm(self.weight)
        return weight.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, I, H, W] -> [N, O, H, W], in the dtype of x."""
        weight = self.kernel(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


class Dense(nn.Linear):
    """A fully connected layer with spectral normalisation; the options are those of Conv."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        columns: bool = False,
        normalised: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.spectral_norm = _norm(self.weight, columns=columns, normalised=normalised)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, in] -> [N, out]."""
        weight = self.weight if self.spectral_norm is None else self.spectral_norm(self.weight)
        return F.linear(x, weight, self.bias)
