"""Whether a latent with features or style maps fits a StyleGAN2 network (papers.md S2.0, S2.1)."""

from __future__ import annotations

from typing import Any

from gantools.io.latent import Latent
from gantools.io.spatial_latent import last_block
from gantools.networks.stylegan2_blocks import need_skip, table
from gantools.networks.stylegan2_config import GeneratorConfig
from gantools.report import SampleError


def need_blocks(cfg: Any, what: str, family: str) -> GeneratorConfig:
    """The configuration of a network whose synthesis can start at any block; else SampleError.

    what: for the message, such as "a fw+5 latent".
    """
    if not isinstance(cfg, GeneratorConfig):
        raise SampleError(f"{what} is StyleGAN2's, and this is a {family} network")
    try:
        need_skip(cfg)
    except ValueError as e:
        raise SampleError(f"{what} does not fit the network: {e}") from None
    return cfg


def check(cfg: GeneratorConfig, latent: Latent) -> None:
    """SampleError where blocks, channels or sizes are not the network's; sizes of f are free."""
    last, first = cfg.num_ws, latent.first
    if first > last:
        raise SampleError(f"a {latent.space} latent, and the network has blocks 1 to {last}")
    if first < cfg.first:
        raise SampleError(
            f"a {latent.space} latent, and the network starts at block {cfg.first} (FNZ): it takes "
            f"f from there on, such as fnz{cfg.first}"
        )
    row = table(cfg)[first - 1]
    found = last_block(latent.space, latent.tensors)
    if found is not None and found != last:
        raise SampleError(f"its last style is that of block {found}, the network's is {last}")
    if len(latent.noise) != last - first and "n" in latent.space:
        raise SampleError(
            f"it has {len(latent.noise)} noise maps, the network has {last - first} from {first} on"
        )
    f, r = latent.tensors.get("f"), latent.tensors.get("r")
    if f is not None and len(f) != row.f[0]:
        raise SampleError(f"its f has {len(f)} channels, F_{first} of the network {row.f[0]}")
    if r is not None and len(r) != cfg.img_channels:
        raise SampleError(f"its r has {len(r)} channels, the network's pictures {cfg.img_channels}")
    if f is None and latent.tensors["s.1"].shape[1:] != row.f[1:]:
        height, width = latent.tensors["s.1"].shape[1:]
        raise SampleError(
            f"its s.1 is {height}x{width}, the network's first block {row.f[1]}x{row.f[2]}: "
            "another size needs features (fsw+1)"
        )
    _check_styles(cfg, latent)


def _check_styles(cfg: GeneratorConfig, latent: Latent) -> None:
    for name, value in latent.tensors.items():
        dim = value.shape[1] if name == "w" else len(value)
        if (name == "w" or name.startswith("s.")) and dim != cfg.w_dim:
            raise SampleError(f"its {name} has {dim} numbers a style, the network {cfg.w_dim}")
