"""gantools train: networks from pictures, in a run folder that resumes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gantools import options, report
from gantools.report import Usage

app = typer.Typer(
    help="Train networks from pictures, and directions from labels.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


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


class Metric(StrEnum):
    """What picks best.safetensors."""

    fid = "fid"
    kid = "kid"


Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Pictures: folders, tar or zip archives, files. Square, at least --resolution pixels "
        "wide; larger ones are reduced (Lanczos).",
    ),
]
RunFolder = Annotated[
    str,
    typer.Option(
        "-o", "--output", metavar="RUN", help="The run folder. One that exists is resumed."
    ),
]
Images = Annotated[
    str,
    typer.Option(
        "--images",
        metavar="N",
        help="Train until the discriminator has seen so many pictures, such as 300k or 25M.",
    ),
]
Snapshot = Annotated[
    str,
    typer.Option(
        "--snapshot",
        metavar="N",
        help="Write a network file, samples, the score of --metric, the state and the report every "
        "so many pictures, 1k or more; the state every ten minutes too.",
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        "--net",
        metavar="START",
        help="Start from the weights of this network, a file or a name, and with its shape; "
        "without effect when a run is resumed.",
        show_default=False,
    ),
]
Workers = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, help="Threads that decode pictures.")
]


def _number(flag: str, metavar: str, help: str, **limits: Any) -> Any:
    return typer.Option(flag, metavar=metavar, help=help, show_default=False, **limits)


@app.command()
def stylegan2(
    data: Data,
    output: RunFolder,
    preset: Annotated[
        Preset,
        typer.Option(
            "--preset",
            help="Settings for everything that is not given. auto: by the resolution, for small "
            "sets of pictures; faces64: the packaged network's; the others: NVIDIA's.",
        ),
    ] = Preset.auto,
    resolution: Annotated[
        int | None,
        _number(
            "--resolution",
            "N",
            "Side of the network's pictures in pixels, a power of two from 8 on. Default: the "
            "preset's, else the side of the first picture.",
        ),
    ] = None,
    images: Images = "25M",
    batch: Annotated[
        int | None,
        _number("--batch", "N", "Pictures per step. Default: the preset's.", min=1),
    ] = None,
    snapshot: Snapshot = "200k",
    seed: options.Seed = 0,
    net: Start = None,
    mirror: Annotated[
        bool | None,
        typer.Option(
            "--mirror/--no-mirror",
            help="Show each picture mirrored too. Default: the preset's (only faces64 does).",
            show_default=False,
        ),
    ] = None,
    hold_out: Annotated[
        int | None,
        _number(
            "--hold-out",
            "N",
            "Never train on pictures whose number (the last digits of the key) is divisible by N; "
            "0: train on all. --metric needs those held out. Default: 10 with faces64, else 0.",
            min=0,
        ),
    ] = None,
    gamma: Annotated[
        float | None,
        _number(
            "--gamma",
            "X",
            "R1 weight, in StyleGAN's convention gamma/2 |grad|^2: twice the lambda of papers "
            "that write no half. Default: the preset's.",
            min=0.0,
            callback=options.finite,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        _number(
            "--lr",
            "X",
            "Adam's learning rate. Default: the preset's.",
            min=0.0,
            callback=options.finite,
        ),
    ] = None,
    aug: Annotated[
        Augment | None,
        _number(
            "--aug",
            "ada|none",
            "ada: flip, move, turn and recolour what the discriminator sees, more often the more "
            "it overfits. Default: ada.",
        ),
    ] = None,
    ada_target: Annotated[
        float | None,
        _number(
            "--ada-target",
            "X",
            "Mean sign of the discriminator's output for real pictures that --aug ada keeps to. "
            "Default: 0.6.",
            callback=options.finite,
        ),
    ] = None,
    ema_kimg: Annotated[
        float | None,
        _number(
            "--ema-kimg",
            "X",
            "Half-life of the generator's moving average, in thousands of pictures. Default: the "
            "preset's.",
            min=0.0,
            callback=options.finite,
        ),
    ] = None,
    map_depth: Annotated[
        int | None,
        _number("--map-depth", "N", "Layers of the mapping network. Default: the preset's.", min=1),
    ] = None,
    channel_base: Annotated[
        int | None,
        _number(
            "--channel-base",
            "N",
            "N / r channels in the layers of r x r pixels, up to --channel-max. Default: the "
            "preset's.",
            min=1,
        ),
    ] = None,
    channel_max: Annotated[
        int | None,
        _number("--channel-max", "N", "At most so many channels. Default: the preset's.", min=1),
    ] = None,
    metric: Annotated[
        Metric | None,
        _number(
            "--metric",
            "fid|kid",
            "Measure each snapshot against the pictures of --hold-out, and keep the best as "
            "best.safetensors.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        _number(
            "--features",
            "NAME",
            "Network whose features --metric compares: inception or mobilenet. Default: inception.",
        ),
    ] = None,
    licence: Annotated[
        str | None,
        _number("--licence", "TEXT", "Licence of the weights, written into the network files."),
    ] = None,
    crop: Annotated[
        str | None,
        _number(
            "--crop",
            "FILE",
            'JSON with the pictures\' mean landmarks, {"landmarks": [[x, y], ...]} as fractions of '
            "the side (eyes, nose, mouth corners): `project` will align faces to them.",
        ),
    ] = None,
    workers: Workers = 4,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the networks (torch.compile).")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a StyleGAN2 from pictures.

    The same command again resumes the run exactly, also after a kill -9; only --images,
    --snapshot and --workers may change.

    \b
    $ gantools train stylegan2 faces.zip -o run --preset faces64 --images 2M
    $ gantools train stylegan2 photos/ -o run --resolution 256 --mirror --net start.safetensors
    """
    report.begin("train stylegan2", quiet=quiet)
    total = options.parse_amount(images, "--images")
    every = options.parse_amount(snapshot, "--snapshot")
    if every < 1000:
        raise Usage(f"--snapshot {snapshot}: expected 1k or more (files are named by thousands)")
    given = {
        "batch": batch, "seed": seed, "mirror": mirror, "hold_out": hold_out, "gamma": gamma,
        "lr": lr, "aug": aug, "ada_target": ada_target, "ema_kimg": ema_kimg,
        "map_depth": map_depth, "channel_base": channel_base, "channel_max": channel_max,
        "metric": metric, "features": features, "dtype": dtype.value,
    }  # fmt: skip
    framing = _framing(crop)
    given = {n: getattr(v, "value", v) for n, v in given.items() if v is not None}

    from gantools.training import data as pictures
    from gantools.training import presets, run

    options.set_threads(threads)
    given["device"] = options.pick_device(device)
    if resolution is None and not presets.has_resolution(preset.value):
        resolution = pictures.resolution_of(data)
    if net is not None:
        given["net"] = Path(net).name
    config = presets.resolve(preset.value, resolution, given)
    job = run.Job(data, Path(output), total, every, workers, compile, net, licence, framing)
    run.train(job, config)


def _framing(path: str | None) -> dict[str, Any] | None:
    """The file of --crop; Usage where it is none."""
    import json

    if path is None:
        return None
    try:
        crop = json.loads(Path(path).read_text())
        points = [(float(x), float(y)) for x, y in crop["landmarks"]]
    except (OSError, ValueError, TypeError, KeyError):
        raise Usage(f"--crop {path}: expected a JSON file with five landmarks") from None
    if len(points) != 5:
        raise Usage(f"--crop {path}: {len(points)} landmarks, five are expected")
    return dict(crop)
