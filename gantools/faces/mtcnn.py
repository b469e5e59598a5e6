"""MTCNN's three stages (S0.2) on pictures of one size, with facenet-pytorch's networks.

The library's own loop is not used: it crashes on pictures smaller than a face and on candidates
outside the picture, and what it finds depends on the other pictures of the batch. Here every
network sees batches of a size that follows from the picture's shape alone (the rest is zeros),
because kernels round differently for other sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gantools.faces import area, boxes

R_SIDE, R_BLOCK = 24, 64
O_SIDE, O_BLOCK = 48, 16


@dataclass(frozen=True)
class Cascade:
    """The networks P, R and O, and the thresholds."""

    pnet: Any
    rnet: Any
    onet: Any
    min_face: int
    thresholds: tuple[float, float, float]
    factor: float

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 [N, H, W, 3] -> picture index [n], boxes with score [n, 5], landmarks [n, 5, 2].

        Within a picture the best score comes first.
        """
        sums = area.integral(pixels)
        return self._finish(sums, *self._refine(sums, *self._propose(sums)))

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
            for first, pictures in _levels(sums, scale):
                reg, prob = self.pnet(pictures)
                n = min(len(pictures), len(sums) - first)
                owner, row = boxes.cells(reg[:n], prob[:n, 1], scale, self.thresholds[0])
                keep = boxes.nms(owner, row, 0.5)
                owners.append(owner[keep] + first)
                rows.append(row[keep])
        owner, row = torch.cat(owners), torch.cat(rows)
        keep = boxes.nms(owner, row, 0.7)
        return owner[keep], boxes.squared(boxes.shifted(row[keep]))

    def _refine(self, sums: Tensor, owner: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """R-Net: fewer and better square boxes."""
        owner, row, (reg, prob) = _look(self.rnet, (R_SIDE, R_BLOCK), sums, owner, row)
        good = prob[:, 1] > self.thresholds[1]
        owner, reg = owner[good], reg[good]
        row = torch.cat([row[good, :4], prob[good, 1:]], 1)
        keep = boxes.nms(owner, row, 0.7)
        return owner[keep], boxes.squared(boxes.moved(row[keep], reg[keep]))

    def _finish(self, sums: Tensor, owner: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """O-Net: boxes as they are reported, and landmarks."""
        owner, row, (reg, points, prob) = _look(self.onet, (O_SIDE, O_BLOCK), sums, owner, row)
        good = prob[:, 1] > self.thresholds[2]
        owner, reg, points = owner[good], reg[good], points[good]
        row = torch.cat([row[good, :4], prob[good, 1:]], 1)
        side = row[:, 2:4] - row[:, 0:2] + 1  # w, h
        xy = points.reshape(-1, 2, 5).transpose(1, 2)  # the network gives five x, then five y
        xy = side[:, None] * xy + row[:, None, 0:2] - 1
        row = boxes.moved(row, reg)
        keep = boxes.nms_of_smaller(owner, row, 0.7)
        return owner[keep], row[keep], xy[keep]


def _levels(sums: Tensor, scale: float) -> Iterator[tuple[int, Tensor]]:
    """The pictures at one scale, [block, 3, h, w], each block with its first picture's index."""
    height, width = sums.shape[2] - 1, sums.shape[3] - 1
    size = int(height * scale + 1), int(width * scale + 1)
    block = min(16, max(1, (1 << 14) // (size[0] * size[1])))
    for first in range(0, len(sums), block):
        yield first, _filled(area.level(sums[first : first + block], size), block)


def _look(
    net: Any, shape: tuple[int, int], sums: Tensor, owner: Tensor, row: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """`net` on the boxes' contents; boxes outside the picture are dropped. shape: side, block."""
    side, block = shape
    x1, y1, x2, y2 = boxes.inside(row, sums.shape[2] - 1, sums.shape[3] - 1)
    real = (x2 > x1) & (y2 > y1)
    owner, row = owner[real], row[real]
    across, down = area.bins(x1[real], x2[real], side), area.bins(y1[real], y2[real], side)
    outputs = []
    for start in range(0, max(1, len(row)), block):  # no box: one empty block, empty outputs
        part = slice(start, start + block)
        crops = area.contents(sums, owner[part], down[:, part], across[:, part])
        outputs.append([out[: len(crops)] for out in net(_filled(crops, block))])
    return owner, row, [torch.cat(parts) for parts in zip(*outputs, strict=True)]


def _filled(batch: Tensor, block: int) -> Tensor:
    """The batch with zeros up to `block` samples, in one piece of memory."""
    whole = batch.new_zeros(block, *batch.shape[1:])
    whole[: len(batch)] = batch
    return whole
