"""The network's discriminator beside an encoder's training: In-Domain inversion (papers.md S4.16).

Zhu et al. 2020: what the encoder's latents render as should be taken for true pictures. D begins as
it is in the network's file and goes on learning, of the pictures that the encoder sees and of what
becomes of them; logistic loss with R1.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gantools.report import Usage
from gantools.training import losses
from gantools.training.encoder_trainer import Training

if TYPE_CHECKING:
    from gantools.networks.network import Network

BETAS = (0.0, 0.99)


@dataclass(frozen=True, kw_only=True)
class Judged(Training):
    """adv_weight: of softplus(−D(x')), 0.1 in the paper; gamma: R1's weight in D's loss."""

    adv_weight: float = 0.0
    gamma: float = 10.0

    @property
    def alone(self) -> str | None:
        """D compares the pictures of a batch."""
        return "--adv-weight" if self.adv_weight else None

    def critic(self, network: Network) -> Critic | None:
        """A discriminator as a run begins; None where it has no weight."""
        return Critic(network, self.lr, self.gamma) if self.adv_weight else None

    def check_critic(self, network: Network) -> None:
        """Usage where the network has no discriminator for pictures without a class."""
        if not self.adv_weight:
            return
        if network.d is None:
            raise Usage(f"--adv-weight: {network.name} holds no discriminator")
        if network.g.cfg.c_dim:
            raise Usage(
                f"--adv-weight: the discriminator of {network.name} judges pictures by their "
                "class, which is not known"
            )


class Critic:
    """A copy of the network's D [N, C, H, W] -> logits, with an Adam of its own; gamma: of R1."""

    def __init__(self, network: Network, lr: float, gamma: float) -> None:
        if network.d is None:
            raise ValueError(f"{network.name} holds no discriminator")
        self.d = copy.deepcopy(network.d).train().requires_grad_(False)
        self.adam = torch.optim.Adam(self.d.parameters(), lr=lr, betas=BETAS)
        self.gamma = gamma
        self._pair: tuple[Tensor, Tensor] | None = None

    def term(self, true: Tensor, made: Tensor) -> Tensor:
        """softplus(−D(made)), a mean, with a gradient to `made` alone; `step` learns of both."""
        self._pair = true.detach(), made.detach()
        logits: Tensor = self.d(made)
        return losses.generator_loss(logits)

    def step(self) -> Tensor:
        """D learns of the last pictures that `term` was asked about; its loss without R1."""
        assert self._pair is not None
        true, made = self._pair
        true = true.clone().requires_grad_()
        self.d.requires_grad_(True)
        real, fake = self.d(true), self.d(made)
        loss = losses.discriminator_loss(real, fake)
        self.adam.zero_grad(set_to_none=True)
        total = loss + losses.r1_penalty(real, true, self.gamma) if self.gamma else loss
        total.backward()  # type: ignore[no-untyped-call]
        losses.finite_gradients(list(self.d.parameters()))
        self.adam.step()
        self.d.requires_grad_(False)
        return loss.detach()
