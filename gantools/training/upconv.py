"""Durall et al.'s regulariser of up-convolutions (S3.30), as their code has it (UpConv)."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.networks.spectral_discriminator import SSD_GREY

WEIGHT = 1e-5


def profile(images: Tensor) -> Tensor:
    """[N, 3 or 1, H, W] in [-1, 1] -> [N, bins]: means of 20 ln|F + 1e-8| over rings, 0 to 1.

    The rings' centre is that of the map, half a pixel from frequency 0; the first and the last are
    dropped: 43 at 64 pixels, 88 at 128.
    """
    x = images.float()
    weights = x.new_tensor(SSD_GREY)[:, None, None]
    grey = (x * weights).sum(1) if x.shape[1] == 3 else x[:, 0]
    magnitude = (torch.fft.fft2(grey) + 1e-8).abs()
    ring, share = _rings(*grey.shape[1:], grey.device)
    found = x.new_zeros(len(x), int(ring.max()) + 1)
    logs = 20 * torch.fft.fftshift(magnitude.log(), dim=(1, 2)).flatten(1)
    means = found.index_add(1, ring, logs * share)[:, 1:-1]
    low, high = means.amin(1, keepdim=True), means.amax(1, keepdim=True)
    return (means - low) / (high - low).clamp_min(1e-12)


def divergence(reals: Tensor, fakes: Tensor) -> Tensor:
    """Cross-entropy of the profiles, real as the guess and fake as the truth, pair by pair.

    Images [N, C, H, W] -> scalar. Without a gradient, as published: the fake profile is detached.
    """
    with torch.no_grad():
        return F.binary_cross_entropy(profile(reals), profile(fakes))


def regularised(loss: Tensor, term: Tensor) -> Tensor:
    """G's loss with the regulariser: loss (1 + 1e-5 term), which only makes its step longer."""
    return loss + WEIGHT * term * loss


@lru_cache(16)
def _rings(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The ring of each number of the shifted map and its share of the ring's mean, [H W]."""
    y = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64)[None] - (width - 1) / 2
    ring = (y.square() + x.square()).sqrt().long().flatten()
    share = 1 / torch.bincount(ring).double()[ring]
    with torch.inference_mode(False):
        return ring.to(device), share.to(device, torch.float32)
