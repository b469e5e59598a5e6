"""PGGAN's ablation of its own parts, Table 1 of the paper, rows a to g, as data (papers.md S1.14).

All of them: WGAN-GP with weight 10 and target 1, Adam with beta1 0 and eps 1e-8, 128x128 pixels,
channels min(2048 / 2^s, 512), 10,000 kimg, no ramp-up of the learning rate. The images shown are
those that D sees, so a generator step with five of D costs five batches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gantools.networks import pggan, pggan_discriminator
from gantools.networks.stylegan2_config import widths
from gantools.training.schedule import PGGAN_TICKS, Schedule

RESOLUTION = 128
CHANNEL_BASE = 4096  # the paper's fmap_base 2048 / 2^stage, and 4x4 is stage 1
TOTAL_KIMG = 10_000
DISCRIMINATION_KERNELS = 100


@dataclass(frozen=True, slots=True)
class Ablation:
    """One row. ema_beta is per step of G; batchnorm, leaky and tanh are G's, layernorm is D's.

    D's activation is always a leaky ReLU of 0.2, G's a plain one unless `leaky`. Layer norm has
    eps 1e-4, one gain per layer and a bias per channel. Without `equalized` weights start as
    He's normal and are stored as they are used. minibatch "stddev" is one map over the whole
    batch; "discrimination" is Salimans et al.'s layer before D's last one.
    """

    growing: bool
    batch: int
    d_steps: int
    lr: float
    beta2: float
    drift: float
    ema_beta: float
    latent_dim: int
    normalize_latents: bool
    leaky: bool
    batchnorm: bool
    tanh: bool
    layernorm: bool
    minibatch: Literal["none", "stddev", "discrimination"]
    equalized: bool
    pixelnorm: bool


# The baseline of Gulrajani et al. 2017.
_A = Ablation(
    growing=False, batch=64, d_steps=5, lr=0.0001, beta2=0.9, drift=0.0, ema_beta=0.999**20,
    latent_dim=128, normalize_latents=False, leaky=False, batchnorm=True, tanh=True,
    layernorm=True, minibatch="none", equalized=False, pixelnorm=False,
)  # fmt: skip
_B = replace(_A, growing=True)
_C = replace(_B, batch=16, ema_beta=0.999**5)
_D = replace(
    _C, d_steps=1, beta2=0.99, drift=0.001, ema_beta=0.999, latent_dim=512,
    normalize_latents=True, leaky=True, batchnorm=False, tanh=False, layernorm=False,
)  # fmt: skip
_E = replace(_D, minibatch="stddev")
_F = replace(_E, equalized=True, lr=0.001)

ABLATIONS: dict[str, Ablation] = {
    "a": _A,
    "b": _B,
    "c": _C,
    "d": _D,
    "e": _E,
    "e*": replace(_D, minibatch="discrimination"),
    "f": _F,
    "g": replace(_F, pixelnorm=True),
}


def schedule(row: Ablation, resolution: int = RESOLUTION) -> Schedule:
    """The row's course: 800 + 800 kimg from 4x4, or the full resolution from the start."""
    return Schedule(
        resolution, TOTAL_KIMG, initial_resolution=4 if row.growing else resolution,
        stable_kimg=800, fade_kimg=800, batch=row.batch, lr=row.lr, ticks=PGGAN_TICKS,
    )  # fmt: skip


def networks(
    row: Ablation,
    resolution: int = RESOLUTION,
    channels: tuple[int, ...] | None = None,
    latent_dim: int | None = None,
) -> tuple[pggan.GeneratorConfig, pggan_discriminator.DiscriminatorConfig]:
    """The row's two networks; the paper's have min(CHANNEL_BASE / s, 512) channels at s x s."""
    channels = channels or widths(resolution, CHANNEL_BASE)
    g = pggan.GeneratorConfig(
        resolution, channels, z_dim=latent_dim or row.latent_dim,
        latent_norm=row.normalize_latents, equalized=row.equalized, tanh=row.tanh,
        norm="batch" if row.batchnorm else "pixel" if row.pixelnorm else "none",
        activation="lrelu" if row.leaky else "relu",
    )  # fmt: skip
    d = pggan_discriminator.DiscriminatorConfig(
        resolution, channels, equalized=row.equalized,
        mbstd_group=0 if row.minibatch == "stddev" else 1,
        mbdisc_kernels=DISCRIMINATION_KERNELS if row.minibatch == "discrimination" else 0,
        norm="layer" if row.layernorm else "none",
    )  # fmt: skip
    return g, d
