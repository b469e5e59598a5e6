"""What an encoder of any kind sees, as tensors of latents with gradients (S4.14, S4.16)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gantools.inversion.alae import AlaeEncoder
from gantools.inversion.dse import DseEncoder
from gantools.inversion.encoder import Encoder
from gantools.inversion.optimise import Tensors
from gantools.inversion.psp import PspEncoder
from gantools.networks.network import Network
from gantools.report import Usage

AnyEncoder = Encoder | DseEncoder | PspEncoder | AlaeEncoder


@dataclass(frozen=True)
class Said:
    """tensors: named as in a latent, [N, ...]. features: z_c; None: the latent's f, or none."""

    tensors: Tensors
    features: Tensor | None


def coded(encoder: AnyEncoder, pictures: Tensor, condition: Tensor | None = None) -> Said:
    """Of pictures [N, C, H, W]; condition [N, embedded] where the encoder is told their classes.

    z is as latents keep it: before it is multiplied by psi. ValueError as in the encoder.
    """
    if isinstance(encoder, Encoder):
        fw = encoder(pictures)
        found = {"f": fw.f, "r": fw.r, "w": fw.w}
        return Said({name: t for name, t in found.items() if t is not None}, None)
    if isinstance(encoder, PspEncoder):
        return Said({"w": encoder(pictures)}, None)
    if isinstance(encoder, AlaeEncoder):
        return Said({"w": encoder(pictures)[:, None]}, None)
    made = encoder(pictures, condition)
    if made.w is not None:
        return Said({"w": made.w}, made.features)
    tensors = {"z": made.z / encoder.config.psi}
    if made.c is not None:
        tensors["y"] = made.c[:, -encoder.config.condition :]
    return Said(tensors, made.features)


def check_told(network: Network, encoder: AnyEncoder, *, labelled: bool) -> None:
    """Usage where the encoder needs the pictures' classes and has none, or the other way round."""
    asks = isinstance(encoder, DseEncoder) and bool(encoder.config.condition)
    if labelled and not asks:
        raise Usage(f"--class and --labels: the encoder of {network.name} is told no class")
    if asks and not labelled:
        raise Usage(
            f"the encoder of {network.name} is told the class of a picture: give --class, or "
            "--labels for each one's own"
        )


def told(network: Network, encoder: AnyEncoder, labels: Sequence[int] | None) -> Tensor | None:
    """What an encoder is told of N pictures' classes, [N, embedded]; None where it is told nothing.

    Usage as in `check_told`.
    """
    check_told(network, encoder, labelled=labels is not None)
    if labels is None:
        return None
    each = torch.eye(network.g.cfg.c_dim, device=network.device)[list(labels)]
    with torch.no_grad():
        found: Tensor = network.g.embedded(each)
    return found


def echo(
    encoder: AnyEncoder, weight: float, condition: Tensor | None = None
) -> Callable[[Tensors, Tensor], Tensor]:
    """The in-domain regulariser (S4.16): weight · MSE(w, E(G(w))), [N], of tensors and pictures.

    Of latents with several tensors the sum of each one's mean square.
    """

    def of(tensors: Tensors, pictures: Tensor) -> Tensor:
        total = pictures.new_zeros(len(pictures))
        for name, again in coded(encoder, pictures, condition).tensors.items():
            total = total + (tensors[name] - again).square().flatten(1).mean(1)
        return weight * total

    return of
