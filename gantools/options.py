"""Options that several commands share, each with one meaning. Only typer is imported."""

from __future__ import annotations

import math
import os
import re
from enum import StrEnum
from typing import Annotated, Any

import typer

from gantools.report import Usage


class Dtype(StrEnum):
    """Arithmetic of the upper resolutions."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


Operands = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT]...",
        help="Files, folders, tar or zip archives, known by their bytes; - is standard input.",
        show_default=False,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Where results go: a file, DIR/, DIR/{}.png, x.tar, .png (bare on standard output), "
        "- or nothing for a stream. See gantools-stream(5).",
        show_default=False,
    ),
]
TextOutputs = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Where the result goes: x.json, x.tsv, or - for standard output. Repeatable.",
        show_default=False,
    ),
]
PlotOutputs = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Where the result goes: x.json, x.tsv, - for standard output, or a plot of it: x.png, "
        "x.svg, x.pdf. Repeatable.",
        show_default=False,
    ),
]
Net = Annotated[
    str | None,
    typer.Option(
        "--net",
        metavar="FILE|NAME",
        help="The network: a file of any supported project, or a name from `gantools model list`. "
        "Without it: $GANTOOLS_NET, else the network inside the package.",
        show_default=False,
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", metavar="N", help="Every random choice follows from it and the key."),
]
Batch = Annotated[
    int,
    typer.Option(
        "--batch", metavar="N", min=1, help="Samples computed at once; no result changes."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="DEV", help="auto (a GPU if there is one), cpu, cuda, cuda:1, mps."
    ),
]
DtypeOption = Annotated[
    Dtype, typer.Option("--dtype", help="Arithmetic of the upper resolutions; fp32 is exact.")
]
Threads = Annotated[
    int,
    typer.Option("--threads", metavar="N", min=0, help="CPU threads; 0 leaves it to the library."),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Only the samples whose index is I modulo N, counted from 0.",
        show_default=False,
    ),
]
NoClobber = Annotated[
    bool, typer.Option("--no-clobber", help="Skip, before any work, what already exists.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No remarks and no progress on stderr.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="FILE.csv",
        help="Labels: first column the key, with or without suffix; a header line.",
        show_default=False,
    ),
]


def number(flag: str, metavar: str | None, help: str, **limits: Any) -> Any:
    """An option without a default of its own."""
    return typer.Option(flag, metavar=metavar, help=help, show_default=False, **limits)


def weight(flag: str, text: str) -> Any:
    """An option of a loss's weight."""
    return number(flag, "X", text, min=0.0, callback=finite)


def finite(value: float | None) -> float | None:
    """A typer callback: nan and inf, which pass for numbers and for any `min`, are refused."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
MOST_NUMBERS = 100_000_000


def parse_ranges(text: str, what: str = "--seeds") -> list[int]:
    """`0,3-9` as a list of integers; Usage for anything else, `5-1` included."""
    numbers: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if not found:
            raise Usage(f"{what} {text}: expected numbers and ranges such as 0,3-9")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise Usage(f"{what} {text}: the range {part.strip()} runs backwards")
        if last - first + len(numbers) >= MOST_NUMBERS:
            raise Usage(f"{what} {text}: more than {MOST_NUMBERS:,} numbers")
        numbers.extend(range(first, last + 1))
    return numbers


def parse_layers(text: str | None, count: int, what: str = "--layers") -> list[int] | None:
    """Layer numbers `0-7`, 0-based as in NVIDIA's tools; Usage beyond the network's `count`."""
    if text is None:
        return None
    layers = sorted(set(parse_ranges(text, what)))
    if layers[-1] >= count:
        raise Usage(f"{what} {text}: the network has layers 0-{count - 1}")
    return layers


LARGEST = 1 << 16  # pixels along a side that anybody means


def parse_size(text: str, what: str) -> tuple[int, int]:
    """(height, width) of `64` or `64x96`; Usage for anything else."""
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text.strip())
    height, width = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 0 < height <= LARGEST or not 0 < width <= LARGEST:
        raise Usage(f"{what} {text}: expected a number such as 64, or HEIGHTxWIDTH")
    return height, width


_UNITS = {"": 1, "k": 1000, "M": 1_000_000, "m": 1_000_000, "K": 1000}


def parse_amount(text: str, what: str) -> int:
    """`25M`, `2k`, `1.5k` or `300` as an integer above 0."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text.strip())
    value = round(float(found[1]) * _UNITS[found[2]]) if found else 0
    if value < 1:
        raise Usage(f"{what} {text}: expected an amount above 0 such as 300, 2k or 25M")
    return value


def pick_device(name: str) -> str:
    """`auto` and device names as torch knows them; Usage where the device is not there."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if name == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun's: a GPU for each process
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # meta makes tensors, but holds no numbers
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as e:
        why = re.split(r"[.]\s|\n", str(e))[0]
        raise Usage(f"--device {name}: not available here ({why})") from None
    return str(device)


def set_threads(threads: int) -> None:
    """--threads for torch; 0 keeps the library's choice."""
    if threads:
        import torch

        torch.set_num_threads(threads)
