"""gantools train: networks from pictures, in a run folder that resumes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _frequency_options as frequency
from gantools.commands import _label_options as classes
from gantools.commands import _train_options as shared
from gantools.commands import train_alae, train_biggan, train_pggan, train_sngan, train_stylegan

app = typer.Typer(
    help="Train networks from pictures, and directions from labels.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


app.command("pggan")(train_pggan.pggan)
app.command("stylegan")(train_stylegan.stylegan)
app.command("sngan")(train_sngan.sngan)
app.command("biggan")(train_biggan.biggan)
app.command("alae")(train_alae.alae)


class Preset(StrEnum):
    """StyleGAN2's settings, NVIDIA's and the packaged network's."""

    auto = "auto"
    stylegan2 = "stylegan2"
    paper256 = "paper256"
    paper512 = "paper512"
    paper1024 = "paper1024"
    cifar = "cifar"
    faces64 = "faces64"


class Augment(StrEnum):
    """Adaptive discriminator augmentation, or none."""

    ada = "ada"
    none = "none"


@app.command()
def stylegan2(
    data: shared.Data,
    output: shared.RunFolder,
    preset: Annotated[
        Preset,
        typer.Option(
            "--preset",
            help="Settings for everything that is not given. auto: by the resolution, for small "
            "sets of pictures; faces64: the packaged network's; the others: NVIDIA's.",
        ),
    ] = Preset.auto,
    resolution: shared.Resolution = None,
    images: shared.Images = None,
    batch: shared.Batch = None,
    gpus: Annotated[
        int | None,
        options.number(
            "--gpus",
            "N",
            "With --preset auto: the batch and its groups for so many GPUs, as NVIDIA's --gpus has "
            "them. It stays when the run goes on with another number of processes. Default: 1.",
            min=1,
        ),
    ] = None,
    snapshot: shared.Snapshot = "200k",
    seed: options.Seed = 0,
    net: shared.Start = None,
    freeze_d: Annotated[
        int | None,
        options.number(
            "--freeze-d",
            "N",
            "With --net: the first N layers of its discriminator stay as they are (FreezeD). From "
            "the picture on, each resolution has fromrgb (the first only), conv0, conv1 and skip.",
            min=0,
        ),
    ] = None,
    labels: classes.Labels = None,
    label_column: classes.LabelColumn = None,
    channels: shared.Channels = None,
    fnz: Annotated[
        int | None,
        options.number(
            "--fnz",
            "I",
            "Instead of a constant and the blocks before block I (from 1, model info lists them), "
            "features drawn anew for each picture stand in front of block I: pictures of any size "
            "(generate --size), and nothing has a fixed place. With --net the other blocks start "
            "as they are there.",
            min=1,
        ),
    ] = None,
    noise_blur: Annotated[
        str | None,
        options.number(
            "--noise-blur",
            "KIND",
            "What --fnz draws: normal, N(0, 1) in each cell; blurred, N(0, 1) that is smoother "
            "from channel to channel, up to a sigma of half a side; or that sigma in cells. "
            "Default: normal.",
        ),
    ] = None,
    mirror: shared.MirrorOfPreset = None,
    hold_out: shared.HoldOutOfPreset = None,
    gamma: shared.GammaOfPreset = None,
    lr: shared.LearningRate = None,
    aug: Annotated[
        Augment | None,
        options.number(
            "--aug",
            "ada|none",
            "ada: flip, move, turn and recolour what the discriminator sees, more often the more "
            "it overfits. Default: ada. With --net it moves five times as fast, and the average of "
            "the generator has its full half-life at once, as with NVIDIA's --resume.",
        ),
    ] = None,
    ada_target: Annotated[
        float | None,
        options.number(
            "--ada-target",
            "X",
            "Mean sign of the discriminator's output for real pictures that --aug ada keeps to. "
            "Default: 0.6.",
            callback=options.finite,
        ),
    ] = None,
    ema_kimg: shared.EmaKimg = None,
    map_depth: shared.MapDepth = None,
    channel_base: shared.ChannelBase = None,
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
    compile: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the networks (torch.compile). Of this family alone: networks that grow "
            "would be compiled anew at every level of detail.",
        ),
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a StyleGAN2 from pictures.

    The same command again resumes the run exactly, also after a kill -9; only --images,
    --snapshot, --batch-gpu, --workers and --stream may change.

    \b
    $ gantools train stylegan2 faces.zip -o run --preset faces64 --images 2M
    $ gantools train stylegan2 photos/ -o run --resolution 256 --mirror --net start.safetensors
    $ gantools train stylegan2 animals/ -o run --resolution 64 --labels folders
    $ gantools train stylegan2 maps.zarr -o run --resolution 64 --fnz 3 --noise-blur blurred
    """
    report.begin("train stylegan2", quiet=quiet)
    total, every = shared.amounts(images or "1", snapshot)
    given = {
        "batch": batch, "gpus": gpus, "seed": seed, "mirror": mirror, "hold_out": hold_out,
        "gamma": gamma, "lr": lr, "aug": aug, "ada_target": ada_target, "ema_kimg": ema_kimg,
        "map_depth": map_depth, "channel_base": channel_base, "channel_max": channel_max,
        "metric": metric, "features": features, "dtype": dtype.value, "freeze_d": freeze_d,
        "labels": classes.labels_name(labels, label_column), "label_column": label_column,
        "channels": channels, "fnz": fnz, "noise_blur": noise_blur,
        "spectral_d": spectral_d, "spectral_dropout": spectral_dropout,
        "f_mining": f_mining, "spec_reg": spec_reg,
        "upsample": upsample, "downsample": downsample, "wavelet": wavelet,
    }  # fmt: skip
    framing = shared.framing_of(crop)

    from gantools.training import presets, run
    from gantools.training.job import Job

    options.set_threads(threads)
    given = shared.wishes(given, device, net)
    known = presets.has_resolution(preset.value)
    size = shared.shape_of(resolution, data, crop, preset=known, family="stylegan2")
    config = presets.resolve(preset.value, size.pop("resolution", None), {**given, **size})
    if images is None:
        total = presets.total_images(preset.value)
    job = Job(
        data, Path(output), total, every, workers, compile, net, licence, framing, labels,
        label_column, batch_gpu, stream,
    )  # fmt: skip
    run.train(job, config)
