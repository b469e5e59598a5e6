"""What the trainers of all families share: what a step draws, shows, accumulates and updates.

Every random number of iteration i comes from a generator seeded by (seed, i), so the trajectory
depends on the weights, the moments and the counters alone, and a resumed run is the same run. All
of a batch's numbers are drawn in every process and in every part of an accumulated batch; each
takes its own, so that neither changes what is computed, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.io import seeds
from gantools.networks.batch_norm import Moments
from gantools.networks.layers import MinibatchStddev
from gantools.networks.network import DTYPES
from gantools.training import control, losses, upconv
from gantools.training.distributed import Ranks, parts_of
from gantools.training.growing_presets import GrowingConfig
from gantools.training.networks import Networks
from gantools.training.presets import TrainConfig
from gantools.training.reader import Reader
from gantools.training.spectral import Critic

Player = tuple[torch.optim.Optimizer, Sequence[Any]]
"""An optimiser and the parameters that it moves."""


class Sums:
    """Running sums of what log.jsonl averages; on the device, so nothing waits for them."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.values: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Add every element of `values` to the sum and the count of `name`."""
        values = values.detach().float()
        pair = torch.stack([values.sum(), values.new_tensor(float(values.numel()))]).double()
        self.values[name] = self.values[name] + pair if name in self.values else pair

    def means(self, ranks: Ranks) -> dict[str, float]:
        """The means since the last call over all processes; starts again."""
        self.gather(ranks)
        result = (
            {n: float(v[0] / v[1]) for n, v in sorted(self.values.items())} if ranks.first else {}
        )
        self.values.clear()
        return result

    def gather(self, ranks: Ranks) -> None:
        """The first process gets every sum, the others start from 0."""
        if ranks.world > 1:
            self.values = {n: ranks.total(v) for n, v in sorted(self.values.items())}
            self.keep(ranks)

    def keep(self, ranks: Ranks) -> None:
        """What all processes hold alike stays with the first."""
        self.values = {n: v * ranks.first for n, v in self.values.items()}


class Draws:
    """Networks, pictures and the numbers of an iteration; the base of every trainer.

    reader: gives the pictures, and their classes where the networks have classes. batch_gpu: at
    most so many pictures at once in each process; the gradients of the parts are summed. Counters:
    images, iteration.
    """

    g_opt: torch.optim.Adam
    d_opt: torch.optim.Adam
    critic_opt: torch.optim.Adam
    d_players: list[Player]

    def __init__(
        self,
        config: TrainConfig | GrowingConfig,
        networks: Networks,
        reader: Reader,
        *,
        ranks: Ranks | None = None,
        batch_gpu: int | None = None,
    ) -> None:
        self.ranks, self.batch_gpu = ranks or Ranks(), batch_gpu
        self.device = device = config.device
        self.seed, self.mixing = config.seed, config.mixing
        last = torch.channels_last
        self.g = networks.g.to(device).to(memory_format=last)
        self.d = networks.d.to(device).to(memory_format=last)
        self.g_ema = networks.g_ema.to(device).to(memory_format=last).eval().requires_grad_(False)
        if self.ranks.world > 1:
            for module in (*self.g.modules(), *self.d.modules()):
                if isinstance(module, Moments | MinibatchStddev):
                    module.processes = self.ranks
        self.mbstd_group: int = getattr(self.d.cfg, "mbstd_group", 1)
        self.reader, self.labels = reader, reader.labels
        self.averages: dict[str, nn.Module] = {}  # beside g_ema, by their names in the state file
        self.g_params: list[Any] = list(self.g.parameters())
        self.d_params: list[Any] = list(self.d.parameters())
        self.critic = Critic(config, networks.spectral)
        if not self.critic.separate:
            self.d_params += self.critic.params
        self.spec_reg = config.spec_reg
        self.images = 0
        self.iteration = 0
        self.sums = Sums(device)
        self.generator = torch.Generator(device)
        self.dtype = DTYPES[config.dtype]
        self._part = Ranks()  # which part of this process's share is computed
        self._w_means: list[Tensor] = []

    # What an iteration draws.

    def _begin(self) -> None:
        self.generator.manual_seed(seeds.derive(self.seed, str(self.iteration), "iteration"))

    def _share(self, whole: Tensor, *, grouped: bool = True) -> Tensor:
        """This process's samples of a batch, or the part of them that is computed just now.

        grouped: whole groups of the minibatch stddev.
        """
        group = self.mbstd_group if grouped else 1
        return self._part.take(self.ranks.take(whole, group), group)

    def _normal(self, *shape: int, grouped: bool = True) -> Tensor:
        whole = torch.randn(shape, generator=self.generator, device=self.device)
        return self._share(whole, grouped=grouped)

    def _noise(self, n: int, *, grouped: bool = True) -> list[Tensor]:
        return [self._normal(n, 1, *shape, grouped=grouped) for shape in self.g.noise_shapes]

    def _one_hot(self, classes: Tensor) -> Tensor:
        return F.one_hot(classes, self.g.cfg.c_dim).float()

    def _label(self, n: int, *, grouped: bool = True) -> Tensor | None:
        """This process's labels [·, c_dim] of n fakes, those of pictures drawn uniformly."""
        if self.labels is None:
            return None
        device = self.device
        index = torch.randint(len(self.labels), [n], generator=self.generator, device=device)
        return self._one_hot(self.labels[self._share(index, grouped=grouped)])

    def _ws(
        self,
        n: int,
        label: Tensor | None,
        layers: int | None = None,
        *,
        first: int = 1,
        grouped: bool = True,
    ) -> Tensor:
        """This process's mixed styles [·, L, w_dim] of n, the crossover below `layers` (S0.11).

        first: the first block, 1-based, that the network has; the crossover lies behind it.

        w_avg moves towards the mean of all when the batch is done.
        """
        ws: Tensor = self.g.mapping(self._normal(n, self.g.cfg.z_dim, grouped=grouped), label)
        self._w_means.append(ws[:, 0].detach().mean(dim=0))
        if not self.mixing:
            return ws
        drawn = losses.draw_cutoffs(
            n, layers or self.g.num_ws, self.mixing, self.generator, first=first
        )
        cutoffs = self._share(drawn, grouped=grouped)
        other = self.g.mapping(self._normal(n, self.g.cfg.z_dim, grouped=grouped), label)
        return losses.mix_styles(ws, other, cutoffs)

    def _shown(self, n: int) -> tuple[Tensor, Tensor | None]:
        """This process's share of the next n real pictures, uint8 [·,C,H,W], and their classes."""
        group = self.mbstd_group
        return self.reader.batch(self.images, n, lambda whole: self.ranks.take(whole, group))

    def _reals(self, shown: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """The part of the shown pictures that is computed, [·,C,H,W] in 0..255, and its labels."""
        pixels, classes = shown
        label = None if classes is None else self._one_hot(self._taken(classes))
        return self._taken(pixels).to(torch.float32), label

    def _taken(self, shown: Tensor) -> Tensor:
        return self._part.take(shown, self.mbstd_group)

    # What a spectral discriminator and regulariser add (S3.16-S3.18, S3.30).

    def _enlist(self, adam: Callable[[list[Any]], torch.optim.Adam]) -> None:
        """Make D's optimiser, and that of a spectral discriminator that has its own."""
        self.d_opt = self.critic_opt = adam(self.d_params)
        self.d_players = [(self.d_opt, self.d_params)]
        if self.critic.separate:
            self.critic_opt = adam(self.critic.params)
            self.d_players.append((self.critic_opt, self.critic.params))

    def _freeze_d(self, frozen: bool) -> None:
        """D and the spectral discriminator; layers that never learn stay as they are."""
        for _, parameters in self.d_players:
            for parameter in parameters:
                parameter.requires_grad_(not frozen)

    def _judged(self, images: Tensor, n: int) -> Tensor:
        """The spectral discriminator's scores [·, 1] (else [·, 0]) of a part of a batch of n.

        With dropout of the bins that it sees, drawn anew each time (S3.17).
        """
        drop = self.critic.dropout
        if not drop:
            return self.critic.scores(images)
        drawn = torch.rand(n, self.critic.inputs, generator=self.generator, device=self.device)
        return self.critic.scores(images, self._share(drawn >= drop) / (1 - drop))

    def _scored(self, images: Tensor, n: int, name: str) -> Tensor:
        """The same, told as `name`."""
        scores = self._judged(images, n)
        if scores.numel():
            self.sums.add(name, scores)
        return scores

    def _own_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the spectral discriminator's scores add to D's loss, told where it is anything."""
        loss = self.critic.own_loss(real, fake)
        if self.critic.kind == "f-mining":
            self.sums.add("loss_spectral", loss)
        return loss

    def _regularised(self, loss: Tensor, reals: Tensor, fakes: Tensor) -> Tensor:
        """G's loss with --spec-reg; both [N, C, H, W]."""
        if not self.spec_reg:
            return loss
        term = self.ranks.mean(upconv.divergence(reals, fakes))
        self.sums.add("spec_reg", term)
        return upconv.regularised(loss, term)

    # How a batch becomes one step of an optimiser.

    def _learn_d(self, n: int, loss: Callable[[], Tensor], *, penalty: bool = False) -> None:
        """One step of D, and of the spectral discriminator, for a batch of n.

        penalty: the loss is R1 alone, which F-mining's score does not have (S3.18).
        """
        mined = penalty and self.critic.kind == "f-mining"
        players = self.d_players[:1] if mined else self.d_players
        self._learn_at_once(players, n, lambda: [loss()] * len(players))

    def _learn(
        self,
        optimiser: torch.optim.Optimizer,
        parameters: Sequence[Any],
        n: int,
        loss: Callable[[], Tensor],
        *,
        grouped: bool = True,
    ) -> None:
        """One step for a batch of n; `loss` is that of a part, and draws as if it were all."""
        self._learn_at_once([(optimiser, parameters)], n, lambda: [loss()], grouped=grouped)

    def _learn_at_once(
        self,
        players: Sequence[Player],
        n: int,
        losses_of_part: Callable[[], Sequence[Tensor]],
        *,
        grouped: bool = True,
    ) -> None:
        """A step of every player, each down its own loss, all gradients taken before any step.

        Their losses may share parts of one graph, or be one and the same, which is then followed
        back once; where there are several players each has a gradient in its own parameters alone.
        """
        for optimiser, _ in players:
            optimiser.zero_grad(set_to_none=True)
        group = self.mbstd_group if grouped else 1
        parts = parts_of(n // self.ranks.world, group, self.batch_gpu)
        drawn = self.generator.get_state() if parts > 1 else None
        for part in range(parts):
            if drawn is not None:
                self.generator.set_state(drawn)
            self._part = Ranks(part, parts)
            values = _by_loss(players, losses_of_part())
            for i, (value, own) in enumerate(values, 1):
                inputs = None if len(players) == 1 else own
                loss = value / parts if parts > 1 else value
                loss.backward(inputs=inputs, retain_graph=i < len(values))  # type: ignore[no-untyped-call]
        self._part = Ranks()
        self._move_w_avg()
        for _, parameters in players:
            self.ranks.average_gradients(parameters)
            losses.finite_gradients(parameters)
        for optimiser, _ in players:
            optimiser.step()

    def _move_w_avg(self) -> None:
        """Move w_avg towards the mean of what was drawn since the last call, of all processes."""
        if not self._w_means:
            return
        w_avg = self.g.mapping.w_avg
        mean = self.ranks.mean(torch.stack(self._w_means).mean(dim=0))
        w_avg.copy_(mean.lerp(w_avg, control.W_AVG_BETA))
        self._w_means.clear()

    # What every family saves, gathers and is asked.

    def gather(self) -> None:
        """Bring to the first process what each has summed for itself."""
        self.sums.gather(self.ranks)

    def keep(self) -> None:
        """What all processes have read from the state file stays with the first."""
        self.sums.keep(self.ranks)

    def _all_finite(self, tensors: Iterable[Tensor]) -> bool:
        total = torch.stack([t.detach().sum() for t in tensors])
        return bool(total.isfinite().all())


def _by_loss(players: Sequence[Player], values: Sequence[Tensor]) -> list[tuple[Tensor, list[Any]]]:
    """Every loss once, with the parameters of the players whose it is."""
    found: dict[int, tuple[Tensor, list[Any]]] = {}
    for (_, parameters), value in zip(players, values, strict=True):
        found.setdefault(id(value), (value, []))[1].extend(parameters)
    return list(found.values())
