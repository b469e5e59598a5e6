"""StyleGAN2's pictures in tiles: of any size, in the memory of one tile (papers.md S2.22).

A tile is computed from a window of what stands in front of its first block, wider than the tile by
the blocks' receptive field and cut at the picture's own border, and loses that margin again. So
where windows meet, each pixel has been computed from the same numbers as in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from gantools.io.space import Size, level
from gantools.networks.stylegan2 import GeneratorConfig, Synthesis
from gantools.networks.stylegan2_blocks import State, picture_from

SIDE = 512
"""Pixels along a side of a tile, if nobody says otherwise; more where the network's own have."""
KERNEL = 3


class Span(NamedTuple):
    """From `start` to before `stop` along one axis, in cells of the features."""

    start: int
    stop: int


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


def strips(
    synthesis: Synthesis,
    state: State,
    styles: Sequence[Tensor],
    noise: Sequence[Tensor | None],
    *,
    tile: int | None = None,
    dtype: torch.dtype | None = None,
    taps: bool = False,
    done: Callable[[], object] = lambda: None,
) -> Iterator[Tensor]:
    """The picture of `picture_from` from top to bottom, [N, C, h, W] each, tile beside tile.

    tile: at most so many pixels along a side of one (None: `side`); `done` is called behind each.
    """
    cfg, first = synthesis.cfg, state.index
    step, margin, pixels = _step(cfg, first, tile), halo(cfg, first), cell(cfg, first)
    height, width = state.f.shape[2:]
    r = state.r
    for rows in _spans(height, step):
        made = []
        for columns in _spans(width, step):
            spans = (rows, columns)
            window = (_wider(rows, margin, height), _wider(columns, margin, width))
            part = picture_from(
                synthesis,
                State(first, _cut(state.f, window, 1), r if r is None else _cut(r, window, 0.5)),
                [w if w.ndim == 2 else _cut(w, window, w.shape[2] / height) for w in styles],
                [None if n is None else _cut(n, window, n.shape[2] / height) for n in noise],
                dtype=dtype,
                taps=taps,
            )
            inner = [
                Span(own.start - wide.start, own.stop - wide.start)
                for own, wide in zip(spans, window, strict=True)
            ]
            made.append(_cut(part, (inner[0], inner[1]), pixels).clone())
            done()
        yield torch.cat(made, dim=3)


def _spans(length: int, step: int) -> list[Span]:
    return [Span(*pair) for pair in pairwise([*range(0, length, step), length])]


def _wider(span: Span, margin: int, length: int) -> Span:
    """With the margin, and even where R's cells begin."""
    start = max(span.start - margin, 0) // 2 * 2
    return Span(start, min(span.stop + margin + margin % 2, length))


def _cut(x: Tensor, window: tuple[Span, Span], scale: float) -> Tensor:
    """The window of a map that has `scale` cells along each of the features'."""
    (top, bottom), (left, right) = ((round(n * scale) for n in span) for span in window)
    return x[:, :, top:bottom, left:right]
