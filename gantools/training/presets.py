"""What shapes a run, and the presets of StyleGAN2(-ADA) (formats.md 5.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from gantools.io.space import level
from gantools.networks.sizes import SQUARE, scaled
from gantools.networks.stylegan2_config import MOST_BLUR
from gantools.report import Usage
from gantools.training import spectral
from gantools.training.settings import Settings

# The filters that double and halve as paper 003's ways do, but for the borders (S3.9, S3.14).
UPSAMPLE = {"bilinear": (1, 3, 3, 1), "nearest": (1, 1)}
DOWNSAMPLE = {"avg": (1, 1), "blurpool": (1, 4, 4, 1), "stride": (0, 1)}


@dataclass(frozen=True, slots=True)
class TrainConfig(Settings):
    """Everything that the trajectory of a StyleGAN2 run depends on, besides the pictures.

    gamma is the R1 weight in the StyleGAN convention (gamma/2 ||grad||^2, S3.1); lr is Adam's
    before the lazy-regularisation correction; ema_rampup, pl_weight and mixing are off at None, 0
    and 0. hold_out: pictures whose number is divisible by it are never trained on. net: the name
    of the network that the run started from; freeze_d: so many layers of its discriminator, from
    the picture on, stay as they are (FreezeD, arXiv 2002.10964). labels: where classes come from,
    folders, dataset or a CSV file's name, and label_column its column. channels: 1 is greyscale,
    4 has alpha. gpus: the number that auto's batch is for. resolution and first_block are what
    `shape.of` makes of a size. fnz: the block, 1-based, at which the generator starts from
    sampled features (S2.20), 0: a constant; noise_blur: their sigma_max in cells (S2.21).
    spectral_d: the form of the discriminator of spectra, spectral_dropout: of what it sees,
    f_mining: scores of spectra, spec_reg: durall's regulariser (S3.16-S3.18, S3.30). upsample,
    downsample: the filters of UPSAMPLE and DOWNSAMPLE, None: bilinear. wavelet: both networks
    have coefficients for pictures (S3.19).
    """

    family: ClassVar[str] = "stylegan2"

    preset: str
    resolution: int
    batch: int
    gpus: int = 1
    seed: int = 0
    mirror: bool = False
    hold_out: int = 0
    gamma: float = 10.0
    lr: float = 0.002
    channel_base: int = 32768
    channel_max: int = 512
    latent_dim: int = 512
    map_depth: int = 8
    d_architecture: str = "resnet"
    mbstd_group: int = 4
    ema_kimg: float = 10.0
    ema_rampup: float | None = None
    pl_weight: float = 2.0
    mixing: float = 0.9
    aug: str = "ada"
    ada_target: float = 0.6
    ada_kimg: float = 500.0
    dtype: str = "fp32"
    half_resolutions: int = 4
    net: str | None = None
    freeze_d: int = 0
    labels: str | None = None
    label_column: str | None = None
    channels: int = 3
    first_block: tuple[int, int] = SQUARE
    fnz: int = 0
    noise_blur: float = 0.0
    spectral_d: str | None = None
    spectral_dropout: float = 0.0
    f_mining: bool = False
    spec_reg: str | None = None
    upsample: str | None = None
    downsample: str | None = None
    wavelet: bool = False
    metric: str | None = None
    features: str = "inception"
    device: str = "cpu"

    def check(self) -> None:
        """Usage where a run's file says what cannot be."""
        if self.preset not in NAMES:
            raise Usage(f"the run was made by another version: unknown preset {self.preset}")
        if not all(isinstance(n, int) and n > 0 for n in (self.resolution, self.batch)):
            raise Usage("damaged training state: its resolution or batch is no number above 0")


def auto(resolution: int, gpus: int = 1) -> dict[str, Any]:
    """NVIDIA's heuristics for a resolution; faces of 256 px and more, small data sets."""
    batch = max(min(gpus * min(4096 // resolution, 32), 64), gpus)
    return {
        "batch": batch,
        "mbstd_group": min(batch // gpus, 4),
        "channel_base": 32768 if resolution >= 512 else 16384,
        "lr": 0.002 if resolution >= 1024 else 0.0025,
        "ema_rampup": 0.05,
        "map_depth": 2,
    }


_SCALED: dict[str, dict[str, Any]] = {
    "stylegan2": {"batch": 32, "mbstd_group": 4, "gamma": 10.0, "ema_kimg": 10.0},
    "paper256": {
        "batch": 64, "mbstd_group": 8, "channel_base": 16384, "lr": 0.0025, "gamma": 1.0,
        "ema_kimg": 20.0,
    },
    "paper512": {"batch": 64, "mbstd_group": 8, "lr": 0.0025, "gamma": 0.5, "ema_kimg": 20.0},
    "paper1024": {"batch": 32, "mbstd_group": 4, "gamma": 2.0, "ema_kimg": 10.0},
    "cifar": {
        "batch": 64, "mbstd_group": 32, "lr": 0.0025, "gamma": 0.01, "ema_kimg": 500.0,
        "ema_rampup": 0.05, "map_depth": 2, "pl_weight": 0.0, "mixing": 0.0,
        "d_architecture": "orig",
    },
    # The network inside the package: small enough for a CPU, every tenth picture held out.
    "faces64": {
        "resolution": 64, "batch": 16, "mbstd_group": 4, "channel_base": 1024, "channel_max": 128,
        "latent_dim": 256, "lr": 0.0025, "gamma": 0.05, "ema_kimg": 5.0, "ema_rampup": 0.05,
        "map_depth": 2, "mirror": True, "hold_out": 10,
    },
}  # fmt: skip

NAMES = ("auto", *_SCALED)
# With --net, as NVIDIA's --resume: ADA reacts faster, and the average of G starts at full length.
_TRANSFER: dict[str, Any] = {"ada_kimg": 100.0, "ema_rampup": None}


def has_resolution(preset: str) -> bool:
    """Whether the preset says the resolution."""
    return "resolution" in _SCALED.get(preset, {})


def resolve(preset: str, resolution: int | None, given: dict[str, Any]) -> TrainConfig:
    """The preset's settings with the flags that were given on top; Usage where they cannot be.

    `given` holds the flags that were given; auto's gamma and EMA follow the batch.
    """
    if preset not in NAMES:
        raise Usage(f"--preset {preset}: expected one of {', '.join(NAMES)}")
    resolution = resolution or _SCALED.get(preset, {}).get("resolution")
    if resolution is None:
        raise Usage("--resolution is needed with this preset")
    if resolution < 8 or resolution & (resolution - 1):
        raise Usage(f"--resolution {resolution}: expected a power of two from 8 on")
    config = _settings(preset, resolution, given)
    _check(config)
    return config


def _settings(preset: str, resolution: int, given: dict[str, Any]) -> TrainConfig:
    values: dict[str, Any] = {"preset": preset, **_SCALED.get(preset, {})}
    if preset == "auto":
        values.update(auto(resolution, given.get("gpus", 1)))
    values["resolution"] = resolution
    if given.get("net") is not None:
        values.update(_TRANSFER)
    values.update(given)
    batch = values["batch"]
    if preset == "auto":
        area = math.prod(scaled(resolution, values.get("first_block", SQUARE)))
        values.setdefault("gamma", 0.0002 * area / batch)
        values.setdefault("ema_kimg", batch * 10 / 32)
    values["mbstd_group"] = min(values.get("mbstd_group", 4), batch)
    values["noise_blur"] = _blur(values)
    return TrainConfig(**values)


def _blur(values: dict[str, Any]) -> float:
    """sigma_max, in cells of the features that are sampled; `blurred` is half a side (S2.21)."""
    fnz, wanted = values.get("fnz", 0), values.get("noise_blur", "normal")
    if not fnz:
        if wanted not in ("normal", 0.0):
            raise Usage("--noise-blur is of the features that are sampled: give --fnz too")
        return 0.0
    last = 2 * values["resolution"].bit_length() - 4
    if fnz > last:
        raise Usage(f"--fnz {fnz}: a network for these pictures has blocks 1 to {last}")
    block = values.get("first_block", SQUARE)
    side = min(block) << level(fnz)
    if isinstance(wanted, str):
        wanted = {"normal": 0.0, "blurred": side / 2}.get(wanted, wanted)
    try:
        sigma = float(wanted)
    except ValueError:
        sigma = math.nan
    if not 0 <= sigma <= MOST_BLUR * side:
        raise Usage(
            f"--noise-blur {wanted}: expected normal, blurred or a sigma from 0 to "
            f"{MOST_BLUR * side} cells (F_{fnz} has {side} a side)"
        )
    return sigma


def total_images(preset: str) -> int:
    """How long NVIDIA's runs with these settings are."""
    return 100_000_000 if preset == "cifar" else 25_000_000


def _check(config: TrainConfig) -> None:
    if config.gpus > 1 and config.preset != "auto":
        raise Usage(f"--gpus is for preset auto; {config.preset} is the same on any number")
    if config.pl_weight and config.batch < 2:
        raise Usage("--batch 1: path length regularisation needs 2 or more")
    spectral.check(config)
    if config.upsample not in (None, *UPSAMPLE):
        raise Usage(
            f"--upsample {config.upsample}: a modulated convolution takes bilinear or nearest; "
            "zeros is for pggan and sngan, reshape for pggan"
        )
    if config.wavelet and config.resolution < 16:
        raise Usage("--wavelet needs pictures of 16 pixels or more")
    if config.wavelet and config.fnz:
        raise Usage("--wavelet: the networks of --fnz have pictures, not coefficients")
    if config.downsample not in (None, *DOWNSAMPLE):
        raise Usage(f"--downsample {config.downsample}: expected one of {', '.join(DOWNSAMPLE)}")


def changed(before: TrainConfig, now: TrainConfig) -> list[str]:
    """The flags that differ from those the run was started with, by name; --net never counts.

    A setting that on both sides only follows the preset, the resolution or the batch is not named:
    what it follows is.
    """
    old, new = before.to_dict(), now.to_dict()
    old_own, new_own = _follows(before), _follows(now)
    names = [
        n
        for n in old
        if n not in {"net", *_TRANSFER}  # --net counts only at the start, and these follow it
        and old[n] != new[n]
        and (
            n in {"preset", "resolution", "first_block", "gpus"}
            or old[n] != old_own[n]
            or new[n] != new_own[n]
        )
    ]
    return flags(names, {})


def flags(settings: list[str], own: dict[str, str]) -> list[str]:
    """The flags of settings, each once; `own` are those of another name."""
    own = {"first_block": "resolution", **own}
    return list(dict.fromkeys("--" + own.get(n, n.replace("_", "-")) for n in settings))


def _follows(config: TrainConfig) -> dict[str, Any]:
    """What each setting would be without a flag of its own."""
    shape: dict[str, Any] = {"first_block": config.first_block, "gpus": config.gpus}
    values = _settings(config.preset, config.resolution, {"batch": config.batch, **shape}).to_dict()
    values["batch"] = _settings(config.preset, config.resolution, shape).batch
    return values
