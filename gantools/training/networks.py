"""The networks of a run: fresh from the seed, or from another network's weights (--net)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gantools import report
from gantools.inversion.alae import AlaeConfig
from gantools.io import network as files
from gantools.io import seeds
from gantools.io.network import Checkpoint
from gantools.networks import stylegan2_config
from gantools.networks.biggan_blocks import initial
from gantools.networks.network import fill, new_discriminator, new_generator
from gantools.networks.sizes import SQUARE, first_block, scaled
from gantools.networks.stylegan2_discriminator import Discriminator
from gantools.report import Usage
from gantools.training import shape, spectral
from gantools.training.alae_networks import Critic
from gantools.training.growing_config import GrowingConfig
from gantools.training.presets import DOWNSAMPLE, UPSAMPLE, TrainConfig

CLAMP = 256.0  # of the activations in float16, as NVIDIA; bfloat16 has the range of float32


@dataclass
class Networks:
    """The three networks of a run, and what its spectral discriminator starts from."""

    g: Any
    d: Any
    g_ema: Any
    spectral: dict[str, np.ndarray] = field(default_factory=dict)


def new_networks(
    config: TrainConfig | GrowingConfig, shapes: dict[str, Any] | None = None, *, classes: int = 0
) -> Networks:
    """Fresh networks, initialised from the seed on the CPU whatever the device.

    shapes: the configurations {"g": …, "d": …} of a run that did not take them from `config` and
    the number of `classes`.
    """
    shapes = shapes or _shapes(config, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(config.seed, "networks", "initial"))
        if config.family == "alae":
            g = new_generator("stylegan", shapes["g"])
            d: torch.nn.Module = Critic(AlaeConfig.from_dict(shapes["d"]))
        else:
            g = new_generator(config.family, shapes["g"])
            d = new_discriminator(config.family, shapes["d"])
        if isinstance(config, GrowingConfig) and config.family == "biggan":
            for net in (g, d):
                initial(net, config.init)
    return Networks(g, d, copy.deepcopy(g))


def _shapes(config: TrainConfig | GrowingConfig, classes: int) -> dict[str, Any]:
    if isinstance(config, GrowingConfig):
        return dict(zip("gd", config.network_configs(classes), strict=True))
    return {"g": generator_config(config, classes), "d": discriminator_config(config, classes)}


def start(net: str | None, config: TrainConfig | GrowingConfig) -> Checkpoint | None:
    """The network of --net, or None without it; Usage where it cannot be trained on here.

    Reads no picture: what this refuses need not wait for them.
    """
    frozen = config.freeze_d if isinstance(config, TrainConfig) else 0
    if net is None:
        if frozen:
            raise Usage("--freeze-d: only layers that were trained can be kept; give --net")
        return None
    checkpoint = files.load(files.find(net))
    if checkpoint.family != config.family:
        raise Usage(f"--net {net}: a {checkpoint.family} network, not {config.family}")
    g_config = checkpoint.config["g"]
    try:
        block = first_block(g_config.get("first_block", SQUARE))
    except ValueError as e:
        raise Usage(f"--net {net}: {e}") from None
    theirs = shape.told(*scaled(g_config["resolution"], block))
    ours, channels = shape.told(*config.size), g_config.get("img_channels", 3)
    if (theirs, channels) != (ours, config.channels):
        raise Usage(
            f"--net {net}: {theirs} pixels and {channels} channels, not {ours} and "
            f"{config.channels}"
        )
    _check_features(net, g_config, config)
    if g_config.get("n_stats", 1) > 1 or not g_config.get("spectral_norm", True):
        raise Usage(
            f"--net {net}: made for pictures alone: its batch statistics are those of truncations, "
            "or its spectral normalisation is multiplied out"
        )
    _check_ways(net, checkpoint, config)
    if frozen and not checkpoint.part("d"):
        raise Usage(f"--freeze-d: {net} has no discriminator")
    return checkpoint


def _check_features(
    net: str, g_config: dict[str, Any], config: TrainConfig | GrowingConfig
) -> None:
    """Usage where the network lacks the blocks that the run is to have."""
    fnz, own = (config.fnz if isinstance(config, TrainConfig) else 0), g_config.get("fnz", 0)
    if own and not own <= fnz:
        raise Usage(
            f"--net {net}: it starts at block {own} (--fnz {own}), and the blocks before are not "
            f"there: give --fnz {own}, or a later block"
        )
    if own and g_config.get("noise_blur", 0.0) != _features(config)["noise_blur"]:
        report.note(f"{net} was trained with another --noise-blur; its features are new ones now")
    architecture = g_config.get("architecture", "skip")
    if fnz and architecture != "skip":
        raise Usage(f"--fnz: {net} is of the architecture {architecture}; only skip has F and R")


_WAYS: dict[str, dict[str, Any]] = {  # of files that do not say them
    "pggan": {"upsample": "nearest", "downsample": "avg"},
    "sngan": {"upsample": "bilinear", "downsample": "avg"},
    "stylegan2": {"resample_filter": [1, 3, 3, 1]},
}


def _check_ways(net: str, checkpoint: Checkpoint, config: TrainConfig | GrowingConfig) -> None:
    """Usage where the network doubles or halves otherwise than its run is to, or cannot grow."""
    growing = isinstance(config, GrowingConfig) and config.growing
    if growing and not checkpoint.config["g"].get("growing", True):
        raise Usage(f"--net {net}: it has one size only: give --no-grow")
    g = checkpoint.config["g"]
    theirs_too = g.get("wavelet", False) or g.get("architecture") == "wavelet"
    if theirs_too != config.wavelet:
        raise Usage(f"--net {net}: {'give' if theirs_too else 'it was trained without'} --wavelet")
    for part, flag in (("g", "upsample"), ("d", "downsample")):
        way, theirs = getattr(config, flag), checkpoint.config.get(part)
        if way is None or theirs is None:
            continue
        name = "resample_filter" if config.family == "stylegan2" else flag
        own = theirs.get(name, _WAYS[config.family].get(name))
        if own != _shapes(config, 0)[part][name]:
            raise Usage(f"--{flag} {way}: {net} has another way, which its weights belong to")


def from_checkpoint(
    checkpoint: Checkpoint, config: TrainConfig | GrowingConfig
) -> tuple[Networks, list[str]]:
    """Networks that start from the weights of `start`, and the ids they are derived from.

    Its shape wins over the preset's. Where the file has no `g` it starts from g_ema; where it has
    no discriminator, a fresh one of the same widths. Usage where its two networks have not as many
    classes, or --freeze-d leaves nothing to train.
    """
    g_config = {**checkpoint.config["g"], **_features(config)}
    d_config = checkpoint.config.get("d")
    classes = g_config.get("c_dim", 0)
    if (d_config or g_config).get("c_dim", 0) != classes:
        raise Usage("--net: its generator and its discriminator differ in their classes")
    if d_config is None:
        # SNGAN's and BigGAN's two have widths of their own, and so may --d-channel-base say.
        own = config.family in ("sngan", "biggan")
        own = own or getattr(config, "d_channel_base", None) is not None
        own = own or g_config.get("upsample") == "reshape"
        kept = () if own else ("widths", "conv_clamp", "num_fp16_res")
        same = {n: g_config[n] for n in kept if n in g_config}
        d_config = {**_shapes(config, classes)["d"], **same}
        if d_config.get("cmap_dim"):
            d_config["cmap_dim"] = d_config["widths"][0]
    networks = new_networks(config, {"g": g_config, "d": d_config})
    if isinstance(config, TrainConfig) and config.freeze_d > len(picture_layers(networks.d)):
        raise Usage(
            f"--freeze-d {config.freeze_d}: the discriminator has "
            f"{len(picture_layers(networks.d))} layers before the last block"
        )
    ema = checkpoint.part("g_ema")
    _fill(networks.g_ema, _kept(ema, networks.g_ema))
    _fill(networks.g, _kept(checkpoint.part("g") or ema, networks.g))
    if checkpoint.part("d"):
        _fill(networks.d, checkpoint.part("d"))
    networks.spectral = _spectral(checkpoint, config)
    return networks, [files.identity(ema), *checkpoint.meta.get("derived_from", [])]


def _spectral(checkpoint: Checkpoint, config: TrainConfig | GrowingConfig) -> dict[str, np.ndarray]:
    """The file's spectral discriminator where the run has one of its kind; else none (S3.24)."""
    told = checkpoint.config.get("spectral")
    theirs = told.get("kind") if isinstance(told, dict) else None
    ours = spectral.kind_of(config)
    if theirs is None or theirs != ours:
        if theirs is not None:
            what = f"{ours} starts fresh" if ours else "this run has none"
            report.note(f"the network's spectral discriminator is {theirs}; {what}")
        return {}
    tensors = checkpoint.part("spectral")
    try:
        spectral.Critic(config, tensors)
    except ValueError as e:
        raise Usage(f"--net: the file's spectral discriminator does not fit ({e})") from None
    return tensors


def _kept(tensors: dict[str, np.ndarray], module: torch.nn.Module) -> dict[str, np.ndarray]:
    """Without the blocks that a generator of FNZ_i does not have (S2.20)."""
    if not module.cfg.to_dict().get("fnz"):  # type: ignore[operator,union-attr]
        return tensors
    own = set(module.state_dict())
    return {n: t for n, t in tensors.items() if n in own or not n.startswith("synthesis.")}


def picture_layers(d: Discriminator) -> list[torch.nn.Module]:
    """StyleGAN2's D from the picture on, without the 4x4 block, as FreezeD counts its layers.

    Of each block fromrgb (where it has one), conv0, conv1 and skip.
    """
    blocks = [getattr(d, f"b{resolution}") for resolution in d.cfg.resolutions[:0:-1]]
    names = ("fromrgb", "conv0", "conv1", "skip")
    layers = [getattr(block, name, None) for block in blocks for name in names]
    return [layer for layer in layers if isinstance(layer, torch.nn.Module)]


def _fill(module: torch.nn.Module, tensors: dict[str, np.ndarray]) -> None:
    try:
        fill(module, tensors)
    except ValueError as e:
        raise Usage(f"--net: the file's tensors do not fit its configuration ({e})") from None


def _common(config: TrainConfig, classes: int) -> dict[str, Any]:
    half = config.dtype != "fp32"
    channels = stylegan2_config.widths(config.resolution, config.channel_base, config.channel_max)
    return {
        "resolution": config.resolution,
        "widths": channels[:-1] if config.wavelet else channels,
        "c_dim": classes,
        "img_channels": config.channels,
        "first_block": config.first_block,
        "conv_clamp": CLAMP if config.dtype == "fp16" else None,
        "num_fp16_res": config.half_resolutions if half else 0,
    }


def generator_config(config: TrainConfig, classes: int = 0) -> dict[str, Any]:
    """The generator's configuration in a network file."""
    return {
        **_common(config, classes),
        **_features(config),
        **_filter(UPSAMPLE, config.upsample),
        "architecture": "wavelet" if config.wavelet else "skip",
        "z_dim": config.latent_dim,
        "w_dim": config.latent_dim,
        "mapping_layers": config.map_depth,
    }


def _filter(known: dict[str, tuple[int, ...]], way: str | None) -> dict[str, Any]:
    """--upsample or --downsample as a filter."""
    return {} if way is None else {"resample_filter": [float(tap) for tap in known[way]]}


def _features(config: TrainConfig | GrowingConfig) -> dict[str, Any]:
    """What --fnz and --noise-blur put into a generator's configuration."""
    if not isinstance(config, TrainConfig) or not config.fnz:
        return {}
    return {"fnz": config.fnz, "noise_blur": config.noise_blur}


def discriminator_config(config: TrainConfig, classes: int = 0) -> dict[str, Any]:
    """The discriminator's configuration in a network file; with classes it projects."""
    common = _common(config, classes)
    return {
        **common,
        **_filter(DOWNSAMPLE, config.downsample),
        "architecture": "wavelet" if config.wavelet else config.d_architecture,
        "mbstd_group": config.mbstd_group,
        "cmap_dim": common["widths"][0] if classes else 0,
    }
