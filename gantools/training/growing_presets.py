"""Presets of PGGAN, StyleGAN1, SNGAN, BigGAN and ALAE, and which settings go together (S0.9-S4.17).

BigGAN's own are in `biggan_presets`.
"""

from __future__ import annotations

from typing import Any

from gantools.networks import sngan
from gantools.networks.sizes import SQUARE
from gantools.ops.resample import DOWNSAMPLINGS, UPSAMPLINGS
from gantools.report import Usage
from gantools.training import ablations, biggan_presets, spectral
from gantools.training.growing_config import LABEL_MODES, LOSSES, Family, GrowingConfig
from gantools.training.schedule import half_life_kimg
from gantools.training.shape import told

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
