"""Operands and options that the comparisons of two sets share (fid, kid, pr)."""

from __future__ import annotations

from typing import Annotated

import typer

from gantools import options

Real = Annotated[
    str,
    typer.Argument(
        metavar="REAL",
        help="The real pictures: a folder, a tar or zip archive, - for a stream; or an .npz or "
        ".safetensors file with an array `features` [N, D].",
    ),
]
Fake = Annotated[
    str | None,
    typer.Argument(
        metavar="[FAKE]",
        help="The generated pictures, in the same forms, or latents. Without it: --num pictures "
        "of the network of --net.",
        show_default=False,
    ),
]
Fakes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FAKE]...",
        help="The generated pictures, in the same forms, or latents; or statistics, of any number "
        "of parts. Without it: --num pictures of the network of --net.",
        show_default=False,
    ),
]
Features = Annotated[
    str,
    typer.Option(
        "--features",
        metavar="NAME|FILE",
        help="The network that sees the pictures: inception (published figures use it), "
        "mobilenet, vgg16 (published precision and recall), discriminator (of --net), or a network "
        "file, whose discriminator it is. Nothing replaces one whose weights are missing: gantools "
        "model fetch NAME.",
    ),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=2,
        help="Pictures that the network makes where there is no FAKE. Default: 50000.",
        show_default=False,
    ),
]
Pictures = Annotated[
    str | None,
    typer.Argument(
        metavar="[PICTURES]",
        help="A folder, a tar or zip archive, - for a stream; or latents. Without it: --num "
        "pictures of the network of --net.",
        show_default=False,
    ),
]
Psi = Annotated[
    float | None,
    typer.Option(
        "--psi",
        metavar="PSI",
        callback=options.finite,
        help="Their truncation. Default: 1. (Latents say their own.)",
        show_default=False,
    ),
]
Mirror = Annotated[
    bool,
    typer.Option(
        "--mirror", help="Count every REAL picture a second time, mirrored, as training does."
    ),
]
Splits = Annotated[
    int,
    typer.Option(
        "--splits",
        metavar="K",
        min=0,
        help="Add a 95 % interval from K parts of each set; 0 leaves it out.",
    ),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        help="Compute all features now. Otherwise those of files that were seen before are read "
        "from $XDG_CACHE_HOME/gantools, the same to the bit, and new ones are kept there.",
    ),
]
Snapshots = Annotated[
    str | None,
    typer.Option(
        "--snapshots",
        metavar="RUN",
        help="Measure every network-*.safetensors (or .pkl) of this run folder against REAL, "
        "--num pictures of each, and name the best, the earliest of equal ones.",
        show_default=False,
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Where the result goes: x.json, x.tsv, - for standard output; with --snapshots also "
        "a curve: x.png, x.svg, x.pdf. Repeatable.",
        show_default=False,
    ),
]
