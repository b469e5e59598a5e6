"""The losses of paper 004 between pictures and between latents (papers.md S4.2-S4.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from gantools.inversion.perceptual import Embed, distance
from gantools.ops import similarity
from gantools.ops.crops import part

Cosine = Literal["sample", "batch"]
LARGEST = 256  # rows that SSIM and the perceptual distance see at most (S4.3)
SMALLEST = 16  # pixels a side that have areas of their own


@dataclass(frozen=True)
class Weights:
    """Of the terms (S4.3; latents have the first three): 0 leaves one out. kl: the code's 0."""

    mse: float = 5.0
    cos: float = 3.0
    kl: float = 0.0
    perceptual: float = 2.0
    ssim: float = 1.0


def kl(true: Tensor, said: Tensor) -> Tensor:
    """KL(S(said) ‖ S(true)), a mean (Eq. 4): S is the softmax of channels, or of the last axis.

    [N, C, H, W], [N, L, w_dim] or [N, z_dim] -> a scalar.
    """
    axis = 1 if true.ndim == 4 else -1
    log_true, log_said = (x.log_softmax(axis) for x in (true, said))
    return (log_said.exp() * (log_said - log_true)).sum(axis).mean()


def angle(true: Tensor, said: Tensor, cosine: Cosine = "sample") -> Tensor:
    """1 − cosine, a scalar: a mean over samples, or of the whole batch as one vector (released)."""
    first = 1 if cosine == "sample" else 0
    a, b = (x.flatten(first) for x in (true, said))
    return (1 - functional.cosine_similarity(a, b, dim=-1)).mean()


def latent_terms(
    true: Tensor, said: Tensor, weights: Weights, cosine: Cosine = "sample"
) -> dict[str, Tensor]:
    """The terms of L_LV that have a weight (Eqs. 2-5), each a scalar."""
    found = {}
    if weights.mse:
        found["mse"] = (true - said).square().mean()
    if weights.cos:
        found["cos"] = angle(true, said, cosine)
    if weights.kl:
        found["kl"] = kl(true, said)
    return found


def image_terms(
    true: Tensor,
    said: Tensor,
    weights: Weights,
    embed: Embed,
    cosine: Cosine = "sample",
    *,
    halved: bool = True,
) -> dict[str, Tensor]:
    """The terms of L_IMG that have a weight (Eq. 7), each a scalar, of pictures [N, C, H, W].

    SSIM and the perceptual distance see halves of what has more than 256 rows; halved False: only
    SSIM does, for an embedding that takes the network's own size.
    """
    found = latent_terms(true, said, weights, cosine)
    whole = (true, said)
    while true.shape[2] > LARGEST:
        true, said = functional.avg_pool2d(true, 2), functional.avg_pool2d(said, 2)
    if weights.ssim:
        found["ssim"] = 1 - similarity.ssim_gaussian(true, said).mean()
    if weights.perceptual:
        a, b = (true, said) if halved else whole
        with torch.no_grad():
            seen = embed(a)
        found["perceptual"] = distance(embed(b), seen).mean()
    return found


def weighted(terms: Mapping[str, Tensor], weights: Weights) -> Tensor:
    """Σ weight · term, a scalar; at least one term has to be there."""
    return torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()


def centre(
    true: Tensor, said: Tensor, *, resized: bool = False
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The centred areas of pictures [N, C, H, W] (S4.6): `at1`, `at2` and both crops.

    resized: brought to the whole picture's size again, as the paper says and its code does not.
    """
    size = true.shape[2:]
    for name in ("at1", "at2"):
        rows, columns = part(name, *size)
        crops = [x[:, :, rows, columns] for x in (true, said)]
        if resized:
            crops = [functional.interpolate(x, size, mode="bilinear") for x in crops]
        yield name, crops[0], crops[1]
