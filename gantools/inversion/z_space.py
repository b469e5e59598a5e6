"""z, and (z, y), as spaces that pictures are projected to: networks without w (papers.md S4.1).

The prior of z is normal; BigGAN's is a normal distribution cut off at -2 and 2 (S4.10), which z
does not leave. A class is either given and stays, or its embedding is optimised beside z.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools.inversion.optimise import Tensors
from gantools.inversion.start import Given, Init, normal
from gantools.io.latent import Latent
from gantools.io.seeds import TRUNCATED_AT, derive, truncated
from gantools.io.space import Size, told
from gantools.latents.inputs import check_class
from gantools.networks.network import Network
from gantools.report import SampleError, Usage

NORMAL, TRUNCATED = "normal", "truncated normal"
CUT_SD = 0.879626  # the deviation of N(0, 1) cut off at -2 and 2


def space_of(network: Network) -> str:
    """The space of a network without w: `zy` where it has classes, else `z`."""
    return "zy" if network.g.cfg.c_dim else "z"


def check_space(network: Network, space: str) -> None:
    """Usage where a network has no such space of z."""
    if network.has_w:
        raise Usage(f"--space {space}: pictures are projected to styles, not to z")
    if "z" not in space:
        network.need_w(f"--space {space}")
    if space != space_of(network):
        what = "has classes" if network.g.cfg.c_dim else "has no classes"
        raise Usage(f"--space {space}: {network.name} {what}: --space {space_of(network)}")


def prior_of(network: Network) -> str:
    """The name of the distribution that the network's z come from."""
    return TRUNCATED if network.truncates_z else NORMAL


def deviation(network: Network) -> float:
    """√(mean |z|²) of the network's own z."""
    one = CUT_SD if network.truncates_z else 1.0
    return one * math.sqrt(network.g.cfg.z_dim)


@dataclass
class ZCanvas:
    """Pictures of z and of what stands for the class; psi: BigGAN's truncation.

    SampleError where the size is not the network's.
    """

    network: Network
    space: str
    size: Size
    psi: float = 1.0

    def __post_init__(self) -> None:
        if self.size != self.network.size:
            raise SampleError(f"{told(self.size)} px, and pictures are {told(self.network.size)}")

    def reduced(self, tensors: Tensors) -> Tensors:
        """Latents' tensors as they are optimised: all of them."""
        return tensors

    def full(self, tensors: Tensors) -> Tensors:
        """Optimised tensors as latents have them."""
        return tensors

    def __call__(self, tensors: Tensors) -> Tensor:
        """Pictures [N, C, H, W] of z [N, z_dim] and y [N, c_dim or embedded]."""
        own = {"psi": self.psi} if self.network.truncates_z else {}
        dtype = self.network.dtype
        return self.network.g(tensors["z"], tensors.get("y"), dtype=dtype, **own)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ZStarts:
    """A start for each picture, by its key: z = 0, one drawn for (seed, key), or what is given.

    A picture's class, where it is known, stays; else what stands for it is optimised too: its
    embedding from that of a class drawn for the key (`mean`: of the mean of all), its shares from
    equal ones. coded: an encoder is part of the method; it is told the class, and what it says of
    that is optimised.
    """

    network: Network
    init: Init
    seed: int
    psi: float = 1.0
    coded: bool = False

    def __post_init__(self) -> None:
        if self.init == "mean" and getattr(self.network.g.cfg, "latent_norm", False):
            raise Usage(
                f"--init mean: {self.network.name} takes the direction of z alone, and its mean "
                "has none: take random"
            )

    def __call__(
        self, canvas: ZCanvas, key: str, picture: Tensor, label: int | None = None
    ) -> Latent:
        """The latent of the picture [1, C, H, W] to start from; SampleError where it is none.

        label: its class, where that is known.
        """
        stays = None if self.coded else label
        if isinstance(self.init, Given):
            return self._given(canvas, self.init.of(key, picture, label), stays)
        cfg = self.network.g.cfg
        z = np.zeros(cfg.z_dim, np.float32)
        if self.init != "mean":
            z = normal(derive(self.seed, key, "init"), (cfg.z_dim,), "cpu").numpy()
            z = truncated(z) if self.network.truncates_z else z
        tensors = {"z": z}
        if cfg.c_dim:
            tensors["y"] = self._class(key, stays)
        return Latent(key, canvas.space, tensors)

    def _given(self, canvas: ZCanvas, given: Latent, label: int | None) -> Latent:
        if "z" not in given.tensors or given.spatial:
            raise SampleError(f"--init: no start for {canvas.space}: a {given.space} latent")
        tensors = {"z": given.tensors["z"] * (given.truncation[0] / self.psi)}
        if self.network.truncates_z:
            tensors["z"] = tensors["z"].clip(-TRUNCATED_AT, TRUNCATED_AT)
        if self.network.g.cfg.c_dim:
            if label is None:
                check_class(self.network, given)
                tensors["y"] = self._free(given.tensors["y"])
            else:
                tensors["y"] = self._class(given.key, label)
        return Latent(given.key, canvas.space, tensors)

    def _class(self, key: str, label: int | None) -> np.ndarray:
        count: int = self.network.g.cfg.c_dim
        if label is not None:
            return np.eye(count, dtype=np.float32)[label]
        if self.init == "mean" or not _embeds(self.network):
            return self._free(np.full(count, 1 / count, np.float32))
        drawn = derive(self.seed, key, "class") % count
        return self._free(np.eye(count, dtype=np.float32)[drawn])

    @torch.no_grad()
    def _free(self, y: np.ndarray) -> np.ndarray:
        """What is optimised of a class: its embedding, or its share among the classes."""
        if not _embeds(self.network):
            return y
        label = torch.from_numpy(np.array(y, np.float32)).to(self.network.device)
        found: np.ndarray = self.network.g.embedded(label[None])[0].cpu().numpy()
        return found

    def rates(self, *, labelled: bool) -> Mapping[str, float]:
        """Classes that are known do not learn."""
        return {"y": 0.0} if labelled and not self.coded else {}

    def hold(self, tensors: Tensors) -> None:
        """Bring z back to -2 … 2 where it is cut off there, and shares of classes to a sum of 1."""
        if self.network.truncates_z:
            tensors["z"].clamp_(-TRUNCATED_AT, TRUNCATED_AT)
        if "y" in tensors and not _embeds(self.network):
            y = tensors["y"].clamp_(min=0)
            y.div_(y.sum(1, keepdim=True).clamp_min(1e-12))

    def story(self) -> dict[str, Any]:
        """What a latent's header says of it beside the settings."""
        return {"psi": self.psi} if self.network.truncates_z else {}


def _embeds(network: Network) -> bool:
    """Whether a class is embedded in another number of numbers than there are classes."""
    cfg = network.g.cfg
    return getattr(cfg, "embedded", 0) not in {0, cfg.c_dim}
