"""gantools train biggan: BigGAN and BigGAN-deep (Brock et al. 2019; formats.md 2d, 5.4)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _label_options as classes
from gantools.commands import _train_options as shared
from gantools.commands._train_start import Asked, kimg, start


class Preset(StrEnum):
    """training.growing_presets.NAMES of BigGAN."""

    auto = "auto"
    cifar10 = "cifar10"
    imagenet = "imagenet"


def biggan(
    data: shared.Data,
    output: shared.RunFolder,
    preset: Annotated[
        Preset,
        typer.Option(
            "--preset",
            help="Settings for everything that is not given. auto: the paper's network with small "
            "batches; cifar10: 32x32, of --labels, an embedding for each batch norm, four steps "
            "of the discriminator; imagenet: 128x128, batches of 2048 in eight parts.",
        ),
    ] = Preset.auto,
    resolution: Annotated[
        str | None,
        options.number(
            "--resolution",
            "N|HxW",
            "Size of the network's pictures in pixels: a side of 32, 64, 128, 256 or 512; or "
            "height x width such as 64x96, both 4 to 16 times the same 8, 16, 32, 64 or 128. "
            "Default: the preset's, else that of the first picture.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        options.number(
            "--images",
            "N",
            "Train until the discriminator has seen so many pictures, such as 300k or 25M. "
            "Default: 25M, with imagenet 307.2M.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        options.number(
            "--batch", "N", "Pictures per step. Default: 64, with the presets 50 and 2048.", min=1
        ),
    ] = None,
    accumulate: Annotated[
        int | None,
        options.number(
            "--accumulate",
            "N",
            "Compute every batch in so many parts, whose gradients are summed: less memory. Each "
            "part has moments of its own in the generator's batch norm. Default: 1, with imagenet "
            "8.",
            min=1,
        ),
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
            "Steps of the discriminator for one of the generator. Default: 1, with cifar10 4.",
            min=1,
        ),
    ] = None,
    gamma: shared.Gamma = None,
    lr: Annotated[
        float | None,
        options.number(
            "--lr",
            "X",
            "Adam's learning rate of the generator. Default: 0.0001, with cifar10 0.0002.",
            min=0.0,
            callback=options.finite,
        ),
    ] = None,
    d_lr: Annotated[
        float | None,
        options.number(
            "--d-lr",
            "X",
            "That of the discriminator. Default: 0.0004, with cifar10 0.0002.",
            min=0.0,
            callback=options.finite,
        ),
    ] = None,
    ema_kimg: Annotated[
        float | None,
        options.number(
            "--ema-kimg",
            "X",
            "Half-life of the generator's moving average, in thousands of pictures that the "
            "discriminator has seen. Default: that of 0.9999 in each step, 444 with auto.",
            min=0.0,
            callback=options.finite,
        ),
    ] = None,
    ema_start: Annotated[
        str | None,
        options.number(
            "--ema-start",
            "N",
            "Begin the average after so many pictures; before, it is the generator as it is. "
            "Default: at once, with cifar10 200k, with imagenet 41M.",
        ),
    ] = None,
    latent_dim: Annotated[
        int | None,
        options.number(
            "--latent-dim",
            "N",
            "Numbers in z; what is left of equal parts for all layers is not used. Default: 120, "
            "with cifar10 128.",
            min=1,
        ),
    ] = None,
    hier: Annotated[
        bool | None,
        typer.Option(
            "--hier/--no-hier",
            help="Every block of the generator reads a part of z, or only the first layer reads "
            "it. Default: every block, with cifar10 the first layer.",
            show_default=False,
        ),
    ] = None,
    embed_dim: Annotated[
        int | None,
        options.number(
            "--embed-dim",
            "N",
            "Numbers that stand for a class in all blocks of the generator; 0: each batch norm "
            "has an embedding of its own. Default: 128, with cifar10 0.",
            min=0,
        ),
    ] = None,
    ch: Annotated[
        int | None,
        options.number(
            "--ch",
            "N",
            "Unit of the channels, of which layers have 1 to 16. Default: 96, with cifar10 64.",
            min=1,
        ),
    ] = None,
    attention: Annotated[
        int | None,
        options.number(
            "--attention",
            "N",
            "Self-attention in both networks where pictures have a side of N; 0: none. Default: "
            "64, with 32x32 16, with cifar10 none.",
            min=0,
        ),
    ] = None,
    deep: Annotated[
        bool | None,
        typer.Option(
            "--deep/--not-deep",
            help="BigGAN-deep: bottlenecks, two blocks in each stage, all of z in every block. "
            "Default: not.",
            show_default=False,
        ),
    ] = None,
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
    """Train a BigGAN from pictures, best of several classes (--labels).

    Hinge loss, spectral normalisation, class-conditional batch norm, attention. The same command
    again resumes the run exactly, also after a kill -9; only --images, --snapshot, --workers and
    --stream may change.

    $ gantools train biggan cifar/ -o run --preset cifar10 --labels folders

    $ gantools train biggan animals/ -o run --resolution 64 --labels folders --ch 32

    $ gantools train biggan photos/ -o run --resolution 128 --batch 256 --accumulate 4
    """
    report.begin("train biggan", quiet=quiet)
    given = {
        "batch": batch, "accumulate": accumulate, "seed": seed, "mirror": mirror,
        "hold_out": hold_out, "d_steps": d_steps, "gamma": gamma, "lr": lr, "d_lr": d_lr,
        "ema_kimg": ema_kimg, "ema_start_kimg": kimg(ema_start, "--ema-start"),
        "latent_dim": latent_dim, "hier": hier, "embed_dim": embed_dim, "ch": ch,
        "attention": attention, "deep": deep, "metric": metric, "features": features,
        "dtype": dtype.value, "labels": classes.labels_name(labels, label_column),
        "label_column": label_column, "channels": channels,
    }  # fmt: skip
    options.set_threads(threads)
    job = Asked(
        data, output, images, snapshot, workers, net, licence, crop, labels, label_column,
        stream=stream,
    )  # fmt: skip
    start("biggan", preset.value, resolution, shared.wishes(given, device, net), job)
