"""gantools train stylegan: the first StyleGAN, which grows (papers.md S0.9-S0.11)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _growing_options as growing
from gantools.commands import _label_options as classes
from gantools.commands import _train_options as shared
from gantools.commands._train_start import Asked, kimg, start


class Preset(StrEnum):
    """training.growing_presets.NAMES of StyleGAN."""

    auto = "auto"
    ffhq = "ffhq"
    celebahq = "celebahq"


def stylegan(
    data: shared.Data,
    output: shared.RunFolder,
    preset: Annotated[
        Preset,
        typer.Option(
            "--preset",
            help="Settings for everything that is not given. auto: by the resolution; ffhq, "
            "celebahq: the paper's, with mirrored pictures.",
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
    mixing: shared.Mixing = None,
    lr: shared.LearningRate = None,
    ema_kimg: shared.EmaKimg = None,
    map_depth: shared.MapDepth = None,
    latent_dim: growing.LatentDim = None,
    channel_base: shared.ChannelBase = None,
    d_channel_base: growing.DChannelBase = None,
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
