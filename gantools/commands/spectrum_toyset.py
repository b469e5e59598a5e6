"""gantools spectrum toyset: pictures for the testbeds of paper 003 (S3.4, S3.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from gantools import __version__, options, report
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np


class Picture(NamedTuple):
    """One picture: its key, what messages call it, and what makes it or raises SampleError."""

    key: str
    name: str
    make: Callable[[], np.ndarray]


class Kind(StrEnum):
    """What is drawn."""

    clean = "clean"
    official = "official"
    pink = "pink"


Photographs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PHOTOGRAPH]...",
        help="Photographs to take in the place of drawn pictures: their middle square, reduced to "
        "--size (Lanczos); smaller ones fail. Files, folders, archives, - for a stream.",
        show_default=False,
    ),
]
KindOption = Annotated[
    Kind | None,
    typer.Option(
        "--kind",
        help="clean: two rings of frequencies, as paper 003 says; official: as its authors' script "
        "draws them, with its folded phases, the same pixels up to a level; pink: 1/f noise. "
        "Default: clean. (The testbeds' is official, as the paper's tables have it.)",
        show_default=False,
    ),
]
Num = Annotated[
    int, typer.Option("--num", metavar="N", min=1, help="Pictures; of photographs the first N.")
]
Size = Annotated[
    int, typer.Option("--size", metavar="N", min=8, max=4096, help="Pixels along a side, even.")
]
HighPass = Annotated[
    bool,
    typer.Option(
        "--high-pass",
        help="Filter them by [[1, -1], [-1, 1]], as the high frequencies of the paper's teaser.",
    ),
]


def toyset(
    photographs: Photographs = None,
    *,
    kind: KindOption = None,
    num: Num = 100,
    size: Size = 64,
    high_pass: HighPass = False,
    seed: options.Seed = 0,
    output: options.Output = None,
    no_clobber: options.NoClobber = False,
    quiet: options.Quiet = False,
) -> None:
    """Pictures with known spectra: what a generator or a discriminator is given to learn by heart.

    Those of clean and official have two peaks of equal power, at a random 0.05 to 0.15 and 0.75 to
    0.85 of the highest frequency. Photographs have nearly all of theirs at low frequencies,
    filtered ones at high ones.

    $ gantools spectrum toyset -o toys/

    $ gantools spectrum toyset --kind official --num 10 | gantools spectrum profile - -o peaks.png

    $ gantools spectrum toyset photo.jpg --num 1 --size 128 --high-pass -o teaser.png
    """
    report.begin("spectrum toyset", quiet=quiet)
    if size % 2:
        raise Usage(f"--size {size}: an even number is needed")
    if photographs and kind is not None:
        raise Usage("--kind is for drawn pictures: leave it or the photographs out")
    from gantools.io.sink import open_sink

    drawn = kind or Kind.clean
    args: dict[str, Any] = {"kind": drawn.value, "size": size, "seed": seed}
    if photographs:
        args = {"kind": "photograph", "size": size}
    if high_pass:
        args["high_pass"] = True
    history = [{"command": "spectrum toyset", "args": args, "version": __version__}]
    made = squares(photographs, size) if photographs else draws(drawn, size, seed)
    with open_sink(output, own="image", no_clobber=no_clobber) as sink:
        for key, name, make in report.progress(islice(made, num), total=num, unit="pictures"):
            if not sink.wanted(key):
                continue
            try:
                pixels = _filtered(make()) if high_pass else make()
                sink.put_frame(key, pixels, {"key": key, "history": history})
            except SampleError as e:
                report.failed(name, e)


def _filtered(pixels: np.ndarray) -> np.ndarray:
    from gantools.spectra.toyset import high_passed

    return high_passed(pixels)


def draws(kind: Kind, size: int, seed: int) -> Iterator[Picture]:
    """Drawn pictures without end, each of its own generator, `official` of one for all."""
    import numpy as np
    import torch

    from gantools.io.seeds import derive
    from gantools.spectra import toyset as draw

    one_by_one = draw.official(size, seed)
    for i in count():
        key = f"{kind.value}{i:06d}"
        if kind is Kind.official:
            pixels = next(one_by_one)
            yield Picture(key, key, partial(np.copy, pixels))
        else:
            make = draw.clean if kind is Kind.clean else draw.pink
            own = torch.Generator().manual_seed(derive(seed, key))
            yield Picture(key, key, partial(make, size, own))


def squares(operands: list[str], size: int) -> Iterator[Picture]:
    """The middle squares of photographs; one that would have to be enlarged fails."""
    from gantools.io.source import samples

    for sample in samples(operands, kinds=("image",)):
        yield Picture(sample.key, sample.name, partial(_square, sample.data, size))


def _square(data: bytes, size: int) -> np.ndarray:
    from gantools.faces.centre import centred
    from gantools.io.image import decode

    pixels = decode(data)
    height, width = pixels.shape[:2]
    if min(height, width) < size:
        raise SampleError(
            f"{width}x{height} pixels: too small for {size}x{size}; enlarged it would lack what is "
            "studied here, high frequencies"
        )
    return centred(pixels, (size, size))[0]
