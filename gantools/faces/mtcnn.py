"""MTCNN's three stages (S0.2) on pictures of one size, with facenet-pytorch's networks.

The library's own loop is not used: it crashes on pictures smaller than a face and on candidates
outside the picture, and what it finds depends on the other pictures of the batch. Here every
network sees batches of a size that follows from the picture's shape alone (the rest is zeros),
because kernels round differently for other sizes.

Two implementations share the weights and differ in what they show the networks (X.6). In
`LIBRARY`'s rules (facenet-pytorch) a level has int(h s + 1) rows, bins of the area interpolation
overlap, boxes stay fractions, and of a candidate only its part in the picture is seen, stretched.
In `ORIGINAL`'s (facenet, TensorFlow) a level has ceil(h s) rows, bins share px, levels are rounded
to 8 bits, IoU counts the last px, boxes are cut to integers before a network sees them, what lies
outside the picture is black, and a level's only cell is moved by another cell's regression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gantools.faces import area, boxes

R_SIDE, R_BLOCK = 24, 64
O_SIDE, O_BLOCK = 48, 16


@dataclass(frozen=True)
class Rules:
    """Where the two implementations differ.

    length: px of a level's side. level: pictures at a size. more: px that boxes are wider in IoU.
    settled: boxes before a network sees them. seen: which boxes [n] can be seen, and a function
    of a slice of them to their contents [n, 3, side, side]. flip_single: see `boxes.cells`.
    """

    length: Callable[[float], int]
    level: Callable[[Tensor, tuple[int, int]], Tensor]
    more: int
    settled: Callable[[Tensor], Tensor]
    seen: Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Callable[[slice], Tensor]]]
    flip_single: bool


def _stretched(
    sums: Tensor, owner: Tensor, row: Tensor, side: int
) -> tuple[Tensor, Callable[[slice], Tensor]]:
    """The parts in the picture, to the whole side."""
    x1, y1, x2, y2 = boxes.inside(row, sums.shape[2] - 1, sums.shape[3] - 1)
    real = (x2 > x1) & (y2 > y1)
    owner = owner[real]
    across, down = area.bins(x1[real], x2[real], side), area.bins(y1[real], y2[real], side)
    return real, lambda p: area.contents(sums, owner[p], down[:, p], across[:, p])


def _filled_black(
    sums: Tensor, owner: Tensor, row: Tensor, side: int
) -> tuple[Tensor, Callable[[slice], Tensor]]:
    """Whole boxes of whole px, black outside the picture."""
    low, high = row[:, 0:2].double() - 1, row[:, 2:4].double()
    real = (high > low).all(1)
    owner, low, high = owner[real], low[real], high[real]
    return real, lambda p: area.fractional_contents(sums, owner[p], low[p], high[p], side)


def _truncated(row: Tensor) -> Tensor:
    """Rows [n, 5] with whole px."""
    return torch.cat([row[:, :4].trunc(), row[:, 4:]], 1)


LIBRARY = Rules(lambda side: int(side + 1), area.level, 0, lambda row: row, _stretched, False)
"""facenet-pytorch's."""
ORIGINAL = Rules(math.ceil, area.fractional_level, 1, _truncated, _filled_black, True)
"""facenet's."""


@dataclass(frozen=True)
class Cascade:
    """The networks P, R and O, and the thresholds."""

    pnet: Any
    rnet: Any
    onet: Any
    min_face: int
    thresholds: tuple[float, float, float]
    factor: float
    rules: Rules = LIBRARY

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 [N, H, W, 3] -> picture index [n], boxes with score [n, 5], landmarks [n, 5, 2].

        Within a picture the best score comes first.
        """
        sums = area.integral(pixels)
        proposed = self._propose(sums)
        sums = sums.contiguous(memory_format=torch.channels_last)
        return self._finish(sums, *self._refine(sums, *proposed))

    def scales(self, height: int, width: int) -> list[float]:
        """12 / min_face, then times `factor` while the shorter side fills a cell (S0.2)."""
        scale = boxes.CELL / self.min_face
        shorter = min(height, width) * scale
        found = []
        while shorter >= boxes.CELL:
            found.append(scale)
            scale *= self.factor
            shorter *= self.factor
        return found

    def _propose(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """P-Net over the pyramid: square boxes."""
        owners = [torch.zeros(0, dtype=torch.long, device=sums.device)]
        rows = [torch.zeros(0, 9, device=sums.device)]
        for scale in self.scales(sums.shape[2] - 1, sums.shape[3] - 1):
            for first, pictures in self._levels(sums, scale):
                reg, prob = self.pnet(pictures)
                n = min(len(pictures), len(sums) - first)
                owner, row = boxes.cells(
                    reg[:n],
                    prob[:n, 1],
                    scale,
                    self.thresholds[0],
                    flip_single=self.rules.flip_single,
                )
                keep = boxes.nms(owner, row, 0.5, self.rules.more)
                owners.append(owner[keep] + first)
                rows.append(row[keep])
        owner, row = torch.cat(owners), torch.cat(rows)
        keep = boxes.nms(owner, row, 0.7, self.rules.more)
        return owner[keep], boxes.squared(boxes.shifted(row[keep]))

    def _refine(self, sums: Tensor, owner: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """R-Net: fewer and better square boxes."""
        owner, row, (reg, prob) = self._look(self.rnet, (R_SIDE, R_BLOCK), sums, owner, row)
        good = prob[:, 1] > self.thresholds[1]
        owner, reg = owner[good], reg[good]
        row = torch.cat([row[good, :4], prob[good, 1:]], 1)
        keep = boxes.nms(owner, row, 0.7, self.rules.more)
        return owner[keep], boxes.squared(boxes.moved(row[keep], reg[keep]))

    def _finish(self, sums: Tensor, owner: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """O-Net: boxes as they are reported, and landmarks."""
        look = self._look(self.onet, (O_SIDE, O_BLOCK), sums, owner, row)
        owner, row, (reg, points, prob) = look
        good = prob[:, 1] > self.thresholds[2]
        owner, reg, points = owner[good], reg[good], points[good]
        row = torch.cat([row[good, :4], prob[good, 1:]], 1)
        side = row[:, 2:4] - row[:, 0:2] + 1  # w, h
        xy = points.reshape(-1, 2, 5).transpose(1, 2)  # the network gives five x, then five y
        xy = side[:, None] * xy + row[:, None, 0:2] - 1
        row = boxes.moved(row, reg)
        keep = boxes.nms_of_smaller(owner, row, 0.7)
        return owner[keep], row[keep], xy[keep]

    def _levels(self, sums: Tensor, scale: float) -> Iterator[tuple[int, Tensor]]:
        """The pictures at one scale [block, 3, h, w], each block with its first picture's index."""
        height, width = sums.shape[2] - 1, sums.shape[3] - 1
        size = self.rules.length(height * scale), self.rules.length(width * scale)
        block = min(16, max(1, (1 << 14) // (size[0] * size[1])))
        for first in range(0, len(sums), block):
            part = self.rules.level(sums[first : first + block], size)
            yield first, _filled(part, block)

    def _look(
        self, net: Any, shape: tuple[int, int], sums: Tensor, owner: Tensor, row: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """`net` on the boxes' contents, without those that cannot be seen. shape: side, block."""
        side, block = shape
        row = self.rules.settled(row)
        real, contents = self.rules.seen(sums, owner, row, side)
        owner, row = owner[real], row[real]
        outputs = []
        for start in range(0, max(1, len(row)), block):  # no box: one empty block, empty outputs
            crops = contents(slice(start, start + block))
            outputs.append([out[: len(crops)] for out in net(_filled(crops, block))])
        return owner, row, [torch.cat(parts) for parts in zip(*outputs, strict=True)]


def _filled(batch: Tensor, block: int) -> Tensor:
    """The batch with zeros up to `block` samples, channels last: pooling is ten times faster so."""
    whole = batch.new_zeros(block, *batch.shape[1:])
    whole = whole.contiguous(memory_format=torch.channels_last)
    whole[: len(batch)] = batch
    return whole
