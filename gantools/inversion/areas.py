"""The three areas of paper 004 as pictures to look at (papers.md S4.6, S4.7; Figs 2, 3 and 10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from gantools.inversion import cam
from gantools.inversion.dse_loss import SMALLEST
from gantools.networks.network import Network
from gantools.ops.crops import part
from gantools.ops.pixels import to_uint8
from gantools.report import Usage

Kind = Literal["centre", "gradcam"]
Areas = Callable[[np.ndarray], list[np.ndarray]]
NAMES = ("whole", "at1", "at2")


def areas_of(network: Network, kind: Kind) -> Areas:
    """The whole, AT1 and AT2 of a picture of the network, uint8 [H, W, C].

    centre: both crops. gradcam: the heat in colours, blue to red, and the picture with it. Usage
    where the network's pictures have none, or the weights of VGG16 are missing.
    """
    if kind == "centre":
        if min(network.size) < SMALLEST:
            raise Usage(f"--tsa centre: pictures below {SMALLEST} pixels have no areas")
        return _crops
    if network.channels == 4:
        raise Usage("--tsa gradcam: its classifier sees colour alone, and here is alpha")
    seen = cam.Cam(cam.vgg16(network.device))
    return lambda picture: _heats(seen, picture, network.device)


def _crops(picture: np.ndarray) -> list[np.ndarray]:
    parts = (part(name, picture.shape[0], picture.shape[1]) for name in ("full", "at1", "at2"))
    return [picture[rows, columns] for rows, columns in parts]


def _heats(seen: cam.Cam, picture: np.ndarray, device: str) -> list[np.ndarray]:
    """In colour, also of grey pictures: the three stand on one sheet."""
    colour = picture if picture.shape[2] == 3 else picture.repeat(3, axis=2)
    x = torch.from_numpy(np.array(colour)).permute(2, 0, 1)[None].to(device).float() / 127.5 - 1
    (_, mask, _), (_, labelled, _) = seen.areas(x, x)
    shown = [to_uint8(y * 2 - 1)[0] for y in (cam.jet(mask), labelled)]
    return [colour, *shown]
