"""BigGAN's presets, and the networks and course of its runs (Brock et al. 2019; formats.md 5.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gantools.networks import biggan, biggan_discriminator
from gantools.networks.biggan_blocks import BOTTLENECK
from gantools.report import Usage
from gantools.training.schedule import Schedule, half_life_kimg

if TYPE_CHECKING:
    from gantools.training.growing_config import GrowingConfig

EMA_BETA = 0.9999  # in each of G's steps
_EIGHTH = 8  # attention's theta and phi have so small a share of the channels

DEFAULTS: dict[str, Any] = {
    "loss": "hinge", "growing": False, "beta2": 0.999, "lr": 1e-4, "d_lr": 4e-4, "batch": 64,
    "ema_kimg": half_life_kimg(EMA_BETA, 64), "latent_dim": 120, "hier": True,
}  # fmt: skip
_CIFAR = 50 * 4  # pictures that D is shown for one step of G
PRESETS: dict[str, dict[str, Any]] = {
    "auto": {},
    # ajbrock's script for CIFAR-10: an embedding for each batch norm, no attention.
    "cifar10": {
        "resolution": 32, "ch": 64, "batch": 50, "d_steps": 4, "lr": 2e-4, "d_lr": 2e-4,
        "latent_dim": 128, "embed_dim": 0, "hier": False, "attention": 0, "init": "normal",
        "ema_kimg": half_life_kimg(EMA_BETA, _CIFAR), "ema_start_kimg": _CIFAR,
    },
    # The paper's batch in eight parts, as ajbrock's script for one machine has it.
    "imagenet": {
        "resolution": 128, "batch": 2048, "accumulate": 8,
        "ema_kimg": half_life_kimg(EMA_BETA, 2048), "ema_start_kimg": 20 * 2048.0,
    },
}  # fmt: skip
TOTAL_KIMG = {"auto": 25_000, "cifar10": 25_000, "imagenet": 150 * 2048}


def course(config: GrowingConfig) -> Schedule:
    """One resolution, one rate for each player, in every iteration."""
    return Schedule(
        config.resolution, TOTAL_KIMG[config.preset], initial_resolution=config.resolution,
        batch=config.batch or DEFAULTS["batch"], repeats=1,
    )  # fmt: skip


def networks(config: GrowingConfig, classes: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The paper's pair with channels in units of `ch`; z without what is left of equal chunks."""
    # How many classes there are is known when the pictures have been read.
    c_dim = classes or (2 if config.labels is not None else 0)
    common: dict[str, Any] = {"ch": config.ch, "deep": config.deep, "attention": config.attention}
    g = biggan.generator_config(
        config.resolution, z_dim=config.latent_dim, embed_dim=config.embed_dim, c_dim=c_dim,
        **common,
    )  # fmt: skip
    if not config.hier and not config.deep:
        g = replace(g, hier=False, z_dim=config.latent_dim)
    d = biggan_discriminator.discriminator_config(config.resolution, c_dim=c_dim, **common)
    return g.to_dict(), d.to_dict()


def check(config: GrowingConfig) -> None:
    """Usage where there is no such network, or no such step."""
    if config.labels is None and not config.hier:
        raise Usage(
            "without classes G's blocks would read nothing: give --labels, or --hier (a part of z "
            "for each of them)"
        )
    if config.deep and not config.hier:
        raise Usage("--no-hier: the blocks of --deep read all of z")
    slots = len(biggan.generator_config(config.resolution).widths)
    if config.hier and not config.deep and config.latent_dim < slots:
        raise Usage(f"--latent-dim {config.latent_dim}: {slots} layers read a part of it each")
    _check_channels(config)
    batch = config.batch or DEFAULTS["batch"]
    if batch % config.accumulate:
        raise Usage(f"--accumulate {config.accumulate}: --batch {batch} has no so many equal parts")


def _check_channels(config: GrowingConfig) -> None:
    g, d = networks(config, 0)
    seen = [g["widths"][i] for i in g["attention"]] + [d["widths"][i - 1] for i in d["attention"]]
    if seen and min(seen) < _EIGHTH:
        raise Usage(
            f"--ch {config.ch}: attention takes {_EIGHTH} channels or more, and has {min(seen)} "
            "(--attention 0 for none)"
        )
    if config.deep and min(g["widths"][:-1] + d["widths"]) < BOTTLENECK:
        raise Usage(f"--ch {config.ch}: the blocks of --deep take {BOTTLENECK} channels or more")
    if config.attention and not g["attention"]:
        raise Usage(f"--attention {config.attention}: no stage has so many pixels (0 for none)")
