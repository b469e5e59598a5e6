"""What is told of a testbed's run: entries, table, figures (S3.11, S3.22, Fig 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools.io import image
from gantools.ops.pixels import to_uint8
from gantools.ops.spectrum import frequencies, reduced
from gantools.spectra import grids, plots
from gantools.spectra.discriminator_testbed import TOLD
from gantools.spectra.profile import Spectrum, relative_error
from gantools.spectra.testbed import Bed
from gantools.spectra.testbed_run import Course

SHOWN = 10  # pictures of each configuration on the sheet
EQUILIBRIUM = (
    0.05  # where it is reached D's loss is as near to 2 log 2, R1's penalty and logits to 0
)
PAPER = ("toyset", "celeba", "appendix")
SCORES = ("num", "parameters", "psnr", "psnr_raw", "loss", *TOLD, "equilibrium", "power_high")

Entry = dict[str, Any]


def entry(bed: Bed, course: Course, paper: Mapping[str, Mapping[str, float]]) -> Entry:
    """All of one configuration, as JSON has it."""
    name, _, num = bed.name.rpartition("/")
    errors = relative_errors(bed, course)
    last = course.last()
    network = next(iter(bed.modules.values()))
    found: Entry = {"name": name, "num": int(num)}
    found["parameters"] = sum(p.numel() for p in network.parameters())
    found |= last
    found["power_high"] = high_power(bed.targets, course.spectra[-1])
    if "d_loss" in last:
        away = abs(last["d_loss"] - 2 * math.log(2))
        found["equilibrium"] = max(away, last["r1"], last["logit"]) < EQUILIBRIUM
    found["paper"] = dict(paper.get(name, {}))
    found |= {"steps": course.steps, "course": course.scores}
    found["spectrum"] = course.spectra[-1].tolist()
    found["relative_error"] = [error.tolist() for error in errors]
    return found


def high_power(targets: Tensor, spectrum: np.ndarray) -> float:
    """The spectrum's sum beyond the end of an axis, f / f_nyq = 0.707, over that of the targets."""
    beyond = frequencies(targets.shape[2], targets.shape[3]) >= plots.AXIS
    with np.errstate(divide="ignore", invalid="ignore"):  # of flat pictures
        return float(spectrum[beyond].sum() / real_spectrum(targets)[beyond].sum())


def real_spectrum(targets: Tensor) -> np.ndarray:
    """The mean spectrum of the pictures to learn, [bins]."""
    with torch.inference_mode():
        return reduced(targets.double()).mean(0).cpu().numpy()


def relative_errors(bed: Bed, course: Course) -> list[np.ndarray]:
    """Mean spectrum over that of the targets, minus 1, at every measurement: [bins] each (S3.3)."""
    targets, real = bed.targets, real_spectrum(bed.targets)

    def spectrum(values: np.ndarray) -> Spectrum:
        size = (targets.shape[2], targets.shape[3])
        return Spectrum(values, values, values, size, len(targets), "mean")

    return [relative_error(spectrum(values), spectrum(real)) for values in course.spectra]


def lines(entries: Sequence[Entry]) -> tuple[list[list[Any]], list[str]]:
    """The table's lines and heads: what any entry has, then the paper's numbers."""
    keys = ["name", *(key for key in SCORES if any(key in entry for entry in entries))]
    known = [key for key in PAPER if any(key in entry["paper"] for entry in entries)]
    found = [
        [*(entry.get(key) for key in keys), *(entry["paper"].get(key) for key in known)]
        for entry in entries
    ]
    return found, [*keys, *(f"paper {key}" for key in known)]


def titles(entries: Sequence[Entry]) -> list[str]:
    """`avg+sd`; where numbers of pictures differ `avg+sd, 5 pictures`."""
    if len({entry["num"] for entry in entries}) == 1:
        return [entry["name"] for entry in entries]
    return [f"{e['name']}, {e['num']} picture{'s' if e['num'] > 1 else ''}" for e in entries]


def evolution(entries: Sequence[Entry], at: np.ndarray, columns: int, kind: str) -> bytes:
    """The errors of the spectra over frequency and time, a panel for each configuration."""
    panels = [
        grids.Evolution(name, entry["steps"], np.array(entry["relative_error"]), at)
        for name, entry in zip(titles(entries), entries, strict=True)
    ]
    return grids.of_evolutions(grids.wrapped(panels, columns), kind)


def curves(entries: Sequence[Entry]) -> bytes:
    """A PNG of the PSNR over iterations."""
    named = zip(titles(entries), entries, strict=True)
    courses = {name: (entry["steps"], entry["course"]["psnr"]) for name, entry in named}
    return plots.of_courses(courses, "PSNR, dB", "png")


def sheet(targets: Tensor, beds: Sequence[Bed]) -> bytes:
    """A PNG: a row of the pictures, then one of what each configuration has learned of them."""
    columns = min(SHOWN, len(targets))
    rows = [_row(targets, columns), *(_row(bed.pictures(), columns) for bed in beds)]
    times = max(64 // targets.shape[2], 1)
    return image.encode(np.concatenate(rows).repeat(times, axis=0).repeat(times, axis=1))


def _row(pictures: Tensor, columns: int) -> np.ndarray:
    shown = to_uint8(pictures[:columns].detach())
    shown = np.pad(shown, [(0, columns - len(shown)), (0, 0), (0, 0), (0, 0)])
    return np.concatenate(list(shown), axis=1)
