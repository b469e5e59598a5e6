"""The generator testbed of paper 003: pictures learned by heart from fixed latents (S3.7-S3.11)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.io import seeds
from gantools.networks import pggan
from gantools.ops.resample import Upsampling
from gantools.ops.spectrum import reduced
from gantools.spectra.testbed import Shape, adam, seeded, step_by

Z_DIM = 64
DIVISOR = 8  # of PGGAN's channels; reshape's are divided by half as much again
RESHAPE = 1.5


def spectral_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean square of log(1 + S(made)) - log(1 + S(wanted)) over pictures and bins (Eq 5, S3.10).

    Both [N, C, H, W] in [-1, 1]; the DFT is not normalised.
    """
    return F.mse_loss(reduced(made).log1p(), reduced(wanted).log1p())


def widths(resolution: int, upsample: Upsampling, divisor: float) -> tuple[int, ...]:
    """Channels at 4, 8, …, resolution: PGGAN's min(16384 / r, 512), divided (Table 6)."""
    by = divisor * (RESHAPE if upsample == "reshape" else 1)
    sizes = [4 << i for i in range(resolution.bit_length() - 2)]
    return tuple(max(int(min(16384 // size, 512) // by), 1) for size in sizes)


def network(shape: Shape, upsample: Upsampling) -> pggan.Generator:
    """The testbed's generator; 351,907 parameters at 64 pixels, with reshape 357,507 (S3.8)."""
    channels = widths(shape.resolution, upsample, shape.divisor)
    return pggan.Generator(
        pggan.GeneratorConfig(
            shape.resolution,
            channels,
            z_dim=Z_DIM,
            growing=False,
            upsample=upsample,
            padding=shape.padding,
        )
    )


@dataclass(frozen=True)
class GeneratorSetup:
    """One configuration: how it upsamples, whether with the spectral loss, how many pictures."""

    upsample: Upsampling
    spectral: bool
    num: int

    @property
    def name(self) -> str:
        """As tables and figures call it; `n` is added where several numbers are compared."""
        return f"{self.upsample}{'+spectral' if self.spectral else ''}/{self.num}"


class GeneratorBed:
    """Full-batch Adam on the mean square error of N pictures from N latents (Eq 4, S3.7)."""

    def __init__(
        self, setup: GeneratorSetup, pictures: Tensor, shape: Shape, *, lr: float, seed: int
    ) -> None:
        device = pictures.device
        self.setup, self.targets = setup, pictures[: setup.num]
        rows = [
            torch.Generator().manual_seed(seeds.derive(seed, f"z{i}")) for i in range(setup.num)
        ]
        z = torch.stack([torch.randn(Z_DIM, generator=row) for row in rows])
        self.z = z.to(device)
        self.g = seeded(seed, lambda: network(shape, setup.upsample)).to(device)
        self.adam = adam(self.g, lr)
        self.loss = torch.zeros([], device=device)

    @property
    def name(self) -> str:
        """The configuration's."""
        return self.setup.name

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What is saved."""
        return {"g": self.g}

    @property
    def optimisers(self) -> dict[str, tuple[nn.Module, torch.optim.Optimizer]]:
        """What is saved with the modules that they train."""
        return {"adam": (self.g, self.adam)}

    def step(self) -> None:
        """One iteration; nothing in it waits for a GPU."""
        made = self.g(self.z)
        loss = F.mse_loss(made, self.targets)
        if self.setup.spectral:
            loss = loss + spectral_loss(made, self.targets)
        step_by(self.adam, loss)
        self.loss.copy_(loss.detach())

    @torch.no_grad()
    def pictures(self) -> Tensor:
        """What it has learned by now, [N, 3, H, W]."""
        made: Tensor = self.g(self.z)
        return made

    def measure(self) -> dict[str, float]:
        """What is told beside the PSNR of `pictures`."""
        return {"loss": float(self.loss)}
