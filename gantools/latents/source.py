"""What conversions between latent spaces take from a network that is loaded (spaces.Source)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gantools.io.latent import Latent
from gantools.latents.render import noise_maps, styles
from gantools.networks.network import Network
from gantools.report import SampleError


@dataclass(frozen=True)
class NetworkSource:
    """As in rendering: psi truncates z (None: by its header); noise is const, random or none."""

    network: Network
    psi: float | None = None
    noise_mode: str = "const"
    seed: int = 0

    @property
    def num_ws(self) -> int:
        """L, the rows of w+."""
        return int(self.network.g.num_ws)

    @torch.no_grad()
    def styles(self, latent: Latent) -> np.ndarray:
        """w [L, w_dim] of a z latent, truncated."""
        return styles(self.network, [latent], self.psi)[0].cpu().numpy()

    def noise(self, latent: Latent) -> list[np.ndarray]:
        """The maps [1,H,W] with which the latent is rendered, one a layer; zeros for none."""
        shapes = self.network.g.noise_shapes
        if not shapes:
            raise SampleError(f"{self.network.name} has no noise maps")
        maps = noise_maps(self.network, [latent], self.noise_mode, self.seed)
        return [
            np.zeros((1, *shape), np.float32) if n is None else n[0].cpu().numpy()
            for n, shape in zip(maps, shapes, strict=True)
        ]
