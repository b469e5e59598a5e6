"""PSNR and SSIM of two 8-bit pictures, as a latent's header records them (papers.md S4.19)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gantools.ops import similarity


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of uint8 pictures [H,W,C]; infinite for equal ones."""
    return float(similarity.psnr(_batch(a), _batch(b)))


def ssim(a: np.ndarray, b: np.ndarray, window: int = 7) -> float:
    """Structural similarity of uint8 pictures [H,W,C]: scikit-image's definition.

    A picture smaller than the window takes the largest odd window that fits.
    """
    window = min(window, *(size - 1 + size % 2 for size in a.shape[:2]))
    return float(similarity.ssim(_batch(a), _batch(b), window))


def _batch(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
