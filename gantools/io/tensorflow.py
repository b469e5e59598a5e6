"""NVIDIA's TensorFlow pickles, versions 2 to 5 (formats.md 2b): (G, D, Gs).

PGGAN, StyleGAN and StyleGAN2. The code that such a file carries is text and stays text; its
variables are what is read.
"""

from __future__ import annotations

from typing import Any

from gantools.io import tensorflow_growing, tensorflow_stylegan2
from gantools.io.arrays import Arrays
from gantools.io.inert import Malformed
from gantools.io.network import Checkpoint
from gantools.io.stylegan2 import Tensors
from gantools.io.tensorflow_network import Network, is_network

__all__ = ["is_network", "read"]


def read(networks: list[Any], arrays: Arrays) -> Checkpoint:
    """The tuple (G, D, Gs). Malformed where a network is damaged or of another family."""
    smooth = Network.of(networks[2], arrays, "Gs")
    family = _family(smooth.variables)
    config, ema = _generator(family, smooth)
    tensors = {f"g_ema.{name}": value for name, value in ema.items()}
    meta: dict[str, Any] = {"origin": f"NVIDIA TensorFlow pickle, version {smooth.version}"}
    raw_config, raw = _generator(family, Network.of(networks[0], arrays, "G"))
    if raw_config == config:
        tensors |= {f"g.{name}": value for name, value in raw.items()}
    else:
        meta["left_out"] = ["G (another configuration than Gs's)"]
    critic, found = _discriminator(family, Network.of(networks[1], arrays, "D"))
    tensors |= {f"d.{name}": value for name, value in found.items()}
    return Checkpoint(family, {"g": config, "d": critic}, tensors, meta)


def _family(names: Tensors) -> str:
    if any("/StyleMod/" in name for name in names):
        return "stylegan"
    if "4x4/Dense/weight" in names:
        return "pggan"
    if "synthesis/4x4/Conv/mod_weight" in names:
        return "stylegan2"
    raise Malformed("Gs: its variables are missing, or of no network that gantools knows")


def _generator(family: str, network: Network) -> tuple[dict[str, Any], Tensors]:
    if family == "stylegan2":
        return tensorflow_stylegan2.generator(network)
    if family == "stylegan":
        return tensorflow_growing.stylegan(network)
    return tensorflow_growing.pggan(network)


def _discriminator(family: str, network: Network) -> tuple[dict[str, Any], Tensors]:
    if family == "stylegan2":
        return tensorflow_stylegan2.discriminator(network)
    return tensorflow_growing.discriminator(network, blurred=family == "stylegan")
