"""StyleGAN2's pictures in tiles: of any size, in the memory of one tile (papers.md S2.22).

A tile is computed from a window of what stands in front of its first block, wider than the tile by
the blocks' receptive field and cut at the picture's own border, and loses that margin again. So
where windows meet, each pixel has been computed from the same numbers as in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from gantools.io.space import Size, level
from gantools.networks.stylegan2 import Synthesis
from gantools.networks.stylegan2_blocks import State, picture_from
from gantools.networks.stylegan2_config import GeneratorConfig

SIDE = 512
"""Pixels along a side of a tile, if nobody says otherwise; more where the network's own have."""
KERNEL = 3


def cell(cfg: GeneratorConfig, first: int) -> int:
    """How many pixels along a side one cell of F_first becomes."""
    return 1 << (len(cfg.widths) - 1 - level(first))


def reach(cfg: GeneratorConfig, first: int) -> int:
    """How far from a window's edge its pixels differ from the whole picture's, at most.

    It grows by 1 in a convolution, and behind a doubling from e to 2 e and what the kernel and the
    filter add; the picture so far has its own, of the filter alone.
    """
    taps = len(cfg.resample_filter)
    before = KERNEL // 2 + (taps + 1) // 2 - (KERNEL - 1)  # as ops.resample.conv_up pads
    by_conv = max(before + KERNEL - 2, taps - before - 1)
    by_filter = max((taps + 1) // 2 - 1, taps - 1 - (taps + 1) // 2)
    features = picture = 0
    for index in range(first, cfg.num_ws + 1):
        if index % 2:
            features += 1
            continue
        picture = max(2 * picture + by_filter if index > 2 else 0, features)
        if index < cfg.num_ws:
            features = 2 * features + by_conv
    return picture


def halo(cfg: GeneratorConfig, first: int) -> int:
    """The margin of a window in cells of F_first."""
    return -(-reach(cfg, first) // cell(cfg, first))


def side(cfg: GeneratorConfig, tile: int | None = None) -> int:
    """Pixels along a side of a tile: as asked, else SIDE, or the network's own if that is more."""
    return max(SIDE, *cfg.size) if tile is None else tile


def count(cfg: GeneratorConfig, first: int, size: Size, tile: int | None = None) -> int:
    """Of how many tiles a picture of features of this size is made."""
    step = _step(cfg, first, tile)
    rows, columns = (-(-n // step) for n in size)
    return rows * columns


def _step(cfg: GeneratorConfig, first: int, tile: int | None) -> int:
    """Cells along a side of a tile: an even number, so that R's cells are not cut."""
    return max(side(cfg, tile) // cell(cfg, first) // 2 * 2, 2)


Window = tuple[tuple[int, int], tuple[int, int]]
"""Rows and columns, from the first to before the last."""
Map = Tensor | Callable[[Window], Tensor]
"""[N, C, H, W], or what gives the window of one that nobody holds as a whole."""


@dataclass(frozen=True)
class Canvas:
    """What a picture is made of: all that `picture_from` takes, of any size, windows cut out of it.

    size: of f, in cells. r is None for zeros. styles: vectors or maps; noise of blocks first … L-1.
    """

    first: int
    size: Size
    f: Map
    r: Tensor | None
    styles: Sequence[Tensor]
    noise: Sequence[Map | None]

    @property
    def all(self) -> Window:
        """The window of the whole picture, in cells."""
        return (0, self.size[0]), (0, self.size[1])

    def part(self, window: Window) -> tuple[State, list[Tensor], list[Tensor | None]]:
        """State, styles and noise of the window, which begins at even cells where r is there."""
        blocks = range(self.first, self.first + len(self.styles))
        r = None if self.r is None else _cut(self.r, window, -1)
        styles = [
            w if w.ndim == 2 else _cut(w, window, level(j) - level(self.first))
            for j, w in zip(blocks, self.styles, strict=True)
        ]
        noise = [
            None if n is None else _cut(n, window, level(j + 1) - level(self.first))
            for j, n in zip(blocks[:-1], self.noise, strict=True)
        ]
        return State(self.first, _cut(self.f, window, 0), r), styles, noise


def tiles(
    synthesis: Synthesis,
    canvas: Canvas,
    *,
    tile: int | None = None,
    dtype: torch.dtype | None = None,
    taps: bool = False,
) -> Iterator[tuple[Window, Tensor]]:
    """The picture of `picture_from`, row by row of tiles: where each stands, and [N, C, h, w].

    tile: at most so many pixels along a side of one (None: `side`).
    """
    cfg, first = synthesis.cfg, canvas.first
    step, margin, pixels = _step(cfg, first, tile), halo(cfg, first), cell(cfg, first)
    height, width = canvas.size
    for rows in _spans(height, step):
        for columns in _spans(width, step):
            window = (_wider(rows, margin, height), _wider(columns, margin, width))
            part = picture_from(synthesis, *canvas.part(window), dtype=dtype, taps=taps)
            top, left = rows[0] - window[0][0], columns[0] - window[1][0]
            inner = (
                (top * pixels, (top + rows[1] - rows[0]) * pixels),
                (left * pixels, (left + columns[1] - columns[0]) * pixels),
            )
            place = (
                (rows[0] * pixels, rows[1] * pixels),
                (columns[0] * pixels, columns[1] * pixels),
            )
            yield place, cut(part, inner)


def cut(x: Tensor, window: Window) -> Tensor:
    """The window of a map."""
    (top, bottom), (left, right) = window
    return x[:, :, top:bottom, left:right]


def _cut(x: Map, window: Window, up: int) -> Tensor:
    """The window, in cells of f, of a map that has been doubled `up` times since."""
    scale = 2.0**up
    (top, bottom), (left, right) = ((int(a * scale), int(b * scale)) for a, b in window)
    own = ((top, bottom), (left, right))
    return cut(x, own) if isinstance(x, Tensor) else x(own)


def _spans(length: int, step: int) -> list[tuple[int, int]]:
    return list(pairwise([*range(0, length, step), length]))


def _wider(span: tuple[int, int], margin: int, length: int) -> tuple[int, int]:
    """With the margin, and even where R's cells begin."""
    start = max(span[0] - margin, 0) // 2 * 2
    return start, min(span[1] + margin + margin % 2, length)
