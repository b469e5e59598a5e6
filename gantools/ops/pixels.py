"""Pictures of a network as the 8-bit pixels that are written."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gantools.ops.similarity import levels


def to_uint8(x: Tensor) -> np.ndarray:
    """[N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C], clip(round((x + 1) · 127.5))."""
    return levels(x.float()).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
