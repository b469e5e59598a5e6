"""One iteration of StyleGAN2(-ADA) training and all that it changes (S2.0, S2.20).

Every random number of iteration i comes from a generator seeded by (seed, i), so the trajectory
depends on the weights, the moments and the counters alone, and a resumed run is the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.io import seeds
from gantools.networks.network import DTYPES
from gantools.training import augment, control, losses
from gantools.training.data import Order
from gantools.training.distributed import Ranks
from gantools.training.networks import Networks, picture_layers
from gantools.training.presets import TrainConfig


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


class Trainer:
    """The state of a run and `step`, which moves it by one batch.

    pictures: uint8 [N,C,H,W]; labels: their classes, int64 [N], where the networks have classes;
    both are kept on the device. Counters: images, iteration; ADA's p and pl_mean are scalar tensors
    on the device.
    """

    def __init__(
        self,
        config: TrainConfig,
        networks: Networks,
        pictures: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        compile: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        self.config, self.ranks = config, ranks or Ranks()
        self.device = device = config.device
        if device.startswith("cuda"):  # TF32 also outside convolutions, where it is the default
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True
        channels_last = torch.channels_last
        self.g = networks.g.to(device).to(memory_format=channels_last)
        self.d = networks.d.to(device).to(memory_format=channels_last)
        self.g_ema = networks.g_ema.to(device=device).eval().requires_grad_(False)
        self.pictures = torch.from_numpy(pictures).to(device)
        self.labels = None if labels is None else torch.from_numpy(labels).to(device)
        self.order = Order(len(pictures), config.seed, mirror=config.mirror)
        self.g_params = list(self.g.parameters())
        for layer in picture_layers(self.d)[: config.freeze_d]:
            layer.requires_grad_(False)
        self.d_params = [p for p in self.d.parameters() if p.requires_grad]
        g_interval = control.G_INTERVAL if config.pl_weight else 0
        self.g_opt = _adam(self.g_params, config.lr, g_interval)
        self.d_opt = _adam(self.d_params, config.lr, control.D_INTERVAL if config.gamma else 0)
        self.images = 0
        self.iteration = 0
        self.p = torch.zeros([], device=device)
        self.pl_mean = torch.zeros([], device=device)
        self.signs = torch.zeros([2], device=device, dtype=torch.float64)
        self.sums = Sums(device)
        self.generator = torch.Generator(device)
        self.dtype = DTYPES[config.dtype]
        self._synthesis: Any = torch.compile(self.g.synthesis) if compile else self.g.synthesis
        self._d: Any = torch.compile(self.d) if compile else self.d

    # What an iteration draws and computes.

    def _mine(self, whole: Tensor) -> Tensor:
        """This process's share of what was drawn for all of a batch, or for half of one."""
        group = self.config.mbstd_group if len(whole) == self.config.batch else 1
        return self.ranks.take(whole, group)

    def _normal(self, *shape: int) -> Tensor:
        return self._mine(torch.randn(shape, generator=self.generator, device=self.device))

    def _z(self, n: int) -> Tensor:
        return self._normal(n, self.g.cfg.z_dim)

    def _noise(self, n: int) -> list[Tensor]:
        return [self._normal(n, 1, *shape) for shape in self.g.noise_shapes]

    def _one_hot(self, classes: Tensor) -> Tensor:
        return F.one_hot(classes, self.g.cfg.c_dim).float()

    def _label(self, n: int) -> Tensor | None:
        """This process's labels [·, c_dim] of n fakes, those of pictures drawn uniformly."""
        if self.labels is None:
            return None
        device = self.device
        index = torch.randint(len(self.labels), [n], generator=self.generator, device=device)
        return self._one_hot(self.labels[self._mine(index)])

    def _ws(self, n: int, label: Tensor | None = None) -> Tensor:
        """This process's mixed styles of n; moves w_avg towards the mean of all (S0.11)."""
        z, mixing = self._z(n), self.config.mixing
        ws = self.g.mapping(z, label)
        with torch.no_grad():
            w_avg = self.g.mapping.w_avg
            mean = self.ranks.mean(ws[:, 0].mean(dim=0))
            w_avg.copy_(mean.lerp(w_avg, control.W_AVG_BETA))
        if mixing:
            drawn = losses.draw_cutoffs(n, self.g.num_ws, mixing, self.generator)
            cutoffs = self._mine(drawn)
            ws = losses.mix_styles(ws, self.g.mapping(self._z(n), label), cutoffs)
        return ws

    def _augmented(self, images: Tensor) -> Tensor:
        if self.config.aug != "ada":
            return images
        c = self.config
        drawn = augment.draw(c.batch, self.p, c.resolution, self.generator)
        return augment.apply(images, drawn.of(self._mine))

    def _reals(self) -> tuple[Tensor, Tensor | None]:
        """This process's share of the next real pictures, [n,C,H,W] in [-1,1], and their labels."""
        taken = self.order.take(self.images, self.config.batch)
        index, flipped = (self._mine(torch.from_numpy(x)).to(self.device) for x in taken)
        pixels = self.pictures[index]
        mask = flipped[:, None, None, None]
        pixels = torch.where(mask, pixels.flip(3), pixels)
        label = None if self.labels is None else self._one_hot(self.labels[index])
        return pixels.to(torch.float32) / 127.5 - 1, label

    # The four phases.

    def _g_main(self) -> None:
        n = self.config.batch
        label = self._label(n)
        fake = self._synthesis(self._ws(n, label), self._noise(n), self.dtype)
        logits = self._d(self._augmented(fake), label, self.dtype)
        loss = losses.generator_loss(logits)
        self.sums.add("loss_g", loss)
        self.sums.add("score_fake", logits)
        self._update(self.g_opt, self.g_params, loss)

    def _g_path(self) -> None:
        n = self.config.batch // 2
        ws = self._ws(n, self._label(n))
        fake = self.g.synthesis(ws, self._noise(n), self.dtype)
        lengths = losses.path_lengths(fake, ws, self._normal(n, *fake.shape[1:]))
        mean = self.ranks.mean(lengths.mean())
        penalty, self.pl_mean = losses.path_length_penalty(lengths, self.pl_mean, mean=mean)
        self.sums.add("path_length", lengths)
        weight = self.config.pl_weight * control.G_INTERVAL
        # Touch every output, so that the bias of the last ToRGB has a gradient (of zero) too.
        self._update(self.g_opt, self.g_params, penalty * weight + fake.sum() * 0)

    def _d_main(self, reals: Tensor, real_label: Tensor | None) -> None:
        n = self.config.batch
        label = self._label(n)
        # G is frozen here, so no graph is built; no_grad would render picture by picture.
        fake = self._synthesis(self._ws(n, label), self._noise(n), self.dtype)
        fake_logits = self._d(self._augmented(fake), label, self.dtype)
        real_logits = self._d(self._augmented(reals), real_label, self.dtype)
        loss = losses.discriminator_loss(real_logits, fake_logits)
        self.sums.add("loss_d", loss)
        self.sums.add("score_real", real_logits)
        self.sums.add("sign_real", real_logits.sign())
        signs = real_logits.detach().sign()
        self.signs += torch.stack([signs.sum(), signs.new_tensor(float(len(signs)))])
        self._update(self.d_opt, self.d_params, loss)

    def _d_r1(self, reals: Tensor, label: Tensor | None) -> None:
        reals = reals.detach().requires_grad_()
        logits = self.d(self._augmented(reals), label, self.dtype)
        penalty = losses.r1_penalty(logits, reals, self.config.gamma)
        self.sums.add("r1", penalty)
        self._update(self.d_opt, self.d_params, penalty * control.D_INTERVAL + logits.sum() * 0)

    def _update(
        self, optimiser: torch.optim.Optimizer, parameters: Sequence[Any], loss: Tensor
    ) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.average_gradients(parameters)
        losses.finite_gradients(parameters)
        optimiser.step()

    @property
    def lod(self) -> float:
        """The level of detail: all of it, this family does not grow."""
        return 0.0

    def scalars(self) -> dict[str, Tensor]:
        """What the state file has beside networks and moments; `restore` fills them in place."""
        return {"p": self.p, "pl_mean": self.pl_mean, "signs": self.signs}

    def told(self) -> dict[str, float]:
        """What a line of the log says beside the means."""
        return {"p": float(self.p), "path_length_mean": float(self.pl_mean)}

    def gather(self) -> None:
        """Bring to the first process what each has summed for itself."""
        self.sums.gather(self.ranks)
        self.signs = self.ranks.total(self.signs) * self.ranks.first

    def keep(self) -> None:
        """What all processes have read from the state file stays with the first."""
        self.sums.keep(self.ranks)
        self.signs = self.signs * self.ranks.first

    def is_finite(self) -> bool:
        """Whether every weight is; once one is not, it stays so."""
        sums = torch.stack([p.detach().sum() for p in (*self.g_params, *self.d_params)])
        return bool(sums.isfinite().all())

    def step(self) -> None:
        """One batch: G, path length every 4th, D, R1 every 16th, EMA, ADA every 4th."""
        c = self.config
        self.generator.manual_seed(seeds.derive(c.seed, str(self.iteration), "iteration"))
        self.d.requires_grad_(False)
        self._g_main()
        if c.pl_weight and self.iteration % control.G_INTERVAL == 0:
            self._g_path()
        for parameter in self.d_params:
            parameter.requires_grad_(True)
        self.g.requires_grad_(False)
        reals, label = self._reals()
        self._d_main(reals, label)
        if c.gamma and self.iteration % control.D_INTERVAL == 0:
            self._d_r1(reals, label)
        self.g.requires_grad_(True)
        beta = control.ema_beta(c.ema_kimg, c.ema_rampup, c.batch, self.images)
        control.move_average(self.g_ema, self.g, beta)
        self.images += c.batch
        self.iteration += 1
        if c.aug == "ada" and self.iteration % control.ADA_INTERVAL == 0:
            signs = self.ranks.total(self.signs)
            mean_sign = signs[0] / signs[1]
            self.p = control.ada_step(self.p, mean_sign, c.ada_target, c.batch, c.ada_kimg)
            self.signs = torch.zeros_like(self.signs)


def _adam(parameters: list[Any], lr: float, interval: int) -> torch.optim.Adam:
    """Adam (0, 0.99), eps 1e-8, corrected for a regulariser every `interval` steps (0: none)."""
    betas = (0.0, 0.99)
    if interval:
        lr, betas = control.lazy_adam(lr, interval)
    return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=1e-8, fused=True)
