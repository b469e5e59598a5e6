"""gantools spectrum figure: the figures of paper 003 from runs of one's own (S3.31)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _set_options as given
from gantools.commands import _spectra
from gantools.report import Usage


class Which(StrEnum):
    """A figure of the paper."""

    teaser = "teaser"
    evolution = "evolution"
    spectral_loss = "spectral-loss"
    disc_spectra = "disc-spectra"
    disc_tensors = "disc-tensors"
    upsampling = "upsampling"
    num_images = "num-images"
    methods = "methods"
    fine_tune = "fine-tune"
    averages = "averages"
    samples = "samples"
    trainings = "trainings"


OF_NETWORKS = (Which.upsampling, Which.methods, Which.fine_tune, Which.averages, Which.samples)

WhichOption = Annotated[
    Which,
    typer.Option(
        "--which",
        help="The figure. Of runs of spectrum testbed: teaser (Figs 1b and 1c), evolution (Fig 2), "
        "spectral-loss (Fig 3), disc-spectra (Fig 5), disc-tensors (Fig 6), num-images (Fig 9). Of "
        "trained networks: upsampling (Fig 7), methods (section 5), fine-tune, averages, "
        "samples, trainings (supplement).",
    ),
]
Operands = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LABEL=]OPERAND...",
        help="Run folders of spectrum testbed, a row for each. teaser: runs with --num 1, or a "
        "picture, of which two small networks are trained. Of trained networks: the real pictures, "
        "then network files, run folders of train, sets of pictures, or an x.json of spectrum "
        "profile; fine-tune takes the network before and the one after. trainings: x.json files of "
        "spectrum evolution.",
        show_default=False,
    ),
]
Output = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="The figure: x.png, x.svg or x.pdf. Repeatable.",
        show_default=False,
    ),
]


def figure(
    operands: Operands = None,
    *,
    which: WhichOption,
    average: Annotated[
        _spectra.Average | None,
        typer.Option(
            "--average",
            help="Of trained networks' spectra, as in spectrum profile. Default: mean.",
            show_default=False,
        ),
    ] = None,
    num: _spectra.Num = None,
    psi: given.Psi = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    output: Output = None,
    quiet: options.Quiet = False,
) -> None:
    """A figure of paper 003 from your own runs; it trains nothing, but for the teaser of a picture.

    A label before = names a row or a line. Labels of networks are taken from their files: in
    upsampling, nearest+sd is in the panel of nearest, which is what stands before the +. A
    configuration of the paper that no run has is told with the command that makes it.

    The teaser of a picture trains a generator and a discriminator on its middle square, reduced to
    32 pixels, for 3,000 steps: about a minute of one core. The paper's own are runs of both
    testbeds with --num 1 --preset paper, the generator's with --padding reflect. samples shows 10
    pictures of each set, or --num; which seeds a network makes follows from --seed.

    $ gantools spectrum figure --which evolution Toyset=toys/ CelebA=faces/ -o fig2.png

    $ gantools spectrum figure --which teaser photo.jpg -o fig1.pdf

    $ gantools spectrum figure --which upsampling faces.zip bilinear/ bilinear-sd/ -o fig7.png

    $ gantools spectrum figure --which fine-tune faces.zip before.safetensors tuned/ -o tuned.svg
    """
    report.begin("spectrum figure", quiet=quiet)
    _check(output)
    networks = which in OF_NETWORKS
    if not networks and (average, num, psi) != (None, None, None):
        raise Usage(f"--average, --num and --psi are not for --which {which}")
    if which in (Which.averages, Which.samples) and average is not None:
        raise Usage(f"--average is not for --which {which}")
    from gantools.commands import _network_figures, _testbed_figures
    from gantools.io import results

    asked = _spectra.drawn(
        net=None,
        num=num,
        psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype,
        threads=threads,
    )
    named = [_network_figures.operand(text) for text in operands or []]
    if which is Which.trainings:
        plot = _network_figures.of_trainings(named)
    elif networks:
        plot = _network_figures.of_networks(
            which.value, named, asked, average or _spectra.Average.mean
        )
    else:
        plot = _testbed_figures.of_runs(which.value, named, asked)
    results.write({}, output, plot=plot)


def _check(outputs: list[str] | None) -> None:
    """Usage, before any work, where no figure is asked for, or something else is."""
    from gantools.io import results

    if not outputs:
        raise Usage("the figure needs a file: -o x.png, x.svg or x.pdf")
    for name in outputs:
        if not results.is_plot(name) or not Path(name).suffix:
            raise Usage(f"-o {name}: the figure goes to x.png, x.svg or x.pdf")
    results.check(outputs, plots=True)
