"""The middle of a picture in the shape of a network that is not about faces, or not square."""

from __future__ import annotations

import numpy as np


def centred(photo: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The largest centred rectangle of the shape of `size` (height, width), and its corners.

    photo: uint8 [H, W, 3], or 4 with straight alpha; Lanczos, in premultiplied colour. Corners
    [4, 2] as `faces.warp` has them. A picture of this size is given back as it is.
    """
    from PIL import Image

    height, width = photo.shape[:2]
    scale = min(height / size[0], width / size[1])
    h, w = scale * size[0], scale * size[1]
    x, y = (width - w) / 2, (height - h) / 2
    quad = np.array([[x, y], [x, y + h], [x + w, y + h], [x + w, y]], np.float64)
    if (height, width) == size:
        return photo, quad
    image = Image.fromarray(np.ascontiguousarray(photo))
    box = (max(x, 0), max(y, 0), min(x + w, width), min(y + h, height))
    return np.asarray(image.resize(size[::-1], Image.Resampling.LANCZOS, box=box)), quad


def mirrored(
    pixels: np.ndarray, quad: np.ndarray, unit: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """pixels [H, W, C] mirrored beyond their edges up to multiples of `unit` (height, width).

    quad: the picture's corners in its photograph; those that come back are of the larger one.
    """
    height, width = pixels.shape[:2]
    (top, bottom), (left, right) = (
        _split(n, k) for n, k in zip((height, width), unit, strict=True)
    )
    padded = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), mode="symmetric")
    down, across = (quad[1] - quad[0]) / height, (quad[3] - quad[0]) / width
    moves = [
        -top * down - left * across,
        bottom * down - left * across,
        bottom * down + right * across,
        -top * down + right * across,
    ]
    return padded, quad + np.stack(moves)


def _split(n: int, unit: int) -> tuple[int, int]:
    surplus = -n % unit
    return surplus // 2, surplus - surplus // 2
