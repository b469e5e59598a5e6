"""spectrum figure of testbeds: runs from their folders, the teaser of a picture (S3.31)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gantools import options, report
from gantools.commands import _sources
from gantools.commands._network_figures import Operand
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.results import Plot
    from gantools.spectra.testbed import Bed
    from gantools.spectra.testbed_folder import Run

TESTBED = "gantools spectrum testbed"
RUN_MADE = {
    "evolution": f"{TESTBED} generator [PICTURES] -o RUN/",
    "spectral-loss": f"{TESTBED} generator [PICTURES] --spectral-loss both -o RUN/",
    "disc-spectra": f"{TESTBED} discriminator [PICTURES] -o RUN/",
    "disc-tensors": f"{TESTBED} discriminator [PICTURES] -o RUN/",
    "num-images": f"{TESTBED} generator|discriminator [PICTURES] --num 1,5,10 -o RUN/",
    "teaser": f"{TESTBED} generator|discriminator PICTURE --num 1 -o RUN/",
}
"""The command whose runs a figure is made of."""

PANELS = {
    "evolution": ("bilinear", "nearest", "zeros", "reshape"),
    "spectral-loss": ("bilinear", "nearest", "zeros", "reshape"),
    "disc-spectra": ("avg", "blurpool", "stride", "mlp"),
    "disc-tensors": ("avg", "blurpool", "stride", "mlp"),
}
"""Those of the paper."""

TEASER_SIZE, TEASER_DIVISOR = 32, 16.0
TEASER_STEPS, TEASER_EVERY = 3000, 100


def of_runs(which: str, operands: Sequence[Operand], asked: _sources.Drawn) -> Plot:
    """The plot of a figure that is made of testbeds' runs; Usage where one is missing."""
    from gantools.spectra import figures

    if not operands:
        picture = "a picture, or " if which == "teaser" else ""
        raise Usage(f"--which {which}: name {picture}a run of {RUN_MADE[which]}")
    figure_of = {
        "evolution": figures.evolution,
        "spectral-loss": figures.spectral_loss,
        "num-images": figures.num_images,
        "disc-spectra": figures.disc_spectra,
        "disc-tensors": figures.disc_tensors,
        "teaser": figures.teaser,
    }
    if which == "teaser" and not any(map(_is_run, operands)):
        runs = _teaser(operands, asked)
    else:
        runs = [_run(which, one) for one in operands]
    plot = figure_of[which](runs)
    absent = figures.absent(runs, PANELS.get(which, ()))
    if absent:
        flag = "--upsample" if runs[0].testbed == "generator" else "--discriminator"
        report.note(
            f"no run has {', '.join(absent)}, which the paper has too: {TESTBED} "
            f"{runs[0].testbed} {flag} {','.join(absent)} -o RUN/"
        )
    return plot


def _is_run(one: Operand) -> bool:
    from gantools.spectra.testbed_folder import TABLE

    return (Path(one.path) / TABLE).is_file()


def _run(which: str, one: Operand) -> Run:
    from gantools.spectra.testbed_folder import read

    if not Path(one.path).is_dir():
        raise Usage(f"{one.path}: no such run folder; {RUN_MADE[which]} makes one")
    if not _is_run(one):
        raise Usage(f"{one.path}: no run of spectrum testbed; {RUN_MADE[which]} makes one")
    return read(Path(one.path), one.name)


def _teaser(operands: Sequence[Operand], asked: _sources.Drawn) -> list[Run]:
    """Both testbeds with one picture: a minute of a CPU (Figs 1b and 1c)."""
    import torch

    from gantools.spectra import discriminator_testbed as taught
    from gantools.spectra import generator_testbed as made
    from gantools.spectra.testbed import Shape

    for one in operands:
        if not one.path.startswith("example:"):
            _sources.exists(one.path)
    device = options.pick_device(asked.device)
    pixels = _picture([one.path for one in operands])
    target = (
        torch.from_numpy(pixels.copy())[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    ).contiguous()
    target = target.to(device)
    shape = Shape(TEASER_SIZE, TEASER_DIVISOR, "reflect")
    g = made.GeneratorBed(
        made.GeneratorSetup("bilinear", False, 1), target, shape, lr=1e-3, seed=asked.seed
    )
    d = taught.DiscriminatorBed(
        taught.DiscriminatorSetup("blurpool", "none", 1),
        target,
        Shape(TEASER_SIZE, TEASER_DIVISOR),
        lr=1e-3,
        tensor_lr=1e-2,
        seed=asked.seed,
    )
    return _trained([g, d])


def _picture(operands: list[str]) -> np.ndarray:
    """The first of the pictures, its middle square of the teaser's size."""
    from gantools.commands.spectrum_toyset import squares

    for picture in squares(operands, TEASER_SIZE):
        try:
            return picture.make()
        except SampleError as e:
            report.failed(picture.name, e)
    raise Usage("--which teaser: no picture could be read")


def _trained(beds: Sequence[Bed]) -> list[Run]:
    from gantools.ops.spectrum import frequencies
    from gantools.spectra import testbed_folder
    from gantools.spectra import testbed_results as tell
    from gantools.spectra.testbed_run import Job, train

    report.note(f"trains two networks for {TEASER_STEPS:,} steps, about a minute of one core")
    at = frequencies(TEASER_SIZE, TEASER_SIZE)
    courses = train(beds, Job(None, TEASER_STEPS, TEASER_EVERY, {}))
    return [
        testbed_folder.of_beds(bed.name, [bed], [tell.entry(bed, course, {})], at)
        for bed, course in zip(beds, courses, strict=True)
    ]
