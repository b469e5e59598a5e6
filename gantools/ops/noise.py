"""Multiplicative noise on activations: the stabiliser of PGGAN's LSGAN runs (papers.md S1.10)."""

from __future__ import annotations

import math

from torch import Tensor


def multiplicative_noise(x: Tensor, strength: float, noise: Tensor) -> Tensor:
    """x (1 + strength √C ε), x [N, C, H, W] or [N, C]; noise [N, C]: ε, from N(0, 1).

    It stands before each convolution of D, in training only. The strength follows D's success:
    `training.losses.gdrop_strength`.
    """
    noise = noise.reshape(*noise.shape, *[1] * (x.dim() - 2))
    return x * (1 + noise * (strength * math.sqrt(x.shape[1]))).to(x.dtype)
