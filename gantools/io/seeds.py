"""Seeds: one stream of random numbers per sample, whatever the batch, the shard or the order."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


TRUNCATED_AT = 2.0


def derive(seed: int, key: str, purpose: str = "") -> int:
    """A 63-bit seed that depends on (seed, key, purpose) only."""
    text = f"{seed}\0{key}\0{purpose}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


def key_of_seed(seed: int) -> str:
    """Of the picture that a network makes of a seed."""
    return f"seed{seed:06d}"


def seed_of_key(key: str) -> int:
    """The seed of a `key_of_seed`."""
    return int(key.removeprefix("seed"))


def z_from_seed(seed: int, z_dim: int) -> np.ndarray:
    """`RandomState(seed).randn(1, z_dim)` as float32 [z_dim]: NVIDIA's seeds give NVIDIA's faces.

    Seeds are taken modulo 2**32, which is all that RandomState knows.
    """
    import numpy as np

    return np.random.RandomState(seed % 2**32).randn(1, z_dim).astype(np.float32)[0]


def truncated_z_from_seed(seed: int, z_dim: int) -> np.ndarray:
    """A normal distribution cut off at -2 and 2, as float32 [z_dim]: BigGAN's z (formats.md 2d).

    The quantiles of `RandomState(seed).uniform`, as scipy's truncnorm draws them, so that seeds of
    huggingface's sampler give its pictures.
    """
    import numpy as np

    return _quantiles(np.random.RandomState(seed % 2**32).uniform(size=z_dim))


def truncated(z: np.ndarray) -> np.ndarray:
    """Numbers of N(0, 1) as those of the distribution cut off at -2 and 2, quantile by quantile."""
    from scipy.special import ndtr

    return _quantiles(ndtr(z.astype(float)))


def _quantiles(u: np.ndarray) -> np.ndarray:
    import numpy as np
    from scipy.special import ndtr, ndtri

    low, high = ndtr(-TRUNCATED_AT), ndtr(TRUNCATED_AT)
    found: np.ndarray = ndtri(low + u * (high - low)).astype(np.float32)
    return found
