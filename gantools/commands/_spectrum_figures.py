"""From the operands of spectrum figure to what each figure draws (S3.31)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools import options, report
from gantools.commands import _sources, _spectra
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.results import Plot
    from gantools.spectra.profile import Spectrum
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

NETWORK_MADE = {
    "upsampling": "gantools train pggan PICTURES --preset freqbias --upsample WAY "
    "[--spectral-d log1p] -o RUN/",
    "methods": "gantools train pggan PICTURES --preset freqbias [--spectral-d log1p|--f-mining|"
    "--wavelet] -o RUN/",
    "fine-tune": "gantools train stylegan2 PICTURES --net BEFORE --spectral-d log1p -o AFTER/",
    "averages": "gantools train stylegan2 PICTURES -o RUN/",
}
"""The command whose networks are measured."""

PANELS = {
    "evolution": ("bilinear", "nearest", "zeros", "reshape"),
    "spectral-loss": ("bilinear", "nearest", "zeros", "reshape"),
    "disc-spectra": ("avg", "blurpool", "stride", "mlp"),
    "disc-tensors": ("avg", "blurpool", "stride", "mlp"),
}
"""Those of the paper."""

TEASER_SIZE, TEASER_DIVISOR = 32, 16.0
TEASER_STEPS, TEASER_EVERY = 3000, 100
ADDED = {"log1p": "sd", "jk": "jk", "f-mining": "f-mining"}


@dataclass(frozen=True)
class Operand:
    """`LABEL=PATH` or `PATH`."""

    label: str | None
    path: str

    @property
    def name(self) -> str:
        """Its label, or what its file or folder is called."""
        return self.label or Path(self.path).resolve().name


def operand(text: str) -> Operand:
    """What stands behind the first `=` of a text that is no path itself has what is before it."""
    label, _, path = text.partition("=")
    if not path or not label or Path(text).exists():
        return Operand(None, text)
    return Operand(label, path)


# Figures of testbeds.


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

    for key, make in squares(operands, TEASER_SIZE):
        try:
            return make()
        except SampleError as e:
            report.failed(key, e)
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


# Figures of trained networks.


def of_networks(
    which: str, operands: Sequence[Operand], asked: _sources.Drawn, average: _spectra.Average
) -> Plot:
    """The plot of a figure of real pictures and of what networks make; Usage for too few."""
    least = {"fine-tune": 3}.get(which, 2)
    if len(operands) < least:
        what = "REFERENCE BEFORE AFTER" if which == "fine-tune" else "REFERENCE NETWORK..."
        raise Usage(f"--which {which}: takes {what}; {NETWORK_MADE[which]} makes a network")
    reference, *others = operands
    _sources.check_operands(*(one.path for one in operands))
    files = [_file(which, one) for one in others]
    names = _named(which, others, files)
    if which == "averages":
        return _both_averages([reference.path, *files], [reference.name, *names], asked)
    paths = [reference.path, *files]
    sets = [_spectra.measured(path, asked, average).spectrum for path in paths]
    if which == "upsampling":
        return _by_way(sets, names)
    return _compared(dict(zip(["real", *names], sets, strict=True)))


def _file(which: str, one: Operand) -> str:
    """A training's folder as its network; any other operand itself."""
    path = Path(one.path)
    if not path.is_dir():
        return one.path
    found = sorted(path.glob("network-*.safetensors"))
    best = path / "best.safetensors"
    if best.is_file() or found:
        return str(best if best.is_file() else found[-1])
    if (path / "state.safetensors").is_file() or (path / "config.json").is_file():
        raise Usage(f"{one.path}: a run without a network yet; {NETWORK_MADE[which]} makes one")
    return one.path


def _named(which: str, others: Sequence[Operand], files: Sequence[str]) -> list[str]:
    """What the lines are called: as the operands say, or as the networks' files do."""
    if which == "fine-tune" and len(others) == 2:
        usual = ["before", "after"]
    elif which in ("upsampling", "methods"):
        usual = [_configured(which, file) or Operand(None, file).name for file in files]
    else:
        usual = [one.name for one in others]
    names = [one.label or name for one, name in zip(others, usual, strict=True)]
    twice = next((name for name in names if names.count(name) > 1 or name == "real"), None)
    if twice is not None:
        raise Usage(f"two sets are called {twice}: give labels, such as {twice}+sd=PATH")
    return names


def _configured(which: str, file: str) -> str | None:
    """`nearest+sd` of a network of ours: its upsampling, its spectral discriminator; or None."""
    from gantools.io import network

    if not _spectra.is_network(file):
        return None
    story = network.header(Path(file))
    config = story.get("config") or {}
    g, spectral = config.get("g") or {}, config.get("spectral") or {}
    added = [ADDED[spectral["kind"]]] if spectral.get("kind") in ADDED else []
    if g.get("wavelet") or g.get("architecture") == "wavelet":
        added.append("wavelet")
    first = [_way(str(story.get("family")), g)] if which == "upsampling" else added or ["original"]
    return "+".join([*first, *(added if which == "upsampling" else [])])


def _way(family: str, g: dict[str, Any]) -> str:
    if family == "stylegan2":
        return "nearest" if g.get("resample_filter") == [1.0, 1.0] else "bilinear"
    return str(g.get("upsample", "bilinear" if family == "sngan" else "nearest"))


def _by_way(sets: Sequence[Spectrum], names: Sequence[str]) -> Plot:
    """A panel for each upsampling, with every addition to it (Fig 7)."""
    from gantools.spectra import grids

    reference, *others = sets
    panels: dict[str, dict[str, Spectrum]] = {}
    for name, found in zip(names, others, strict=True):
        panels.setdefault(name.partition("+")[0], {"real": reference})[name] = found
    for found in others:
        _compares(found, reference)
    row = [grids.Profiles(way, own) for way, own in panels.items()]
    return partial(grids.of_profiles, grids.wrapped(row, 4))


def _compares(found: Spectrum, reference: Spectrum) -> np.ndarray:
    from gantools.spectra.profile import relative_error

    return relative_error(found, reference)


def _compared(sets: dict[str, Spectrum]) -> Plot:
    """Spectra in one panel, their errors below."""
    from gantools.spectra import plots

    (_, reference), *rest = sets.items()
    errors = {name: _compares(found, reference) for name, found in rest}
    return lambda kind: plots.of_profiles(sets, kind, errors)


def _both_averages(paths: Sequence[str], names: Sequence[str], asked: _sources.Drawn) -> Plot:
    """log E[S] beside E[log S] of the same pictures (S3.27)."""
    from gantools.spectra import grids

    for path in paths:
        if path != "-" and _spectra.earlier(Path(path)) is not None:
            raise Usage(f"{path}: has one average only: --which averages needs the pictures")
    found = [_spectra.profiled(*_spectra.network_of(path, asked))[1] for path in paths]
    row = [
        grids.Profiles(
            {"mean": "log of the mean", "logmean": "mean of the logs"}[average.value],
            {
                name: profile.spectrum(average.value)
                for name, profile in zip(["real", *names[1:]], found, strict=True)
            },
        )
        for average in _spectra.Average
    ]
    return partial(grids.of_profiles, [("", row)])
