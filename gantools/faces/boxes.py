"""MTCNN's box arithmetic (S0.2): rows x1 y1 x2 y2 score, one picture index per row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CELL, STRIDE = 12, 2  # P-Net's receptive field and step, px


def cells(
    reg: Tensor, prob: Tensor, scale: float, threshold: float, *, flip_single: bool = False
) -> tuple[Tensor, Tensor]:
    """P-Net's cells above the threshold: picture index [n]; x1 y1 x2 y2 score reg(4) [n, 9].

    reg: [N, 4, h, w], prob: [N, h, w], scale: size of this level / size of the picture.
    flip_single: where a picture has one cell at this level, its regression is read from the
    mirrored column, as facenet does (by mistake, but its boxes at borders come from it).
    """
    owner, y, x = (prob >= threshold).nonzero(as_tuple=True)
    corner = torch.stack([x, y], 1).to(reg.dtype) * STRIDE
    low, high = ((corner + 1) / scale).floor(), ((corner + CELL) / scale).floor()
    score = prob[owner, y, x, None]
    if flip_single:
        single = torch.bincount(owner, minlength=len(prob))[owner] == 1
        x = torch.where(single, prob.shape[2] - 1 - x, x)
    return owner, torch.cat([low, high, score, reg[owner, :, y, x]], 1)


def shifted(rows: Tensor) -> Tensor:
    """Rows [n, 9] of P-Net moved by their own regression: [n, 5]; sides without the +1 here."""
    side = (rows[:, 2:4] - rows[:, 0:2]).repeat(1, 2)
    return torch.cat([rows[:, :4] + rows[:, 5:9] * side, rows[:, 4:5]], 1)


def moved(rows: Tensor, reg: Tensor) -> Tensor:
    """Rows [n, 5] moved by a regression [n, 4] in units of their sides, which count a px more."""
    side = (rows[:, 2:4] - rows[:, 0:2] + 1).repeat(1, 2)
    return torch.cat([rows[:, :4] + reg * side, rows[:, 4:]], 1)


def squared(rows: Tensor) -> Tensor:
    """Rows as squares of their longer side about the same centre."""
    side = rows[:, 2:4] - rows[:, 0:2]
    longer = torch.maximum(side[:, :1], side[:, 1:])
    low = rows[:, 0:2] + side * 0.5 - longer * 0.5
    return torch.cat([low, low + longer, rows[:, 4:]], 1)


def inside(rows: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Integer x1 y1 x2 y2 of the part in the picture, half open; MTCNN counts px from 1."""
    x1, y1, x2, y2 = rows[:, :4].trunc().long().unbind(1)
    return x1.clamp(min=1) - 1, y1.clamp(min=1) - 1, x2.clamp(max=width), y2.clamp(max=height)


def nms(owner: Tensor, rows: Tensor, threshold: float, more: float = 0) -> Tensor:
    """Indices that survive non-maximum suppression by IoU, picture by picture, best first.

    more: px by which boxes are wider than x2 - x1 says: 1 where x2 is their last px.
    """
    from torchvision.ops import nms

    sides = rows.new_tensor([0, 0, more, more])
    return _by_picture(owner, lambda here: nms(rows[here, :4] + sides, rows[here, 4], threshold))


def nms_of_smaller(owner: Tensor, rows: Tensor, threshold: float) -> Tensor:
    """As `nms`, with overlap = intersection / the smaller area, areas with the +1 px."""
    host = rows.cpu()
    return _by_picture(owner, lambda here: _suppress(host[here.cpu()], threshold).to(here.device))


def _by_picture(owner: Tensor, keep: Callable[[Tensor], Tensor]) -> Tensor:
    kept = [torch.zeros(0, dtype=torch.long, device=owner.device)]
    for i in owner.unique():
        (here,) = (owner == i).nonzero(as_tuple=True)
        kept.append(here[keep(here)])
    return torch.cat(kept)


def _suppress(rows: Tensor, threshold: float) -> Tensor:
    """Greedy suppression among one picture's rows, of which there is one at least."""
    low, high = rows[:, 0:2], rows[:, 2:4]
    area = (high - low + 1).prod(1)
    left = rows[:, 4].argsort(stable=True).flip(0)  # of equal scores the last: as the library
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        both = torch.minimum(high[best], high[left]) - torch.maximum(low[best], low[left]) + 1
        overlap = both.clamp(min=0).prod(1) / torch.minimum(area[best], area[left])
        left = left[overlap <= threshold]
    return torch.stack(kept)
