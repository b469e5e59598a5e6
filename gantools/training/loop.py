"""One iteration of StyleGAN2(-ADA) training and all that it changes (S2.0, S2.20)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gantools.ops.blurred_noise import blur_channels, radius
from gantools.training import augment, control, losses
from gantools.training.distributed import Ranks
from gantools.training.draws import Draws
from gantools.training.networks import Networks, picture_layers
from gantools.training.presets import TrainConfig
from gantools.training.reader import Reader


class Trainer(Draws):
    """The state of a run and `step`, which moves it by one batch.

    Beside what Draws has: ADA's p, pl_mean and the signs of D's scores since ADA's last step,
    scalar tensors on the device.
    """

    def __init__(
        self,
        config: TrainConfig,
        networks: Networks,
        reader: Reader,
        *,
        compile: bool = False,
        ranks: Ranks | None = None,
        batch_gpu: int | None = None,
    ) -> None:
        super().__init__(config, networks, reader, ranks=ranks, batch_gpu=batch_gpu)
        self.config, device = config, config.device
        if device.startswith("cuda"):  # TF32 also outside convolutions, where it is the default
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True
        for layer in picture_layers(self.d)[: config.freeze_d]:
            layer.requires_grad_(False)
        self.d_params = [p for p in self.d_params if p.requires_grad]
        g_interval = control.G_INTERVAL if config.pl_weight else 0
        self.g_opt = _adam(self.g_params, config.lr, g_interval)
        d_interval = control.D_INTERVAL if config.gamma else 0
        self._enlist(lambda parameters: _adam(parameters, config.lr, d_interval))
        self.p = torch.zeros([], device=device)
        self.pl_mean = torch.zeros([], device=device)
        self.signs = torch.zeros([2], device=device, dtype=torch.float64)
        self._synthesis: Any = torch.compile(self.g.synthesis) if compile else self.g.synthesis
        self._d: Any = torch.compile(self.d) if compile else self.d

    def _augmented(self, images: Tensor) -> Tensor:
        if self.config.aug != "ada":
            return images
        c = self.config
        drawn = augment.draw(c.batch, self.p, c.size, self.generator)
        return augment.apply(images, drawn.of(self._share))

    def _styles(self, n: int, label: Tensor | None, *, grouped: bool = True) -> Tensor:
        return self._ws(n, label, first=self.g.cfg.first, grouped=grouped)

    def _fakes(self, synthesis: Any, ws: Tensor, n: int, *, grouped: bool = True) -> Tensor:
        """This process's pictures of n, with new noise and, in FNZ_i, new features (S2.20)."""
        noise = self._noise(n, grouped=grouped)
        return synthesis(ws, noise, self.dtype, f=self._features(n, grouped=grouped))  # type: ignore[no-any-return]

    def _features(self, n: int, *, grouped: bool) -> Tensor | None:
        cfg = self.g.cfg
        if not cfg.fnz:
            return None
        channels, height, width = cfg.features
        k = 2 * radius(cfg.noise_blur)
        white = self._normal(n, channels, height + k, width + k, grouped=grouped)
        return blur_channels(white, cfg.noise_blur)

    # The four phases; each gives the loss of a part.

    def _g_main(self, shown: tuple[Tensor, Tensor | None]) -> Tensor:
        n = self.config.batch
        label = self._label(n)
        fake = self._fakes(self._synthesis, self._styles(n, label), n)
        seen = self._augmented(fake)
        logits = self._d(seen, label, self.dtype)
        loss = losses.generator_loss(self.critic.joined(logits, self._judged(seen, n)))
        self.sums.add("loss_g", loss)
        self.sums.add("score_fake", logits)
        return self._regularised(loss, self._scaled(shown)[0], fake) if self.spec_reg else loss

    def _g_path(self, moved: list[Tensor]) -> Tensor:
        """Half a batch; no D, so no groups. A part is drawn to its own mean, moved from the last's.

        `moved` gets pl_mean as each part moves it; together they move it by the mean of theirs.
        """
        n = self.config.batch // 2
        ws = self._styles(n, self._label(n, grouped=False), grouped=False)
        fake = self._fakes(self.g.synthesis, ws, n, grouped=False)
        noise = self._normal(n, *fake.shape[1:], grouped=False)
        lengths = losses.path_lengths(fake, ws, noise, first=self.g.cfg.first)
        mean = self.ranks.mean(lengths.mean())
        penalty, after = losses.path_length_penalty(lengths, self.pl_mean, mean=mean)
        moved.append(after)
        self.sums.add("path_length", lengths)
        weight = self.config.pl_weight * control.G_INTERVAL
        # Touch every output, so that the bias of the last ToRGB has a gradient (of zero) too.
        return penalty * weight + fake.sum() * 0

    def _d_main(self, shown: tuple[Tensor, Tensor | None]) -> Tensor:
        n = self.config.batch
        reals, real_label = self._scaled(shown)
        label = self._label(n)
        # G is frozen here, so no graph is built; no_grad would render picture by picture.
        fake = self._fakes(self._synthesis, self._styles(n, label), n)
        fake, reals = self._augmented(fake), self._augmented(reals)
        fake_logits = self._d(fake, label, self.dtype)
        real_logits = self._d(reals, real_label, self.dtype)
        real, false = (
            self._scored(reals, n, "spectral_real"),
            self._scored(fake, n, "spectral_fake"),
        )
        joined = self.critic.joined
        loss = losses.discriminator_loss(joined(real_logits, real), joined(fake_logits, false))
        self.sums.add("loss_d", loss)
        self.sums.add("score_real", real_logits)
        self.sums.add("sign_real", real_logits.sign())
        signs = real_logits.detach().sign()
        self.signs += torch.stack([signs.sum(), signs.new_tensor(float(len(signs)))])
        return loss + self._own_loss(real, false)

    def _d_r1(self, shown: tuple[Tensor, Tensor | None]) -> Tensor:
        reals, label = self._scaled(shown)
        reals.requires_grad_()
        seen = self._augmented(reals)
        logits = self.d(seen, label, self.dtype)
        scores = self._judged(seen, self.config.batch)
        penalty = self.critic.penalty(logits, scores, reals, self.config.gamma)
        self.sums.add("r1", penalty)
        return penalty * control.D_INTERVAL + (logits.sum() + scores.sum()) * 0

    def _scaled(self, shown: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        reals, label = self._reals(shown)
        return reals / 127.5 - 1, label

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
        super().gather()
        self.signs = self.ranks.total(self.signs) * self.ranks.first

    def keep(self) -> None:
        """What all processes have read from the state file stays with the first."""
        super().keep()
        self.signs = self.signs * self.ranks.first

    def is_finite(self) -> bool:
        """Whether every weight is; once one is not, it stays so."""
        return self._all_finite((*self.g_params, *self.d_params, *self.critic.params))

    def step(self) -> None:
        """One batch: G, path length every 4th, D, R1 every 16th, EMA, ADA every 4th."""
        c = self.config
        self._begin()
        shown = self._shown(c.batch)
        self._freeze_d(True)
        self._learn(self.g_opt, self.g_params, c.batch, lambda: self._g_main(shown))
        if c.pl_weight and self.iteration % control.G_INTERVAL == 0:
            self._path_step()
        self._freeze_d(False)
        self.g.requires_grad_(False)
        self._learn_d(c.batch, lambda: self._d_main(shown))
        if c.gamma and self.iteration % control.D_INTERVAL == 0:
            self._learn_d(c.batch, lambda: self._d_r1(shown), penalty=True)
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

    def _path_step(self) -> None:
        moved: list[Tensor] = []
        half = self.config.batch // 2
        loss = self._g_path
        self._learn(self.g_opt, self.g_params, half, lambda: loss(moved), grouped=False)
        self.pl_mean = torch.stack(moved).mean()


def _adam(parameters: list[Any], lr: float, interval: int) -> torch.optim.Adam:
    """Adam (0, 0.99), eps 1e-8, corrected for a regulariser every `interval` steps (0: none)."""
    betas = (0.0, 0.99)
    if interval:
        lr, betas = control.lazy_adam(lr, interval)
    return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=1e-8, fused=True)
