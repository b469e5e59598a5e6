"""How `train` of a network of --preset begins: from what was asked for to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from gantools import options
from gantools.commands import _train_options as shared
from gantools.report import Usage


class Asked(NamedTuple):
    """What is asked for besides the settings, as on the command line."""

    data: list[str]
    output: str
    images: str | None
    snapshot: str
    workers: int
    net: str | None
    licence: str | None
    crop: str | None
    labels: str | None
    label_column: str | None
    batch_gpu: int | None = None
    stream: bool | None = None


def kimg(text: str | None, flag: str) -> float | None:
    """An amount of pictures in thousands."""
    return None if text is None else options.parse_amount(text, flag) / 1000


def start(
    family: Any,
    preset: str,
    resolution: str | None,
    given: dict[str, Any],
    asked: Asked,
) -> None:
    """Resolve the settings and train."""
    framing = shared.framing_of(asked.crop)
    total, every = shared.amounts(asked.images or "1", asked.snapshot)

    from gantools.training import growing_presets, run
    from gantools.training.job import Job

    known = growing_presets.has_resolution(family, preset)
    size = shared.shape_of(resolution, asked.data, asked.crop, preset=known, family=family)
    config = growing_presets.resolve(
        family, preset, size.pop("resolution", None), {**given, **size}
    )
    longest = growing_presets.total_images(config)
    if asked.images is None:
        total = longest
    elif total > longest and config.schedule().decays:
        raise Usage(
            f"--images {asked.images}: the learning rate is 0 from {longest:,} pictures on; a run "
            "is as long as --decay says"
        )
    job = Job(
        asked.data, Path(asked.output), total, every, asked.workers, False, asked.net,
        asked.licence, framing, asked.labels, asked.label_column, asked.batch_gpu,
        asked.stream,
    )  # fmt: skip
    run.train(job, config)
