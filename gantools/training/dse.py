"""One step of the training of paper 004's encoders (papers.md S4.12, S4.13; Algorithm 1).

Its pictures are the generator's own. Every random number of sample n comes from (seed, n), so that
a resumed run is the same run; the encoder's noise comes from the step's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from gantools.inversion import cam, dse_loss
from gantools.inversion.cam import Cam
from gantools.inversion.distances import embedding
from gantools.inversion.dse import Coded, DseConfig, DseEncoder
from gantools.inversion.dse_blocks import Cbn, rates
from gantools.inversion.dse_loss import Cosine, Weights
from gantools.inversion.lreq_adam import LREQAdam
from gantools.inversion.perceptual import Embed
from gantools.inversion.prior import Prior
from gantools.inversion.start import own_of
from gantools.io import weights as published
from gantools.io.seeds import derive
from gantools.networks.network import Network
from gantools.report import Usage
from gantools.training.encoder_critic import Judged
from gantools.training.encoder_samples import Sample, draw
from gantools.training.encoder_trainer import Photographs, Trainer

Tsa = Literal["none", "centre", "gradcam"]
Detach = Literal["none", "attention", "all"]
Areas = Callable[[Tensor, Tensor], Iterator[tuple[str, Tensor, Tensor]]]
STRATEGIES: dict[int, tuple[tuple[float, float], Detach, bool]] = {
    1: ((1.0, 1.0), "all", False),
    2: ((5.0, 9.0), "none", True),
}
"""μ1 and μ2, what gives the encoder no gradient, and whether it is E_Blur (S4.13)."""


@dataclass(frozen=True, kw_only=True)
class DseTraining(Judged):
    """width: channels at the bottom, None for the network's; psi, cutoff: of the samples.

    tsa: the areas, with their weights (0: left out) and what is done to crops; cam: of gradcam.
    detach: which terms of pictures give the encoder no gradient (S4.13). samples: train on so many
    alone, 0: on new ones in every step. prior_weight: of how unusual w is (inversion.prior), also
    of photographs, whose w nobody knows.
    """

    arch: str = "dse"
    batch: int = 8
    lr: float = 0.0015
    latent_weight: float = 0.01
    mse_weight: float = 5.0
    perceptual_weight: float = 2.0
    cos_weight: float = 3.0
    ssim_weight: float = 1.0
    kl_weight: float = 0.0
    prior_weight: float = 0.0
    cosine: Cosine = "sample"
    width: int | None = None
    blur: bool = True
    cbn: Cbn = "batch"
    psi: float = 0.7
    cutoff: int | None = None
    samples: int = 0
    tsa: Tsa = "centre"
    area_weights: tuple[float, float] = (5.0, 9.0)
    resize_crops: bool = False
    cam: cam.Kind = "gradcam"
    detach: Detach = "none"
    optimiser: Literal["lreq", "adam"] = "lreq"
    two_step: bool = False

    @property
    def weights(self) -> Weights:
        """Of the terms of latents and of pictures."""
        return Weights(
            self.mse_weight,
            self.cos_weight,
            self.kl_weight,
            self.perceptual_weight,
            self.ssim_weight,
        )

    @property
    def alone(self) -> str | None:
        """Released forms that look at whole batches (S4.2, S4.7), and a discriminator."""
        if self.cosine == "batch" and self.cos_weight:
            return "--cos batch"
        return "--cam dse" if self.tsa == "gradcam" and self.cam == "dse" else super().alone

    def shape(self, network: Network) -> DseConfig:
        """The encoder's configuration; Usage for networks that it cannot be for."""
        return DseConfig.of(network, self.width, blur=self.blur, cbn=self.cbn, psi=self.psi)

    def check(self, network: Network) -> None:
        """Usage for a network that it is not for, and where the weights of VGG16 are missing."""
        self.shape(network)
        network.check_psi(self.psi, "--psi")
        self.check_critic(network)
        if self.prior_weight and not network.has_w:
            raise Usage("--prior-weight: the network has no w, and z has its own distribution")
        if self.tsa == "none":
            return
        if self.perceptual == "discriminator" and self.perceptual_weight:
            raise Usage(
                "--perceptual discriminator sees whole pictures alone: take --tsa none or another"
            )
        if self.tsa == "centre" and min(network.size) < dse_loss.SMALLEST:
            raise Usage(f"--tsa centre: pictures below {dse_loss.SMALLEST} pixels have no areas")
        if self.tsa == "gradcam":
            if network.channels == 4:
                raise Usage("--tsa gradcam: its classifier sees colour alone, and here is alpha")
            published.locate("vgg16")

    def embed(self, network: Network) -> Embed:
        """The perceptual space, of pictures with at most 256 rows; Usage: weights are missing."""
        return embedding(self.perceptual, network, resolution=dse_loss.LARGEST)

    def trainer(
        self, network: Network, embed: Embed, photographs: Photographs | None, *, fresh: bool
    ) -> DseTrainer:
        """A trainer; fresh: of an encoder as a run begins, else of one that is filled next."""
        return DseTrainer(self, network, begun(self, network), embed, photographs)

    def areas(self, network: Network) -> Areas:
        """(name, area of the picture, area of what was made of it) of two pictures."""
        if self.tsa == "none":
            return lambda true, said: iter(())
        if self.tsa == "centre":
            return lambda true, said: dse_loss.centre(true, said, resized=self.resize_crops)
        return Cam(cam.vgg16(network.device), self.cam).areas


def begun(config: DseTraining, network: Network) -> DseEncoder:
    """An encoder as a run begins: around the mean w, where there is one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(config.seed, "", "encoder"))
        encoder = DseEncoder(config.shape(network), network.story())
    if network.has_w:
        encoder.start_at(network.g.mapping.w_avg.cpu())
    return encoder


def rendered(network: Network, config: DseConfig, coded: Coded) -> Tensor:
    """The pictures [N, C, H, W] of an encoder's latents, with the stored noise maps."""
    if coded.w is not None:
        return network.g.synthesis(coded.w, "const", dtype=network.dtype)  # type: ignore[no-any-return]
    assert coded.z is not None
    if not network.truncates_z:
        return network.g(coded.z, dtype=network.dtype)  # type: ignore[no-any-return]
    y = None if coded.c is None else coded.c[:, -config.condition :]
    z = coded.z / config.psi
    return network.g(z, y, psi=config.psi, dtype=network.dtype)  # type: ignore[no-any-return]


class DseTrainer(Trainer[DseTraining, DseEncoder]):
    """A run's state and its steps. areas: in place of the configuration's."""

    def __init__(
        self,
        config: DseTraining,
        network: Network,
        encoder: DseEncoder,
        embed: Embed,
        photographs: Photographs | None = None,
        areas: Areas | None = None,
    ) -> None:
        super().__init__(config, network, encoder, embed, photographs)
        self.areas = areas or config.areas(network)
        self.critic = config.critic(network)
        self.prior = Prior.of(own_of(network)) if config.prior_weight else None
        self.adam = self._optimiser()

    def _optimiser(self) -> Optimizer:
        c = self.config
        if c.optimiser == "adam":
            return torch.optim.Adam(self.parameters, lr=c.lr, betas=(0.9, 0.999))
        own = rates(self.encoder)
        groups = [
            {"params": [p], "rate": own.get(name, 1.0)}
            for name, p in self.encoder.named_parameters()
        ]
        return LREQAdam(groups, c.lr)

    def move(self, samples: range, shown: Tensor | None) -> None:
        """One step of L_IMG + ε L_LV (Eq. 8), or one of each from the same gradients' point."""
        image, latent = self.losses(draw(self.network, self.config, samples), shown)
        both = [part for part in (image, latent) if part.requires_grad]
        if not self.config.two_step:
            both = [torch.stack(both).sum()]
        found = [
            torch.autograd.grad(loss, self.parameters, retain_graph=True, allow_unused=True)
            for loss in both
        ]
        for gradients in found:
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
            self.average()
            self.adam.step()

    def losses(self, sample: Sample, shown: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(L_IMG of the whole and its areas with D's word on it, ε · L_LV and the prior), scalars.

        shown: photographs beside the samples, of which the terms of pictures and the prior are
        asked; means over all pictures.
        """
        c = self.config
        images = sample.images if shown is None else torch.cat([sample.images, shown])
        coded: Coded = self.encoder(images.clamp(-1, 1), sample.condition, self._noise(len(images)))
        latent = images.new_zeros(())
        for true, said in zip(sample.parts, coded.parts, strict=True):
            terms = dse_loss.latent_terms(true, said[: len(true)], c.weights, c.cosine)
            if terms:
                latent = latent + dse_loss.weighted(terms, c.weights)
        made = rendered(self.network, self.encoder.config, coded)
        image = self._images(images, made)
        if self.critic is not None:
            believed = self.critic.term(images, made)
            self.sums.add("adv", believed.detach())
            image = image + c.adv_weight * believed
        self.sums.add("latent", latent.detach())
        latent = c.latent_weight * latent
        if self.prior is not None and coded.w is not None:
            unusual = self.prior(coded.w).mean()
            self.sums.add("prior", unusual.detach())
            latent = latent + c.prior_weight * unusual
        self.sums.add("loss", (image + latent).detach())
        return image, latent

    def _images(self, true: Tensor, made: Tensor) -> Tensor:
        """L_IMG + μ1 L_IMG(AT1) + μ2 L_IMG(AT2) (S4.6, S4.13)."""
        c = self.config
        whole = made.detach() if c.detach == "all" else made
        terms = self._terms(true, whole)
        total = dse_loss.weighted(terms, c.weights) if terms else true.new_zeros(())
        for name, value in terms.items():
            self.sums.add(name, value.detach())
        of = dict(zip(("at1", "at2"), c.area_weights, strict=True))
        seen = made.detach() if c.detach != "none" else made
        for name, area, said in self.areas(true, seen):
            if of[name] and (parts := self._terms(area, said)):
                value = dse_loss.weighted(parts, c.weights)
                self.sums.add(name, value.detach())
                total = total + of[name] * value
        return total

    def _terms(self, true: Tensor, said: Tensor) -> dict[str, Tensor]:
        c = self.config
        halved = c.perceptual != "discriminator"
        return dse_loss.image_terms(true, said, c.weights, self.embed, c.cosine, halved=halved)

    def _noise(self, count: int) -> list[list[Tensor]]:
        """The encoder's noise maps of this step, for this process's pictures."""
        seed = derive(self.config.seed, str(self.images), "encoder's noise")
        generator = torch.Generator().manual_seed(seed)
        whole, device = count * self.ranks.world, self.network.device
        return [
            [
                self.mine(torch.randn((whole, 1, *size), generator=generator)).to(device)
                for size in sizes
            ]
            for sizes in self.encoder.noise_shapes()
        ]

    def judged(self, samples: range) -> tuple[Tensor, Tensor]:
        """Samples as files have them, and what the averaged encoder makes of them."""
        sample = draw(self.network, self.config, samples)
        clean = sample.images.clamp(-1, 1)
        return clean, self._made(clean, sample.condition)

    def remade(self, shown: Tensor, start: int) -> Tensor:
        """What the averaged encoder makes of photographs; they need no numbers, without noise."""
        return self._made(shown, None)

    def _made(self, images: Tensor, condition: Tensor | None) -> Tensor:
        return rendered(self.network, self.ema.config, self.ema(images, condition))
