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
