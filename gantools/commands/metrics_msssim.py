"""gantools metrics msssim: how alike random pairs of one set are (S1.19)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import __version__, options, report
from gantools.commands import _pairs, _sets
from gantools.commands import _set_options as given
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.commands._pairs import Pair
    from gantools.evaluation.features import Picture

Pictures = Annotated[
    str | None,
    typer.Argument(
        metavar="[PICTURES]",
        help="A folder, a tar or zip archive, - for a stream; or latents. Without it: pictures of "
        "the network of --net.",
        show_default=False,
    ),
]
Pairs = Annotated[
    int,
    typer.Option(
        "--pairs",
        metavar="N",
        min=1,
        help="Random pairs, each picture in one of them; fewer where there are fewer pictures. "
        "The network makes 2 N pictures.",
    ),
]
SHOWN = 8  # most alike pairs on a plot


def msssim(
    pictures: Pictures = None,
    *,
    pairs: Pairs = 10_000,
    net: options.Net = None,
    psi: given.Psi = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    json: options.Json = False,
    output: options.PlotOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """How alike the pictures of one set are: the mean MS-SSIM of random pairs.

    0 for pictures that have nothing in common, 1 for copies: a generator that makes less variety
    than its set has a higher msssim than the set. With a 95 % bootstrap interval. Pairs follow from
    the seed and the pictures' keys. A plot has the histogram and the most alike pairs.

    $ gantools metrics msssim --net faces64 --json

    $ gantools metrics msssim photos/ --pairs 1000 -o alike.png
    """
    report.begin("metrics msssim", quiet=quiet)
    from gantools.io import results

    results.check(output, plots=True)
    if pictures is not None and psi is not None:
        raise Usage("--psi is for pictures that the network makes: leave PICTURES out")
    _sets.check_operands(pictures)
    asked = _sets.Drawn(
        net=net,
        given_num=2 * pairs,
        given_psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        threads=threads,
    )
    options.set_threads(threads)
    import numpy as np

    from gantools.evaluation import bootstrap, plots, reconstruction

    source = _source(pictures, asked)
    plotted = SHOWN if any(results.is_plot(out) for out in output or []) else 0
    values, shown = _measured(_paired(_sets.sized(source)), asked, plotted)
    if not values:
        raise Usage("no pair could be measured: two pictures of one size are needed")
    found: dict[str, Any] = bootstrap.summary("msssim", np.array(values), seed)
    protocol = {**source.story, "pairs": len(values), "seed": seed}
    protocol |= {"msssim": reconstruction.PROTOCOL["msssim"], "quantisation": _sets.QUANTISATION}
    protocol |= {
        "interval": f"{bootstrap.NAMED} of the pairs",
        "version": f"gantools {__version__}",
    }
    results.write(
        {**found, "protocol": protocol},
        output,
        as_json=json,
        plot=lambda kind: plots.of_pairs({"msssim": values}, shown, "the most alike pairs", kind),
    )


def _source(operand: str | None, asked: _sets.Drawn) -> _sets.Source:
    """Pictures in an order by chance, so that neighbours are random pairs."""
    from gantools.io.source import samples

    source = _sets.open_source(operand, asked, keyed=True)
    if operand is not None:
        chosen = _pairs.shuffled(samples([operand]), asked.num, asked.seed, "pairs")
        source.pictures, source.total = _sets.pictures_of(chosen, asked, keyed=True), None
    return source


def _paired(pictures: Iterable[Picture]) -> Iterator[Pair]:
    """Neighbours, two by two; pairs of two sizes are reported."""
    turns = iter(pictures)
    for (key, first), (other, second) in zip(turns, turns, strict=False):
        a, b = _pairs.in_colour(first), _pairs.in_colour(second)
        if a.shape == b.shape:
            yield f"{key}, {other}", a, b
        else:
            sizes = " and ".join(f"{x.shape[1]}x{x.shape[0]}" for x in (a, b))
            report.failed(f"{key}, {other}", f"a pair of {sizes} pixels cannot be compared")


def _measured(
    pairs: Iterable[Pair], asked: _sets.Drawn, most: int
) -> tuple[list[float], list[Pair]]:
    """MS-SSIM of every pair, and `most` of the pairs that are most alike."""
    import torch

    from gantools.ops.similarity import ms_ssim

    device = options.pick_device(asked.device)
    values: list[float] = []
    alike: list[tuple[float, Pair]] = []
    for group in _pairs.grouped(pairs, asked.batch):
        with torch.inference_mode():
            a = _pairs.stacked([first for _, first, _ in group], device)
            b = _pairs.stacked([second for _, _, second in group], device)
            found = ms_ssim(a, b).tolist()
        values += found
        alike = sorted([*alike, *zip(found, group, strict=True)], key=lambda x: (-x[0], x[1][0]))
        alike = alike[:most]
    return values, [pair for _, pair in alike]
