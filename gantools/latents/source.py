"""What conversions between latent spaces take from a network that is loaded (spaces.Source)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gantools.io.latent import Latent
from gantools.io.space import scaled
from gantools.latents import spatial
from gantools.latents.inputs import noise_maps, styles
from gantools.networks.network import Network
from gantools.networks.stylegan2_latents import need_blocks
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

    def noise(self, latent: Latent) -> dict[int, np.ndarray]:
        """The maps [1,H,W] with which the latent is rendered, by block; zeros for none."""
        shapes = dict(enumerate(self.network.g.noise_shapes, 1))
        if not shapes:
            raise SampleError(f"{self.network.name} has no noise maps")
        how = self.noise_mode, self.seed
        if latent.spatial:
            size, first = spatial.size_of(latent), latent.first
            shapes = {j: scaled(size, first, j + 1) for j in range(first, self.num_ws)}
            maps = spatial.noise_maps(self.network, latent, *how)
        else:
            maps = noise_maps(self.network, [latent], *how)
        return {
            j: np.zeros((1, *shape), np.float32) if n is None else n[0].cpu().numpy()
            for n, (j, shape) in zip(maps, shapes.items(), strict=True)
        }

    def need_blocks(self) -> None:
        """SampleError where the family has no blocks to start at."""
        need_blocks(self.network.g.cfg, "a space with features or style maps", self.network.family)

    def const(self) -> np.ndarray:
        """f_1 [C,h,w], the constant of the first block; SampleError where there is none."""
        self.need_blocks()
        if self.network.starts_from_features:
            raise SampleError(
                f"{self.network.name} has no constant: its pictures start from sampled features "
                f"(generate --space fnz gives latents in fnz{self.network.g.cfg.fnz})"
            )
        const = self.network.g.synthesis.blocks()[0].const
        return const.float().cpu().numpy()  # type: ignore[no-any-return]

    def after_a_block(self, latent: Latent) -> dict[str, np.ndarray]:
        """f and r behind the latent's first block."""
        if "z" in latent.tensors:
            latent = spatial.with_w(self.network, latent, self.psi)
        return spatial.after_a_block(self.network, latent, self.noise_mode, self.seed)
