"""Pictures to latents by one pass of an encoder, in batches (papers.md S2.10, S4.8-S4.18)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gantools.inversion import coded, encoder_files, quality
from gantools.inversion.coded import AnyEncoder
from gantools.inversion.dse import DseEncoder
from gantools.inversion.encoder import Encoder
from gantools.inversion.project import finite, rounded, to_tensor
from gantools.io.latent import Latent
from gantools.io.space import Size
from gantools.latents import spaces
from gantools.latents.render import images
from gantools.latents.source import NetworkSource
from gantools.networks.network import Network
from gantools.ops.pixels import to_uint8
from gantools.report import SampleError


@dataclass
class Encoding:
    """One run's encoder, and what becomes of its latents.

    space: of the latents, to which what it gives is converted; lossy: even where that changes it.
    method: what the latents say of how they were found.
    """

    network: Network
    encoder: AnyEncoder
    space: str
    lossy: bool = False
    seed: int = 0
    method: str = "encoder"

    def check(self, size: Size) -> None:
        """SampleError for pictures of a (height, width) that it does not take."""
        if not isinstance(self.encoder, Encoder) and size != self.network.size:
            raise SampleError(f"the encoder takes pictures of {self.network.size} alone")

    def latents(
        self,
        keys: Sequence[str],
        pixels: Sequence[np.ndarray],
        labels: Sequence[int] | None = None,
    ) -> list[Latent]:
        """Of uint8 pictures [H, W, 3 or 4] of one size, with psnr and ssim of what they render as.

        labels: their classes, for an encoder that is told them; Usage where it is not, or needs
        them. SampleError where a latent does not convert to the space. On the CPU pictures are
        encoded one after another: a latent then does not depend on its batch, to the bit.
        """
        target = to_tensor(pixels, self.network)
        condition = coded.told(self.network, self.encoder, labels)
        step = 1 if target.device.type == "cpu" else len(target)
        made = []
        for first in range(0, len(target), step):
            part = slice(first, first + step)
            rows = None if condition is None else condition[part]
            made += self._encoded(keys[part], target[part], rows)
        source = NetworkSource(self.network, seed=self.seed)
        found = [spaces.convert(x, self.space, source, lossy=self.lossy) for x in made]
        wanted, shown = to_uint8(target), to_uint8(images(self.network, found))
        for i, latent in enumerate(found):
            latent.header["projection"] = {
                "method": self.method,
                "arch": encoder_files.arch(self.encoder),
                "psnr": finite(quality.psnr(shown[i], wanted[i])),
                "ssim": rounded(quality.ssim(shown[i], wanted[i])),
            }
        return found

    def _encoded(
        self, keys: Sequence[str], pictures: Tensor, condition: Tensor | None
    ) -> list[Latent]:
        if isinstance(self.encoder, DseEncoder):
            return self.encoder.latents(keys, pictures, condition)
        return self.encoder.latents(keys, pictures)
