"""The networks of a run: fresh from the seed, or from another network's weights (--net)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gantools.io import network as files
from gantools.io import seeds
from gantools.networks import pggan, pggan_discriminator, stylegan, stylegan2
from gantools.networks.network import fill
from gantools.networks.stylegan2 import Generator, GeneratorConfig
from gantools.networks.stylegan2_discriminator import Discriminator, DiscriminatorConfig
from gantools.report import Usage
from gantools.training.growing_presets import GrowingConfig
from gantools.training.presets import TrainConfig

CLAMP = 256.0  # of the activations in float16, as NVIDIA; bfloat16 has the range of float32


@dataclass
class Networks:
    """The three networks of a run."""

    g: Any
    d: Any
    g_ema: Any


def new_networks(
    config: TrainConfig | GrowingConfig, shapes: dict[str, Any] | None = None
) -> Networks:
    """Fresh networks, initialised from the seed on the CPU whatever the device.

    shapes: the configurations {"g": …, "d": …} of a run that did not take them from `config`.
    """
    shapes = shapes or _shapes(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(config.seed, "networks", "initial"))
        g, d = _fresh(config.family, shapes)
    return Networks(g, d, copy.deepcopy(g))


def _shapes(config: TrainConfig | GrowingConfig) -> dict[str, Any]:
    if isinstance(config, GrowingConfig):
        return dict(zip("gd", config.network_configs(), strict=True))
    return {"g": generator_config(config), "d": discriminator_config(config)}


def _fresh(family: str, shapes: dict[str, Any]) -> tuple[torch.nn.Module, torch.nn.Module]:
    g, d = shapes["g"], shapes["d"]
    if family == "stylegan2":
        return (
            Generator(GeneratorConfig.from_dict(g)),
            Discriminator(DiscriminatorConfig.from_dict(d)),
        )
    growing_d = pggan_discriminator.Discriminator(
        pggan_discriminator.DiscriminatorConfig.from_dict(d)
    )
    if family == "pggan":
        return pggan.Generator(pggan.GeneratorConfig.from_dict(g)), growing_d
    return stylegan.Generator(stylegan.GeneratorConfig.from_dict(g)), growing_d


def from_file(net: str, config: TrainConfig | GrowingConfig) -> tuple[Networks, list[str]]:
    """Networks that start from another one's weights (--net), and the ids they are derived from.

    Its shape wins over the preset's. Where the file has no `g` it starts from g_ema; where it has
    no discriminator, a fresh one of the same widths. Usage where it cannot be trained on here.
    """
    checkpoint = files.load(files.find(net))
    if checkpoint.family != config.family:
        raise Usage(f"--net {net}: a {checkpoint.family} network, not {config.family}")
    g_config, d_config = checkpoint.config["g"], checkpoint.config.get("d")
    if g_config["resolution"] != config.resolution or g_config.get("c_dim"):
        size, classes = g_config["resolution"], g_config.get("c_dim", 0)
        raise Usage(
            f"--net {net}: {size} pixels and {classes} classes, not {config.resolution} and 0"
        )
    if d_config is None:
        same = {n: g_config[n] for n in ("widths", "conv_clamp", "num_fp16_res") if n in g_config}
        d_config = {**_shapes(config)["d"], **same}
    networks = new_networks(config, {"g": g_config, "d": d_config})
    ema = checkpoint.part("g_ema")
    _fill(networks.g_ema, ema)
    _fill(networks.g, checkpoint.part("g") or ema)
    if checkpoint.part("d"):
        _fill(networks.d, checkpoint.part("d"))
    return networks, [files.identity(ema), *checkpoint.meta.get("derived_from", [])]


def _fill(module: torch.nn.Module, tensors: dict[str, np.ndarray]) -> None:
    try:
        fill(module, tensors)
    except ValueError as e:
        raise Usage(f"--net: the file's tensors do not fit its configuration ({e})") from None


def _common(config: TrainConfig) -> dict[str, Any]:
    half = config.dtype != "fp32"
    return {
        "resolution": config.resolution,
        "widths": stylegan2.widths(config.resolution, config.channel_base, config.channel_max),
        "conv_clamp": CLAMP if config.dtype == "fp16" else None,
        "num_fp16_res": config.half_resolutions if half else 0,
    }


def generator_config(config: TrainConfig) -> dict[str, Any]:
    """The generator's configuration in a network file."""
    return {
        **_common(config),
        "z_dim": config.latent_dim,
        "w_dim": config.latent_dim,
        "mapping_layers": config.map_depth,
    }


def discriminator_config(config: TrainConfig) -> dict[str, Any]:
    """The discriminator's configuration in a network file."""
    return {
        **_common(config),
        "architecture": config.d_architecture,
        "mbstd_group": config.mbstd_group,
    }
