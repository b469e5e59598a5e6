"""What a network, a space and a method of projection ask of each other, before any work."""

from __future__ import annotations

from gantools.inversion import z_space
from gantools.inversion.canvas import unit
from gantools.inversion.coded import AnyEncoder
from gantools.inversion.dse_loss import SMALLEST
from gantools.inversion.methods import Method
from gantools.io.space import split
from gantools.networks.network import Network
from gantools.networks.stylegan2_latents import need_blocks
from gantools.report import SampleError, Usage


def check_space(
    network: Network, space: str, name: str, method: Method, encoder: AnyEncoder | None
) -> None:
    """Usage where nothing is projected to the space: for the network, or for the method `name`."""
    kind, index = split(space)
    if encoder and (method.echo or method.latent) and space != encoder.space:
        raise Usage(
            f"--space {space}: --method {name} stays in the encoder's space, {encoder.space}"
        )
    if "z" in kind or not network.has_w:
        z_space.check_space(network, space)
        return
    if "n" in kind and not network.g.noise_shapes:
        raise Usage(f"--space {space}: {network.name} has no noise maps")
    if "s" in kind or index:
        try:
            need_blocks(network.g.cfg, f"--space {space}", network.family)
        except SampleError as e:
            raise Usage(str(e)) from None
    unit(network, space)
    if network.starts_from_features and (index or 0) < network.g.cfg.fnz:
        raise Usage(
            f"--space {space}: {network.name} starts from sampled features, so its "
            f"pictures are projected to fnw+{network.g.cfg.fnz} and the like"
        )


def check_areas(network: Network, name: str, method: Method, perceptual: str) -> None:
    """Usage where the method `name` looks at areas and nothing can see them (S4.6)."""
    if not any(method.areas):
        return
    if perceptual == "discriminator" and method.perceptual:
        raise Usage(
            f"--method {name} looks at areas too, and --perceptual discriminator sees "
            "whole pictures alone: take another (model fetch lpips-vgg has the paper's)"
        )
    if min(network.size) < SMALLEST:
        raise Usage(f"--method {name}: pictures below {SMALLEST} pixels have no areas")
