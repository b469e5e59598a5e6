"""The sheets of `train encoder`: pictures above what an encoder makes of them, and their PSNR."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools.inversion.encoder import LARGEST
from gantools.io import atomic, image
from gantools.ops import similarity
from gantools.training import snapshots
from gantools.training.encoder_trainer import Trainer

COLUMNS, ROWS = 8, 2  # of each set; of pictures above 256 pixels half and one
JUDGED = -1_000_000  # the first of the samples that are shown, and never trained on


@torch.no_grad()
def write(path: Path, trainer: Trainer[Any, Any], held: Tensor | None) -> dict[str, float]:
    """Write a sheet of samples, and of pictures that are held out [N, C, H, W] below them.

    Gives the mean PSNR of the averaged encoder alone: psnr over the samples on the sheet,
    psnr_held over all pictures that are held out.
    """
    large = max(trainer.network.size) > LARGEST
    columns, rows = (COLUMNS // 2, 1) if large else (COLUMNS, ROWS)
    sets = {"psnr": _samples(trainer, columns, rows)}
    if held is not None and len(held):
        sets["psnr_held"] = _held(trainer, held, columns)
    scores, cells = {}, []
    for name, parts in sets.items():
        found = []
        for i, (images, made) in enumerate(parts):
            found.append(similarity.psnr(similarity.levels(images), similarity.levels(made)))
            if i < rows:
                cells += [_row(trainer.network.pixels(x), columns) for x in (images, made)]
        scores[name] = round(float(torch.cat(found).mean()), 3)
    path.parent.mkdir(exist_ok=True)
    atomic.write_bytes(path, image.encode(snapshots.grid(np.concatenate(cells), columns)))
    return scores


def _samples(
    trainer: Trainer[Any, Any], columns: int, rows: int
) -> Iterator[tuple[Tensor, Tensor]]:
    for row in range(rows):
        start = JUDGED + row * columns
        yield trainer.judged(range(start, start + columns))


def _held(
    trainer: Trainer[Any, Any], held: Tensor, columns: int
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(held), columns):
        shown = held[start : start + columns].to(trainer.network.device)
        yield shown, trainer.remade(shown, JUDGED + start)


def _row(pixels: np.ndarray, columns: int) -> np.ndarray:
    """`columns` pictures, black ones where there are fewer."""
    missing = columns - len(pixels)
    return np.pad(pixels, [(0, missing), (0, 0), (0, 0), (0, 0)])
