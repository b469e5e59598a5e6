"""Sheets of pictures: grids, and the papers' truncation, noise and mixing figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gantools import __version__
from gantools.io.latent import Latent
from gantools.report import Usage

PSIS = (1.0, 0.7, 0.5, 0.0, -0.5, -1.0)  # S0.12
WHITE = 255
SCREENS = {"1080p": (1920, 1080), "4k": (3840, 2160), "8k": (7680, 4320)}  # S1.25


def parse_grid(text: str, size: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of `4x8`, or of what fits on a screen, `1080p`, `4k`, `8k`.

    size: (height, width) of a picture.
    """
    if text in SCREENS:
        width, height = SCREENS[text]
        return max(height // size[0], 1), max(width // size[1], 1)
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    rows, columns = (int(found[1]), int(found[2])) if found else (0, 0)
    if not rows or not columns:
        raise Usage(f"--grid {text}: expected ROWSxCOLUMNS such as 4x8, or 1080p, 4k, 8k")
    return rows, columns


def sheet(pictures: Sequence[np.ndarray | None], columns: int) -> np.ndarray:
    """Pictures uint8 [H,W,C] row by row on one [rows H, columns W, C]; None is a white cell.

    Pictures smaller than the largest stand in the middle of theirs.
    """
    shapes = [p.shape for p in pictures if p is not None]
    shape = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    blank = np.full(shape, WHITE, np.uint8)
    cells = [blank if p is None else _centred(p, blank) for p in pictures]
    cells += [blank] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
    return np.concatenate(rows)


def story(
    command: str,
    key: str,
    columns: int,
    cells: Sequence[str | None] | None,
    args: Mapping[str, Any],
    network: Mapping[str, Any],
) -> dict[str, Any]:
    """What a sheet's PNG says of it: which samples stand where, and how it was made."""
    history = [{"command": command, "args": dict(args), "version": __version__}]
    told = {"format": 1, "kind": "sheet", "key": key, "columns": columns, "history": history}
    return told | {"network": network} | ({} if cells is None else {"cells": list(cells)})


def _centred(picture: np.ndarray, blank: np.ndarray) -> np.ndarray:
    if picture.shape == blank.shape:
        return picture
    top, left = (
        (room - own) // 2 for room, own in zip(blank.shape[:2], picture.shape[:2], strict=True)
    )
    cell = blank.copy()
    cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return cell


# ----------------------------------------------------------------------------
# Style mixing (S0.20): coarse, middle and fine layers of the column in the row.


def style_ranges(num_ws: int) -> tuple[range, range, range]:
    """Coarse, middle and fine layers: [0,4), [4,8), [8,L); thirds where L is 8 or less."""
    low, high = (4, 8) if num_ws > 8 else (num_ws // 3, 2 * num_ws // 3)
    return range(low), range(low, high), range(high, num_ws)


def rows_styles(rows: int, num_ws: int) -> list[range]:
    """The layers that each row takes from the columns: three rows coarse, two middle, one fine.

    Six rows are the paper's figure; other numbers are shared out in these proportions.
    """
    coarse, middle, fine = style_ranges(num_ws)
    places = [2 * i + 1 for i in range(rows)]  # the row's middle, in half rows
    return [coarse if p < rows else middle if 3 * p < 5 * rows else fine for p in places]


def mixed(row: Latent, column: Latent, layers: Sequence[int]) -> Latent:
    """The row's w+ with the column's in `layers`; noise is the row's, by its key."""
    w = row.tensors["w"].copy()
    w[list(layers)] = column.tensors["w"][list(layers)]
    return replace(row, tensors={**row.tensors, "w": w})


# ----------------------------------------------------------------------------
# Noise (S0.13): in all layers, in none, in the fine ones, in the coarse ones.


def fine_noise_layers(shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Layers at 64x64 and above, as in the paper; in networks up to 64x64, the upper two sizes."""
    largest = max(height for height, _ in shapes)
    first = 64 if largest > 64 else largest // 2
    return [i for i, (height, _) in enumerate(shapes) if height >= first]


def noise_columns(
    shapes: Sequence[tuple[int, int]], fine: Sequence[int] | None
) -> list[Sequence[int]]:
    """The layers with noise in the figure's four columns."""
    fine = fine_noise_layers(shapes) if fine is None else fine
    everything = range(len(shapes))
    return [everything, (), fine, [i for i in everything if i not in fine]]
