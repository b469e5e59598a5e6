"""A testbed's run as its figures need it: from its folder, or from its beds in memory (S3.31)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from gantools.io import tensorfile
from gantools.ops.resample import UPSAMPLINGS
from gantools.ops.spectrum import bins, reduced
from gantools.report import Usage
from gantools.spectra.profile import Profile, Spectrum
from gantools.spectra.testbed import Bed
from gantools.spectra.testbed_results import Entry

FORMAT, KIND = 1, "testbed pictures"
TABLE, PICTURES = "results.json", "pictures.safetensors"
TARGETS = "targets"
Testbed = Literal["generator", "discriminator"]


@dataclass(frozen=True)
class Configuration:
    """One of a run: the words of its name (`avg`, `sd`), how many pictures, and what became of it.

    errors: relative, [times, bins]. pictures: [N, 3, H, W] in [-1, 1], as they were learned.
    """

    base: str
    extra: str
    num: int
    steps: Sequence[int]
    errors: np.ndarray
    pictures: np.ndarray

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.base}+{self.extra}" if self.extra else self.base


@dataclass(frozen=True)
class Run:
    """A testbed's configurations; at: f / f_nyq [bins]; targets: the pictures to learn."""

    label: str
    configurations: Sequence[Configuration]
    at: np.ndarray
    targets: np.ndarray

    @property
    def testbed(self) -> Testbed:
        """Which of the two it is of."""
        generators = {str(way) for way in UPSAMPLINGS}
        return "generator" if self.configurations[0].base in generators else "discriminator"

    @property
    def numbers(self) -> list[int]:
        """How many pictures were learned, each number once."""
        return sorted({own.num for own in self.configurations})


def learned(beds: Sequence[Bed]) -> dict[str, np.ndarray]:
    """Float32 pictures [N, 3, H, W] by the beds' names, and all that were to be learned."""
    most = max(beds, key=lambda bed: len(bed.targets))
    found = {TARGETS: most.targets, **{bed.name: bed.pictures() for bed in beds}}
    return {name: x.detach().float().cpu().numpy() for name, x in found.items()}


def save(folder: Path, beds: Sequence[Bed]) -> None:
    """Write the pictures into a run folder."""
    tensorfile.write(folder / PICTURES, learned(beds), {"format": FORMAT, "kind": KIND})


def of_beds(label: str, beds: Sequence[Bed], entries: Sequence[Entry], at: np.ndarray) -> Run:
    """A run that was never written."""
    return _run(label, {"configurations": entries, "frequency": at.tolist()}, learned(beds))


def read(folder: Path, label: str) -> Run:
    """The run in a folder; Usage where it is none, or of a version that kept no pictures."""
    told = _table(folder)
    if not (folder / PICTURES).is_file():
        raise Usage(
            f"{folder}: no {PICTURES}: a run that has not ended, or of an earlier version; its "
            "command again writes it"
        )
    story, tensors = tensorfile.read(folder / PICTURES)
    if story.get("kind") != KIND or story.get("format") != FORMAT:
        raise Usage(f"{folder / PICTURES}: not the pictures of a testbed of this version")
    try:
        return _run(label, told, tensors)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Usage(
            f"{folder}: {TABLE} and {PICTURES} are not of one run of a testbed; its command again "
            "writes them"
        ) from None


def _table(folder: Path) -> Mapping[str, Any]:
    try:
        told = json.loads((folder / TABLE).read_bytes())
    except FileNotFoundError:
        raise Usage(f"{folder}: no run of spectrum testbed (no {TABLE})") from None
    except OSError as e:
        raise Usage(f"{folder / TABLE}: {(e.strerror or str(e)).lower()}") from None
    except ValueError:
        raise Usage(f"{folder / TABLE}: damaged JSON") from None
    if not isinstance(told, dict) or not told.get("configurations"):
        raise Usage(f"{folder}: {TABLE} is not of spectrum testbed")
    return told


def _run(label: str, told: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Run:
    """ValueError or KeyError where table and pictures do not fit together."""
    at, targets = np.array(told["frequency"], float), tensors[TARGETS]
    found = [_configuration(entry, tensors) for entry in told["configurations"]]
    count = bins(*targets.shape[2:])
    for own in found:
        times = len(own.steps)
        if own.errors.shape != (times, count) or own.pictures.shape != targets[: own.num].shape:
            raise ValueError(own.name)
    if at.shape != (count,):
        raise ValueError(label)
    return Run(label, found, at, targets)


def _configuration(entry: Entry, tensors: Mapping[str, np.ndarray]) -> Configuration:
    name, num = str(entry["name"]), int(entry["num"])
    base, _, extra = name.partition("+")
    errors = np.array(entry["relative_error"], float)
    return Configuration(base, extra, num, entry["steps"], errors, tensors[f"{name}/{num}"])


def spectrum_of(pictures: np.ndarray) -> Spectrum:
    """Mean and band of pictures [N, C, H, W] in [-1, 1]."""
    found = Profile()
    with torch.inference_mode():
        spectra = reduced(torch.from_numpy(np.array(pictures, np.float64))).numpy()
    found.add(spectra, (pictures.shape[2], pictures.shape[3]))
    return found.spectrum("mean")
