"""ArcFace's IR-SE50: whether two pictures show one person, as pSp asks it (papers.md S4.18).

Deng et al. 2019. It sees the middle of a face as FFHQ frames it, at 112x112.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from gantools.inversion.irse import WIDTH, IrSe
from gantools.io import weights
from gantools.report import Usage

Identity = Callable[[Tensor], Tensor]  # pictures [N, C, H, W] -> [N, 512] of length 1
WEIGHTS = "ir-se50"  # in io.weights
SIDE = 112
ROWS, COLUMNS = (35 / 256, 223 / 256), (32 / 256, 220 / 256)
"""The part of FFHQ's framing that it sees."""


class ArcFace(nn.Module):
    """Pictures [N, 1 or 3, H, W] in [-1, 1], framed as FFHQ's -> [N, 512] of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = IrSe(3, WIDTH, 50)
        cells = SIDE // 16
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(WIDTH),
            nn.Dropout(),  # none when it is used
            nn.Flatten(),
            nn.Linear(WIDTH * cells * cells, 512),
            nn.BatchNorm1d(512),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Differentiable in the pictures."""
        faces = middle(images)
        faces = faces.expand(-1, 3, -1, -1) if faces.shape[1] == 1 else faces
        return functional.normalize(self.output_layer(self.trunk(faces)[-1]))


def middle(images: Tensor) -> Tensor:
    """The middle of framed faces [N, C, H, W] at 112x112: means of pixels, or between them."""
    height, width = images.shape[2:]
    top, bottom = (round(x * height) for x in ROWS)
    left, right = (round(x * width) for x in COLUMNS)
    part = images[:, :, top:bottom, left:right]
    if min(part.shape[2:]) >= SIDE:
        return functional.adaptive_avg_pool2d(part, SIDE)
    return functional.interpolate(part, (SIDE, SIDE), mode="bilinear")


def published() -> Mapping[str, Tensor]:
    """The published numbers; Usage where they are missing (io.weights)."""
    path = weights.locate(WEIGHTS)
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load(state: Mapping[str, Tensor], name: str = "the weights") -> ArcFace:
    """The network of these numbers, without gradients of its own; Usage where they do not fit."""
    try:
        with torch.random.fork_rng(devices=[]):
            net = ArcFace()
        net.trunk.fill(state)
        head = "output_layer."
        own = {n.removeprefix(head): t for n, t in state.items() if n.startswith(head)}
        net.output_layer.load_state_dict(own)
    except (RuntimeError, AttributeError, TypeError):
        raise Usage(f"{name}: not the tensors of ArcFace's IR-SE50") from None
    return net.eval().requires_grad_(False)
