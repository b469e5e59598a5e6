"""Batch norm whose moments may be those of a batch that stands in several processes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.processes import Processes

MOMENTUM = 0.1


class Moments(nn.Module):
    """Normalises: by the batch's own moments in training, by running means of them in evaluation.

    Momentum 0.1. processes: those that the batch is divided over, None for this one alone; a
    trainer sets it.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps, self.momentum = eps, MOMENTUM
        self.processes: Processes | None = None
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def normalised(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] with mean 0 and variance 1: the batch's in training, else the running."""
        if self.processes is None or not self.training:
            return F.batch_norm(
                x, self.mean, self.var, training=self.training, momentum=self.momentum, eps=self.eps
            )
        return together(x, self.mean, self.var, self.processes, self.momentum, self.eps)


def together(
    x: Tensor, running_mean: Tensor, running_var: Tensor, processes: Processes, momentum: float,
    eps: float,
) -> Tensor:  # fmt: skip
    """x [N, C, H, W] normalised by the moments of all processes' batch; moves the running ones."""
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    # Centred by the running mean, which all processes share, so that the squares do not cancel.
    offset = running_mean[:, None, None].clone()
    first = processes.mean((y - offset).mean(dim=(0, 2, 3)))
    second = processes.mean((y - offset).square().mean(dim=(0, 2, 3)))
    var = second - first.square()
    mean = first + offset[:, 0, 0]
    count = x.numel() // x.shape[1] * processes.world
    with torch.no_grad():
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * (count / max(count - 1, 1)), momentum)
    y = (y - mean[:, None, None]) * (var + eps).rsqrt()[:, None, None]
    return y.to(x.dtype)


class BatchNorm(Moments):
    """Batch norm; with classes its scale and shift are linear in the label [N, c_dim]."""

    def __init__(self, channels: int, c_dim: int = 0, eps: float = 1e-5) -> None:
        super().__init__(channels, eps)
        scale, shift = torch.ones(channels), torch.zeros(channels)
        if c_dim:
            scale = 1 + 0.02 * torch.randn(c_dim, channels)
            shift = torch.zeros(c_dim, channels)
        self.scale = nn.Parameter(scale)  # [C] or [c_dim, C]
        self.shift = nn.Parameter(shift)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """x [N, C, H, W], label [N, c_dim] where it was built for one -> [N, C, H, W]."""
        x = self.normalised(x)
        scale, shift = self.scale[None], self.shift[None]
        if label is not None and self.scale.dim() > 1:
            scale, shift = label @ self.scale, label @ self.shift
        return x * scale[:, :, None, None].to(x.dtype) + shift[:, :, None, None].to(x.dtype)
