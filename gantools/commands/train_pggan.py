"""gantools train pggan: PGGAN, which grows (papers.md S0.9-S0.11, S1.7-S1.14)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _frequency_options as frequency
from gantools.commands import _growing_options as growing
from gantools.commands import _label_options as classes
from gantools.commands import _train_options as shared
from gantools.commands._train_start import Asked, kimg, start


class Preset(StrEnum):
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


def pggan(
    data: shared.Data,
    output: shared.RunFolder,
    preset: Annotated[
        Preset,
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
    ] = Preset.auto,
    resolution: shared.Resolution = None,
    images: shared.Images = None,
    batch: growing.BatchOption = None,
    snapshot: shared.Snapshot = "200k",
    seed: options.Seed = 0,
    net: shared.Start = None,
    labels: classes.Labels = None,
    label_column: classes.LabelColumn = None,
    label_mode: growing.LabelModeOption = None,
    channels: shared.Channels = None,
    mirror: shared.MirrorOfPreset = None,
    hold_out: shared.HoldOut = None,
    grow: growing.Growing = None,
    simultaneous: growing.Simultaneous = None,
    stable: growing.Stable = None,
    fade: growing.Fade = None,
    gpus: growing.Gpus = None,
    loss: growing.LossOption = None,
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
    latent_dim: growing.LatentDim = None,
    channel_base: shared.ChannelBase = None,
    d_channel_base: growing.DChannelBase = None,
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
