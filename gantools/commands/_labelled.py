"""Labelled samples for `train direction`: latents or pictures that have a row in --labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gantools import report
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.evaluation.attributes import Pictures
    from gantools.io.labels import Labels
    from gantools.io.latent import Latent
    from gantools.io.sample import Sample


def latents(
    labels: Labels, columns: Sequence[str], samples: Iterator[Sample]
) -> tuple[list[Latent], np.ndarray]:
    """The latents that have labels, all of one space and one network, and their labels [N, K]."""
    import numpy as np

    from gantools.io.latent import Latent

    found: list[Latent] = []
    rows = []
    without = 0
    for sample in report.progress(samples, unit="latent"):
        try:
            latent = Latent.from_bytes(sample.data, sample.key)
            _check_like(latent, found)
        except SampleError as e:
            report.failed(sample.name, e)
            continue
        row = labels.values(latent.key, columns)
        if row is None:
            without += 1
            continue
        found.append(latent)
        rows.append(row)
    _tell(without, labels)
    if not found:
        raise Usage(f"none of the latents has a row in {labels.name}")
    return found, np.stack(rows)


def _check_like(latent: Latent, before: list[Latent]) -> None:
    if latent.space not in {"z", "w", "w+", "nw", "nw+"}:
        raise SampleError(f"directions are fitted in z, w and w+, not in {latent.space}")
    if not before:
        return
    ids = [(x.header.get("network") or {}).get("id") for x in (before[0], latent)]
    name = "z" if latent.space == "z" else "w"
    same = name in before[0].tensors and latent.tensors[name].shape == before[0].tensors[name].shape
    if ids[0] != ids[1] or not same:
        raise SampleError(f"of another network or space than {before[0].key}")


def _tell(count: int, labels: Labels) -> None:
    if count:
        report.note(f"{count} samples have no row in {labels.name} and are left out")


def pictures(
    labels: Labels, columns: Sequence[str], samples: Iterator[Sample], hold_out: int
) -> Pictures:
    """The pictures that have labels, small, in memory; every `hold_out`-th (or a tenth) is held."""
    import numpy as np

    from gantools.evaluation import attributes
    from gantools.io import image, seeds
    from gantools.training.data import is_held_out

    pixels, rows, held = [], [], []
    without = 0
    for sample in report.progress(samples, unit="picture"):
        row = labels.values(sample.key, columns)
        if row is None:
            without += 1
            continue
        try:
            pixels.append(attributes.small(image.decode(sample.data)))
        except SampleError as e:
            report.failed(sample.name, e)
            continue
        rows.append(row)
        drawn = seeds.derive(0, sample.key, "held-out") % 10 == 0
        held.append(is_held_out(sample.key, hold_out) if hold_out else drawn)
    _tell(without, labels)
    if not pixels:
        raise Usage(f"none of the pictures has a row in {labels.name}")
    return attributes.Pictures(np.stack(pixels), np.stack(rows), np.array(held))
