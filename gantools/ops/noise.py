"""Multiplicative noise on activations: the stabiliser of PGGAN's LSGAN runs (papers.md S1.10)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def multiplicative_noise(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """x (1 + strength √C ε), ε ~ N(0, 1) one per sample and channel; x [N, C, H, W] or [N, C].

    It stands before each convolution of D, in training only. The strength follows D's success:
    `training.losses.gdrop_strength`.
    """
    if not strength:
        return x
    shape = [*x.shape[:2], *[1] * (x.dim() - 2)]
    noise = torch.randn(shape, generator=generator, device=x.device)
    return x * (1 + noise * (strength * math.sqrt(x.shape[1]))).to(x.dtype)
