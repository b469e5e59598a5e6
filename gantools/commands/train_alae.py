"""gantools train alae: a StyleGAN with its encoder (Pidhorskyi et al. 2020; papers.md S4.17)."""

from __future__ import annotations

from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _train_options as shared
from gantools.commands._growing_options import Growing
from gantools.commands._train_start import Asked, kimg, start


def alae(
    data: shared.Data,
    output: shared.RunFolder,
    resolution: shared.Resolution = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="N",
            help="Train until the encoder has seen so many pictures, such as 300k or 25M. "
            "Default: 18M.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        options.number(
            "--batch",
            "N",
            "Pictures per step at every resolution. Default: the published table, 128 up to 16x16 "
            "down to 8 from 256x256.",
            min=1,
        ),
    ] = None,
    snapshot: shared.Snapshot = "200k",
    seed: options.Seed = 0,
    channels: shared.Channels = None,
    mirror: Annotated[
        bool,
        typer.Option("--mirror/--no-mirror", help="Show each picture mirrored too."),
    ] = False,
    hold_out: Annotated[
        int | None,
        options.number(
            "--hold-out",
            "N",
            "Never train on pictures or rasters whose number (the last digits of the key) is "
            "divisible by N; they are the ones that are reconstructed then, and --metric needs "
            "them. 0, the default: train on all.",
            min=0,
        ),
    ] = None,
    grow: Growing = None,
    stable: Annotated[
        str | None,
        options.number(
            "--stable", "N", "Pictures shown at each resolution before the next. Default: 480k."
        ),
    ] = None,
    fade: Annotated[
        str | None,
        options.number(
            "--fade", "N", "Pictures shown while a resolution is faded in. Default: 480k."
        ),
    ] = None,
    gamma: Annotated[
        float | None,
        options.number(
            "--gamma",
            "X",
            "Weight of R1, of D(E(x)) by the picture, in StyleGAN's convention gamma/2 |grad|^2. "
            "Default: 10.",
            min=0.0,
            callback=options.finite,
        ),
    ] = None,
    mixing: shared.Mixing = None,
    lr: Annotated[
        float | None,
        options.number(
            "--lr",
            "X",
            "Adam's learning rate. Default: 0.0015, from 256x256 on 0.002, from 512x512 0.003.",
            min=0.0,
            callback=options.finite,
        ),
    ] = None,
    ema_kimg: Annotated[
        float | None,
        options.number(
            "--ema-kimg",
            "X",
            "Half-life of the moving averages of generator and encoder, in thousands of pictures; "
            "early in a run it is a twentieth of those shown. Default: 10.",
            min=0.0,
            callback=options.finite,
        ),
    ] = None,
    map_depth: Annotated[
        int | None,
        options.number("--map-depth", "N", "Layers of the mapping network. Default: 8.", min=1),
    ] = None,
    latent_dim: Annotated[
        int | None,
        options.number("--latent-dim", "N", "Numbers in z and in w. Default: 512.", min=1),
    ] = None,
    channel_base: Annotated[
        int | None,
        options.number(
            "--channel-base",
            "N",
            "N / r channels in the layers of r x r pixels, up to --channel-max, of generator and "
            "encoder. Default: 16384.",
            min=1,
        ),
    ] = None,
    channel_max: Annotated[
        int | None,
        options.number("--channel-max", "N", "At most so many channels. Default: 512.", min=1),
    ] = None,
    metric: shared.MetricOption = None,
    features: shared.Features = None,
    licence: shared.Licence = None,
    crop: shared.Crop = None,
    batch_gpu: shared.BatchGpu = None,
    workers: shared.Workers = 4,
    stream: shared.Stream = None,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Train an ALAE from pictures: a StyleGAN and its encoder, in one game that is played in w.

    Beside every network, which is a StyleGAN (the first) for all commands, stands its encoder,
    which `project --method alae` takes. The same command again resumes the run exactly, also after
    a kill -9; only --images, --snapshot, --batch-gpu, --workers and --stream may change.

    $ gantools train alae faces.zip -o run --resolution 64 --stable 100k --fade 100k --hold-out 10

    $ gantools project photos/ --method alae --net run/network-001000.safetensors -o back/{}.png
    """
    report.begin("train alae", quiet=quiet)
    given = {
        "batch": batch, "seed": seed, "mirror": mirror, "hold_out": hold_out, "growing": grow,
        "stable_kimg": kimg(stable, "--stable"), "fade_kimg": kimg(fade, "--fade"),
        "gamma": gamma, "mixing": mixing, "lr": lr, "ema_kimg": ema_kimg, "map_depth": map_depth,
        "latent_dim": latent_dim, "channel_base": channel_base, "channel_max": channel_max,
        "metric": metric, "features": features, "channels": channels,
    }  # fmt: skip
    options.set_threads(threads)
    job = Asked(
        data, output, images, snapshot, workers, None, licence, crop, None, None, batch_gpu, stream
    )
    start("alae", "auto", resolution, shared.wishes(given, device, None), job)
