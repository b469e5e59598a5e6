"""The perceptual distances of projection by their names, and which one is usual (S2.12, S2.14)."""

from __future__ import annotations

import torch

from gantools.inversion import perceptual
from gantools.inversion.perceptual import Embed
from gantools.networks.network import Network
from gantools.report import Usage

PERCEPTUAL = (
    "lpips-vgg", "lpips-alex", "lpips-squeeze", "vgg16", "vgg19", "discriminator", "pyramid",
)  # fmt: skip


def default_perceptual(has_discriminator: bool) -> str:
    """LPIPS where its weights are (first VGG, last SqueezeNet), else the network's own."""
    from gantools.io import weights

    for name in ("vgg", "alex", "squeeze"):
        if weights.present(perceptual.TRUNKS[name]) and weights.present(f"lpips-{name}"):
            return f"lpips-{name}"
    return "discriminator" if has_discriminator else "pyramid"


def embedding(
    name: str,
    network: Network,
    *,
    resolution: int | None = None,
    smallest: int = perceptual.SMALLEST,
) -> Embed:
    """The perceptual space of that name; Usage where its weights are missing.

    Networks of photographs see pictures of `resolution`, by default the network's own, as
    `perceptual.at_photograph_size` says; what is below `smallest` px is enlarged for them.
    """
    module: torch.nn.Module
    if name == "pyramid":
        return perceptual.pyramid
    if name == "discriminator":
        if network.d is None:
            raise Usage(f"--perceptual discriminator: {network.name} holds no discriminator")
        return perceptual.of_discriminator(network.d.features)
    if name in {"vgg16", "vgg19"}:
        module = perceptual.vgg16() if name == "vgg16" else perceptual.vgg19()
    else:
        module = perceptual.lpips(_backbone(name))
    side = resolution or min(network.size)
    embed = perceptual.at_photograph_size(module.to(network.device), side, smallest)
    return perceptual.on_black_and_white(embed, premultiplied=network.premultiplied)


def _backbone(name: str) -> perceptual.Backbone:
    backbones: dict[str, perceptual.Backbone] = {
        "lpips-vgg": "vgg",
        "lpips-alex": "alex",
        "lpips-squeeze": "squeeze",
    }
    return backbones[name]
