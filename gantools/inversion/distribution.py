"""Distribution regularisation (papers.md S2.19): a latent's scalars beside those of its space."""

from __future__ import annotations

import torch
from torch import Tensor

from gantools.ops.quantiles import Distribution


def targets(w: Tensor, rows: int) -> Tensor:
    """T [rows * w_dim] ascending, the quantiles of the numbers of w [N, w_dim], for `rows` of w."""
    found = Distribution.of(w.cpu().numpy()).targets(rows * w.shape[1])
    return torch.from_numpy(found).to(w)


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
