"""gantools mix: lerp, slerp and style mixing of latents (papers.md S0.20, S2.4-S2.6)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from gantools import options, report
from gantools.commands import _latents, _mixing, _overlay

if TYPE_CHECKING:
    from gantools.networks.network import Network


class Figure(StrEnum):
    """Figures of paper 002."""

    masks = "masks"
    moving = "moving"


At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="T[,T...]",
        help="The share of the second latent, from 0 (only the first) to 1; with more latents, of "
        "each one after the first. Default: equal shares; 1 with --layers. With --mask: how far "
        "the mask has moved, 0 nowhere, 0.5 itself, 1 everywhere. Default: 0.5.",
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
        "included: keys a+b/0000 and on; a video with -o x.mp4. With --mask the mask moves.",
        show_default=False,
    ),
]
Mask = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        metavar="FILE|left|right|top|bottom|ellipse|gradient",
        help="Where the second latent shows: on the left half, and so on, inside an ellipse, more "
        "and more to the right, or where a picture is bright. Once for each latent after the "
        "first; later ones lie over earlier ones. Latents are brought to style maps first "
        "(fnw+5 to fnsw+5).",
        show_default=False,
    ),
]
Smooth = Annotated[
    str | None,
    typer.Option(
        "--smooth",
        metavar="X[,Y]",
        help="Blur masks by X of the picture's side; X at the first block to Y at the last, which "
        "holds the colours: 0,0.1 blends these more widely.",
        show_default=False,
    ),
]
KeepColour = Annotated[
    bool,
    typer.Option("--keep-colour", help="Keep the last two styles of the first latent."),
]
StyleShare = Annotated[
    float | None,
    typer.Option(
        "--style-share",
        metavar="T",
        min=0,
        max=1,
        help="With --mask in fw+I and fnw+I: mix only features and noise by the mask and the "
        "styles, which are vectors, by this share, instead of making style maps of them.",
        show_default=False,
    ),
]
Canvas = Annotated[
    str | None,
    typer.Option(
        "--canvas",
        metavar="WxH",
        help="Lay latents with features on a canvas of so many cells of f (of a picture of 64x64, "
        "fnsw+5 has 16x16), overlapping with soft seams; without --offset from one end "
        "to the other. A picture wider than the network's.",
        show_default=False,
    ),
]
Offset = Annotated[
    list[str] | None,
    typer.Option(
        "--offset",
        metavar="DX,DY",
        help="Move the second latent by whole cells of f, even ones from block 3 on. Once for "
        "each latent after the first, or for each.",
        show_default=False,
    ),
]
FigureOption = Annotated[
    Figure | None,
    typer.Option(
        "--figure",
        help="A sheet of two latents, a row for each --mask (default: left, top, ellipse, "
        "gradient). masks: both, the mask, their pictures mixed, they mixed; moving: they mixed "
        "while the mask moves.",
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
    mask: Mask = None,
    smooth: Smooth = None,
    keep_colour: KeepColour = False,
    style_share: StyleShare = None,
    canvas: Canvas = None,
    offset: Offset = None,
    figure: FigureOption = None,
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

    Takes latents of one network and gives latents; pictures where the output names pictures.
    Latents of different spaces meet in the smallest one that keeps all of their pictures. The key
    of a mix is a+b.

    $ gantools mix a.safetensors b.safetensors --at 0.3 -o ab.png

    $ gantools mix pose.safetensors colours.safetensors --layers 6-9 -o mixed.safetensors

    $ gantools mix a.safetensors b.safetensors --mask ellipse --smooth 0.02,0.1 -o inside.png

    $ gantools project four/ --space fnsw+5 | gantools mix --canvas 52x16 -o wide.png

    $ gantools generate --seeds 1-4 --space w | gantools mix --frames 120 -o walk.mp4
    """
    report.begin("mix", quiet=quiet)
    from gantools.io.sink import open_sink

    def opened() -> Network:
        from gantools.networks.network import open_network

        options.set_threads(threads)
        return open_network(net, device=options.pick_device(device), dtype=dtype)

    overlay = _overlay.Overlay.of(mask, smooth, keep_colour, style_share, canvas, offset)
    file = _latents.NetworkFile(net)
    wanted = _mixing.Wanted.of(at, layers, arc, frames, file, overlay, opened)
    if figure is not None:
        from gantools.commands import _mix_figures

        wanted = _mix_figures.with_masks(wanted)
        with open_sink(output, own="image", no_clobber=no_clobber) as sink:
            if sink.wanted(figure):
                sink.put_frame(
                    figure, *_mix_figures.figure(figure, wanted, _latents.read(operands))
                )
        return
    with open_sink(output, own="latent", no_clobber=no_clobber) as sink:
        mixed = wanted.run(_latents.read(operands))
        _latents.write(
            sink, mixed, net=net, batch=batch, device=device, dtype=dtype, threads=threads
        )
