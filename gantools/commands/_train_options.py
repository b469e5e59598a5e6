"""Options that every `train` of a network shares, and how they become a run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gantools import options
from gantools.report import Usage


class Metric(StrEnum):
    """What picks best.safetensors."""

    fid = "fid"
    kid = "kid"


Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Pictures: folders, tar or zip archives, files, folders of tars, patterns such as "
        "'shards/*.tar', MNIST's and CIFAR-10's own files. Of the shape of --resolution and at "
        "least as large; larger ones are reduced (Lanczos). Or Zarr stores of huge pictures "
        "(prefilter --zarr): crops of --resolution, each place as often as any other.",
    ),
]
RunFolder = Annotated[
    str,
    typer.Option(
        "-o", "--output", metavar="RUN", help="The run folder. One that exists is resumed."
    ),
]
Images = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="N",
        help="Train until the discriminator has seen so many pictures, such as 300k or 25M. "
        "Default: the preset's.",
        show_default=False,
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
Stream = Annotated[
    bool | None,
    typer.Option(
        "--stream/--no-stream",
        help="Decode pictures while the network trains, a few batches ahead, or all of them before "
        "the run. Default: before, where they take half of the memory at most, and a quarter of a "
        "GPU's. The network is the same.",
        show_default=False,
    ),
]


def known_channels(value: int | None) -> int | None:
    """Callback of --channels."""
    if value not in (None, 1, 3, 4):
        raise typer.BadParameter(f"{value}: 1, 3 or 4 is expected")
    return value


Resolution = Annotated[
    str | None,
    options.number(
        "--resolution",
        "N|HxW",
        "Size of the network's pictures in pixels: a side, or height x width such as 64x96. Both "
        "are 4 to 16 times the same power of two. Default: the preset's, else that of the first "
        "picture.",
    ),
]
Batch = Annotated[
    int | None,
    options.number("--batch", "N", "Pictures per step. Default: the preset's.", min=1),
]
BatchGpu = Annotated[
    int | None,
    options.number(
        "--batch-gpu",
        "N",
        "At most so many of a step's pictures at once in each process; the gradients of the parts "
        "are summed, so that a --batch trains which does not fit in the memory. Whole groups of "
        "the minibatch stddev stay together. Default: all at once.",
        min=1,
    ),
]


def mirror(default: str) -> Any:
    """--mirror, with what its help says of the default."""
    text = f"Show each picture mirrored too. Default: {default}."
    return typer.Option("--mirror/--no-mirror", help=text, show_default=False)


def hold_out(default: str) -> Any:
    """--hold-out, with what its help says of the default."""
    return options.number(
        "--hold-out",
        "N",
        "Never train on pictures or rasters whose number (the last digits of the key) is "
        f"divisible by N; 0: train on all. --metric needs those held out. Default: {default}.",
        min=0,
    )


def gamma(default: str) -> Any:
    """--gamma, with what its help says of the default."""
    return options.number(
        "--gamma",
        "X",
        "R1 weight, in StyleGAN's convention gamma/2 |grad|^2: twice the lambda of papers "
        f"that write no half. Default: {default}.",
        min=0.0,
        callback=options.finite,
    )


Mirror = Annotated[bool | None, mirror("not")]
MirrorOfPreset = Annotated[bool | None, mirror("the preset's (those of faces do)")]
HoldOut = Annotated[int | None, hold_out("0")]
HoldOutOfPreset = Annotated[int | None, hold_out("10 with faces64, else 0")]
Gamma = Annotated[float | None, gamma("0, no R1")]
GammaOfPreset = Annotated[float | None, gamma("the preset's")]
R1Interval = Annotated[
    int | None,
    options.number(
        "--r1-interval",
        "N",
        "Ask R1 in every Nth step, N times as strong: StyleGAN2's lazy regularisation, which saves "
        "most of its time. Default: 1, every step.",
        min=1,
    ),
]
Mixing = Annotated[
    float | None,
    options.number(
        "--mixing",
        "P",
        "Share of the fakes whose upper layers have the style of another z. Default: 0.9.",
        min=0.0,
        max=1.0,
    ),
]
LearningRate = Annotated[
    float | None,
    options.number(
        "--lr",
        "X",
        "Adam's learning rate. Default: the preset's.",
        min=0.0,
        callback=options.finite,
    ),
]
EmaKimg = Annotated[
    float | None,
    options.number(
        "--ema-kimg",
        "X",
        "Half-life of the generator's moving average, in thousands of pictures. Default: the "
        "preset's.",
        min=0.0,
        callback=options.finite,
    ),
]
MapDepth = Annotated[
    int | None,
    options.number(
        "--map-depth", "N", "Layers of the mapping network. Default: the preset's.", min=1
    ),
]
ChannelBase = Annotated[
    int | None,
    options.number(
        "--channel-base",
        "N",
        "N / r channels in the layers of r x r pixels, up to --channel-max. Default: the preset's.",
        min=1,
    ),
]
ChannelMax = Annotated[
    int | None,
    options.number("--channel-max", "N", "At most so many channels. Default: the preset's.", min=1),
]
MetricOption = Annotated[
    Metric | None,
    options.number(
        "--metric",
        "fid|kid",
        "Measure each snapshot against the pictures of --hold-out, and keep the best as "
        "best.safetensors.",
    ),
]
Features = Annotated[
    str | None,
    options.number(
        "--features",
        "NAME",
        "Network whose features --metric compares: inception, mobilenet or vgg16. Default: "
        "inception.",
    ),
]
Channels = Annotated[
    int | None,
    options.number(
        "--channels",
        "1|3|4",
        "1: greyscale, the pictures are converted. 4: with alpha, and opaque where a picture has "
        "none; learnt premultiplied, so that no border has a fringe, written straight. Default: 3, "
        "on white where a picture is transparent.",
        callback=known_channels,
    ),
]
Licence = Annotated[
    str | None,
    options.number("--licence", "TEXT", "Licence of the weights, written into the network files."),
]
Crop = Annotated[
    str | None,
    options.number(
        "--crop",
        "FILE",
        'JSON with the square pictures\' mean landmarks, {"landmarks": [[x, y], ...]} as fractions '
        "of the side (eyes, nose, mouth corners): `project` will align faces to them.",
    ),
]


def amounts(images: str, snapshot: str) -> tuple[int, int]:
    """--images and --snapshot as numbers; Usage where they are none."""
    every = options.parse_amount(snapshot, "--snapshot")
    if every < 1000:
        raise Usage(f"--snapshot {snapshot}: expected 1k or more (files are named by thousands)")
    return options.parse_amount(images, "--images"), every


def wishes(given: dict[str, Any], device: str, net: str | None) -> dict[str, Any]:
    """The settings that were given, by their names in the configuration."""
    made = {n: getattr(v, "value", v) for n, v in given.items() if v is not None}
    made["device"] = options.pick_device(device)
    if net is not None:
        made["net"] = Path(net).name
    return made


def shape_of(
    resolution: str | None, data: list[str], crop: str | None, *, preset: bool, family: str
) -> dict[str, Any]:
    """The settings resolution and first_block: of --resolution, or the first picture's size.

    None of them where the preset says the size. Usage where no network has it, and for --crop where
    it is not square.
    """
    from gantools.training import data as pictures
    from gantools.training import shape

    if resolution is None and preset:
        return {}
    what = "--resolution" if resolution else "the first picture's size is no --resolution:"
    size = options.parse_size(resolution, "--resolution") if resolution else pictures.size_of(data)
    if crop is not None and size[0] != size[1]:
        raise Usage(f"--crop: faces are brought to squares, and pictures are {shape.told(*size)}")
    if family == "sngan" and size == (48, 48):  # it has a network of its own
        return {"resolution": 48}
    return shape.of(*size, what)


def framing_of(path: str | None) -> dict[str, Any] | None:
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
