"""One step of the training of pSp's encoder (papers.md S4.18): pictures, and what it makes of them.

As published it learns from photographs alone; without any from the generator's own samples, which
may stand beside photographs too. Losses see what the encoder sees, at most 256x256. The generator's
noise maps are the stored ones, where the published code draws new ones, so that the loss of a
picture is a function of its w.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from gantools.inversion import arcface
from gantools.inversion.arcface import Identity
from gantools.inversion.distances import embedding
from gantools.inversion.encoder import LARGEST
from gantools.inversion.irse import WIDTH
from gantools.inversion.perceptual import Embed, distance
from gantools.inversion.psp import DEPTH, PspConfig, PspEncoder
from gantools.io import weights
from gantools.io.seeds import derive
from gantools.networks.network import Network
from gantools.report import Usage
from gantools.training.encoder_critic import Judged
from gantools.training.encoder_samples import Sample, draw
from gantools.training.encoder_trainer import Photographs, Trainer
from gantools.training.ranger import Ranger

ID_WEIGHT = 0.1  # as published, of faces


@dataclass(frozen=True, kw_only=True)
class PspTraining(Judged):
    """id_weight: of 1 - cosine of ArcFace's embeddings; norm_weight: of the length of w - mean w.

    width: of the backbone, None for the network's channels; depth: its depth; pretrained: whether
    it begins with the numbers of face recognition. own: whether the network's samples stand beside
    photographs; psi, cutoff, samples: of the samples, as in encoder_samples.Drawing.
    """

    arch: str = "psp"
    batch: int = 8
    lr: float = 1e-4
    latent_weight: float = 0.0
    mse_weight: float = 1.0
    perceptual_weight: float = 0.8
    id_weight: float = 0.0
    norm_weight: float = 0.0
    width: int | None = None
    depth: int = DEPTH
    pretrained: bool = False
    own: bool = False
    psi: float = 0.7
    cutoff: int | None = None
    samples: int = 0
    optimiser: Literal["ranger", "adam"] = "ranger"

    def shape(self, network: Network) -> PspConfig:
        """The encoder's configuration; Usage for networks that it cannot be for."""
        return PspConfig.of(network, self.width, self.depth)

    def check(self, network: Network) -> None:
        """Usage for a network that it is not for, and where ArcFace's weights are missing."""
        shape = self.shape(network)
        network.check_psi(self.psi, "--psi")
        self.check_critic(network)
        if self.pretrained and not fits_arcface(shape):
            raise Usage(
                f"--pretrained: the weights are those of --depth {DEPTH} --width {WIDTH}, and this "
                f"is --depth {shape.depth} --width {shape.width}"
            )
        if self.id_weight and network.channels == 4:
            raise Usage("--id-weight: face recognition sees colour alone, and here is alpha")
        if self.pretrained or self.id_weight:
            weights.locate(arcface.WEIGHTS)

    def embed(self, network: Network) -> Embed:
        """The perceptual space, of pictures of at most 256 pixels; Usage: weights are missing."""
        return embedding(self.perceptual, network, resolution=LARGEST)

    def trainer(
        self, network: Network, embed: Embed, photographs: Photographs | None, *, fresh: bool
    ) -> PspTrainer:
        """A trainer; fresh: of an encoder as a run begins, else of one that is filled next."""
        encoder = begun(self, network, fresh=fresh)
        identity = None
        if self.id_weight:
            identity = arcface.load(arcface.published()).to(network.device)
        return PspTrainer(self, network, encoder, embed, photographs, identity)


def fits_arcface(shape: PspConfig) -> bool:
    """Whether a backbone can begin with the published numbers of face recognition."""
    return (shape.width, shape.depth) == (WIDTH, DEPTH)


def begun(config: PspTraining, network: Network, *, fresh: bool = True) -> PspEncoder:
    """An encoder as a run begins: drawn, on a backbone of face recognition where that is asked for.

    fresh: False for one that is filled next.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(config.seed, "", "encoder"))
        encoder = PspEncoder(config.shape(network), network.story())
    encoder.start_at(network.g.mapping.w_avg.cpu())
    if config.pretrained and fresh:
        encoder.trunk.fill(arcface.published())
    return encoder


class PspTrainer(Trainer[PspTraining, PspEncoder]):
    """A run's state and its steps. identity: what sees whose face it is, where that has a weight.

    photographs: shown alone, unless the configuration's `own` has samples beside them.
    """

    def __init__(
        self,
        config: PspTraining,
        network: Network,
        encoder: PspEncoder,
        embed: Embed,
        photographs: Photographs | None = None,
        identity: Identity | None = None,
    ) -> None:
        super().__init__(config, network, encoder, embed, photographs)
        self.identity = identity
        self.critic = config.critic(network)
        self.adam: Optimizer
        if config.optimiser == "adam":
            self.adam = torch.optim.Adam(self.parameters, lr=config.lr, betas=(0.9, 0.999))
        else:
            self.adam = Ranger(self.parameters, config.lr)

    def move(self, samples: range, shown: Tensor | None) -> None:
        """One step of Ranger, or Adam."""
        drawn = None
        if shown is None or self.config.own:
            drawn = draw(self.network, self.config, samples)
        loss = self.loss(drawn, shown)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.average()
        self.adam.step()

    def loss(self, sample: Sample | None, shown: Tensor | None = None) -> Tensor:
        """L2 + 0.8 LPIPS + 0.1 (1 - cos of identities) + the length of what is added: a scalar.

        Means over samples and photographs [M, C, H, W], at least one of which there is. What the
        w of samples should be counts with the latents' weight, 0 as published; so does what a
        discriminator says (S4.16).
        """
        whole = [part for part in (sample.images if sample else None, shown) if part is not None]
        true = torch.cat(whole).clamp(-1, 1)
        w: Tensor = self.encoder(true)
        c, terms = self.config, self._images(true, self._made(w))
        weighted = {
            "mse": c.mse_weight,
            "perceptual": c.perceptual_weight,
            "identity": c.id_weight,
            "adv": c.adv_weight,
            "norm": c.norm_weight,
            "latent": c.latent_weight,
        }
        if c.norm_weight:
            terms["norm"] = torch.linalg.vector_norm(
                (w - self.encoder.mean).flatten(1), dim=1
            ).mean()
        if c.latent_weight and sample is not None:
            (wanted,) = sample.parts
            terms["latent"] = (w[: len(wanted)] - wanted).square().mean()
        total = torch.stack([weighted[name] * value for name, value in terms.items()]).sum()
        for name, value in {**terms, "loss": total}.items():
            self.sums.add(name, value.detach())
        return total

    def _images(self, true: Tensor, made: Tensor) -> dict[str, Tensor]:
        """The terms of pictures that have a weight, each a scalar."""
        c, found = self.config, {}
        small, said = self.encoder.reduce(true), self.encoder.reduce(made)
        if c.mse_weight:
            found["mse"] = (small - said).square().mean()
        if c.perceptual_weight:
            # The network's own discriminator takes its own size alone.
            a, b = (true, made) if c.perceptual == "discriminator" else (small, said)
            with torch.no_grad():
                seen = self.embed(a)
            found["perceptual"] = distance(self.embed(b), seen).mean()
        if c.id_weight and self.identity is not None:
            with torch.no_grad():
                person = self.identity(small)
            found["identity"] = 1 - (person * self.identity(said)).sum(1).mean()
        if self.critic is not None:
            found["adv"] = self.critic.term(true, made)
        return found

    def _made(self, w: Tensor) -> Tensor:
        """The pictures of w [N, L, w_dim]."""
        return self.network.g.synthesis(w, "const", dtype=self.network.dtype)  # type: ignore[no-any-return]

    def judged(self, samples: range) -> tuple[Tensor, Tensor]:
        """Samples as files have them, and what the averaged encoder makes of them."""
        clean = draw(self.network, self.config, samples).images.clamp(-1, 1)
        return clean, self._made(self.ema(clean))

    def remade(self, shown: Tensor, start: int) -> Tensor:
        """What the averaged encoder makes of photographs; they need no numbers."""
        return self._made(self.ema(shown))
