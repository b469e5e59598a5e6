"""gantools mix: lerp, slerp and style mixing of latents (papers.md S0.20, S2.4)."""

from __future__ import annotations

from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _latents, _mixing

At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="T[,T...]",
        help="The share of the second latent, from 0 (only the first) to 1; with more latents, of "
        "each one after the first. Default: equal shares; 1 with --layers.",
        show_default=False,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers",
        metavar="LIST",
        help="Mix only these layers, 0-based, such as 0-3; the first latent keeps the others. "
        "Noise maps go with their layer; w becomes w+.",
        show_default=False,
    ),
]
Arc = Annotated[
    bool | None,
    typer.Option(
        "--slerp/--lerp",
        help="Along a great arc or along a line. Default: slerp in z, lerp in w.",
        show_default=False,
    ),
]
Frames = Annotated[
    int | None,
    typer.Option(
        "--frames",
        metavar="N",
        min=2,
        help="N latents on the way from the first latent over the others to the last, both ends "
        "included: keys a+b/0000 and on; a video with -o x.mp4.",
        show_default=False,
    ),
]


def mix(
    operands: options.Operands = None,
    *,
    at: At = None,
    layers: Layers = None,
    arc: Arc = None,
    frames: Frames = None,
    output: options.Output = None,
    net: options.Net = None,
    batch: options.Batch = 8,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    no_clobber: options.NoClobber = False,
    quiet: options.Quiet = False,
) -> None:
    """Mix latents: all that come in, two or more, become one, or the frames between them.

    Takes latents of one network in z, or in w and w+, with noise maps or without, and gives
    latents; pictures where the output names pictures. The key of a mix is a+b.

    $ gantools mix a.safetensors b.safetensors --at 0.3 -o ab.png

    $ gantools mix pose.safetensors colours.safetensors --layers 6-9 -o mixed.safetensors

    $ gantools generate --seeds 1-4 --space w | gantools mix --frames 120 -o walk.mp4
    """
    report.begin("mix", quiet=quiet)
    from gantools.io.sink import open_sink

    wanted = _mixing.Wanted.of(at, layers, arc, frames, _latents.NetworkFile(net))
    with open_sink(output, own="latent", no_clobber=no_clobber) as sink:
        mixed = wanted.run(_latents.read(operands))
        _latents.write(
            sink, mixed, net=net, batch=batch, device=device, dtype=dtype, threads=threads
        )
