"""One iteration of PGGAN, StyleGAN1 (papers.md S0.9-S0.11, S1.7-S1.12), SNGAN (S3.25) or BigGAN.

ALAE adds a step of its own (training.alae).

The schedule is looked at every few iterations, as in the published code; all of a run's memory of
it is the number of images at the last look. SNGAN and BigGAN do not grow, and look at their
learning rate in each iteration. BigGAN's batch may stand in parts (--accumulate), each with its own
moments in batch norm: which is part of the settings, unlike --batch-gpu.

With classes G's fakes have those of pictures drawn uniformly; D's fakes have those of its reals, as
in the published code, so that WGAN-GP's mixed pictures have one each too.

D and G alternate, or step together (S1.21): both gradients at the same weights, from one batch of
fakes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gantools.networks.growing import crossfade, shrunk
from gantools.networks.spectral_norm import settle
from gantools.ops.noise import multiplicative_noise
from gantools.report import Usage
from gantools.training import conditional, control, losses, schedule
from gantools.training.distributed import Ranks
from gantools.training.draws import Draws
from gantools.training.growing_presets import GrowingConfig
from gantools.training.networks import Networks
from gantools.training.reader import Reader
from gantools.training.schedule import Moment


class GrowingTrainer(Draws):
    """The state of a run and `step`, which moves it by one batch of G and `d_steps` of D.

    The reader's pictures are of the full resolution.
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
        self.config = config
        if config.accumulate > 1:
            share = config.schedule().batch // self.ranks.world
            if share % config.accumulate:
                raise Usage(
                    f"--accumulate {config.accumulate}: a process has {share} pictures of a batch, "
                    "and no so many equal parts"
                )
            self.batch_gpu = share // config.accumulate
        if config.loss == "gan-cls" and self.g.cfg.c_dim < 2:
            raise Usage("--loss gan-cls: the pictures are all of one class")
        self.acgan = self.labels is not None and getattr(self.d.cfg, "label_mode", "") == "acgan"
        self.schedule = config.schedule()
        self.g_opt = self._adam(self.g_params)
        self._enlist(self._adam)
        self.looked_at = torch.zeros([], dtype=torch.int64)  # images at the last look
        self.gdrop = torch.zeros([], dtype=torch.float64)  # LSGAN's running score (S1.10)

    def _adam(self, parameters: list[Any]) -> torch.optim.Adam:
        betas = (0.0, self.config.beta2)
        return torch.optim.Adam(parameters, lr=1e-3, betas=betas, eps=1e-8, fused=True)

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

    def is_finite(self) -> bool:
        """Whether every weight and average is; once one is not, it stays so."""
        weights = *self.g_params, *self.d_params, *self.critic.params
        return self._all_finite((*weights, *self.g.buffers()))

    def step(self) -> None:
        """`d_steps` batches of D, one of G, or one of both together; the average of G."""
        self._begin()
        if self.iteration % self.schedule.repeats == 0:
            self._look()
        now, before = self.moment, self.images
        rates = (
            (self.g_opt, now.lr),
            (self.d_opt, self._d_lr(now)),
            (self.critic_opt, self._d_lr(now)),
        )
        for optimiser, lr in rates:
            for group in optimiser.param_groups:
                group["lr"] = lr
        if self.config.simultaneous:
            self._step_together(now)
        else:
            self._alternate(now)
        self._average(self.images - before)
        self.iteration += 1

    def _d_lr(self, now: Moment) -> float:
        return now.lr if self.config.d_lr is None else self.config.d_lr

    def _average(self, shown: int) -> None:
        """Move the average of G, in families with batch norm that of its moments too."""
        beta, own = self._beta(shown), self.config.family in ("sngan", "biggan")
        control.move_average(self.g_ema, self.g, beta, buffers=own)
        settle(self.g_ema)  # averaged weights have singular vectors of their own

    def _beta(self, shown: int) -> float:
        """Of the average."""
        c = self.config
        if self.images < c.ema_start_kimg * 1000:
            return 0.0
        return control.ema_beta(c.ema_kimg, None, shown, self.images)

    def _look(self) -> None:
        """Follow the schedule; a resolution that starts or ends fading resets Adam (S0.9)."""
        before, now = self.moment, self.schedule.at(self.images)
        for optimiser in (self.g_opt, self.d_opt):
            if schedule.resets_optimisers(before.lod, now.lod):
                optimiser.state.clear()
        self.looked_at.fill_(self.images)

    # What an iteration computes.

    def _fakes(self, n: int, lod: float, label: Tensor | None) -> Tensor:
        """This process's fakes of n, or the part of them that is computed just now."""
        if self.config.family in ("stylegan", "alae"):
            noise = self._noise(n)
            ws = self._ws(n, label, schedule.mixable_layers(self.g.num_ws, lod))
            return self.g.synthesis(ws, noise, self.dtype, lod)  # type: ignore[no-any-return]
        z = self._normal(n, self.g.cfg.z_dim)
        if self.config.family == "pggan":
            return self.g(z, label, dtype=self.dtype, lod=lod)  # type: ignore[no-any-return]
        return self.g(z, label, dtype=self.dtype)  # type: ignore[no-any-return]

    def _faded(
        self, shown: tuple[Tensor, Tensor | None], now: Moment
    ) -> tuple[Tensor, Tensor | None]:
        """Real pictures [n,C,h,w] in [-1,1], faded as fakes are (S1.8), and labels [n, c_dim]."""
        reals, label = self._reals(shown)
        height, width = self.config.size
        size = height >> int(now.lod), width >> int(now.lod)
        return crossfade(shrunk(reals, size) / 127.5 - 1, now.lod), label

    def _logits(self, images: Tensor, label: Tensor | None, lod: float) -> tuple[Tensor, Tensor]:
        """Logits [n, 1], and those of the K classes [n, K] that AC-GAN's D has (else K = 0)."""
        if self.config.family in ("sngan", "biggan"):
            return self.d(images, label, self.dtype), images.new_empty(len(images), 0)
        perturb = None
        if self.config.loss == "lsgan":
            strength = losses.gdrop_strength(float(self.gdrop))

            def perturb(x: Tensor) -> Tensor:
                noise = self._normal(self.moment.batch, x.shape[1])
                return multiplicative_noise(x, strength, noise)

        if self.acgan:
            return self.d.score_and_classes(images, self.dtype, lod, perturb)  # type: ignore[no-any-return]
        logits = self.d(images, label, self.dtype, lod, perturb)
        return logits, images.new_empty(len(images), 0)

    # The two players; each gives the loss of a part.

    def _alternate(self, now: Moment) -> None:
        self.g.requires_grad_(False)
        self._freeze_d(False)
        for _ in range(self.config.d_steps):
            shown = self._d_step(now)
        self.g.requires_grad_(True)
        self._freeze_d(True)
        self._learn(self.g_opt, self.g_params, now.batch, lambda: self._g_main(now, shown))

    def _d_step(self, now: Moment) -> tuple[Tensor, Tensor | None]:
        shown = self._shown(now.batch)
        scores: list[Tensor] = []
        self._learn_d(now.batch, lambda: self._d_main(shown, now, scores))
        self._shown_to_d(now, scores)
        return shown

    def _step_together(self, now: Moment) -> None:
        """One step of each, both down their gradients at the weights before it (S1.21)."""
        self.g.requires_grad_(True)
        self._freeze_d(False)
        shown = self._shown(now.batch)
        scores: list[Tensor] = []
        players = [*self.d_players, (self.g_opt, self.g_params)]
        self._learn_at_once(players, now.batch, lambda: self._both(shown, now, scores))
        self._shown_to_d(now, scores)

    def _shown_to_d(self, now: Moment, scores: list[Tensor]) -> None:
        """Count the batch; LSGAN's noise follows the mean score of its fakes."""
        if self.config.loss == "lsgan":
            score = self.ranks.total(torch.stack(scores).mean()) / self.ranks.world
            self.gdrop.fill_(losses.gdrop_average(float(self.gdrop), float(score)))
        self.images += now.batch

    def _d_main(
        self, shown: tuple[Tensor, Tensor | None], now: Moment, scores: list[Tensor]
    ) -> Tensor:
        reals, label = self._faded(shown, now)
        fakes = self._fakes(now.batch, now.lod, label).detach()
        return self._d_loss(reals, fakes, label, now, scores)[0]

    def _both(
        self, shown: tuple[Tensor, Tensor | None], now: Moment, scores: list[Tensor]
    ) -> list[Tensor]:
        """D's loss for each of its players, and G's, of the same fakes and what D says of them."""
        reals, label = self._faded(shown, now)
        fakes = self._fakes(now.batch, now.lod, label)
        loss, logits, classes = self._d_loss(reals, fakes, label, now, scores)
        g_loss = self._g_loss(logits, classes, label)
        return [*[loss] * len(self.d_players), self._regularised(g_loss, reals, fakes)]

    def _d_loss(
        self, reals: Tensor, fakes: Tensor, label: Tensor | None, now: Moment, scores: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """D's loss, and what G's takes of the fakes: logits, of their spectra too, and classes.

        `scores` gets D's mean logit of the fakes.
        """
        c = self.config
        r1 = c.gamma > 0 and self.iteration % c.r1_interval == 0
        reals.requires_grad_(r1)
        real_logits, real_classes = self._logits(reals, label, now.lod)
        fake_logits, fake_classes = self._logits(fakes, label, now.lod)
        n = now.batch
        real = self._scored(reals, n, "spectral_real")
        false = self._scored(fakes, n, "spectral_fake")
        joined = self.critic.joined(fake_logits, false)
        if c.loss == "gan-cls":
            wrong, _ = self._logits(reals, self._other_classes(label, now.batch), now.lod)
            loss = conditional.cls_discriminator_loss(real_logits, wrong, fake_logits)
        else:
            loss = _D_LOSS[c.loss](self.critic.joined(real_logits, real), joined)
        self.sums.add("loss_d", loss)
        self.sums.add("score_real", real_logits)
        self.sums.add("score_fake", fake_logits)
        if r1:
            gamma = self._gamma(now) * c.r1_interval
            penalty = self.critic.penalty(real_logits, real, reals, gamma)
            self.sums.add("r1", penalty / c.r1_interval)
            loss = loss + penalty
        if c.loss == "wgan-gp":
            loss = loss + self._wgan_terms(reals, fakes, label, real_logits, now)
        if self.acgan and label is not None:
            classes = conditional.acgan_discriminator_loss(real_classes, label, fake_classes, label)
            self.sums.add("loss_d_classes", classes)
            loss = loss + classes
        scores.append(fake_logits.detach().mean())
        return loss + self._own_loss(real, false), joined, fake_classes

    def _gamma(self, now: Moment) -> float:
        """R1's weight for small pictures: in the published code D gets every picture enlarged.

        The gradient's square is then 1 / 4^floor(lod) of this one's.
        """
        return self.config.gamma / 4 ** int(now.lod)

    def _other_classes(self, label: Tensor | None, n: int) -> Tensor:
        """One-hot labels [·, c_dim] that are not the pictures' own (S1.28)."""
        if label is None:
            raise ValueError("GAN-CLS needs classes")
        further = torch.randint(
            1, label.shape[1], [n], generator=self.generator, device=self.device
        )
        return self._one_hot((label.argmax(dim=1) + self._share(further)) % label.shape[1])

    def _wgan_terms(
        self, reals: Tensor, fakes: Tensor, label: Tensor | None, real_logits: Tensor, now: Moment
    ) -> Tensor:
        c = self.config
        shape = [now.batch, 1, 1, 1]
        amount = self._share(torch.rand(shape, generator=self.generator, device=self.device))
        mixed = losses.mixed_images(reals, fakes, amount)
        logits, _ = self._logits(mixed, label, now.lod)
        # The length of a gradient by an enlarged picture is 1 / 2^floor(lod) of this one's.
        target = c.gp_target * 2 ** int(now.lod)
        penalty = losses.gradient_penalty(logits, mixed, c.gp_weight, target)
        self.sums.add("gradient_penalty", penalty)
        return penalty + losses.drift_penalty(real_logits, c.drift)

    def _g_main(self, now: Moment, shown: tuple[Tensor, Tensor | None]) -> Tensor:
        label = self._label(now.batch)
        fakes = self._fakes(now.batch, now.lod, label)
        logits, classes = self._logits(fakes, label, now.lod)
        joined = self.critic.joined(logits, self._judged(fakes, now.batch))
        loss = self._g_loss(joined, classes, label)
        if not self.spec_reg:
            return loss
        return self._regularised(loss, self._faded(shown, now)[0], fakes)

    def _g_loss(self, logits: Tensor, classes: Tensor, label: Tensor | None) -> Tensor:
        """G's loss of the logits and classes that D gives its fakes of `label`."""
        loss = _G_LOSS[self.config.loss](logits)
        self.sums.add("loss_g", loss)
        if self.acgan and label is not None:
            share = conditional.label_loss(classes, label)
            self.sums.add("loss_g_classes", share)
            loss = loss + share
        return loss


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
    "gan-cls": losses.generator_loss,
}
