"""What is asked of a run beside its configuration, and what its networks' files say of that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gantools.io.alpha import PREMULTIPLIED
from gantools.training.crops import Crops
from gantools.training.data import Pictures
from gantools.training.families import Config
from gantools.training.state import Progress

NAMED = 4  # operands that a network file names; of more the first and the last


@dataclass
class Job:
    """What is asked for, besides the configuration: none of it changes the trajectory."""

    operands: list[str]
    folder: Path
    images: int
    snapshot: int
    workers: int = 4
    compile: bool = False
    net: str | None = None
    licence: str | None = None
    crop: dict[str, Any] | None = None
    labels: str | None = None
    label_column: str | None = None
    batch_gpu: int | None = None
    stream: bool | None = None


def meta(
    job: Job, config: Config, pictures: Pictures | Crops, progress: Progress
) -> dict[str, Any]:
    """What a network file says about its making."""
    said: dict[str, Any] = {"trained_on": _in_words(config, pictures)}
    if pictures.classes:
        said["classes"] = pictures.classes
    if job.crop:
        said["crop"] = job.crop
    if config.channels == 4:  # as data.fit makes them
        said["alpha"] = PREMULTIPLIED
    if job.licence:
        said["licence"] = job.licence
    if progress.derived_from:
        said["derived_from"] = progress.derived_from
    return said


def _in_words(config: Config, pictures: Pictures | Crops) -> str:
    names = pictures.names
    if len(names) > NAMED:
        names = [names[0], "…", names[-1]]
    words = f"{', '.join(names)}: {pictures.told()}"
    if pictures.classes:
        words += f" in {len(pictures.classes)} classes"
    if config.mirror:
        words += ", mirrored too"
    if config.hold_out:
        words += f"; those with a number divisible by {config.hold_out} held out"
    return words
