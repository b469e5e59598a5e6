"""gantools train sngan: a residual network with spectral normalisation (papers.md S3.25)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _frequency_options as frequency
from gantools.commands import _label_options as classes
from gantools.commands import _train_options as shared
from gantools.commands._train_start import Asked, kimg, start


class Preset(StrEnum):
    """training.growing_presets.NAMES of SNGAN."""

    auto = "auto"
    cifar10 = "cifar10"
    lsun = "lsun"


def sngan(
    data: shared.Data,
    output: shared.RunFolder,
    preset: Annotated[
        Preset,
        typer.Option(
            "--preset",
            help="Settings for everything that is not given. auto: by the resolution; cifar10: "
            "32x32; lsun: 128x128, with two steps of the discriminator.",
        ),
    ] = Preset.auto,
    resolution: Annotated[
        str | None,
        options.number(
            "--resolution",
            "N|HxW",
            "Size of the network's pictures in pixels: a side of 32, 48, 64 or 128; or height x "
            "width such as 64x96, both 4 to 16 times 8, 16 or 32. Default: the preset's, else that "
            "of the first picture.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        options.number(
            "--images",
            "N",
            "Stop when the discriminator has seen so many pictures, such as 300k or 12M; the "
            "learning rate does not follow. Default: --decay, the whole run.",
        ),
    ] = None,
    decay: Annotated[
        str | None,
        options.number(
            "--decay",
            "N",
            "Length of the run: the learning rate falls in a straight line and is 0 after so many "
            "pictures. Default: 100,000 steps of the generator, which are 32M pictures at --batch "
            "64 and --d-steps 5.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        options.number("--batch", "N", "Pictures per step. Default: 64.", min=1),
    ] = None,
    snapshot: shared.Snapshot = "200k",
    seed: options.Seed = 0,
    net: shared.Start = None,
    labels: classes.Labels = None,
    label_column: classes.LabelColumn = None,
    channels: shared.Channels = None,
    mirror: shared.Mirror = None,
    hold_out: shared.HoldOut = None,
    d_steps: Annotated[
        int | None,
        options.number(
            "--d-steps",
            "N",
            "Steps of the discriminator for one of the generator. Default: 5, with lsun 2.",
            min=1,
        ),
    ] = None,
    gamma: shared.Gamma = None,
    lr: shared.LearningRate = None,
    ema_kimg: Annotated[
        float | None,
        options.number(
            "--ema-kimg",
            "X",
            "Half-life of the generator's moving average, in thousands of pictures that the "
            "discriminator has seen. Default: 0, the generator as it is.",
            min=0.0,
            callback=options.finite,
        ),
    ] = None,
    latent_dim: Annotated[
        int | None,
        options.number("--latent-dim", "N", "Numbers in z. Default: 128.", min=1),
    ] = None,
    channel_max: Annotated[
        int | None,
        options.number(
            "--channel-max",
            "N",
            "At most so many channels in every layer. Default: the paper's, up to 256 at 32x32 "
            "and 1024 above.",
            min=1,
        ),
    ] = None,
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
    workers: shared.Workers = 4,
    stream: shared.Stream = None,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Train an SNGAN from pictures: hinge loss and spectral normalisation.

    The same command again resumes the run exactly, also after a kill -9; only --images,
    --snapshot, --workers and --stream may change.

    \b
    $ gantools train sngan cifar/ -o run --preset cifar10 --metric kid --hold-out 10
    $ gantools train sngan faces.zip -o run --resolution 64 --decay 3M --channel-max 256
    """
    report.begin("train sngan", quiet=quiet)
    given = {
        "batch": batch, "seed": seed, "mirror": mirror, "hold_out": hold_out,
        "decay_kimg": kimg(decay, "--decay"), "d_steps": d_steps, "gamma": gamma, "lr": lr,
        "ema_kimg": ema_kimg, "latent_dim": latent_dim, "channel_max": channel_max,
        "metric": metric, "features": features, "dtype": dtype.value,
        "labels": classes.labels_name(labels, label_column), "label_column": label_column,
        "channels": channels, "spectral_d": spectral_d,
        "spectral_dropout": spectral_dropout, "f_mining": f_mining, "spec_reg": spec_reg,
        "upsample": upsample, "downsample": downsample, "wavelet": wavelet,
    }  # fmt: skip
    options.set_threads(threads)
    job = Asked(
        data, output, images, snapshot, workers, net, licence, crop, labels, label_column,
        stream=stream,
    )  # fmt: skip
    start("sngan", preset.value, resolution, shared.wishes(given, device, net), job)
