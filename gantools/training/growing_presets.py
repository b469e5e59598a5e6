"""What shapes a run of PGGAN, StyleGAN1, SNGAN, BigGAN or ALAE, and its presets (S0.9-S4.17).

The course of a run, lod, minibatch and learning rate by images shown, is `schedule.Schedule`.
BigGAN's settings are in `biggan_presets`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from gantools.inversion.alae import AlaeConfig
from gantools.networks import pggan, pggan_discriminator, sngan, sngan_discriminator, stylegan
from gantools.networks.sizes import SQUARE, scaled
from gantools.networks.stylegan2 import widths
from gantools.ops.resample import DOWNSAMPLINGS, UPSAMPLINGS
from gantools.report import Usage
from gantools.training import ablations, biggan_presets, schedule, spectral
from gantools.training.alae_networks import LR_MULT
from gantools.training.presets import read_back
from gantools.training.schedule import Schedule, half_life_kimg
from gantools.training.shape import told

Family = Literal["pggan", "stylegan", "sngan", "biggan", "alae"]
Loss = Literal["wgan-gp", "lsgan", "logistic", "hinge", "gan-cls"]
LOSSES: tuple[Loss, ...] = ("wgan-gp", "lsgan", "logistic", "hinge", "gan-cls")
LABEL_MODES = ("acgan", "projection", "logits")


@dataclass(frozen=True, slots=True)
class GrowingConfig:
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

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        return scaled(self.resolution, self.first_block)

    def to_dict(self) -> dict[str, Any]:
        """As config.json and the state file hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GrowingConfig:
        """Read back; entries that this version does not know are an error."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise Usage(f"the run was made by another version: unknown setting {unknown[0]}")
        return cls(**read_back(values))

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


# S1.12: the average of PGGAN's G has 0.999 per minibatch of 16.
_PGGAN_EMA = half_life_kimg(0.999, 16)

# S1.7, S1.12, S1.21, S1.22, as the paper's own (Theano) code has them: the standard deviation is
# over the whole minibatch, the learning rate rises over 40 kimg, except with cifar10.
_MNIST_RGB: dict[str, Any] = {
    "course": "v1", "resolution": 32, "channel_base": 256, "channel_max": 256, "latent_dim": 64,
    "stable_kimg": 500.0, "fade_kimg": 2000.0, "d_steps": 5, "batch": 64, "mbstd_group": 64,
    "drift": 0.0, "ema_kimg": half_life_kimg(0.999, 5 * 64), "tanh": True,
}  # fmt: skip
_MNIST_RGB_STDDEV = {**_MNIST_RGB, "growing": False}
_MNIST_RGB_NORM = {**_MNIST_RGB_STDDEV, "mbstd_group": 1}
_PGGAN: dict[str, dict[str, Any]] = {
    "auto": {},
    "celebahq": {"course": "v1", "mbstd_group": 16, "mirror": True},
    "lsun": {
        "course": "v1", "resolution": 256, "batch": 16, "mbstd_group": 16, "mirror": True,
    },
    "cifar10": {
        "resolution": 32, "channel_base": 8192, "channel_max": 128, "latent_dim": 128,
        "stable_kimg": 400.0, "fade_kimg": 400.0, "gp_target": 750.0, "batch": 16,
        "mbstd_group": 16, "simultaneous": True,
    },
    # S1.22's four variants, each with one part less than the one before it.
    "mnist-rgb": _MNIST_RGB,
    "mnist-rgb-stddev": _MNIST_RGB_STDDEV,
    "mnist-rgb-norm": _MNIST_RGB_NORM,
    "mnist-rgb-wgan-gp": {**_MNIST_RGB_NORM, "batch_norm": True},
}  # fmt: skip
# S3.23: S3.8's and S3.13's networks with one logit; what the paper does not say is chosen.
_PGGAN["freqbias"] = {
    "growing": False, "single_rgb": True, "loss": "logistic", "gamma": 10.0, "batch": 64,
    "lr": 0.002, "channel_base": 2048, "channel_max": 64, "latent_dim": 64, "mbstd_group": 4,
    "ema_kimg": 10.0,
}  # fmt: skip
_STYLEGAN: dict[str, dict[str, Any]] = {
    "auto": {},
    "ffhq": {"mirror": True},
    "celebahq": {"mirror": True},
}
# S3.25 with the number of D's steps that SSD-GAN has for LSUN.
_SNGAN: dict[str, dict[str, Any]] = {
    "auto": {},
    "cifar10": {"resolution": 32},
    "lsun": {"resolution": 128, "d_steps": 2},
}
_PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "pggan": _PGGAN, "stylegan": _STYLEGAN, "sngan": _SNGAN, "biggan": biggan_presets.PRESETS,
    "alae": {"auto": {}},
}  # fmt: skip
SMALL = 32  # BigGAN's attention stands at 64 pixels where there are so many
ABLATION = "ablation-"
NAMES: dict[str, tuple[str, ...]] = {
    "pggan": (*_PGGAN, *(ABLATION + row for row in ablations.ABLATIONS)),
    "stylegan": tuple(_STYLEGAN),
    "sngan": tuple(_SNGAN),
    "biggan": tuple(biggan_presets.PRESETS),
    "alae": ("auto",),
}
_TOTAL_KIMG = {
    ("pggan", "lsun"): 20_000, ("pggan", "cifar10"): 20_000, ("pggan", "mnist-rgb"): 15_000,
    ("pggan", "mnist-rgb-wgan-gp"): 10_000, ("pggan", "mnist-rgb-norm"): 10_000,
    ("pggan", "mnist-rgb-stddev"): 10_000, ("pggan", "freqbias"): 5_000,
}  # fmt: skip


def has_resolution(family: Family, preset: str) -> bool:
    """Whether the preset says the resolution."""
    return preset.startswith(ABLATION) or "resolution" in _of(family, preset)


def total_images(config: GrowingConfig) -> int:
    """How long the preset's run is."""
    own = config.schedule().total_kimg
    kimg = _TOTAL_KIMG.get((config.family, config.preset), own)
    return round(kimg * 1000)


def resolve(
    family: Family, preset: str, resolution: int | None, given: dict[str, Any]
) -> GrowingConfig:
    """The preset's settings with the flags that were given on top; Usage where they cannot be."""
    values: dict[str, Any] = {**_defaults(family), **_of(family, preset)}
    if resolution is not None:
        values["resolution"] = resolution
    if values.get("resolution") is None:
        raise Usage("--resolution is needed with this preset")
    values |= given
    if family == "biggan" and values["resolution"] <= SMALL:
        values.setdefault("attention", SMALL // 2)
    if values["loss"] == "gan-cls" and values.get("labels") and family == "pggan":
        # PGGAN's own D does not see the class.
        values.setdefault("label_mode", "projection")
    config = GrowingConfig(family=family, preset=preset, **values)
    _check(config)
    return config


def _defaults(family: Family) -> dict[str, Any]:
    if family == "pggan":
        return {"loss": "wgan-gp", "ema_kimg": _PGGAN_EMA}
    if family == "sngan":
        return {
            "loss": "hinge", "growing": False, "beta2": 0.9, "d_steps": 5, "ema_kimg": 0.0,
            "latent_dim": 128, "channel_max": 1024,
        }  # fmt: skip
    if family == "biggan":
        return biggan_presets.DEFAULTS
    return {"loss": "logistic", "gamma": 10.0, "mixing": 0.9}


def _of(family: Family, preset: str) -> dict[str, Any]:
    if preset not in NAMES[family]:
        raise Usage(f"--preset {preset}: expected one of {', '.join(NAMES[family])}")
    if preset.startswith(ABLATION):
        return _ablation(preset.removeprefix(ABLATION))
    return _PRESETS[family][preset]


def _ablation(name: str) -> dict[str, Any]:
    row = ablations.ABLATIONS[name]
    return {
        "resolution": ablations.RESOLUTION, "ablation": name, "growing": row.growing,
        "channel_base": ablations.CHANNEL_BASE, "latent_dim": row.latent_dim,
        "d_steps": row.d_steps, "beta2": row.beta2, "drift": row.drift,
        "ema_kimg": half_life_kimg(row.ema_beta, row.batch * row.d_steps),
    }  # fmt: skip


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


def _check(config: GrowingConfig) -> None:
    size = config.resolution
    if config.family == "sngan":
        if config.first_block != SQUARE and size not in (32, 64, 128):
            raise Usage(
                f"--resolution {told(*config.size)}: SNGAN doubles 3, 4 or 5 times, so both sides "
                "are 4 to 16 times 8, 16 or 32"
            )
        sngan.generator_config(size)
    elif config.family == "biggan":
        biggan_presets.check(config)
    elif size < 8 or size & (size - 1):
        raise Usage(f"--resolution {size}: expected a power of two from 8 on")
    _check_labels(config)
    if config.loss not in LOSSES:
        raise Usage(f"--loss {config.loss}: expected one of {', '.join(LOSSES)}")
    if config.loss in ("wgan-gp", "lsgan") and config.gamma:
        raise Usage(f"--gamma is R1's weight, which --loss {config.loss} has not")
    if config.r1_interval > 1 and not config.gamma:
        raise Usage(f"--r1-interval {config.r1_interval}: without --gamma there is no R1")
    bases = {"--channel-base": config.channel_base, "--d-channel-base": config.d_channel_base}
    for flag, base in bases.items() if config.family not in ("sngan", "biggan") else ():
        if base is not None and base < size:
            raise Usage(f"{flag} {base}: that leaves no channel at {size} pixels; {size} or more")
    if config.simultaneous and config.d_steps > 1:
        raise Usage(
            f"--simultaneous: with this preset the discriminator has {config.d_steps} steps for "
            "one of the generator's (--alternating)"
        )
    if config.gpus > 1 and config.batch is not None:
        raise Usage("--gpus chooses a table of minibatches, and --batch or the preset gives one")
    if config.gpus > 1 and (config.course == "v1" or config.ablation is not None):
        raise Usage(f"--gpus {config.gpus}: preset {config.preset} is for one")
    spectral.check(config)
    _check_ways(config)
    config.schedule()


def _check_ways(config: GrowingConfig) -> None:
    if config.upsample not in (None, *UPSAMPLINGS):
        raise Usage(f"--upsample {config.upsample}: expected one of {', '.join(UPSAMPLINGS)}")
    if config.downsample not in (None, *DOWNSAMPLINGS):
        raise Usage(f"--downsample {config.downsample}: expected one of {', '.join(DOWNSAMPLINGS)}")
    if config.upsample == "reshape" and config.family != "pggan":
        raise Usage("--upsample reshape is for pggan: give bilinear, nearest or zeros")
    if config.ablation is not None and (config.upsample or config.downsample):
        raise Usage(f"--upsample, --downsample: preset {config.preset} has its own")
    if config.wavelet and config.ablation is not None:
        raise Usage(f"--wavelet: preset {config.preset} has its own networks")
    if config.wavelet and config.resolution < 16:
        raise Usage("--wavelet needs pictures of 16 pixels or more")
    if config.wavelet and config.growing:
        raise Usage("--wavelet: its networks have one size only: give --no-grow")
    if config.single_rgb and config.growing:
        raise Usage(f"--grow: the networks of preset {config.preset} have one size only")


def _check_labels(config: GrowingConfig) -> None:
    if config.labels is None and config.label_mode is not None:
        raise Usage(f"--label-mode {config.label_mode}: of which classes? Give --labels")
    if config.label_mode not in (None, *LABEL_MODES):
        raise Usage(f"--label-mode {config.label_mode}: expected one of {', '.join(LABEL_MODES)}")
    if config.loss == "gan-cls" and config.label_mode == "acgan":
        raise Usage("--loss gan-cls judges pictures by their class, which acgan's D does not see")
    if config.loss == "gan-cls" and config.labels is None:
        raise Usage("--loss gan-cls: of which classes? Give --labels")
