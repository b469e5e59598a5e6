"""gantools generate: pictures from seeds and latents (papers.md S0.12-S0.14, S0.20, S1.25)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _generating, _origins


class Space(StrEnum):
    """Latents instead of pictures."""

    z = "z"
    w = "w"
    wplus = "w+"
    fnz = "fnz"


class Noise(StrEnum):
    """Where the noise of the layers comes from."""

    const = "const"
    random = "random"
    none = "none"


class Figure(StrEnum):
    """Figures of the StyleGAN paper."""

    truncation = "truncation"
    noise = "noise"
    mixing = "mixing"


Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="LIST",
        help="Random pictures by their numbers, such as 0,3-9; keys seed000003 and on. The same "
        "numbers as in NVIDIA's tools, and for BigGAN in huggingface's.",
        show_default=False,
    ),
]
Psi = Annotated[
    str | None,
    typer.Option(
        "--psi",
        metavar="PSI",
        help="Truncation: 1 as drawn, 0 the mean face, between them safer and more alike; several, "
        "1,0.7,0, for --figure truncation. BigGAN: what z is multiplied by, which comes from a "
        "normal distribution cut off at 2. Default: 1, or what a latent says of itself.",
        show_default=False,
    ),
]
Cutoff = Annotated[
    int | None,
    typer.Option(
        "--cutoff",
        metavar="N",
        min=0,
        help="Truncate only layers 0 to N-1. Default: all.",
        show_default=False,
    ),
]
Class = Annotated[
    str | None,
    typer.Option(
        "--class",
        metavar="NAME|N",
        help="The class of a conditional network: a name (model info lists them, if the file has "
        "them), else a number from 0.",
        show_default=False,
    ),
]
NoiseMode = Annotated[
    Noise | None,
    typer.Option(
        "--noise-mode",
        help="const: the network's stored noise; random: from --seed and the key; none. "
        "Default: a latent's own noise where it has some, else const, or random where features "
        "are drawn too.",
        show_default=False,
    ),
]
NoiseLayers = Annotated[
    str | None,
    typer.Option(
        "--noise-layers",
        metavar="LIST",
        help="Noise in these layers only, from 0, such as 0-4 (--figure noise: the fine layers).",
        show_default=False,
    ),
]
SpaceOption = Annotated[
    Space | None,
    typer.Option(
        "--space",
        help="Give latents in this space instead of pictures. fnz: with the features and the noise "
        "that a network of train --fnz starts from.",
        show_default=False,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="HxW",
        help="Height and width of the pictures, of networks that start from sampled features "
        "(train stylegan2 --fnz): any multiple of what one cell of these makes.",
        show_default=False,
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        "--tile",
        metavar="N",
        min=1,
        help="Make larger pictures in tiles of at most N pixels a side: less memory, the same "
        "picture without seams. Default: 512, or the network's own size if that is more. PNG files "
        "are written row by row of tiles, whatever their size in the memory of a tile and of the "
        "8-bit pixels of such a row; JPEG and WebP, streams and sheets need those of the picture.",
        show_default=False,
    ),
]
Taps = Annotated[
    bool,
    typer.Option(
        "--taps",
        help="Latents with style maps: demodulate with the style that each tap of a kernel reads, "
        "which is exact where styles differ from cell to cell, and nine times the work. Default: "
        "with that of the cell it writes, as paper 002; constant maps are then those of w, "
        "borders too.",
    ),
]
Grid = Annotated[
    str | None,
    typer.Option(
        "--grid",
        metavar="RxC",
        help="Sheets of R rows and C columns, keys grid/0000 and on; or 1080p, 4k, 8k: as many "
        "as fit on a screen.",
        show_default=False,
    ),
]
FigureOption = Annotated[
    Figure | None,
    typer.Option(
        "--figure",
        help="One sheet, a row for each seed or latent. truncation: a column for each psi; noise: "
        "in all layers, none, fine, coarse; mixing: --sources across the top, whose coarse, middle "
        "and fine layers go into the rows.",
        show_default=False,
    ),
]
Sources = Annotated[
    str | None,
    typer.Option(
        "--sources",
        metavar="LIST",
        help="Seeds of the columns of --figure mixing.",
        show_default=False,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers",
        metavar="LIST",
        help="Layers, from 0, that --figure mixing takes from the columns in every row. Default: "
        "0-3 in the first half of the rows, then 4-7, then the others.",
        show_default=False,
    ),
]
Video = Annotated[
    bool,
    typer.Option(
        "--video",
        help="A walk through the latent space that ends where it began, drawn from --seed: frames "
        "of -o x.mp4, or keys walk/0000 and on. With --grid many walks side by side.",
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        metavar="S",
        min=0.001,
        callback=options.finite,
        help="Length of the walk. Default: 60.",
        show_default=False,
    ),
]
Fps = Annotated[
    float,
    typer.Option(
        "--fps",
        metavar="N",
        min=0.001,
        callback=options.finite,
        help="Frames per second of a video.",
    ),
]
Smoothing = Annotated[
    float | None,
    typer.Option(
        "--smoothing",
        metavar="S",
        min=0,
        callback=options.finite,
        help="How slowly the walk turns: a filter's sigma, in seconds. Default: 1.",
        show_default=False,
    ),
]


def generate(
    operands: options.Operands = None,
    *,
    seeds: Seeds = None,
    psi: Psi = None,
    cutoff: Cutoff = None,
    class_: Class = None,
    noise_mode: NoiseMode = None,
    noise_layers: NoiseLayers = None,
    space: SpaceOption = None,
    grid: Grid = None,
    size: Size = None,
    tile: Tile = None,
    taps: Taps = False,
    figure: FigureOption = None,
    sources: Sources = None,
    layers: Layers = None,
    video: Video = False,
    seconds: Seconds = None,
    fps: Fps = 30,
    smoothing: Smoothing = None,
    output: options.Output = None,
    net: options.Net = None,
    seed: options.Seed = 0,
    batch: options.Batch = 8,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    shard: options.Shard = None,
    no_clobber: options.NoClobber = False,
    quiet: options.Quiet = False,
) -> None:
    """Make pictures from seeds, or from latents in files or on standard input.

    Gives images: one for each seed or latent, sheets of them, figures, a video; with --space
    latents. A picture depends on its seed and its network only, not on --batch or --shard.

    $ gantools generate --seeds 0-63 --psi 0.7 --grid 8x8 -o faces.png

    $ gantools project photo.jpg | gantools edit --dir smile | gantools generate -o smiling.png

    $ gantools generate --video --seconds 10 -o walk.mp4

    $ gantools generate --net maps --seeds 3 --size 512x2048 -o wide.png

    $ gantools generate --net biggan-deep-128 --class 207 --psi 0.4 --seeds 0-15 --grid 4x4 -o x.png
    """
    report.begin("generate", quiet=quiet)
    if space is None and output is not None and output.endswith(".safetensors"):
        raise report.Usage(f"-o {output}: for latents give --space z, w, w+ or fnz")
    from gantools.io.sink import open_sink
    from gantools.io.source import parse_shard

    psis = _origins.parse_psis(psi)
    origin = _origins.Origin(
        operands=operands,
        seeds=options.parse_ranges(seeds) if seeds is not None else None,
        walk=_origins.Walk.of(seconds, fps, smoothing, video=video),
        psi=psis[0] if psis and len(psis) == 1 else None,
        cutoff=cutoff,
        class_=class_,
        seed=seed,
        size=None if size is None else options.parse_size(size, "--size"),
        noise=noise_mode,
        network=_origins.LazyNetwork(net, device, dtype, threads),
    )
    plan = _generating.Plan(
        origin=origin,
        psis=psis,
        noise=noise_mode,
        noise_layers=noise_layers,
        space=space,
        grid=grid,
        figure=figure,
        sources=options.parse_ranges(sources, "--sources") if sources is not None else None,
        layers=layers,
        shard=parse_shard(shard),
        tile=tile,
        taps=taps,
        frames=output is not None and output.lower().endswith((".mp4", ".gif", ".webm")),
    )
    plan.check()
    with open_sink(
        output, own="image" if space is None else "latent", no_clobber=no_clobber, fps=fps
    ) as sink:
        plan.run(sink, batch)
