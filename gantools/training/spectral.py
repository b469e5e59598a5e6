"""What a discriminator of spectra adds to a training: SD and F-mining (S3.16-S3.18).

Both judge what D judges. SD's logits stand beside D's in both players' losses, so that each weighs
one half; F-mining's score only shifts D's, and neither player has a gradient through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gantools.io import seeds
from gantools.networks.network import fill
from gantools.networks.spectral_discriminator import (
    SpectralDiscriminator,
    SpectralScore,
    combined,
)
from gantools.ops.spectrum import bins
from gantools.report import Usage
from gantools.training import losses

if TYPE_CHECKING:
    from gantools.training.growing_config import GrowingConfig
    from gantools.training.presets import TrainConfig

Kind = Literal["", "log1p", "jk", "jk-nonlinear", "f-mining"]
JK: tuple[Kind, ...] = ("jk", "jk-nonlinear")
FORMS = ("log1p", *JK)
STYLEGAN_SHARE = 0.4  # of F-mining's score in SSD-GAN's StyleGAN (S3.18)
LOSSES = ("logistic", "hinge")  # those that the papers have it with


def kind_of(config: TrainConfig | GrowingConfig) -> Kind:
    """Which one a run has, "" for none."""
    if config.f_mining:
        return "f-mining"
    return config.spectral_d or ""  # type: ignore[return-value]


def check(config: TrainConfig | GrowingConfig) -> None:
    """Usage where the run's other settings rule its spectral discriminator or regulariser out."""
    if config.spectral_d not in (None, *FORMS):
        raise Usage(f"--spectral-d {config.spectral_d}: expected one of {', '.join(FORMS)}")
    if config.spec_reg not in (None, "durall"):
        raise Usage(f"--spec-reg {config.spec_reg}: expected durall")
    if config.f_mining and config.spectral_d:
        raise Usage("--f-mining and --spectral-d: one of them")
    flag = "--f-mining" if config.f_mining else f"--spectral-d {config.spectral_d}"
    if config.spectral_dropout and not config.spectral_d:
        raise Usage("--spectral-dropout is for --spectral-d, which is not given")
    if not 0 <= config.spectral_dropout < 1:
        raise Usage(f"--spectral-dropout {config.spectral_dropout:g}: from 0 on, below 1")
    grey = flag if kind_of(config) in (*JK, "f-mining") else "--spec-reg durall"
    if config.channels == 4 and (kind_of(config) in (*JK, "f-mining") or config.spec_reg):
        raise Usage(f"{grey} looks at grey pictures, and these have alpha (--channels 4)")
    if not kind_of(config):
        return
    wanted = ["--no-grow"] if getattr(config, "growing", False) else []
    if getattr(config, "loss", "logistic") not in LOSSES:
        wanted.append("--loss logistic (or hinge)")
    if wanted:
        raise Usage(f"{flag} needs {' and '.join(wanted)}")


class Critic:
    """The spectral discriminator of a run, or none: `net` is None then and nothing changes.

    start: the tensors that it starts from; without any it is fresh from the seed, whatever the
    networks started from. separate: it has an optimiser of its own; log1p shares D's. own_r1: it
    has an R1 of its own. dropout: the probability with which it does not see a bin.
    """

    def __init__(
        self, config: TrainConfig | GrowingConfig, start: Mapping[str, np.ndarray] | None = None
    ) -> None:
        self.kind = kind_of(config)
        self.separate = self.kind in (*JK, "f-mining")
        self.dropout, self.inputs = config.spectral_dropout, bins(*config.size)
        stylegan = config.family == "stylegan2"
        self.share = STYLEGAN_SHARE if stylegan else 1.0
        self.own_r1 = self.kind in JK and stylegan
        self.net: nn.Module | None = None
        if self.kind:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seeds.derive(config.seed, "networks", "spectral"))
                self.net = _new(self.kind, config.size)
            if start:
                fill(self.net, dict(start))
            self.net.to(config.device)
        self.params: list[Any] = [] if self.net is None else list(self.net.parameters())

    def scores(self, images: Tensor, seen: Tensor | None = None) -> Tensor:
        """[N, C, H, W] -> [N, 1], or [N, 0] where there is none.

        seen: dropout's factors, [N, inputs].
        """
        if self.net is None:
            return images.new_empty(len(images), 0)
        scores: Tensor = self.net(images) if seen is None else self.net(images, seen)
        return scores

    def joined(self, logits: Tensor, scores: Tensor) -> Tensor:
        """What the players' losses, which are means, take for D's logits [N, 1].

        Of SD both players' logits, [2N, 1] (S3.16, S3.17); of F-mining their mean (S3.18).
        """
        if not self.kind:
            return logits
        if self.kind == "f-mining":
            return combined(logits, self.share * scores)
        return torch.cat([logits, scores])

    def own_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """What is added to D's loss, a scalar: F-mining's own hinge loss (S3.18), else 0."""
        if self.kind == "f-mining":
            return losses.hinge_discriminator_loss(real, fake)
        return real.new_zeros([])

    def penalty(self, logits: Tensor, scores: Tensor, images: Tensor, gamma: float) -> Tensor:
        """R1 of D's logits and of the scores, both [N, 1], of `images`; a scalar.

        log1p: of the gradient of their sum, cross term included (S3.16). jk: each its own in
        StyleGAN2, as published, else D's alone (S3.17). F-mining's score has none.
        """
        if self.kind == "log1p":
            return losses.r1_penalty(logits + scores, images, gamma)
        penalty = losses.r1_penalty(logits, images, gamma)
        if self.own_r1:
            penalty = penalty + losses.r1_penalty(scores, images, gamma)
        return penalty


def _new(kind: Kind, size: tuple[int, int]) -> nn.Module:
    if kind == "f-mining":
        return SpectralScore(size)
    hidden = bins(*size) if kind == "jk-nonlinear" else None
    return SpectralDiscriminator(size, form="jung" if kind in JK else "log1p", hidden=hidden)
