"""Pictures with alpha: straight colour (as in PNG files), premultiplied colour, and on white.

Networks are trained on premultiplied colour, 0 where nothing is seen: mixing and filtering such
pictures brings in no colour that cannot be seen, so no border gets a fringe of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
PREMULTIPLIED = "premultiplied"
"""The entry `alpha` in the header of a network that makes such pictures."""


def premultiplied(pixels: Pixels) -> Pixels:
    """Straight [..., 4] with the colour times alpha, rounded."""
    x = pixels.astype(np.uint16)
    colour = (x[..., :3] * x[..., 3:] + 127) // 255
    return np.concatenate([colour.astype(np.uint8), pixels[..., 3:]], axis=-1)


def straight(pixels: Pixels) -> Pixels:
    """Premultiplied [..., 4] with the colour over alpha, at most 255; 0 where nothing is seen.

    premultiplied(straight(x)) is x wherever no colour of x is above its alpha.
    """
    alpha = np.maximum(pixels[..., 3:].astype(np.uint16), 1)
    colour = np.minimum((pixels[..., :3] * np.uint16(255) + alpha // 2) // alpha, 255)
    colour = np.where(pixels[..., 3:], colour, 0).astype(np.uint8)
    return np.concatenate([colour, pixels[..., 3:]], axis=-1)


def through(pixels: Pixels, change: Callable[[Pixels], Pixels]) -> Pixels:
    """What `change` makes of a picture [H, W, 3], also of a straight one [H, W, 4].

    That is premultiplied meanwhile, so that filters mix in no colour that cannot be seen.
    """
    if pixels.shape[-1] != 4:
        return change(pixels)
    whole = premultiplied(pixels)
    colour, share = change(whole[..., :3]), change(whole[..., 3:].repeat(3, axis=-1))[..., :1]
    return straight(np.concatenate([colour, share], axis=-1))


def on_white(pixels: Pixels) -> Pixels:
    """Straight [..., 4] laid on white: [..., 3]; what has 1 or 3 channels is as it was."""
    if pixels.shape[-1] != 4:
        return pixels
    rgb, a = pixels[..., :3], pixels[..., 3:].astype(np.uint16)
    return ((rgb * a + 255 * (255 - a) + 127) // 255).astype(np.uint8)
