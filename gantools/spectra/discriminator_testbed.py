"""The discriminator testbed of paper 003: pictures learned by gradient through D (S3.12-S3.22).

A class-conditional GAN with one picture in every class. The generator is a table of pictures, so
that what they lack is what the discriminator does not teach.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks import pggan_discriminator
from gantools.networks.spectral_discriminator import (
    FourierDiscriminator,
    SpectralDiscriminator,
    SpectralScore,
    combined,
    fourier_map,
    mlp,
)
from gantools.ops.convolve import inputs_only
from gantools.ops.haar import dwt, iwt
from gantools.ops.resample import Downsampling
from gantools.ops.spectrum import bins
from gantools.spectra.generator_testbed import widths
from gantools.spectra.testbed import Shape, adam, quality, seeded, step_by
from gantools.training.losses import hinge_discriminator_loss, r1_penalty

Spatial = Literal["avg", "blurpool", "stride", "mlp", "none"]
Extra = Literal["none", "sd", "sd-ft", "sd-cnn-ft", "f-mining", "wavelet"]
SPATIAL: tuple[Spatial, ...] = get_args(Spatial)
EXTRA: tuple[Extra, ...] = get_args(Extra)

_HALVING: dict[Spatial, Downsampling] = {"blurpool": "blurpool", "stride": "stride"}

R1 = 10.0  # lambda, without the half of StyleGAN's gamma (S3.1)
EMA = 0.999
MBSTD_GROUP = 16
MLP_WIDTH, MLP_HIDDEN = 28, 4  # chosen: as many parameters as the convolutions have (S3.15)
FT_WIDTH = 128  # chosen (S3.20)
TOLD = ("d_loss", "r1", "logit")


@dataclass(frozen=True)
class DiscriminatorSetup:
    """One configuration: what looks at the picture, what at its spectrum, how many pictures.

    mlp_width: of the MLP's hidden layers. matched: SD and SD-CNN-FT are made as large as SD-FT.
    """

    spatial: Spatial
    extra: Extra
    num: int
    mlp_width: int = MLP_WIDTH
    matched: bool = False

    @property
    def name(self) -> str:
        """As tables and figures call it."""
        return f"{self.spatial}{'' if self.extra == 'none' else '+' + self.extra}/{self.num}"


def convolutional(
    shape: Shape, outputs: int, downsample: Downsampling, *, channels: int = 3, factor: float = 1
) -> pggan_discriminator.Discriminator:
    """PGGAN's discriminator without growing; 353,194 parameters at 64 pixels for 10 (S3.13).

    factor: of the channels. shape's resolution is that of the map it sees.
    """
    own = widths(shape.resolution, "nearest", shape.divisor)
    return pggan_discriminator.Discriminator(
        pggan_discriminator.DiscriminatorConfig(
            shape.resolution,
            tuple(max(round(width * factor), 1) for width in own),
            img_channels=channels,
            c_dim=outputs,
            label_mode="logits",
            mbstd_group=MBSTD_GROUP,
            growing=False,
            downsample=downsample,
        )
    )


class Critic(nn.Module):
    """All that judges a batch of one picture of each class, in order: [N, C, H, W].

    A class's logit is that of its own picture: the diagonal of [N, N].
    """

    def __init__(self, setup: DiscriminatorSetup, shape: Shape) -> None:
        super().__init__()
        size, n = shape.resolution, setup.num
        seen, channels = (size // 2, 12) if setup.extra == "wavelet" else (size, 3)
        view = Shape(seen, shape.divisor)
        parts: list[nn.Module] = []
        if setup.spatial == "mlp":
            hidden = [setup.mlp_width] * MLP_HIDDEN
            parts.append(nn.Sequential(nn.Flatten(), mlp([channels * seen**2, *hidden, n])))
        elif setup.spatial != "none":
            parts.append(_Own(convolutional(view, n, setup.spatial, channels=channels)))
        spectral = spectral_part(setup, shape)
        self.parts = nn.ModuleList([*parts, *([] if spectral is None else [spectral])])
        self.mined = SpectralScore((size, size), n) if setup.extra == "f-mining" else None

    def forward(self, x: Tensor) -> Tensor:
        """The logits of every part, one after another, [parts N]: parts weigh the same."""
        return torch.cat([part(x).diagonal() for part in self.parts])

    def score(self, x: Tensor) -> Tensor | None:
        """C of the spectrum for F-mining, [N]."""
        if self.mined is None:
            return None
        scores: Tensor = self.mined(x)
        return scores.diagonal()


class _Own(nn.Module):
    """A network with a logit for every class as [N, N]."""

    def __init__(self, network: pggan_discriminator.Discriminator) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.all_scores(x)


class _Transformed(nn.Module):
    """A convolutional discriminator of the Fourier map (S3.21)."""

    def __init__(self, network: pggan_discriminator.Discriminator) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.all_scores(fourier_map(x))


def spectral_part(setup: DiscriminatorSetup, shape: Shape) -> nn.Module | None:
    """SD, SD-FT or SD-CNN-FT with a logit for every class, or None (S3.16, S3.20, S3.21)."""
    size, n = (shape.resolution,) * 2, setup.num
    if setup.extra == "sd":
        hidden = matched_width(shape, n) if setup.matched else None
        return SpectralDiscriminator(size, n, hidden=hidden)
    if setup.extra == "sd-ft":
        return FourierDiscriminator(size, n, hidden=FT_WIDTH)
    if setup.extra == "sd-cnn-ft":
        factor = matched_factor(shape, n) if setup.matched else 1.0
        down = _HALVING.get(setup.spatial, "avg")
        return _Transformed(convolutional(shape, n, down, channels=6, factor=factor))
    return None


def parameters(module: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in module.parameters())


def wanted_parameters(shape: Shape, outputs: int) -> int:
    """What --match-params matches: SD-FT's."""
    with torch.device("meta"):
        return parameters(FourierDiscriminator((shape.resolution,) * 2, outputs, hidden=FT_WIDTH))


def matched_width(shape: Shape, outputs: int) -> int:
    """Hidden units with which SD has about as many parameters as SD-FT (S3.21)."""
    inputs = bins(shape.resolution, shape.resolution)
    return round((wanted_parameters(shape, outputs) - outputs) / (inputs + 1 + outputs))


@cache
def matched_factor(shape: Shape, outputs: int) -> float:
    """By what SD-CNN-FT's channels are multiplied for the same; found in steps of 1/64 (S3.21)."""
    wanted = wanted_parameters(shape, outputs)

    def size(step: int) -> int:
        with torch.device("meta"):
            return parameters(convolutional(shape, outputs, "avg", channels=6, factor=step / 64))

    low, high = 1, 64 * 64
    while high - low > 1:  # more channels are more parameters
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= wanted else (low, middle)
    return min(low, high, key=lambda step: abs(size(step) - wanted)) / 64


class Table(nn.Module):
    """The learned pictures (or their wavelets), drawn by Kaiming's rule: [N, C, H, W]."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.pictures = nn.Parameter(nn.init.kaiming_normal_(torch.empty(shape)))


class _Told(nn.Module):
    """What the last step knew of TOLD."""

    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(len(TOLD)))


class DiscriminatorBed:
    """D and the pictures by turns: the logistic loss of each picture's class, R1 (S3.12)."""

    def __init__(
        self,
        setup: DiscriminatorSetup,
        pictures: Tensor,
        shape: Shape,
        *,
        lr: float,
        tensor_lr: float,
        seed: int,
    ) -> None:
        device = pictures.device
        self.setup, self.targets = setup, pictures[: setup.num]
        self.real = dwt(self.targets) if setup.extra == "wavelet" else self.targets.clone()
        self.critic = seeded(seed, lambda: Critic(setup, shape)).to(device)
        self.table = seeded(seed, lambda: Table(tuple(self.real.shape))).to(device)
        self.ema = seeded(seed, lambda: Table(tuple(self.real.shape))).to(device)
        self.d_adam, self.t_adam = adam(self.critic, lr), adam(self.table, tensor_lr)
        self.told = _Told().to(device)

    @property
    def name(self) -> str:
        """The configuration's."""
        return self.setup.name

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What is saved."""
        return {"d": self.critic, "t": self.table, "ema": self.ema, "told": self.told}

    @property
    def optimisers(self) -> dict[str, tuple[nn.Module, torch.optim.Optimizer]]:
        """What is saved with the modules that they train."""
        return {"d_adam": (self.critic, self.d_adam), "t_adam": (self.table, self.t_adam)}

    def step(self) -> None:
        """D, then the pictures, then their average; nothing in it waits for a GPU."""
        learned = self.table.pictures
        real = self.real.detach().requires_grad_()
        own, fake = self.critic(real), self.critic(learned.detach())
        penalty = r1_penalty(own, real, 2 * R1)
        loss, extra = self._loss_d(own, fake)
        step_by(self.d_adam, loss + penalty + extra)
        judged = self._mined(self.critic(learned), self.critic.score(learned))
        with inputs_only():  # D's weights learn nothing here
            step_by(self.t_adam, F.softplus(-judged).mean())
        with torch.no_grad():
            self.ema.pictures.lerp_(learned, 1 - EMA)
            size = torch.cat([own, fake]).detach().abs().mean()
            self.told.values.copy_(torch.stack([loss.detach(), penalty.detach(), size]))

    def _loss_d(self, own: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """(what is 2 log 2 at the equilibrium, C's own hinge loss)."""
        real_score = self.critic.score(self.real)
        fake_score = self.critic.score(self.table.pictures.detach())
        loss = F.softplus(-self._mined(own, real_score)).mean()
        loss = loss + F.softplus(self._mined(fake, fake_score)).mean()
        if real_score is None or fake_score is None:
            return loss, loss.new_zeros([])
        return loss, hinge_discriminator_loss(real_score, fake_score)

    @staticmethod
    def _mined(logits: Tensor, score: Tensor | None) -> Tensor:
        """D_ssd where its spectrum is mined; else the logits themselves."""
        return logits if score is None else combined(logits, score)

    @torch.no_grad()
    def pictures(self) -> Tensor:
        """The average of what was learned, [N, 3, H, W]: the headline (S3.12)."""
        return self._seen(self.ema.pictures)

    def _seen(self, table: Tensor) -> Tensor:
        return iwt(table) if self.setup.extra == "wavelet" else table

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Of the last step D's loss, R1's penalty, mean |logit|; the PSNR without the average."""
        raw = quality(self._seen(self.table.pictures), self.targets)
        return {"psnr_raw": raw, **dict(zip(TOLD, self.told.values.tolist(), strict=True))}
