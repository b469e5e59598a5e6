"""The options of `prefilter` (S0.2-S0.5, S1.15-S1.17)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gantools import options


class Framing(StrEnum):
    """How a face is cut out."""

    facenet = "facenet"
    celebahq = "celebahq"
    ffhq = "ffhq"
    network = "network"
    celeba = "celeba"
    square = "square"
    pad = "pad"


class Which(StrEnum):
    """Which face, where there are several."""

    largest_centred = "largest-centred"
    largest = "largest"
    all = "all"


class Mtcnn(StrEnum):
    """Whose detector."""

    facenet_pytorch = "facenet-pytorch"
    facenet = "facenet"


class Alpha(StrEnum):
    """What becomes of transparency."""

    white = "white"
    keep = "keep"


class Packing(StrEnum):
    """One data set of all crops."""

    zip = "zip"
    tar = "tar"
    tfrecord = "tfrecord"


MIN_SCORE, MIN_FACE = 0, 20

Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="PX",
        min=1,
        max=8192,
        help="Side of the pictures made. Default: 256; with --crop celeba 128, with pad 32.",
        show_default=False,
    ),
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
        help="facenet: the box and its margin, stretched to a square. celebahq, ffhq: a square "
        "turned with the face, and what lies outside the picture mirrored, blurred and faded, as "
        "these sets were made (celebahq enlarges small faces with Lanczos first). network: the "
        "framing of --net's training pictures. No face is looked for with celeba (the 128x128 px "
        "about (89, 121) of CelebA's aligned pictures, 178x218), square (the largest centred, as "
        "LSUN's) and pad (all of the picture, black around it up to --size, as MNIST's).",
    ),
]
Select = Annotated[
    Which,
    typer.Option(
        "--select",
        help="Of several faces: largest-centred (area - 2 distance² is largest), largest, or "
        "all: each of them, as key/0, key/1 and on.",
    ),
]
Detection = Annotated[
    Mtcnn,
    typer.Option(
        "--mtcnn",
        help="Whose rules, on the same weights. facenet-pytorch: the detector that most use, and "
        "what the packaged network's framing was measured with. facenet: the TensorFlow original "
        "(pyramid, borders, suppression), for the crops of data sets made with it; the two differ "
        "by a few px, and by up to 38 at the picture's edge.",
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
AlphaOption = Annotated[
    Alpha,
    typer.Option(
        "--alpha",
        help="white: what is transparent is white. keep: all crops have alpha (what is whole is "
        "opaque, around --crop pad it is transparent), for `train --channels 4`; faces are still "
        "looked for on white.",
    ),
]
First = Annotated[
    str | None,
    typer.Option(
        "--first",
        metavar="N",
        help="Look at the first N pictures only, such as 100k (of LSUN's categories).",
        show_default=False,
    ),
]
Keep = Annotated[
    int | None,
    typer.Option(
        "--keep",
        metavar="N",
        min=1,
        help="Only the N best crops of the run, by the breadth and the symmetry of their spectra "
        "(blur, stripes and blocks score low). They wait in $TMPDIR and are written at the end.",
        show_default=False,
    ),
]
Pack = Annotated[
    Packing | None,
    typer.Option(
        "--pack",
        help="Write one data set instead of pictures. zip (-o FILE.zip): PNGs and dataset.json, "
        "as NVIDIA's PyTorch tools read. tar (-o FOLDER/): shuffled shards of 1000. tfrecord "
        "(-o FOLDER/): shuffled, a file per resolution down to 4x4, for the TensorFlow trainers.",
        show_default=False,
    ),
]
StackRgb = Annotated[
    str | None,
    typer.Option(
        "--stack-rgb",
        metavar="N",
        help="Instead of the crops N pictures, such as 1M, each with three grey crops, drawn by "
        "--seed, in red, green and blue; keys rgb/0 and on. Of MNIST's training pictures --crop "
        "pad --seed 123 gives PGGAN's MNIST-RGB, picture by picture.",
        show_default=False,
    ),
]
Zarr = Annotated[
    bool,
    typer.Option(
        "--zarr",
        help="Instead of faces the whole pictures, however large, as arrays of one Zarr store (-o "
        "STORE.zarr), out of which `train` takes crops.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="With --pack zip or tfrecord: labels for it. CSV: first column the key, with or "
        "without suffix, then one column of classes (0, 1, ...) or any columns of numbers; a "
        "header line. Or MNIST's labels, an IDX file.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Decide and report; write no crops. -o need not be given."),
]
Report = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE.jsonl",
        help="Write every decision: a JSON object per picture, rejected and unreadable ones too, "
        "with path, key, reason, and for each face box, score, landmarks, crop and quality.",
        show_default=False,
    ),
]
MosaicFolder = Annotated[
    str | None,
    typer.Option(
        "--mosaic",
        metavar="FOLDER",
        help="Write accepted.png (crops) and rejected.png (whole pictures) there: 64 of each at "
        "most, drawn evenly by --seed.",
        show_default=False,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        max=2**32 - 1,
        help="With --mosaic: which pictures it shows; with --stack-rgb: which it draws. Default: "
        "0.",
        show_default=False,
    ),
]
