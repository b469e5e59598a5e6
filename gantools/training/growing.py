"""One iteration of PGGAN, StyleGAN1 (papers.md S0.9-S0.11, S1.7-S1.12) or SNGAN (S3.25).

As in `loop`, iteration i draws from a generator seeded by (seed, i). The schedule is looked at
every few iterations, as in the published code; all of a run's memory of it is the number of images
at the last look. SNGAN does not grow, and looks at its learning rate in each iteration.

With classes G's fakes have those of pictures drawn uniformly; D's fakes have those of its reals, as
in the published code, so that WGAN-GP's mixed pictures have one each too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.io import seeds
from gantools.networks import sngan
from gantools.networks.growing import crossfade, shrunk
from gantools.networks.network import DTYPES
from gantools.ops.noise import multiplicative_noise
from gantools.report import Usage
from gantools.training import conditional, control, losses, schedule
from gantools.training.data import Order
from gantools.training.distributed import Ranks
from gantools.training.growing_presets import GrowingConfig
from gantools.training.loop import Sums
from gantools.training.networks import Networks
from gantools.training.schedule import Moment


class GrowingTrainer:
    """The state of a run and `step`, which moves it by one batch of G and `d_steps` of D.

    pictures: uint8 [N,C,H,W] of the full resolution; labels: their classes, int64 [N], where the
    networks have classes; both are kept on the device.
    """

    def __init__(
        self,
        config: GrowingConfig,
        networks: Networks,
        pictures: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.config, self.ranks = config, ranks or Ranks()
        if self.ranks.world > 1 and (config.loss == "lsgan" or not _divides(networks)):
            raise Usage(
                "networks whose layers look at the whole batch (batch norm, minibatch "
                "discrimination) and --loss lsgan are trained by one process: without torchrun"
            )
        self.device = device = config.device
        last = torch.channels_last
        self.g = networks.g.to(device).to(memory_format=last)
        self.d = networks.d.to(device).to(memory_format=last)
        self.g_ema = networks.g_ema.to(device=device).eval().requires_grad_(False)
        self.pictures = torch.from_numpy(pictures).to(device)
        self.labels = None if labels is None else torch.from_numpy(labels).to(device)
        self.acgan = labels is not None and getattr(self.d.cfg, "label_mode", "") == "acgan"
        self.order = Order(len(pictures), config.seed, mirror=config.mirror)
        self.g_params = list(self.g.parameters())
        self.d_params = list(self.d.parameters())
        self.schedule = config.schedule()
        self.g_opt, self.d_opt = (
            torch.optim.Adam(p, lr=1e-3, betas=(0.0, config.beta2), eps=1e-8, fused=True)
            for p in (self.g_params, self.d_params)
        )
        self.images = 0
        self.iteration = 0
        self.looked_at = torch.zeros([], dtype=torch.int64)  # images at the last look
        self.gdrop = torch.zeros([], dtype=torch.float64)  # LSGAN's running score (S1.10)
        self.sums = Sums(device)
        self.generator = torch.Generator(device)
        self.dtype = DTYPES[config.dtype]

    @property
    def moment(self) -> Moment:
        """lod, minibatch and learning rate, as they were at the last look."""
        return self.schedule.at(int(self.looked_at))

    @property
    def lod(self) -> float:
        """The level of detail of the moment."""
        return self.moment.lod

    def scalars(self) -> dict[str, Tensor]:
        """What the state file has beside networks and moments; `restore` fills them in place."""
        return {"looked_at": self.looked_at, "gdrop": self.gdrop}

    def told(self) -> dict[str, float]:
        """What a line of the log says beside the means."""
        now = self.moment
        lod = {"lod": round(now.lod, 4)} if self.config.growing else {}
        return {**lod, "resolution": now.resolution, "batch": now.batch, "lr": now.lr}

    def gather(self) -> None:
        """Bring to the first process what each has summed for itself."""
        self.sums.gather(self.ranks)

    def keep(self) -> None:
        """What all processes have read from the state file stays with the first."""
        self.sums.keep(self.ranks)

    def is_finite(self) -> bool:
        """Whether every weight and average is; once one is not, it stays so."""
        tensors = (*self.g_params, *self.g.buffers(), *self.d_params)
        total = torch.stack([t.detach().sum() for t in tensors])
        return bool(total.isfinite().all())

    def step(self) -> None:
        """`d_steps` batches of D, one of G, the average of G."""
        self.generator.manual_seed(seeds.derive(self.config.seed, str(self.iteration), "iteration"))
        if self.iteration % self.schedule.repeats == 0:
            self._look()
        now, shown = self.moment, self.images
        for group in (*self.g_opt.param_groups, *self.d_opt.param_groups):
            group["lr"] = now.lr
        self.g.requires_grad_(False)
        self.d.requires_grad_(True)
        for _ in range(self.config.d_steps):
            self._d_step(now)
        self.g.requires_grad_(True)
        self.d.requires_grad_(False)
        self._g_step(now)
        beta = control.ema_beta(self.config.ema_kimg, None, self.images - shown, self.images)
        control.move_average(self.g_ema, self.g, beta, buffers=self.config.family == "sngan")
        self.iteration += 1

    def _look(self) -> None:
        """Follow the schedule; a resolution that starts or ends fading resets Adam (S0.9)."""
        before, now = self.moment, self.schedule.at(self.images)
        for optimiser in (self.g_opt, self.d_opt):
            if schedule.resets_optimisers(before.lod, now.lod):
                optimiser.state.clear()
        self.looked_at.fill_(self.images)

    # What an iteration draws and computes.

    def _fakes(self, n: int, lod: float, label: Tensor | None) -> Tensor:
        z = self._normal(n, self.g.cfg.z_dim)
        if self.config.family == "pggan":
            return self.g(z, label, dtype=self.dtype, lod=lod)  # type: ignore[no-any-return]
        if self.config.family == "sngan":
            return self.g(z, label, dtype=self.dtype)  # type: ignore[no-any-return]
        noise = [self._normal(n, 1, *shape) for shape in self.g.noise_shapes]
        ws = self._ws(z, lod, label)
        return self.g.synthesis(ws, noise, self.dtype, lod)  # type: ignore[no-any-return]

    def _ws(self, z: Tensor, lod: float, label: Tensor | None) -> Tensor:
        """Mixed styles [n, L, w_dim]; moves w_avg towards their mean (S0.11)."""
        ws: Tensor = self.g.mapping(z, label)
        with torch.no_grad():
            w_avg = self.g.mapping.w_avg
            mean = self.ranks.mean(ws[:, 0].mean(dim=0))
            w_avg.copy_(mean.lerp(w_avg, control.W_AVG_BETA))
        if not self.config.mixing:
            return ws
        n = len(z) * self.ranks.world
        layers = schedule.mixable_layers(self.g.num_ws, lod)
        cutoffs = losses.draw_cutoffs(n, layers, self.config.mixing, self.generator)
        other = self.g.mapping(self._normal(n, z.shape[1]), label)
        return losses.mix_styles(ws, other, self._mine(cutoffs))

    def _mine(self, whole: Tensor) -> Tensor:
        """This process's share of what was drawn for a batch."""
        return self.ranks.take(whole, getattr(self.d.cfg, "mbstd_group", 1))

    def _normal(self, *shape: int) -> Tensor:
        return self._mine(torch.randn(shape, generator=self.generator, device=self.device))

    def _one_hot(self, classes: Tensor) -> Tensor:
        return F.one_hot(classes, self.g.cfg.c_dim).float()

    def _label(self, n: int) -> Tensor | None:
        """This process's labels [·, c_dim] of n fakes, those of pictures drawn uniformly."""
        if self.labels is None:
            return None
        size, device = len(self.labels), self.device
        index = torch.randint(size, [n], generator=self.generator, device=device)
        return self._one_hot(self.labels[self._mine(index)])

    def _reals(self, now: Moment) -> tuple[Tensor, Tensor | None]:
        """This process's next real pictures [n,C,r,r] in [-1,1] and their labels [n, c_dim].

        They are faded as fakes are (S1.8).
        """
        taken = self.order.take(self.images, now.batch)
        index, flipped = (self._mine(torch.from_numpy(x)).to(self.device) for x in taken)
        pixels = self.pictures[index]
        mask = flipped[:, None, None, None]
        pixels = torch.where(mask, pixels.flip(3), pixels)
        images = shrunk(pixels.to(torch.float32), now.resolution) / 127.5 - 1
        label = None if self.labels is None else self._one_hot(self.labels[index])
        return crossfade(images, now.lod), label

    def _logits(self, images: Tensor, label: Tensor | None, lod: float) -> tuple[Tensor, Tensor]:
        """Logits [n, 1], and those of the K classes [n, K] that AC-GAN's D has (else K = 0)."""
        if self.config.family == "sngan":
            return self.d(images, label, self.dtype), images.new_empty(len(images), 0)
        perturb = None
        if self.config.loss == "lsgan":
            strength = losses.gdrop_strength(float(self.gdrop))

            def perturb(x: Tensor) -> Tensor:
                return multiplicative_noise(x, strength, self.generator)

        if self.acgan:
            return self.d.score_and_classes(images, self.dtype, lod, perturb)  # type: ignore[no-any-return]
        logits = self.d(images, label, self.dtype, lod, perturb)
        return logits, images.new_empty(len(images), 0)

    # The two players.

    def _d_step(self, now: Moment) -> None:
        c = self.config
        reals, label = self._reals(now)
        fakes = self._fakes(now.batch, now.lod, label).detach()
        r1 = c.gamma > 0
        reals.requires_grad_(r1)
        real_logits, real_classes = self._logits(reals, label, now.lod)
        fake_logits, fake_classes = self._logits(fakes, label, now.lod)
        loss = _D_LOSS[c.loss](real_logits, fake_logits)
        self.sums.add("loss_d", loss)
        self.sums.add("score_real", real_logits)
        self.sums.add("score_fake", fake_logits)
        if r1:
            # In the published code D gets every picture enlarged: 1 / 4^floor(lod) of the square.
            penalty = losses.r1_penalty(real_logits, reals, c.gamma / 4 ** int(now.lod))
            self.sums.add("r1", penalty)
            loss = loss + penalty
        if c.loss == "wgan-gp":
            loss = loss + self._wgan_terms(reals, fakes, label, real_logits, now)
        if self.acgan and label is not None:
            classes = conditional.acgan_discriminator_loss(real_classes, label, fake_classes, label)
            self.sums.add("loss_d_classes", classes)
            loss = loss + classes
        if c.loss == "lsgan":
            score = self.ranks.total(fake_logits.detach().mean()) / self.ranks.world
            average = losses.gdrop_average(float(self.gdrop), float(score))
            self.gdrop.fill_(average)
        self._update(self.d_opt, self.d_params, loss)
        self.images += now.batch

    def _wgan_terms(
        self, reals: Tensor, fakes: Tensor, label: Tensor | None, real_logits: Tensor, now: Moment
    ) -> Tensor:
        c = self.config
        shape = [now.batch, 1, 1, 1]
        amount = self._mine(torch.rand(shape, generator=self.generator, device=self.device))
        mixed = losses.mixed_images(reals, fakes, amount)
        logits, _ = self._logits(mixed, label, now.lod)
        # The length of a gradient by an enlarged picture is 1 / 2^floor(lod) of this one's.
        target = c.gp_target * 2 ** int(now.lod)
        penalty = losses.gradient_penalty(logits, mixed, c.gp_weight, target)
        self.sums.add("gradient_penalty", penalty)
        return penalty + losses.drift_penalty(real_logits, c.drift)

    def _g_step(self, now: Moment) -> None:
        label = self._label(now.batch)
        logits, classes = self._logits(self._fakes(now.batch, now.lod, label), label, now.lod)
        loss = _G_LOSS[self.config.loss](logits)
        self.sums.add("loss_g", loss)
        if self.acgan and label is not None:
            share = conditional.label_loss(classes, label)
            self.sums.add("loss_g_classes", share)
            loss = loss + share
        self._update(self.g_opt, self.g_params, loss)

    def _update(self, optimiser: torch.optim.Optimizer, parameters: Any, loss: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.average_gradients(parameters)
        losses.finite_gradients(parameters)
        optimiser.step()


def _divides(networks: Networks) -> bool:
    """Whether no layer looks at more of a batch than a group of the minibatch stddev."""
    kinds = torch.nn.BatchNorm2d, sngan.BatchNorm
    batchnorm = any(isinstance(m, kinds) for m in networks.g.modules())
    return not batchnorm and not networks.d.cfg.mbdisc_kernels


_D_LOSS = {
    "wgan-gp": losses.wgan_discriminator_loss,
    "lsgan": losses.lsgan_discriminator_loss,
    "logistic": losses.discriminator_loss,
    "hinge": losses.hinge_discriminator_loss,
}
_G_LOSS = {
    "wgan-gp": losses.wgan_generator_loss,
    "lsgan": losses.lsgan_generator_loss,
    "logistic": losses.generator_loss,
    "hinge": losses.wgan_generator_loss,
}
