"""The sheets of project: photographs above what methods make of them (papers.md S4.22)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gantools import report
from gantools.commands._film import Film
from gantools.commands._project import projected, rendered
from gantools.commands._project_items import Item, framed, started
from gantools.commands._project_setup import USUAL, Given, Setup, Wishes
from gantools.inversion.areas import NAMES, Kind, areas_of
from gantools.inversion.project import to_tensor
from gantools.latents import figures
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.latent import Latent
    from gantools.io.sample import Sample
    from gantools.io.sink import Sink


@dataclass
class Variant:
    """One row of a sheet: what it is asked for, and what is said of it beside its method."""

    wishes: Wishes
    how: str = ""


def variants(figure: str, wishes: Wishes) -> list[Variant]:
    """The rows that the command line names, the photographs' own aside.

    Every method with every encoder of --init, both comma-separated; ssim: each without the term and
    with it (Fig 12). Usage for flags that have no place on a sheet.
    """
    from gantools.inversion.methods import ONE_PASS

    if wishes.paste is not None or wishes.tune or wishes.filmed or wishes.size or wishes.lossy:
        raise Usage(
            "--figure has no place for --paste, --tune, --progress-video, --size and --lossy"
        )
    methods = [None] if wishes.method is None else wishes.method.split(",")
    inits = [None] if wishes.init is None else wishes.init.split(",")
    found = []
    for method in methods:
        own = replace(wishes, method=method)
        if method in ONE_PASS and len(methods) > 1:  # what the others are asked for
            own = replace(own, changes={}, perceptual=None)
        for init in inits:
            how = "" if init is None else f" from {Path(init).name}"
            found.append(Variant(replace(own, init=init), how))
    return _with_ssim(found) if figure == "ssim" else found


def _with_ssim(of: Sequence[Variant]) -> list[Variant]:
    from gantools.inversion.methods import METHODS

    pairs = []
    for row in of:
        name = row.wishes.method or USUAL
        weight = row.wishes.changes.get("ssim", METHODS[name].ssim)
        if not weight:
            raise Usage(
                f"--figure ssim: --method {name} has no such term: take dse-finetune, or give "
                "--ssim-weight"
            )
        less = replace(row.wishes, changes={**row.wishes.changes, "ssim": 0.0})
        pairs += [Variant(less, f"{row.how} without SSIM"), row]
    return pairs


def put(
    figure: str,
    rows: Sequence[Variant],
    given: Given,
    samples: Iterable[Sample],
    sink: Sink,
    tsa: Kind,
) -> None:
    """Write the sheet: a column for each photograph, its own row above those of the variants.

    areas: three such blocks, of the whole, AT1 and AT2 (Figs 2, 3 and 10). A photograph that one of
    them fails on has its line and no column. Usage where there is nothing to show.
    """
    if not sink.wanted(figure):
        return
    setups = [Setup(row.wishes, given) for row in rows]
    for setup in setups:
        _ = setup.encoding or setup.projector  # what cannot be is said before any work
    network = setups[0].network
    look = areas_of(network, tsa) if figure == "areas" else None
    items = list(_framed(setups[0], samples))
    made = [_made(setup, items) for setup in setups]
    columns = [n for n, one in enumerate(zip(*made, strict=True)) if None not in one]
    if not columns:
        raise Usage(f"--figure {figure}: there is no picture to show")
    shown = [items[n] for n in columns]
    found = [[one for n in columns if (one := row[n])] for row in made]
    sheet = [[network.pixels(to_tensor([item.pixels], network))[0] for item in shown]]
    sheet += [[one.pixels for one in row] for row in found]
    called = [setup.name + row.how for setup, row in zip(setups, rows, strict=True)]
    names = ["original", *called]
    told = [name + _decibels(of) for name, of in zip(called, found, strict=True)]
    report.note(f"rows: {names[0]}; " + "; ".join(told))
    if look is not None:
        parts = [[look(picture) for picture in row] for row in sheet]
        sheet = [[three[scale] for three in row] for scale in range(len(NAMES)) for row in parts]
        names = [f"{area} of {name}" for area in NAMES for name in names]
    args = {"figure": figure, **({"tsa": tsa} if look else {}), "seed": rows[0].wishes.seed}
    for row in rows:
        args |= row.wishes.changes
    cells = [item.key for _ in sheet for item in shown]
    story = figures.story("project", figure, len(shown), cells, args, network.story())
    pixels = figures.sheet([cell for row in sheet for cell in row], len(shown))
    sink.put_frame(figure, pixels, {**story, "rows": names})


@dataclass
class Reconstruction:
    """What a method made of a picture: uint8 [H, W, C], and the PSNR in its header."""

    pixels: np.ndarray
    psnr: float | None


def _framed(setup: Setup, samples: Iterable[Sample]) -> Iterator[Item]:
    for sample in samples:
        try:
            yield framed(setup, sample)
        except SampleError as e:
            report.failed(sample.name, e)


def _made(setup: Setup, items: Sequence[Item]) -> list[Reconstruction | None]:
    """What the method makes of each picture; a line and None where it fails."""
    most = 1 if setup.method.latent else setup.wishes.batch
    found: list[Reconstruction | None] = [None] * len(items)
    for first in range(0, len(items), most):
        ready: dict[int, Item] = {}
        for n in range(first, min(first + most, len(items))):
            try:
                ready[n] = started(setup, items[n])
            except SampleError as e:
                report.failed(items[n].name, e)
        for n, latent in _latents(setup, ready):
            psnr = latent.header["projection"]["psnr"]
            found[n] = Reconstruction(rendered(setup, latent), psnr)
    return found


def _latents(setup: Setup, ready: dict[int, Item]) -> Iterator[tuple[int, Latent]]:
    pairs = projected(setup, list(ready.values()), Film(None)) if ready else iter(())
    for item, latent in pairs:
        yield next(n for n, own in ready.items() if own is item), latent


def _decibels(row: Sequence[Reconstruction]) -> str:
    """The mean PSNR of a row, where every picture has one."""
    known = [one.psnr for one in row if one.psnr is not None]
    return f" {sum(known) / len(known):.2f} dB" if len(known) == len(row) else ""
