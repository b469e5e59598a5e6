"""What the testbeds' commands share: their options, presets, pictures and the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from gantools import options, report
from gantools.commands.spectrum_toyset import Kind, draws, squares
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class Preset(StrEnum):
    """The paper's settings, or some for a CPU."""

    small = "small"
    paper = "paper"


PresetOption = Annotated[
    Preset,
    typer.Option(
        "--preset",
        help="What --num, --size, --steps, --every and --divisor are where they are not given. "
        "paper: 10 pictures of 64 pixels, 100,000 steps, the paper's channels; small: 4 of 32 "
        "pixels and 1,000 steps (discriminators: 16 and 3,000), narrow networks, minutes on a CPU.",
    ),
]
ToysetOption = Annotated[
    Kind | None,
    typer.Option(
        "--toyset",
        help="Which drawn pictures, as spectrum toyset makes them. Default: official, those of "
        "the paper's tables.",
        show_default=False,
    ),
]
Numbers = Annotated[
    str | None,
    typer.Option(
        "--num",
        metavar="N,...",
        help="How many pictures are learned; of several numbers (1,5,10 or 1-3), each "
        "configuration with each.",
        show_default=False,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size", metavar="N", help="Pixels along a side: 8, 16, 32 … 512.", show_default=False
    ),
]
Steps = Annotated[
    str | None,
    typer.Option(
        "--steps", metavar="N", help="Iterations, such as 2000 or 100k.", show_default=False
    ),
]
Every = Annotated[
    str | None,
    typer.Option(
        "--every",
        metavar="N",
        help="Iterations from one measurement to the next.",
        show_default=False,
    ),
]
Divisor = Annotated[
    float | None,
    typer.Option(
        "--divisor",
        metavar="X",
        min=1,
        max=512,
        callback=options.finite,
        help="PGGAN's channels are divided by it: 8 in the paper.",
        show_default=False,
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        metavar="X",
        callback=options.finite,
        help="Adam's rate, of the network. Default: 0.001.",
        show_default=False,
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="RUN/: a folder for state, log, table (results.json) and figures; in its pictures.png "
        "the real pictures, below them a row for each line of the table. The same command again "
        "goes on from there. x.json, x.tsv, - for the table, x.png, x.svg, x.pdf for the evolution "
        "of the spectra's errors. Repeatable.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Settings:
    """A preset."""

    size: int
    divisor: float
    num: int
    steps: int
    every: int
    lr: float


@dataclass(frozen=True)
class Asked:
    """What both commands' flags say."""

    preset: Preset
    pictures: list[str] | None
    num: str | None
    toyset: Kind | None
    size: int | None
    steps: str | None
    every: str | None
    divisor: float | None
    lr: float | None
    padding: Literal["zeros", "reflect"]
    seed: int
    device: str
    threads: int
    json: bool
    output: list[str] | None

    def settings(self, preset: Settings) -> Settings:
        """The preset's with what was given; Usage for what cannot be."""
        size = preset.size if self.size is None else self.size
        if size not in {8 << i for i in range(7)}:
            raise Usage(f"--size {size}: a power of two from 8 to 512 is needed")
        lr = preset.lr if self.lr is None else self.lr
        if lr <= 0:
            raise Usage(f"--lr {lr:g}: a number above 0 is needed")
        return Settings(
            size,
            preset.divisor if self.divisor is None else self.divisor,
            max(self.numbers(preset)),
            _amount(self.steps, "--steps", preset.steps),
            _amount(self.every, "--every", preset.every),
            lr,
        )

    def numbers(self, preset: Settings) -> list[int]:
        """How many pictures, each number once, in order."""
        if self.num is None:
            return [preset.num]
        found = sorted(set(options.parse_ranges(self.num, "--num")))
        if not 0 < found[0] <= found[-1] <= 10_000:
            raise Usage(f"--num {self.num}: numbers from 1 to 10,000 are needed")
        return found

    def folder(self) -> Path | None:
        """The run folder, if one is named."""
        found = [name for name in self.output or [] if _is_folder(name)]
        if len(found) > 1:
            raise Usage(f"-o {found[1]}: a second run folder beside {found[0]}")
        given = {Path(name).resolve() for name in self.pictures or [] if name != "-"}
        if found and Path(found[0]).resolve() in given:
            raise Usage(f"-o {found[0]}: the pictures to learn are there; name another run folder")
        return Path(found[0]) if found else None

    def files(self) -> list[str]:
        """The other outputs; Usage, before any work, for one that is none."""
        from gantools.io import results

        files = [name for name in self.output or [] if not _is_folder(name)]
        results.check(files, plots=True)
        return files


def _is_folder(name: str) -> bool:
    path = Path(name)
    return name != "-" and (name.endswith("/") or path.is_dir() or not path.suffix)


def _amount(text: str | None, what: str, usual: int) -> int:
    return usual if text is None else options.parse_amount(text, what)


def words(text: str, what: str, known: Sequence[T]) -> list[T]:
    """`avg,mlp` as a list of those that are known, each once; Usage for others."""
    by_name = {str(word): word for word in known}
    given = [word.strip() for word in text.split(",")]
    for word in given:
        if word not in by_name:
            raise Usage(f"{what} {text}: {word or 'an empty word'} is none of {', '.join(by_name)}")
    return [by_name[word] for word in dict.fromkeys(given)]


@dataclass
class Wanted:
    """The pictures to learn, uint8 [N, size, size, 3], and what is told of them."""

    pixels: np.ndarray
    story: dict[str, Any]


def wanted(asked: Asked, size: int, num: int) -> Wanted:
    """The first `num` of the pictures that were named, or of the Toyset; Usage for too few."""
    import hashlib
    from itertools import islice

    import numpy as np

    if asked.pictures and asked.toyset is not None:
        raise Usage("--toyset is for drawn pictures: leave it or the pictures out")
    kind = asked.toyset or Kind.official
    source = squares(asked.pictures, size) if asked.pictures else draws(kind, size, asked.seed)
    found: list[np.ndarray] = []
    for picture in source:
        try:
            found.append(picture.make())
        except SampleError as e:
            report.failed(picture.name, e)
        if len(found) == num:
            break
    if not found:
        raise Usage("no picture could be read")
    if len(found) < num:
        raise Usage(f"--num {num}: there are only {len(found)} pictures; name more, or lower it")
    pixels = np.stack(found)
    told: dict[str, Any] = {"pictures": f"toyset {kind.value}"}
    if asked.pictures:
        told = {"pictures": [Path(name).name for name in islice(asked.pictures, 8)]}
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    return Wanted(pixels, {**told, "sha256": digest})
