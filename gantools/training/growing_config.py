"""What shapes a run of PGGAN, StyleGAN1, SNGAN, BigGAN or ALAE: its settings, networks and course.

Presets are in `growing_presets`, the course of a run by images shown in `schedule.Schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from gantools.inversion.alae import AlaeConfig
from gantools.networks import pggan, pggan_discriminator, sngan, sngan_discriminator, stylegan
from gantools.networks.sizes import SQUARE
from gantools.networks.stylegan2_config import widths
from gantools.training import ablations, biggan_presets, schedule
from gantools.training.alae_networks import LR_MULT
from gantools.training.schedule import Schedule
from gantools.training.settings import Settings

Family = Literal["pggan", "stylegan", "sngan", "biggan", "alae"]
Loss = Literal["wgan-gp", "lsgan", "logistic", "hinge", "gan-cls"]
LOSSES: tuple[Loss, ...] = ("wgan-gp", "lsgan", "logistic", "hinge", "gan-cls")
LABEL_MODES = ("acgan", "projection", "logits")


@dataclass(frozen=True, slots=True)
class GrowingConfig(Settings):
    """Everything that the trajectory of a growing run depends on, besides the pictures.

    stable_kimg and fade_kimg None: the schedule's own; growing False: full resolution throughout,
    as SNGAN always. decay_kimg: length of a run whose learning rate falls (None: the schedule's).
    batch None: the schedule's, by resolution and `gpus`, the number that its table is for. course:
    PGGAN's own schedule (v1) or its faster one (v2). gamma: R1's weight (logistic, hinge);
    r1_interval: it is asked every so many steps, as many times as strong. gp_weight, gp_target,
    drift: WGAN-GP's. simultaneous: D and G step together, not in turn (S1.21). d_channel_base: D's
    channels (None: as many as G's). batch_norm: in both networks, in the place of equalized
    learning rates and PixelNorm; tanh: at the end of G (S1.22). ablation: the row of S1.14 that
    shapes the networks. ema_kimg: half-life. upsample, downsample: how the networks double and
    halve (S3.9, S3.14; None: the family's own way); single_rgb: they have a ToRGB and a FromRGB at
    full resolution alone. Of BigGAN: d_lr, D's own rate (None: lr); accumulate: parts of a batch,
    one after another, each with moments of its own in batch norm; ema_start_kimg: before it the
    average is G itself; ch: the unit of the channels; attention: at so many pixels, 0 for none;
    embed_dim, hier: networks.biggan; init: of the weights. The other entries are as in
    presets.TrainConfig.
    """

    family: Family
    preset: str
    resolution: int
    loss: Loss
    seed: int = 0
    mirror: bool = False
    hold_out: int = 0
    growing: bool = True
    stable_kimg: float | None = None
    fade_kimg: float | None = None
    decay_kimg: float | None = None
    course: Literal["v1", "v2"] = "v2"
    gpus: int = 1
    batch: int | None = None
    lr: float | None = None
    beta2: float = 0.99
    d_steps: int = 1
    simultaneous: bool = False
    gamma: float = 0.0
    r1_interval: int = 1
    gp_weight: float = 10.0
    gp_target: float = 1.0
    drift: float = 0.001
    mixing: float = 0.0
    ema_kimg: float = 10.0
    channel_base: int = 16384
    d_channel_base: int | None = None
    channel_max: int = 512
    latent_dim: int = 512
    map_depth: int = 8
    mbstd_group: int = 4
    batch_norm: bool = False
    tanh: bool = False
    ablation: str | None = None
    dtype: str = "fp32"
    net: str | None = None
    labels: str | None = None
    label_column: str | None = None
    label_mode: str | None = None
    d_lr: float | None = None
    accumulate: int = 1
    ema_start_kimg: float = 0.0
    ch: int = 96
    deep: bool = False
    attention: int = 64
    embed_dim: int = 128
    hier: bool = True
    init: Literal["orthogonal", "normal"] = "orthogonal"
    channels: int = 3
    first_block: tuple[int, int] = SQUARE
    spectral_d: str | None = None
    spectral_dropout: float = 0.0
    f_mining: bool = False
    spec_reg: str | None = None
    upsample: str | None = None
    downsample: str | None = None
    wavelet: bool = False
    single_rgb: bool = False
    metric: str | None = None
    features: str = "inception"
    device: str = "cpu"

    def schedule(self) -> Schedule:
        """The course of the run."""
        course = _course(self)
        changes: dict[str, Any] = {}
        if self.stable_kimg is not None:
            changes["stable_kimg"] = self.stable_kimg
        if self.fade_kimg is not None:
            changes["fade_kimg"] = self.fade_kimg
        if self.decay_kimg is not None:
            changes["total_kimg"] = self.decay_kimg
        if not self.growing:
            changes["initial_resolution"] = self.resolution
        if self.batch is not None:
            changes |= {"batch": self.batch, "batches": {}, "batch_per_gpu": {}}
        if self.lr is not None:
            changes |= {"lr": self.lr, "lrs": {}}
        return replace(course, **changes)

    def network_configs(self, classes: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
        """The configurations of generator and discriminator, as a network file has them.

        With classes and without a label_mode PGGAN is an AC-GAN, StyleGAN1's D has a score for
        each class, and SNGAN and BigGAN have class-conditional batch norm and project.
        """
        biggan = self.family == "biggan"
        g, d = biggan_presets.networks(self, classes) if biggan else self._configs()
        same = {"c_dim": classes, "img_channels": self.channels, "first_block": self.first_block}
        if self.label_mode is not None:
            d = d | {"label_mode": self.label_mode}
        if biggan:
            g = g | {"last": max(g["last"], self.channels)}
        return g | same, d if self.family == "alae" else d | same

    def _configs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.family == "sngan":
            return self._sngan_configs()
        channels = widths(self.resolution, self.channel_base, self.channel_max)
        d_base = self.channel_base if self.d_channel_base is None else self.d_channel_base
        d_channels = widths(self.resolution, d_base, self.channel_max)
        if self.wavelet:  # the last resolution is that of the coefficients
            channels, d_channels = channels[:-1], d_channels[:-1]
        if self.ablation is not None:
            row = ablations.ABLATIONS[self.ablation]
            g, critic = ablations.networks(row, self.resolution, channels, self.latent_dim)
            return g.to_dict(), replace(critic, widths=d_channels).to_dict()
        d = pggan_discriminator.DiscriminatorConfig(
            self.resolution, d_channels, mbstd_group=self.mbstd_group,
            norm="batch" if self.batch_norm else "none", equalized=not self.batch_norm,
            growing=not self.single_rgb and not self.wavelet, wavelet=self.wavelet,
        ).to_dict() | self._way("downsample")  # fmt: skip
        if self.family == "pggan":
            g = pggan.GeneratorConfig(
                self.resolution, self._reshaped(channels), z_dim=self.latent_dim, tanh=self.tanh,
                norm="batch" if self.batch_norm else "pixel", equalized=not self.batch_norm,
                growing=not self.single_rgb and not self.wavelet, wavelet=self.wavelet,
            )  # fmt: skip
            return g.to_dict() | self._way("upsample"), d
        g_config = stylegan.GeneratorConfig(
            self.resolution, channels, z_dim=self.latent_dim, w_dim=self.latent_dim,
            mapping_layers=self.map_depth,
        )  # fmt: skip
        if self.family == "alae":
            g_config = replace(
                g_config, mapping_lr_mult=LR_MULT, img_channels=self.channels,
                first_block=self.first_block,
            )  # fmt: skip
            return g_config.to_dict(), AlaeConfig.of(g_config).to_dict()
        return g_config.to_dict(), d | stylegan.discriminator_defaults()

    def _sngan_configs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The paper's pair, no layer of it wider than channel_max."""
        g = sngan.generator_config(self.resolution)
        d = sngan_discriminator.discriminator_config(self.resolution)
        g_widths, d_widths = (tuple(min(w, self.channel_max) for w in c.widths) for c in (g, d))
        g = replace(g, widths=g_widths, z_dim=self.latent_dim)
        d = replace(d, widths=d_widths)
        if self.wavelet:  # one doubling and one halving are the wavelet's
            g = replace(g, widths=g.widths[:-1], wavelet=True)
            d = replace(d, halvings=d.halvings - 1, wavelet=True)
        return g.to_dict() | self._way("upsample"), d.to_dict() | self._way("downsample")

    def _way(self, flag: str) -> dict[str, str]:
        """--upsample or --downsample as a network's configuration has it."""
        way = getattr(self, flag)
        return {} if way is None else {flag: way}

    def _reshaped(self, channels: tuple[int, ...]) -> tuple[int, ...]:
        """Two thirds of them with reshape, for about as many parameters (S3.9)."""
        if self.upsample != "reshape":
            return channels
        return tuple(max(1, width * 2 // 3) for width in channels)


def _course(config: GrowingConfig) -> Schedule:
    if config.ablation is not None:
        return ablations.schedule(ablations.ABLATIONS[config.ablation], config.resolution)
    if config.family == "stylegan":
        return schedule.stylegan(config.resolution, config.gpus)
    if config.family == "sngan":
        batch = config.batch or 64
        return schedule.sngan(config.resolution, batch * config.d_steps, batch)
    if config.family == "biggan":
        return biggan_presets.course(config)
    if config.family == "alae":
        return schedule.alae(config.resolution)
    if config.course == "v1":
        return schedule.pggan_paper(config.resolution)
    return schedule.pggan(config.resolution, config.gpus)
