"""A network ready to run: the file's numbers in the modules of its family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gantools.io import network as files
from gantools.io import seeds
from gantools.io.alpha import PREMULTIPLIED, straight
from gantools.io.latent import Latent
from gantools.networks import (
    biggan,
    biggan_discriminator,
    pggan,
    pggan_discriminator,
    sngan,
    sngan_discriminator,
    stylegan,
    stylegan2,
    stylegan2_config,
    stylegan2_discriminator,
    stylegan2_latents,
    stylegan3,
)
from gantools.ops.pixels import to_uint8
from gantools.report import SampleError, Usage

DTYPES = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class Network:
    """g (and d) in evaluation mode without gradients; meta is the file's header."""

    name: str
    id: str
    family: str
    g: Any
    d: Any | None
    meta: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    dtype: torch.dtype | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its pictures; smaller where it was saved while it was growing."""
        height, width = self.g.cfg.size
        lod = int(getattr(self.g.cfg, "lod", 0))
        return height >> lod, width >> lod

    @property
    def channels(self) -> int:
        """Of its pictures: 3, or 1 for greyscale, or 4 with alpha."""
        return int(self.g.cfg.img_channels)

    @property
    def premultiplied(self) -> bool:
        """Whether it makes colour times alpha, as networks with alpha that were trained here."""
        return self.channels == 4 and self.meta.get("alpha") == PREMULTIPLIED

    def pixels(self, images: Tensor) -> np.ndarray:
        """Pictures [N, C, H, W] that its generator made as they are shown, uint8 [N, H, W, C].

        Colour beside alpha is straight, as in PNG files.
        """
        levels = to_uint8(images)
        return straight(levels) if self.premultiplied else levels

    @property
    def has_w(self) -> bool:
        """Whether it has styles: PGGAN, SNGAN and BigGAN have z alone, and classes."""
        return bool(self.g.num_ws)

    @property
    def starts_from_features(self) -> bool:
        """Whether its first block takes features that are sampled, not a constant (FNZ_i)."""
        return isinstance(self.g, stylegan2.Generator) and self.g.cfg.fnz > 0

    @property
    def truncates_z(self) -> bool:
        """Whether psi multiplies z, which comes from a truncated normal distribution: BigGAN."""
        return isinstance(self.g, biggan.Generator)

    def z_of(self, seed: int) -> np.ndarray:
        """The z [z_dim] of a seed, as `generate --seeds` numbers them."""
        draw = seeds.truncated_z_from_seed if self.truncates_z else seeds.z_from_seed
        return draw(seed, self.g.cfg.z_dim)

    def check_psi(self, psi: float, what: str) -> None:
        """Usage where it makes no pictures at this truncation; `what` asks for them."""
        if self.truncates_z:
            if self.g.cfg.n_stats > 1 and not 0 <= psi <= 1:
                raise Usage(f"{what} {psi:g}: {self.name} has batch statistics for 0 to 1")
        elif psi != 1:
            self.need_w(what)

    def need_w(self, what: str = "") -> None:
        """Usage where the network has no styles; `what` is the flag that asks for them."""
        if not self.has_w:
            why = f"{self.name} is a {self.family} network, which has z and no w"
            raise Usage(f"{what}: {why}" if what else why)

    def story(self) -> dict[str, str]:
        """The entry `network` of a latent's header."""
        return {"name": self.name, "id": self.id}

    def check(self, latent: Latent) -> None:
        """SampleError where the latent names another network, or does not fit this one."""
        named = latent.header.get("network", {})
        if not files.fits(named, {**self.meta, "id": self.id}):
            raise SampleError(
                f"a latent of network {named.get('name')} ({str(named.get('id'))[:12]}), "
                f"not of {self.name} ({self.id[:12]}); give its own with --net"
            )
        cfg = self.g.cfg
        embedded = getattr(cfg, "embedded", 0)  # y may be the class's embedding
        sizes = {"z": {cfg.z_dim}, "y": {cfg.c_dim, embedded or cfg.c_dim}}
        for tensor, lengths in sizes.items():
            if tensor in latent.tensors and latent.tensors[tensor].size not in lengths:
                raise SampleError(
                    f"its {tensor} has {latent.tensors[tensor].size} numbers, "
                    f"the network takes {' or '.join(map(str, sorted(lengths)))}"
                )
        if latent.spatial:
            what = f"a {latent.space} latent"
            stylegan2_latents.check(stylegan2_latents.need_blocks(cfg, what, self.family), latent)
            return
        w = latent.tensors.get("w")
        if w is not None and self.starts_from_features:
            raise SampleError(
                f"a {latent.space} latent, and the network's pictures start from sampled features: "
                f"it takes latents in fnz{self.g.cfg.fnz} (generate --space fnz)"
            )
        if w is not None and not self.has_w:
            raise SampleError(
                f"a {latent.space} latent, and {self.family} networks have z and no w"
            )
        if w is not None and (w.shape[1] != cfg.w_dim or w.shape[0] not in (1, self.g.num_ws)):
            raise SampleError(
                f"its w is {list(w.shape)}, the network takes [{self.g.num_ws}, {cfg.w_dim}]"
            )
        self._check_noise(latent)

    def _check_noise(self, latent: Latent) -> None:
        shapes = self.g.noise_shapes
        for j, value in latent.noise.items():
            if not 1 <= j <= len(shapes) or value.shape != (1, *shapes[j - 1]):
                raise SampleError(
                    f"its noise map n.{j} {list(value.shape)} does not fit the network"
                )


def open_network(
    net: str | None = None,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    discriminator: bool = False,
) -> Network:
    """Find, read and build the network of --net; Usage where that cannot be done.

    dtype: fp32, fp16 or bf16, the arithmetic of the upper resolutions.
    """
    path = files.find(net)
    return build(
        files.load(path), path.stem, device=device, dtype=dtype, discriminator=discriminator
    )


def build(
    ckpt: files.Checkpoint,
    name: str,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    discriminator: bool = False,
) -> Network:
    """The modules of a checkpoint, in evaluation mode, on the device."""
    try:
        g = generator(ckpt.family, ckpt.config["g"], ckpt.part("g_ema"))
        d = _discriminator(ckpt) if discriminator else None
    except (ValueError, TypeError, KeyError, RuntimeError) as e:
        raise Usage(f"{name}: not a network this version can build ({e})") from None
    identity = ckpt.meta.get("id") or files.identity(ckpt.part("g_ema"))
    for module in (g, d):
        if module is not None:
            module.eval().requires_grad_(False).to(device)
    if isinstance(g, biggan.Generator):
        g.for_pictures()
    return Network(name, identity, ckpt.family, g, d, ckpt.meta, device, DTYPES[dtype or "fp32"])


def generator(
    family: str, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> nn.Module:
    """The generator of a family with its numbers."""
    # What is filled next must draw no number from anybody's random stream.
    with torch.random.fork_rng(devices=[]):
        module = new_generator(family, config)
    return fill(module, tensors)


def _discriminator(ckpt: files.Checkpoint) -> nn.Module:
    config = ckpt.config.get("d")
    if not config:
        raise Usage("the network file holds no discriminator")
    with torch.random.fork_rng(devices=[]):
        module = new_discriminator(ckpt.family, config)
    return fill(module, ckpt.part("d"))


def new_generator(family: str, config: Mapping[str, Any]) -> nn.Module:
    """A family's generator as it is drawn; Usage for a family that this version does not know."""
    values = dict(config)
    if family == "stylegan2":
        return stylegan2.Generator(stylegan2_config.GeneratorConfig.from_dict(values))
    if family == "stylegan3":
        return stylegan3.Generator(stylegan3.GeneratorConfig.from_dict(values))
    if family == "stylegan":
        return stylegan.Generator(stylegan.GeneratorConfig.from_dict(values))
    if family == "pggan":
        return pggan.Generator(pggan.GeneratorConfig.from_dict(values))
    if family == "sngan":
        return sngan.Generator(sngan.GeneratorConfig.from_dict(values))
    if family == "biggan":
        return biggan.Generator(biggan.GeneratorConfig.from_dict(values))
    raise Usage(f"networks of the family {family} are not read by this version")


def new_discriminator(family: str, config: Mapping[str, Any]) -> nn.Module:
    """A family's discriminator as it is drawn; PGGAN and StyleGAN share one kind."""
    values = dict(config)
    if family in ("pggan", "stylegan"):
        growing = pggan_discriminator.DiscriminatorConfig.from_dict(values)
        return pggan_discriminator.Discriminator(growing)
    if family == "sngan":
        spectral = sngan_discriminator.DiscriminatorConfig.from_dict(values)
        return sngan_discriminator.Discriminator(spectral)
    if family == "biggan":
        projecting = biggan_discriminator.DiscriminatorConfig.from_dict(values)
        return biggan_discriminator.Discriminator(projecting)
    cfg = stylegan2_discriminator.DiscriminatorConfig.from_dict(values)
    return stylegan2_discriminator.Discriminator(cfg)


def fill(module: nn.Module, tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Load numpy tensors by name, as float32; every name has to be there with its shape."""
    own = module.state_dict()
    missing = sorted(set(own) - set(tensors))
    surplus = sorted(set(tensors) - set(own))
    if missing or surplus:
        what = f"misses {missing[0]}" if missing else f"has an unknown tensor {surplus[0]}"
        raise ValueError(f"the file {what}")
    for name, target in own.items():
        if tuple(target.shape) != tensors[name].shape:
            raise ValueError(f"{name} is {list(tensors[name].shape)}, not {list(target.shape)}")
    state = {n: torch.from_numpy(np.array(v, dtype=np.float32)) for n, v in tensors.items()}
    module.load_state_dict(state)
    return module


def numbers(module: nn.Module, dtype: str = "float32") -> dict[str, np.ndarray]:
    """A module's tensors for a Checkpoint, by name."""
    return {n: t.detach().cpu().numpy().astype(dtype) for n, t in module.state_dict().items()}
