"""Seeds: one stream of random numbers per sample, whatever the batch, the shard or the order."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def derive(seed: int, key: str, purpose: str = "") -> int:
    """A 63-bit seed that depends on (seed, key, purpose) only."""
    text = f"{seed}\0{key}\0{purpose}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


def z_from_seed(seed: int, z_dim: int) -> np.ndarray:
    """`RandomState(seed).randn(1, z_dim)` as float32 [z_dim]: NVIDIA's seeds give NVIDIA's faces.

    Seeds are taken modulo 2**32, which is all that RandomState knows.
    """
    import numpy as np

    return np.random.RandomState(seed % 2**32).randn(1, z_dim).astype(np.float32)[0]
