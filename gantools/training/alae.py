"""One iteration of ALAE (Pidhorskyi et al. 2020; papers.md S4.17), growing as StyleGAN1 does.

Three steps, as in the paper's Algorithm 1: encoder and latent discriminator (E, D) tell reals from
fakes, mapping and synthesis (F, G) deceive them, then E and G are drawn together where E has to
read w off G's picture of it.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.inversion.alae import AlaeEncoder
from gantools.training import control
from gantools.training.distributed import Ranks
from gantools.training.draws import Player
from gantools.training.growing import GrowingTrainer
from gantools.training.growing_presets import GrowingConfig
from gantools.training.networks import Networks
from gantools.training.reader import Reader
from gantools.training.schedule import Moment

# The averages' half-life is at most this share of the pictures shown so far: averages of a young E
# and a young G, which still change, do not read each other. The published code has none.
RAMPUP = 0.05


class AlaeTrainer(GrowingTrainer):
    """A GrowingTrainer whose D judges E's w, and which averages E as it does G.

    E and D share an optimiser, as F and G do; the third step has a gradient in E and G alone.
    """

    def __init__(
        self,
        config: GrowingConfig,
        networks: Networks,
        reader: Reader,
        *,
        ranks: Ranks | None = None,
        batch_gpu: int | None = None,
    ) -> None:
        super().__init__(config, networks, reader, ranks=ranks, batch_gpu=batch_gpu)
        self.encoder: AlaeEncoder = self.d.encoder
        self.e_ema = copy.deepcopy(self.encoder).eval().requires_grad_(False)
        self.averages["e_ema"] = self.e_ema
        self._autoencoder: list[Player] = [
            (self.d_opt, list(self.encoder.parameters())),
            (self.g_opt, list(self.g.synthesis.parameters())),
        ]

    def _average(self, shown: int) -> None:
        super()._average(shown)
        control.move_average(self.e_ema, self.encoder, self._beta(shown))

    def _beta(self, shown: int) -> float:
        return control.ema_beta(self.config.ema_kimg, RAMPUP, shown, self.images)

    def _gamma(self, now: Moment) -> float:
        """Of the pictures as they are: the published code enlarges none."""
        return self.config.gamma

    def _logits(self, images: Tensor, label: Tensor | None, lod: float) -> tuple[Tensor, Tensor]:
        return self.d(images, lod), images.new_empty(len(images), 0)

    def _alternate(self, now: Moment) -> None:
        super()._alternate(now)
        self._freeze_d(False)
        players = self._autoencoder
        self._learn_at_once(players, now.batch, lambda: [self._reciprocity(now)] * len(players))

    def _reciprocity(self, now: Moment) -> Tensor:
        """The mean square of F(z) - E(G(F(z))); F is given (S4.17)."""
        with torch.no_grad():
            ws = self.g.mapping(self._normal(now.batch, self.g.cfg.z_dim))  # [·, L, w_dim]
        made = self.g.synthesis(ws, self._noise(now.batch), self.dtype, now.lod)
        loss = F.mse_loss(self.encoder(made, now.lod), ws[:, 0])
        self.sums.add("loss_reciprocity", loss)
        return loss
