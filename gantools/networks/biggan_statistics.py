"""Batch statistics by truncation: the rows of BigGAN's published networks (formats.md 2d)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Rows = tuple[Tensor, Tensor, Tensor] | None
"""(row [N], row [N], share of the second [N, 1]) of N samples; None where there is one for all."""
_NEAR = 1e-6


def row_at(psi: float, count: int, *, peer: bool = False) -> tuple[int, int, float]:
    """Where psi lies in a table for 0 … 1: two rows of `count`, and the share of the second.

    A psi whose quotient by the step is a row but for rounding is that row: 0.58 / 0.02 =
    28.999999999999996. peer: as huggingface's code, which takes the share of the first row for the
    second's and does not round, so that 0.58 gets row 28. ValueError outside of 0 … 1.
    """
    if not 0 <= psi <= 1:
        raise ValueError(f"psi {psi:g}: the network has statistics for 0 to 1")
    if peer:
        share, whole = math.modf(psi / (1.0 / (count - 1)))
        first = int(whole)
        return (first, min(first + 1, count - 1), 1 - share) if share else (first, first, 0.0)
    at = psi * (count - 1)
    if abs(at - round(at)) < _NEAR:
        return round(at), round(at), 0.0
    return int(at), int(at) + 1, at - int(at)


def rows_at(psis: Sequence[float], count: int, device: torch.device, *, peer: bool = False) -> Rows:
    """`row_at` of every sample; None where there is one row for all."""
    if count == 1:
        return None
    first, second, share = zip(*(row_at(psi, count, peer=peer) for psi in psis), strict=True)
    return (
        torch.tensor(first, device=device),
        torch.tensor(second, device=device),
        torch.tensor(share, dtype=torch.float32, device=device)[:, None],
    )


def between(table: Tensor, rows: Rows) -> Tensor:
    """[1 or N, C]: the only row of a table [C], or those of a table [rows, C] at `rows`."""
    if rows is None:
        return table[None]
    first, second, share = rows
    return table[first].lerp(table[second], share)
