"""spectrum figure of trained networks: their spectra and samples beside real pictures' (S3.31)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools.commands import _sources, _spectra
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.io.results import Plot
    from gantools.spectra.grids import Evolution
    from gantools.spectra.profile import Spectrum

NETWORK_MADE = {
    "upsampling": "gantools train pggan PICTURES --preset freqbias --upsample WAY "
    "[--spectral-d log1p] -o RUN/",
    "methods": "gantools train pggan PICTURES --preset freqbias [--spectral-d log1p|--f-mining|"
    "--wavelet] -o RUN/",
    "fine-tune": "gantools train stylegan2 PICTURES --net BEFORE --spectral-d log1p -o AFTER/",
    "samples": "gantools train stylegan2 PICTURES -o RUN/",
    "averages": "gantools train stylegan2 PICTURES -o RUN/",
}
"""The command whose networks are measured."""

ADDED = {"log1p": "sd", "jk": "jk", "jk-nonlinear": "jk", "f-mining": "f-mining"}
REAL = "real"
SHOWN, MOST = 10, 40  # samples in a row


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
    paths = [reference.path, *files]
    if which == "averages":
        return _both_averages(paths, [REAL, *names], asked)
    if which == "samples":
        return _samples(paths, [REAL, *names], asked)
    found = _spectra.comparable_sets(reference.path, files, asked, average)
    sets = [one.spectrum for one in found]
    if which == "upsampling":
        return _by_way(sets, names)
    return _compared(dict(zip([REAL, *names], sets, strict=True)))


def of_trainings(operands: Sequence[Operand]) -> Plot:
    """Evolutions side by side of what spectrum evolution wrote; Usage for other files."""
    from gantools.spectra import grids

    if not operands:
        raise Usage("--which trainings: takes x.json files; gantools spectrum evolution makes them")
    panels, units = zip(*map(_training, operands), strict=True)
    if len(set(units)) > 1:
        raise Usage(f"--which trainings: times of several kinds: {', '.join(sorted(set(units)))}")
    rows = grids.wrapped(panels, 4)
    return partial(grids.of_evolutions, rows, label=units[0])


def _training(one: Operand) -> tuple[Evolution, str]:
    import numpy as np

    from gantools.spectra.grids import Evolution

    _sources.exists(one.path)
    try:
        told = json.loads(Path(one.path).read_bytes())
        times, at = [float(time) for time in told["time"]], np.array(told["frequency"], float)
        errors = np.array(told["relative_error"], float)
        if errors.shape != (len(times), len(at)) or len(at) < 2 or not times:
            raise ValueError
        name = one.label or Path(one.path).stem
        return Evolution(name, times, errors, at), str(told["unit"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Usage(f"{one.path}: no x.json of gantools spectrum evolution") from None


def _file(which: str, one: Operand) -> str:
    """A training's folder as its network; any other operand itself."""
    path, found = Path(one.path), _spectra.network_file(one.path)
    if found is not None:
        return found
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
    twice = next((name for name in names if names.count(name) > 1 or name == REAL), None)
    if twice is not None:
        raise Usage(f"two sets are called {twice}: give labels, such as {twice}+sd=PATH")
    return names


def _configured(which: str, file: str) -> str | None:
    """`nearest+sd` of a network of ours: its upsampling, its spectral discriminator; or None."""
    from gantools.io import network

    if not _spectra.is_network(file):
        return None
    story = network.header(Path(file))
    g, spectral = (_entries(_entries(story, "config"), part) for part in ("g", "spectral"))
    added = [ADDED[spectral["kind"]]] if spectral.get("kind") in ADDED else []
    if g.get("wavelet") or g.get("architecture") == "wavelet":
        added.append("wavelet")
    first = [_way(str(story.get("family")), g)] if which == "upsampling" else added or ["original"]
    return "+".join([*first, *(added if which == "upsampling" else [])])


def _entries(told: dict[str, Any], name: str) -> dict[str, Any]:
    found = told.get(name)
    return found if isinstance(found, dict) else {}


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
        panels.setdefault(name.partition("+")[0], {REAL: reference})[name] = found
    row = [grids.Profiles(way, own) for way, own in panels.items()]
    return partial(grids.of_profiles, grids.wrapped(row, 4))


def _compared(sets: dict[str, Spectrum]) -> Plot:
    """Spectra in one panel, their errors below."""
    from gantools.spectra import plots
    from gantools.spectra.profile import relative_error

    (_, reference), *rest = sets.items()
    errors = {name: relative_error(found, reference) for name, found in rest}
    return lambda kind: plots.of_profiles(sets, kind, errors)


def _both_averages(paths: Sequence[str], names: Sequence[str], asked: _sources.Drawn) -> Plot:
    """log E[S] beside E[log S] of the same pictures (S3.27)."""
    from gantools.spectra import grids
    from gantools.spectra.profile import comparable

    _pictures_alone("averages", paths)
    found = [_spectra.profiled(*_spectra.network_of(path, asked))[1] for path in paths]
    row = []
    for average in _spectra.Average:
        sets = [profile.spectrum(average.value) for profile in found]
        for name, other in zip(names, sets, strict=True):
            comparable(other, sets[0], name)
        title = {"mean": "log of the mean", "logmean": "mean of the logs"}[average.value]
        row.append(grids.Profiles(title, dict(zip(names, sets, strict=True))))
    return partial(grids.of_profiles, [("", row)])


def _samples(paths: Sequence[str], names: Sequence[str], asked: _sources.Drawn) -> Plot:
    """The first pictures of every set; of networks those of the same seeds."""
    from gantools.commands import _pairs
    from gantools.spectra import grids

    _pictures_alone("samples", paths)
    asked = replace(asked, given_num=asked.given_num or SHOWN)
    if asked.num > MOST:
        raise Usage(f"--num {asked.num}: a row of --which samples has room for {MOST} pictures")
    rows = []
    for path, name in zip(paths, names, strict=True):
        source = _sources.open_source(*_spectra.network_of(path, asked))
        pictures = [_pairs.in_colour(p) for _, p in islice(source.pictures, asked.num)]
        if not pictures:
            raise Usage(f"{path}: no picture could be read")
        rows.append((name, pictures))
    return partial(grids.of_pictures, rows)


def _pictures_alone(which: str, paths: Sequence[str]) -> None:
    for path in paths:
        if path != "-" and _spectra.earlier(Path(path)) is not None:
            raise Usage(f"{path}: a spectrum alone; --which {which} needs the pictures")
