"""One step of an FW+_i encoder's training (papers.md S2.10, Algorithm 3).

Its pictures are the generator's own, drawn anew for every step: one z per sample, psi 1, new noise
maps. Every random number of sample n comes from (seed, n), so that a resumed run is the same run.
Photographs may stand beside them, of which only the picture is asked again: their latents are not
known. They are no part of the algorithm, but what it has not seen it reads worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gantools.inversion.distances import embedding
from gantools.inversion.encoder import Encoded, Encoder, EncoderConfig
from gantools.inversion.encoder_backbones import EfficientNet
from gantools.inversion.perceptual import Embed, distance
from gantools.io.seeds import derive
from gantools.networks.network import Network
from gantools.networks.stylegan2_blocks import State, advance, first, picture_from
from gantools.report import Usage
from gantools.training.encoder_trainer import Photographs, Trainer, Training

OWN, OWN_BATCH = 512, 8  # samples whose moments an encoder starts from
BETAS = (0.9, 0.999)


@dataclass(frozen=True, kw_only=True)
class EncoderTraining(Training):
    """first: i; width: the small backbone's; the weights are those of S2.10's three parts."""

    arch: str = "fw"
    first: int = 5
    backbone: str = "small"
    width: int = 32
    batch: int = 12
    lr: float = 2e-4
    latent_weight: float = 1.0
    mse_weight: float = 1.0
    perceptual_weight: float = 1.0

    def shape(self, network: Network) -> EncoderConfig:
        """The encoder's configuration; Usage where the network has no such block."""
        return EncoderConfig.of(network, self.first, self.backbone, self.width)

    def check(self, network: Network) -> None:
        """Usage where the network has no such block, or the weights of the distance are missing."""
        self.shape(network)

    def embed(self, network: Network) -> Embed:
        """The perceptual space; Usage where its weights are missing."""
        return embedding(self.perceptual, network)

    def trainer(
        self, network: Network, embed: Embed, photographs: Photographs | None, *, fresh: bool
    ) -> EncoderTrainer:
        """A trainer; fresh: of an encoder as a run begins, else of one that is filled next."""
        encoder = begun(self, network) if fresh else Encoder(self.shape(network), network.story())
        return EncoderTrainer(self, network, encoder, embed, photographs)


@dataclass(frozen=True)
class Example:
    """Samples of the network: what an encoder should say, the noise maps from block i on, pictures.

    encoded.w [N, L + 1 - i, w_dim]; images [N, C, H, W], not clamped.
    """

    encoded: Encoded
    noise: list[Tensor]
    images: Tensor


@torch.no_grad()
def draw(network: Network, index: int, seed: int, samples: range) -> Example:
    """Samples with these numbers (S2.10: one z each, psi 1, new noise maps); index: the block i."""
    encoded, noise = _latents(network, index, seed, samples)
    return Example(encoded, noise, decoded(network, index, encoded, noise))


def _latents(
    network: Network, index: int, seed: int, samples: range
) -> tuple[Encoded, list[Tensor]]:
    """What `draw` makes pictures of."""
    g, device = network.g, network.device
    shapes = [(g.cfg.z_dim,), *((1, *shape) for shape in g.noise_shapes)]
    drawn, classes = [], []
    for n in samples:
        generator = torch.Generator().manual_seed(derive(seed, str(n), "encoder"))
        drawn.append([torch.randn(shape, generator=generator) for shape in shapes])
        classes.append(int(torch.randint(max(1, g.cfg.c_dim), (), generator=generator)))
    z, *noise = (torch.stack(one).to(device) for one in zip(*drawn, strict=True))
    label = torch.eye(g.cfg.c_dim, device=device)[classes] if g.cfg.c_dim else None
    ws = g.mapping(z, label)
    early, late = list(ws[:, : index - 1].unbind(1)), ws[:, index - 1 :]
    state = advance(g.synthesis, first(g.synthesis, len(ws)), early, noise[: index - 1])
    r = None if state.r is None else state.r.float()
    return Encoded(state.f.float(), r, late), noise[index - 1 :]


def decoded(network: Network, index: int, encoded: Encoded, noise: list[Tensor]) -> Tensor:
    """The picture [N, C, H, W] of an encoder's latents, with these noise maps."""
    state = State(index, encoded.f, encoded.r)
    styles = encoded.w.unbind(1)
    return picture_from(network.g.synthesis, state, styles, noise, dtype=network.dtype)


def begun(config: EncoderTraining, network: Network) -> Encoder:
    """An encoder as a run begins: ImageNet's weights where asked for, the heads at the means."""
    shape = config.shape(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(config.seed, "", "encoder"))
        encoder = Encoder(shape, network.story())
    if isinstance(encoder.backbone, EfficientNet) and config.backbone == "efficientnet-b0":
        try:
            encoder.backbone.fill()
        except Usage as e:
            raise Usage(f"{e}; or take --backbone small or efficientnet-b0-scratch") from None
    encoder.start_at(_own(network, config))
    return encoder


@torch.no_grad()
def _own(network: Network, config: EncoderTraining) -> Iterator[Encoded]:
    for start in range(0, OWN, OWN_BATCH):
        numbers = range(-start - OWN_BATCH, -start)  # none that is trained on
        yield _latents(network, config.first, config.seed, numbers)[0]


class EncoderTrainer(Trainer[EncoderTraining, Encoder]):
    """A run's state and its steps (S2.10), with torch's Adam."""

    def __init__(
        self,
        config: EncoderTraining,
        network: Network,
        encoder: Encoder,
        embed: Embed,
        photographs: Photographs | None = None,
    ) -> None:
        super().__init__(config, network, encoder, embed, photographs)
        self.adam = torch.optim.Adam(self.parameters, lr=config.lr, betas=BETAS, fused=True)

    def move(self, samples: range, shown: Tensor | None) -> None:
        """One step of Adam."""
        c = self.config
        loss = self.loss(draw(self.network, c.first, c.seed, samples), shown)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.average()
        self.adam.step()

    def judged(self, samples: range) -> tuple[Tensor, Tensor]:
        """Samples as files have them, and what the averaged encoder makes of them."""
        example = draw(self.network, self.config.first, self.config.seed, samples)
        clean = example.images.clamp(-1, 1)
        return clean, decoded(self.network, self.config.first, self.ema(clean), example.noise)

    def remade(self, shown: Tensor, start: int) -> Tensor:
        """What the averaged encoder makes of photographs start, start + 1, …"""
        c = self.config
        noise = noise_for(self.network, c.first, c.seed, start, len(shown))
        return decoded(self.network, c.first, self.ema(shown), noise)

    def loss(self, example: Example, shown: Tensor | None = None) -> Tensor:
        """λ [MSE(f) + MSE(r) + MSE(w)] + λ_mse MSE(images) + λ_lpips d(images): a scalar.

        shown: photographs [M, C, H, W]; the two terms of pictures are means over them too.
        """
        c, wanted, count = self.config, example.encoded, len(example.images)
        # The encoder sees what a file of the picture has.
        clean = example.images.clamp(-1, 1)
        whole: Encoded = self.encoder(clean if shown is None else torch.cat([clean, shown]))
        encoded = _samples(whole, slice(count))
        parts = {"f": _mse(encoded.f, wanted.f), "w": _mse(encoded.w, wanted.w)}
        if encoded.r is not None and wanted.r is not None:
            parts["r"] = _mse(encoded.r, wanted.r)
        total = c.latent_weight * torch.stack(list(parts.values())).sum()
        pairs = {"": (encoded, example.noise, example.images)}
        if shown is not None:
            pairs["_real"] = (_samples(whole, slice(count, None)), self._noise(len(shown)), shown)
        for suffix, (latents, noise, images) in pairs.items():
            for name, value in self._picture(latents, noise, images).items():
                weight = c.mse_weight if name == "mse" else c.perceptual_weight
                total = total + weight * value / len(pairs)
                parts[name + suffix] = value
        for name, value in {**parts, "loss": total}.items():
            self.sums.add(name, value)
        return total

    def _picture(self, latents: Encoded, noise: list[Tensor], images: Tensor) -> dict[str, Tensor]:
        """The terms of the pictures that have a weight."""
        c = self.config
        if not (c.mse_weight or c.perceptual_weight):
            return {}
        made = decoded(self.network, c.first, latents, noise)
        parts = {"mse": _mse(made, images)}
        if c.perceptual_weight:
            with torch.no_grad():
                seen = self.embed(images)
            parts["perceptual"] = distance(self.embed(made), seen).mean()
        return parts

    def _noise(self, count: int) -> list[Tensor]:
        """Noise maps of photographs, whose own are not known: new ones in every step."""
        c, whole = self.config, count * self.ranks.world
        drawn = noise_for(self.network, c.first, c.seed, self.images, whole)
        return [self.mine(one) for one in drawn]


def noise_for(network: Network, index: int, seed: int, start: int, count: int) -> list[Tensor]:
    """N(0, 1) maps [count, 1, H, W] from block `index` on for pictures start, start + 1, …"""
    generator = torch.Generator().manual_seed(derive(seed, str(start), "encoder's noise"))
    shapes = network.g.noise_shapes[index - 1 :]
    return [
        torch.randn((count, 1, *shape), generator=generator).to(network.device) for shape in shapes
    ]


def _samples(encoded: Encoded, which: slice) -> Encoded:
    r = None if encoded.r is None else encoded.r[which]
    return Encoded(encoded.f[which], r, encoded.w[which])


def _mse(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean()
