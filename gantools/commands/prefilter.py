"""gantools prefilter: pictures in, faces found, judged and cut out (papers.md S0.2-S0.4, S1.16)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import options, report
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.faces.judge import Rules


class Framing(StrEnum):
    """How a face is cut out."""

    facenet = "facenet"
    celebahq = "celebahq"
    network = "network"


class Which(StrEnum):
    """Which face, where there are several."""

    one = "one"
    largest = "largest"
    all = "all"


Size = Annotated[
    int, typer.Option("--size", metavar="PX", min=1, max=8192, help="Side of the pictures made.")
]
Margin = Annotated[
    float | None,
    typer.Option(
        "--margin",
        metavar="PX",
        min=0,
        callback=options.finite,
        help="With --crop facenet: added to the face's box, in all per axis, in px of the input. "
        "Default: 50.",
        show_default=False,
    ),
]
Crop = Annotated[
    Framing,
    typer.Option(
        "--crop",
        help="facenet: the box and its margin, stretched to a square. celebahq: a square turned "
        "with the face, as CelebA-HQ was made. network: the framing of --net's training pictures.",
    ),
]
Faces = Annotated[
    Which,
    typer.Option(
        "--faces",
        help="one: large and central (area - 2 distance² is largest). largest. "
        "all: each of them, as key/0, key/1 and on.",
    ),
]
MinScore = Annotated[
    float,
    typer.Option(
        "--min-score",
        metavar="P",
        min=0,
        max=1,
        callback=options.finite,
        help="Reject faces that score less.",
    ),
]
MinFace = Annotated[
    int,
    typer.Option("--min-face", metavar="PX", min=12, help="Side of the smallest face looked for."),
]
Report = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE.jsonl",
        help="Write every decision: a JSON object per picture, rejected and unreadable ones too.",
        show_default=False,
    ),
]


def prefilter(
    operands: options.Operands = None,
    *,
    size: Size = 256,
    margin: Margin = None,
    crop: Crop = Framing.facenet,
    faces: Faces = Which.one,
    min_score: MinScore = 0,
    min_face: MinFace = 20,
    report_to: Report = None,
    output: options.Output = None,
    net: options.Net = None,
    batch: options.Batch = 16,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    shard: options.Shard = None,
    no_clobber: options.NoClobber = False,
    quiet: options.Quiet = False,
) -> None:
    """Find faces (MTCNN), reject pictures without one, cut the others out as square pictures.

    A rejected picture is no failure. A picture that cannot be read is one: it is named, and the
    rest is done.

    $ gantools prefilter photos/ -o faces/ --report decisions.jsonl

    $ gantools prefilter photos.tar --crop network --size 64 | gantools project -o latents/
    """
    report.begin("prefilter", quiet=quiet)
    if net is not None and crop is not Framing.network:
        raise Usage("--net says how to cut faces out only with --crop network")
    if margin is not None and crop is not Framing.facenet:
        raise Usage("--margin is facenet's; the other crops follow the landmarks")
    from gantools.commands._prefilter import Ledger, Run
    from gantools.io.sink import open_sink
    from gantools.io.source import parse_shard

    parse_shard(shard)
    sink = open_sink(output, own="image", no_clobber=no_clobber)
    rules = _rules(crop, faces, size, 50 if margin is None else margin, min_score, min_face, net)
    options.set_threads(threads)
    device = options.pick_device(device)
    with sink, Ledger(report_to, keep=no_clobber) as ledger:
        Run(sink, ledger, rules, device).over(operands, shard, batch)
    report.note(ledger.summary())


def _rules(
    crop: Framing,
    faces: Which,
    size: int,
    margin: float,
    min_score: float,
    min_face: int,
    net: str | None,
) -> Rules:
    from gantools.faces.judge import Rules

    framing = _framing_of(net) if crop is Framing.network else None
    return Rules(crop.value, size, margin, faces.value, min_score, min_face, framing)


def _framing_of(net: str | None) -> dict[str, Any]:
    """`crop` of the network's training pictures. Usage for a network that does not say."""
    from gantools.io import network

    path = network.find(net)
    header = network.header(path) or network.load(path).meta
    framing = header.get("crop")
    if not framing:
        raise Usage(f"--crop network: {path.name} does not say where its pictures have the face")
    return dict(framing)
