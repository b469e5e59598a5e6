"""One iteration of StyleGAN2(-ADA) training and all that it changes (S2.0, S2.20).

Every random number of iteration i comes from a generator seeded by (seed, i), so the trajectory
depends on the weights, the moments and the counters alone, and a resumed run is the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools.io import seeds
from gantools.networks.network import DTYPES
from gantools.training import augment, control, losses
from gantools.training.data import Order
from gantools.training.networks import Networks
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

    def means(self) -> dict[str, float]:
        """The means since the last call; starts again."""
        result = {n: float(v[0] / v[1]) for n, v in sorted(self.values.items())}
        self.values.clear()
        return result


class Trainer:
    """The state of a run and `step`, which moves it by one batch.

    pictures: uint8 [N,3,H,W]; kept on the device. Counters: images, iteration; ADA's p and pl_mean
    are scalar tensors on the device.
    """

    def __init__(
        self,
        config: TrainConfig,
        networks: Networks,
        pictures: np.ndarray,
        *,
        compile: bool = False,
    ) -> None:
        self.config = config
        self.device = device = config.device
        if device.startswith("cuda"):  # TF32 also outside convolutions, where it is the default
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True
        channels_last = torch.channels_last
        self.g = networks.g.to(device).to(memory_format=channels_last)
        self.d = networks.d.to(device).to(memory_format=channels_last)
        self.g_ema = networks.g_ema.to(device=device).eval().requires_grad_(False)
        self.pictures = torch.from_numpy(pictures).to(device)
        self.order = Order(len(pictures), config.seed, mirror=config.mirror)
        self.g_params = list(self.g.parameters())
        self.d_params = list(self.d.parameters())
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

    def _z(self, n: int) -> Tensor:
        shape = [n, self.g.cfg.z_dim]
        return torch.randn(shape, generator=self.generator, device=self.device)

    def _noise(self, n: int) -> list[Tensor]:
        return [
            torch.randn([n, 1, *shape], generator=self.generator, device=self.device)
            for shape in self.g.noise_shapes
        ]

    def _ws(self, n: int) -> Tensor:
        """Mixed styles [n, L, w_dim]; moves w_avg towards their mean (S0.11)."""
        z, mixing = self._z(n), self.config.mixing
        ws = self.g.mapping(z)
        with torch.no_grad():
            w_avg = self.g.mapping.w_avg
            w_avg.copy_(ws[:, 0].mean(dim=0).lerp(w_avg, control.W_AVG_BETA))
        if mixing:
            cutoffs = losses.draw_cutoffs(n, self.g.num_ws, mixing, self.generator)
            ws = losses.mix_styles(ws, self.g.mapping(self._z(n)), cutoffs)
        return ws

    def _augmented(self, images: Tensor) -> Tensor:
        if self.config.aug != "ada":
            return images
        drawn = augment.draw(len(images), self.p, self.config.resolution, self.generator)
        return augment.apply(images, drawn)

    def _reals(self) -> Tensor:
        """The next real pictures, [batch,3,H,W] in [-1,1]."""
        index, flipped = self.order.take(self.images, self.config.batch)
        pixels = self.pictures[torch.from_numpy(index).to(self.device)]
        mask = torch.from_numpy(flipped).to(self.device)[:, None, None, None]
        pixels = torch.where(mask, pixels.flip(3), pixels)
        return pixels.to(torch.float32) / 127.5 - 1

    # The four phases.

    def _g_main(self) -> None:
        n = self.config.batch
        fake = self._synthesis(self._ws(n), self._noise(n), self.dtype)
        logits = self._d(self._augmented(fake), None, self.dtype)
        loss = losses.generator_loss(logits)
        self.sums.add("loss_g", loss)
        self.sums.add("score_fake", logits)
        self._update(self.g_opt, self.g_params, loss)

    def _g_path(self) -> None:
        n = self.config.batch // 2
        ws = self._ws(n)
        fake = self.g.synthesis(ws, self._noise(n), self.dtype)
        noise = torch.randn(fake.shape, generator=self.generator, device=self.device)
        lengths = losses.path_lengths(fake, ws, noise)
        penalty, self.pl_mean = losses.path_length_penalty(lengths, self.pl_mean)
        self.sums.add("path_length", lengths)
        weight = self.config.pl_weight * control.G_INTERVAL
        # Touch every output, so that the bias of the last ToRGB has a gradient (of zero) too.
        self._update(self.g_opt, self.g_params, penalty * weight + fake.sum() * 0)

    def _d_main(self, reals: Tensor) -> None:
        n = self.config.batch
        # G is frozen here, so no graph is built; no_grad would render picture by picture.
        fake = self._synthesis(self._ws(n), self._noise(n), self.dtype)
        fake_logits = self._d(self._augmented(fake), None, self.dtype)
        real_logits = self._d(self._augmented(reals), None, self.dtype)
        loss = losses.discriminator_loss(real_logits, fake_logits)
        self.sums.add("loss_d", loss)
        self.sums.add("score_real", real_logits)
        self.sums.add("sign_real", real_logits.sign())
        signs = real_logits.detach().sign()
        self.signs += torch.stack([signs.sum(), signs.new_tensor(float(n))])
        self._update(self.d_opt, self.d_params, loss)

    def _d_r1(self, reals: Tensor) -> None:
        reals = reals.detach().requires_grad_()
        logits = self.d(self._augmented(reals), None, self.dtype)
        penalty = losses.r1_penalty(logits, reals, self.config.gamma)
        self.sums.add("r1", penalty)
        self._update(self.d_opt, self.d_params, penalty * control.D_INTERVAL + logits.sum() * 0)

    def _update(
        self, optimiser: torch.optim.Optimizer, parameters: Sequence[Any], loss: Tensor
    ) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        losses.finite_gradients(parameters)
        optimiser.step()

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
        self.d.requires_grad_(True)
        self.g.requires_grad_(False)
        reals = self._reals()
        self._d_main(reals)
        if c.gamma and self.iteration % control.D_INTERVAL == 0:
            self._d_r1(reals)
        self.g.requires_grad_(True)
        beta = control.ema_beta(c.ema_kimg, c.ema_rampup, c.batch, self.images)
        control.move_average(self.g_ema, self.g, beta)
        self.images += c.batch
        self.iteration += 1
        if c.aug == "ada" and self.iteration % control.ADA_INTERVAL == 0:
            mean_sign = self.signs[0] / self.signs[1]
            self.p = control.ada_step(self.p, mean_sign, c.ada_target, c.batch, c.ada_kimg)
            self.signs = torch.zeros_like(self.signs)


def _adam(parameters: list[Any], lr: float, interval: int) -> torch.optim.Adam:
    """Adam (0, 0.99), eps 1e-8, corrected for a regulariser every `interval` steps (0: none)."""
    betas = (0.0, 0.99)
    if interval:
        lr, betas = control.lazy_adam(lr, interval)
    return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=1e-8, fused=True)
