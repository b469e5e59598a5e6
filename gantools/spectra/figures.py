"""The figures of paper 003 that testbeds' runs give: which panels stand where (S3.31)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from gantools.io.results import Plot
from gantools.ops.pixels import to_uint8
from gantools.report import Usage
from gantools.spectra import grids
from gantools.spectra.grids import Case, Evolution, Profiles, Row
from gantools.spectra.profile import Spectrum
from gantools.spectra.testbed_folder import Configuration, Run, Testbed, spectrum_of
from gantools.spectra.testbed_results import SHOWN

COMMAND = "gantools spectrum testbed"
REAL = "real"
TEASER = {"generator": "bilinear", "discriminator": "blurpool"}
SPECTRAL = "spectral"


def evolution(runs: Sequence[Run]) -> Plot:
    """Generators' errors over frequency and time: a row for each run, a column for each upsampling.

    Fig 2, its eight panels of two runs.
    """
    _all_of(runs, "generator")
    _each_has(runs, lambda own: not own.extra, "without the spectral loss", "--spectral-loss no")
    rows = _evolutions(runs, lambda own: not own.extra)
    return partial(grids.of_evolutions, rows)


def spectral_loss(runs: Sequence[Run]) -> Plot:
    """The same of those that were trained with the spectral loss (Fig 3)."""
    _all_of(runs, "generator")
    _each_has(
        runs, lambda own: own.extra == SPECTRAL, "with the spectral loss", "--spectral-loss both"
    )
    rows = _evolutions(runs, lambda own: own.extra == SPECTRAL)
    return partial(grids.of_evolutions, rows)


def num_images(runs: Sequence[Run]) -> Plot:
    """Evolutions of either testbed, a row for each number of pictures (Fig 9, S3.28)."""
    _all_of(runs, runs[0].testbed)
    if len({num for run in runs for num in run.numbers}) < 2:
        raise Usage(
            f"{runs[0].label}: all of one number of pictures: {COMMAND} {runs[0].testbed} "
            "--num 1,5,10 -o RUN/ makes them of several"
        )
    return partial(grids.of_evolutions, _evolutions(runs, lambda own: True))


def disc_spectra(runs: Sequence[Run]) -> Plot:
    """What each discriminator teaches of the spectrum, alone and with additions (Fig 5)."""
    _all_of(runs, "discriminator")
    bases = _names(runs, lambda own: own.base)
    rows: list[Row[Profiles]] = []
    for run, num in _rows(runs):
        panels = [_taught(run, _chosen(run, num, base)) for base in bases]
        rows.append((_label(runs, run, num), panels))
    return partial(grids.of_profiles, rows)


def disc_tensors(runs: Sequence[Run]) -> Plot:
    """The pictures that were learned through each discriminator, below the real ones (Fig 6)."""
    _all_of(runs, "discriminator")
    rows: list[tuple[str, Sequence[np.ndarray]]] = []
    for run, num in _rows(runs):
        head = _label(runs, run, num)
        rows.append((f"{head} {REAL}".strip(), list(_pixels(run.targets[:num]))))
        own = [each for each in run.configurations if each.num == num]
        rows += [(each.name, list(_pixels(each.pictures))) for each in own]
    return partial(grids.of_pictures, rows)


def teaser(runs: Sequence[Run]) -> Plot:
    """One picture learned by a generator and through a discriminator (Figs 1b and 1c).

    A row for each run of either; Usage unless both testbeds are there, with one picture.
    """
    missing = {"generator", "discriminator"} - {run.testbed for run in runs}
    if missing:
        ways = {"generator": "--upsample bilinear", "discriminator": "--discriminator blurpool"}
        which = min(missing)
        raise Usage(
            f"no run of the testbed of {which}s: {COMMAND} {which} PICTURE --num 1 {ways[which]} "
            "-o RUN/"
        )
    return partial(grids.of_cases, [_case(run) for run in runs])


def _case(run: Run) -> Case:
    wanted = TEASER[run.testbed]
    found = [own for own in run.configurations if own.num == 1 and own.name == wanted]
    if not found:
        flag = "--upsample" if run.testbed == "generator" else "--discriminator"
        raise Usage(
            f"{run.label}: nothing of {wanted} with one picture: {COMMAND} {run.testbed} PICTURE "
            f"--num 1 {flag} {wanted} -o RUN/"
        )
    own, targets = found[0], run.targets[:1]
    what = {"generator": "G", "discriminator": "D"}[run.testbed]
    label = f"{what}, {own.name}"
    sets = {REAL: spectrum_of(targets), label: spectrum_of(own.pictures)}
    return Case(
        label,
        _pixels(targets)[0],
        _pixels(own.pictures)[0],
        Profiles("spectral density", sets),
        Evolution("relative error", own.steps, own.errors, run.at),
    )


def absent(runs: Sequence[Run], wanted: Sequence[str]) -> list[str]:
    """Those of the paper's configurations that no run has."""
    there = {own.base for run in runs for own in run.configurations}
    return [name for name in wanted if name not in there]


def _all_of(runs: Sequence[Run], wanted: Testbed) -> None:
    for run in runs:
        if run.testbed != wanted:
            raise Usage(
                f"{run.label}: a run of the testbed of {run.testbed}s, and this figure is of "
                f"{wanted}s: {COMMAND} {wanted} -o RUN/"
            )


def _each_has(
    runs: Sequence[Run], wanted: Callable[[Configuration], bool], what: str, flag: str
) -> None:
    for run in runs:
        if not any(map(wanted, run.configurations)):
            raise Usage(f"{run.label}: nothing {what}: {COMMAND} {run.testbed} {flag} -o RUN/")


def _evolutions(
    runs: Sequence[Run], wanted: Callable[[Configuration], bool]
) -> list[Row[Evolution]]:
    columns = _names(runs, lambda own: own.name, wanted)
    rows: list[Row[Evolution]] = []
    for run, num in _rows(runs):
        own = {each.name: each for each in run.configurations if each.num == num and wanted(each)}
        panels = [
            Evolution(name, own[name].steps, own[name].errors, run.at) if name in own else None
            for name in columns
        ]
        if own:
            rows.append((_label(runs, run, num), panels))
    return rows


def _names(
    runs: Sequence[Run],
    name: Callable[[Configuration], str],
    wanted: Callable[[Configuration], bool] = lambda own: True,
) -> list[str]:
    """Of all runs' configurations, each once, in the order of the run that has most of them."""
    by_size = sorted(runs, key=lambda run: -len(run.configurations))
    found = (name(own) for run in by_size for own in run.configurations if wanted(own))
    return list(dict.fromkeys(found))


def _rows(runs: Sequence[Run]) -> Iterator[tuple[Run, int]]:
    return ((run, num) for run in runs for num in run.numbers)


def _label(runs: Sequence[Run], run: Run, num: int) -> str:
    """What tells a row from the others: the run, where there are several, and its number."""
    words = [run.label] if len(runs) > 1 else []
    if len({each for one in runs for each in one.numbers}) > 1:
        words.append(f"{num} picture{'s' if num > 1 else ''}")
    return ", ".join(words)


def _chosen(run: Run, num: int, base: str) -> list[Configuration]:
    return [own for own in run.configurations if own.num == num and own.base == base]


def _taught(run: Run, chosen: Sequence[Configuration]) -> Profiles | None:
    if not chosen:
        return None
    sets: dict[str, Spectrum] = {REAL: spectrum_of(run.targets[: chosen[0].num])}
    sets |= {own.name: spectrum_of(own.pictures) for own in chosen}
    return Profiles(chosen[0].base, sets)


def _pixels(pictures: np.ndarray) -> np.ndarray:
    """uint8 [n, H, W, C] of the first ones, at most SHOWN."""
    return to_uint8(torch.from_numpy(np.array(pictures[:SHOWN], np.float32)))
