"""What the trainers of encoders have in common: settings, one step, the running average."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gantools.inversion.encoder_backbones import Norm
from gantools.inversion.perceptual import Embed
from gantools.networks.batch_norm import Moments
from gantools.networks.network import Network
from gantools.report import Usage
from gantools.training import control, losses
from gantools.training.distributed import Ranks
from gantools.training.draws import Sums

if TYPE_CHECKING:
    from gantools.training.encoder_critic import Critic

Photographs = Callable[[int, int], Tensor]  # position, count -> pictures [count, C, H, W]
EMA_RAMPUP = 0.05
Self = TypeVar("Self", bound="Training")


@dataclass(frozen=True, kw_only=True)
class Training:
    """What the trajectory of any run depends on besides the network's numbers.

    network: {name, id}; perceptual: the distance's name; ema_kimg: half-life of the average that
    is written, in thousands of samples. pictures: digest of the photographs beside the samples,
    None without any; mirror, hold_out: theirs.
    """

    network: dict[str, Any]
    arch: str
    batch: int
    lr: float
    latent_weight: float
    mse_weight: float
    perceptual_weight: float
    perceptual: str = "pyramid"
    ema_kimg: float = 5.0
    pictures: str | None = None
    mirror: bool = False
    hold_out: int = 0
    seed: int = 0
    dtype: str = "fp32"
    device: str = "cpu"

    @classmethod
    def from_dict(cls: type[Self], values: dict[str, Any]) -> Self:
        """What `to_dict` wrote; Usage where another version did."""
        lists: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in values.items()
        }
        try:
            return cls(**lists)
        except TypeError as e:
            raise Usage(f"the run was made by another version ({e})") from None

    def to_dict(self) -> dict[str, Any]:
        """As it is stored: JSON types only."""
        return asdict(self)

    @property
    def alone(self) -> str | None:
        """What of it looks at whole batches, so that one process trains; None: any number may."""
        return None

    @abstractmethod
    def check(self, network: Network) -> None:
        """Usage where there is no such encoder for the network, or what it needs is missing."""

    @abstractmethod
    def embed(self, network: Network) -> Embed:
        """The perceptual space; Usage where its weights are missing."""

    @abstractmethod
    def trainer(
        self, network: Network, embed: Embed, photographs: Photographs | None, *, fresh: bool
    ) -> Trainer[Any, Any]:
        """A trainer; fresh: of an encoder as a run begins, else of one that is filled next."""


def check_shares(config: Training, ranks: Ranks) -> None:
    """Usage where a batch does not divide over processes, or a loss looks at all of it at once."""
    if ranks.world == 1:
        return
    if config.alone:
        raise Usage(f"{config.alone} looks at whole batches: train in one process")
    ranks.share(config.batch)


C = TypeVar("C", bound=Training)
E = TypeVar("E", bound=nn.Module)


class Trainer(Generic[C, E]):
    """The state of a run and `step`, which moves it by one batch; ema is what is written.

    photographs: as many as samples are shown beside them in every step, or None; of both this
    process's share. critic: a discriminator that learns beside it (S4.16), or None. ranks: those
    that a batch is divided over (`divide`), one by default.
    """

    adam: Optimizer

    def __init__(
        self,
        config: C,
        network: Network,
        encoder: E,
        embed: Embed,
        photographs: Photographs | None = None,
    ) -> None:
        self.config, self.network, self.embed = config, network, embed
        self.photographs = photographs
        last = torch.channels_last
        self.encoder = encoder.to(network.device).to(memory_format=last).train()
        self.ema = copy.deepcopy(self.encoder).eval().requires_grad_(False)
        self.parameters = list(self.encoder.parameters())
        self.sums = Sums(network.device)
        self.iteration = 0
        self.ranks = Ranks()
        self.critic: Critic | None = None

    def divide(self, ranks: Ranks) -> None:
        """Train with other processes, each of which has an equal share of every batch.

        Usage where they cannot (`check_shares`).
        """
        check_shares(self.config, ranks)
        self.ranks = ranks
        if ranks.world == 1:
            return
        for module in self.encoder.modules():
            if isinstance(module, Moments | Norm):
                module.processes = ranks

    def mine(self, whole: Tensor) -> Tensor:
        """This process's rows of a step's numbers [k · batch, …], of each of the k batches."""
        if self.ranks.world == 1:
            return whole
        each = whole.split(self.config.batch)
        return torch.cat([self.ranks.take(one) for one in each])

    def average(self) -> None:
        """Every gradient becomes its mean over the processes, and finite."""
        self.ranks.average_gradients(self.parameters)
        losses.finite_gradients(self.parameters)

    @property
    def images(self) -> int:
        """Samples shown so far."""
        return self.iteration * self.config.batch

    def step(self) -> None:
        """One batch: draw, encode, decode, move, average."""
        c = self.config
        share = self.ranks.share(c.batch).tolist()
        self.move(
            range(self.images + share[0], self.images + share[-1] + 1),
            self.photographs(self.images, c.batch) if self.photographs else None,
        )
        if self.critic is not None:
            self.sums.add("critic", self.critic.step())
        self.iteration += 1
        beta = control.ema_beta(c.ema_kimg, EMA_RAMPUP, c.batch, self.images)
        control.move_average(self.ema, self.encoder, beta, buffers=True)

    @abstractmethod
    def move(self, samples: range, shown: Tensor | None) -> None:
        """Learn from the network's samples of these numbers, and from photographs [M, C, H, W].

        Both are this process's; `average` stands in front of every step of the optimiser.
        """

    @abstractmethod
    def judged(self, samples: range) -> tuple[Tensor, Tensor]:
        """Samples as files have them, and what the averaged encoder makes of them."""

    @abstractmethod
    def remade(self, shown: Tensor, start: int) -> Tensor:
        """What the averaged encoder makes of photographs start, start + 1, …"""

    def is_finite(self) -> bool:
        """Whether every weight is; once one is not, it stays so."""
        return bool(torch.stack([p.detach().sum() for p in self.parameters]).isfinite().all())
