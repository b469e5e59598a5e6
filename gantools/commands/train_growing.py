"""gantools train pggan, train stylegan: networks that grow (papers.md S0.9-S0.11, S1.7-S1.14)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from gantools import options, report
from gantools.commands import _frequency_options as frequency
from gantools.commands import _label_options as classes
from gantools.commands import _train_options as shared
from gantools.report import Usage


class PgganPreset(StrEnum):
    """training.growing_presets.NAMES of PGGAN."""

    auto = "auto"
    celebahq = "celebahq"
    lsun = "lsun"
    cifar10 = "cifar10"
    mnist_rgb = "mnist-rgb"
    mnist_rgb_stddev = "mnist-rgb-stddev"
    mnist_rgb_norm = "mnist-rgb-norm"
    mnist_rgb_wgan_gp = "mnist-rgb-wgan-gp"
    freqbias = "freqbias"
    a = "ablation-a"
    b = "ablation-b"
    c = "ablation-c"
    d = "ablation-d"
    e = "ablation-e"
    e_star = "ablation-e*"
    f = "ablation-f"
    g = "ablation-g"


class StyleganPreset(StrEnum):
    """training.growing_presets.NAMES of StyleGAN."""

    auto = "auto"
    ffhq = "ffhq"
    celebahq = "celebahq"


class Loss(StrEnum):
    """training.growing_config.LOSSES."""

    wgan_gp = "wgan-gp"
    lsgan = "lsgan"
    logistic = "logistic"
    hinge = "hinge"
    gan_cls = "gan-cls"


class LabelMode(StrEnum):
    """training.growing_config.LABEL_MODES."""

    acgan = "acgan"
    projection = "projection"
    logits = "logits"


LossOption = Annotated[
    Loss | None,
    options.number(
        "--loss",
        "wgan-gp|lsgan|logistic|hinge|gan-cls",
        "What the two networks play for. gan-cls: logistic, and the discriminator is also shown "
        "real pictures with another's class, which are wrong. Default: wgan-gp for pggan, "
        "logistic (and R1) for stylegan.",
    ),
]
LabelModeOption = Annotated[
    LabelMode | None,
    options.number(
        "--label-mode",
        "acgan|projection|logits",
        "What the discriminator does with the classes of --labels. acgan: it names them, beside "
        "its score, and both networks learn from that; projection: an embedding of the class "
        "adds to the score; logits: a score for each class. Default: acgan for pggan, logits for "
        "stylegan.",
    ),
]
Growing = Annotated[
    bool | None,
    typer.Option(
        "--grow/--no-grow",
        help="Begin with small pictures and fade larger ones in, or train at full size from the "
        "start. Default: grow.",
        show_default=False,
    ),
]
Simultaneous = Annotated[
    bool | None,
    typer.Option(
        "--simultaneous/--alternating",
        help="Both networks step at once, from one batch of fakes, or the discriminator first and "
        "the generator against it. Default: alternating, with cifar10 simultaneous.",
        show_default=False,
    ),
]
Stable = Annotated[
    str | None,
    options.number(
        "--stable", "N", "Pictures shown at each resolution before the next. Default: the preset's."
    ),
]
Gpus = Annotated[
    int | None,
    options.number(
        "--gpus",
        "1|2|4|8",
        "Which of the published tables of minibatches and learning rates: that for so many GPUs. "
        "It stays when the run goes on with another number of processes. Default: 1.",
        min=1,
    ),
]
Fade = Annotated[
    str | None,
    options.number(
        "--fade", "N", "Pictures shown while a resolution is faded in. Default: the preset's."
    ),
]
BatchOption = Annotated[
    int | None,
    options.number(
        "--batch",
        "N",
        "Pictures per step at every resolution. Default: the published table (--gpus), for one GPU "
        "128 at 4x4 down to 4 at 512x512.",
        min=1,
    ),
]
DChannelBase = Annotated[
    int | None,
    options.number(
        "--d-channel-base",
        "N",
        "The discriminator's own --channel-base, to make it narrower or wider than the generator. "
        "Default: the generator's.",
        min=1,
    ),
]
LatentDim = Annotated[
    int | None,
    options.number("--latent-dim", "N", "Numbers in z (and w). Default: the preset's.", min=1),
]


def pggan(
    data: shared.Data,
    output: shared.RunFolder,
    preset: Annotated[
        PgganPreset,
        typer.Option(
            "--preset",
            help="Settings for everything that is not given. auto: by the resolution, with its "
            "authors' faster schedule; celebahq, lsun (256x256; --no-mirror for its bedrooms and "
            "dogs), cifar10, mnist-rgb: the paper's; mnist-rgb-stddev: that without growing, "
            "-norm: nor the minibatch's standard deviation, -wgan-gp: and with batch norm (of all "
            "four D is half or a quarter as wide as G with --d-channel-base 128 or 64); ablation-a "
            "to -g: the rows of its Table 1. freqbias: small networks without growing, logistic "
            "loss and R1, of the paper on spectra (Schwarz et al. 2021).",
        ),
    ] = PgganPreset.auto,
    resolution: shared.Resolution = None,
    images: shared.Images = None,
    batch: BatchOption = None,
    snapshot: shared.Snapshot = "200k",
    seed: options.Seed = 0,
    net: shared.Start = None,
    labels: classes.Labels = None,
    label_column: classes.LabelColumn = None,
    label_mode: LabelModeOption = None,
    channels: shared.Channels = None,
    mirror: shared.MirrorOfPreset = None,
    hold_out: shared.HoldOut = None,
    grow: Growing = None,
    simultaneous: Simultaneous = None,
    stable: Stable = None,
    fade: Fade = None,
    gpus: Gpus = None,
    loss: LossOption = None,
    gamma: shared.GammaOfPreset = None,
    r1_interval: shared.R1Interval = None,
    gp_target: Annotated[
        float | None,
        options.number(
            "--gp-target",
            "X",
            "wgan-gp: the length that gradients are drawn to. Default: 1, with cifar10 750.",
            min=1e-9,
            callback=options.finite,
        ),
    ] = None,
    lr: shared.LearningRate = None,
    ema_kimg: shared.EmaKimg = None,
    latent_dim: LatentDim = None,
    channel_base: shared.ChannelBase = None,
    d_channel_base: DChannelBase = None,
    channel_max: shared.ChannelMax = None,
    upsample: frequency.Upsample = None,
    downsample: frequency.Downsample = None,
    wavelet: frequency.Wavelet = None,
    spectral_d: frequency.SpectralD = None,
    spectral_dropout: frequency.SpectralDropout = None,
    f_mining: frequency.FMining = None,
    spec_reg: frequency.SpecReg = None,
    metric: shared.MetricOption = None,
    features: shared.Features = None,
    licence: shared.Licence = None,
    crop: shared.Crop = None,
    batch_gpu: shared.BatchGpu = None,
    workers: shared.Workers = 4,
    stream: shared.Stream = None,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Train a PGGAN from pictures: small ones first, larger ones faded in.

    The same command again resumes the run exactly, also after a kill -9; only --images,
    --snapshot, --batch-gpu, --workers and --stream may change.

    \b
    $ gantools train pggan faces.zip -o run --resolution 64 --stable 100k --fade 100k
    $ gantools train pggan cifar/ -o run --preset cifar10 --images 2M --metric kid --hold-out 10
    $ gantools train pggan animals/ -o run --resolution 64 --labels folders
    """
    report.begin("train pggan", quiet=quiet)
    given = {
        "batch": batch, "seed": seed, "mirror": mirror, "hold_out": hold_out, "growing": grow,
        "simultaneous": simultaneous,
        "stable_kimg": kimg(stable, "--stable"), "fade_kimg": kimg(fade, "--fade"), "gpus": gpus,
        "loss": loss, "gamma": gamma, "r1_interval": r1_interval, "gp_target": gp_target,
        "lr": lr, "ema_kimg": ema_kimg,
        "latent_dim": latent_dim, "channel_base": channel_base,
        "d_channel_base": d_channel_base, "channel_max": channel_max,
        "metric": metric, "features": features, "dtype": dtype.value,
        "labels": classes.labels_name(labels, label_column), "label_column": label_column,
        "label_mode": label_mode, "channels": channels, "spectral_d": spectral_d,
        "spectral_dropout": spectral_dropout, "f_mining": f_mining, "spec_reg": spec_reg,
        "upsample": upsample, "downsample": downsample, "wavelet": wavelet,
    }  # fmt: skip
    options.set_threads(threads)
    job = Asked(
        data, output, images, snapshot, workers, net, licence, crop, labels, label_column,
        batch_gpu, stream,
    )  # fmt: skip
    start("pggan", preset.value, resolution, shared.wishes(given, device, net), job)


def stylegan(
    data: shared.Data,
    output: shared.RunFolder,
    preset: Annotated[
        StyleganPreset,
        typer.Option(
            "--preset",
            help="Settings for everything that is not given. auto: by the resolution; ffhq, "
            "celebahq: the paper's, with mirrored pictures.",
        ),
    ] = StyleganPreset.auto,
    resolution: shared.Resolution = None,
    images: shared.Images = None,
    batch: BatchOption = None,
    snapshot: shared.Snapshot = "200k",
    seed: options.Seed = 0,
    net: shared.Start = None,
    labels: classes.Labels = None,
    label_column: classes.LabelColumn = None,
    label_mode: LabelModeOption = None,
    channels: shared.Channels = None,
    mirror: shared.MirrorOfPreset = None,
    hold_out: shared.HoldOut = None,
    grow: Growing = None,
    simultaneous: Simultaneous = None,
    stable: Stable = None,
    fade: Fade = None,
    gpus: Gpus = None,
    loss: LossOption = None,
    gamma: shared.GammaOfPreset = None,
    r1_interval: shared.R1Interval = None,
    mixing: shared.Mixing = None,
    lr: shared.LearningRate = None,
    ema_kimg: shared.EmaKimg = None,
    map_depth: shared.MapDepth = None,
    latent_dim: LatentDim = None,
    channel_base: shared.ChannelBase = None,
    d_channel_base: DChannelBase = None,
    channel_max: shared.ChannelMax = None,
    metric: shared.MetricOption = None,
    features: shared.Features = None,
    licence: shared.Licence = None,
    crop: shared.Crop = None,
    batch_gpu: shared.BatchGpu = None,
    workers: shared.Workers = 4,
    stream: shared.Stream = None,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Train a StyleGAN (the first) from pictures: small ones first, larger ones faded in.

    The same command again resumes the run exactly, also after a kill -9; only --images,
    --snapshot, --batch-gpu, --workers and --stream may change.

    \b
    $ gantools train stylegan faces.zip -o run --resolution 64 --stable 100k --fade 100k
    $ gantools train stylegan photos/ -o run --preset ffhq --resolution 256
    """
    report.begin("train stylegan", quiet=quiet)
    given = {
        "batch": batch, "seed": seed, "mirror": mirror, "hold_out": hold_out, "growing": grow,
        "simultaneous": simultaneous,
        "stable_kimg": kimg(stable, "--stable"), "fade_kimg": kimg(fade, "--fade"), "gpus": gpus,
        "loss": loss, "gamma": gamma, "r1_interval": r1_interval, "mixing": mixing, "lr": lr,
        "ema_kimg": ema_kimg,
        "map_depth": map_depth, "latent_dim": latent_dim, "channel_base": channel_base,
        "d_channel_base": d_channel_base, "channel_max": channel_max, "metric": metric,
        "features": features, "dtype": dtype.value,
        "labels": classes.labels_name(labels, label_column), "label_column": label_column,
        "label_mode": label_mode, "channels": channels,
    }  # fmt: skip
    options.set_threads(threads)
    job = Asked(
        data, output, images, snapshot, workers, net, licence, crop, labels, label_column,
        batch_gpu, stream,
    )  # fmt: skip
    start("stylegan", preset.value, resolution, shared.wishes(given, device, net), job)


class Asked(NamedTuple):
    """What is asked for besides the settings, as on the command line."""

    data: list[str]
    output: str
    images: str | None
    snapshot: str
    workers: int
    net: str | None
    licence: str | None
    crop: str | None
    labels: str | None
    label_column: str | None
    batch_gpu: int | None = None
    stream: bool | None = None


def kimg(text: str | None, flag: str) -> float | None:
    """An amount of pictures in thousands."""
    return None if text is None else options.parse_amount(text, flag) / 1000


def start(
    family: Any,
    preset: str,
    resolution: str | None,
    given: dict[str, Any],
    asked: Asked,
) -> None:
    """Resolve the settings and train."""
    framing = shared.framing_of(asked.crop)
    total, every = shared.amounts(asked.images or "1", asked.snapshot)

    from gantools.training import growing_presets, run

    known = growing_presets.has_resolution(family, preset)
    size = shared.shape_of(resolution, asked.data, asked.crop, preset=known, family=family)
    config = growing_presets.resolve(
        family, preset, size.pop("resolution", None), {**given, **size}
    )
    longest = growing_presets.total_images(config)
    if asked.images is None:
        total = longest
    elif total > longest and config.schedule().decays:
        raise Usage(
            f"--images {asked.images}: the learning rate is 0 from {longest:,} pictures on; a run "
            "is as long as --decay says"
        )
    job = run.Job(
        asked.data, Path(asked.output), total, every, asked.workers, False, asked.net,
        asked.licence, framing, asked.labels, asked.label_column, asked.batch_gpu,
        asked.stream,
    )  # fmt: skip
    run.train(job, config)
