"""Resampling between a photograph and a square crop that may be turned: corners, both ways.

A quad is the crop's corners in the photograph, [4, 2] px: top left, bottom left, bottom right,
top right, and a parallelogram. Coordinates are continuous: (0, 0) is the photograph's top left
corner, pixel (0, 0) has its centre at (0.5, 0.5).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from gantools.report import SampleError

MOST_REGION = 1 << 27  # px of the photograph that one crop may touch before it is shrunk


def whole_square(height: int, width: int) -> np.ndarray:
    """The largest centred square of a picture, as a quad."""
    side = min(height, width)
    x, y = (width - side) / 2, (height - side) / 2
    return np.array([[x, y], [x, y + side], [x + side, y + side], [x + side, y]], np.float64)


def axes(quad: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origin, x axis and y axis of the crop in the photograph, px."""
    top_left, bottom_left, bottom_right, top_right = np.asarray(quad, np.float64)
    x, y = top_right - top_left, bottom_left - top_left
    gap = np.abs(bottom_right - (top_left + x + y)).max()
    if not (np.isfinite(gap) and gap <= 1e-3 * max(np.abs(x).max(), np.abs(y).max(), 1)):
        raise SampleError("the crop's corners are no parallelogram")
    if abs(x[0] * y[1] - x[1] * y[0]) < 1e-6:
        raise SampleError("the crop has no area")
    return top_left, x, y


def crop_quad(photo: np.ndarray, quad: np.ndarray, size: int) -> np.ndarray:
    """The quad of a uint8 [H, W, 3] photograph as uint8 [size, size, 3].

    Free of aliasing: where the crop shrinks, the region is first averaged by a whole factor, then
    sampled at least once per px, then reduced with Lanczos; where it enlarges, cubic splines.
    Beyond its edges the photograph is mirrored.
    """
    origin, x, y = axes(quad)
    shrink = max(np.hypot(*x), np.hypot(*y)) / size  # photograph px per crop px
    average = max(1, int(shrink / 2))
    region, corner = _region(photo, np.asarray(quad, np.float64), average)
    finer = max(1, int(np.ceil(shrink / average - 1e-9)))
    steps = (np.arange(size * finer) + 0.5) / (size * finer)
    at = origin + steps[:, None, None] * y + steps[None, :, None] * x  # [rows, columns, 2]
    at = (at - corner) / average - 0.5
    smooth = sample(region, at, spline=finer == 1)
    return _lanczos(smooth, size) if finer > 1 else to_uint8(smooth)


def _region(photo: np.ndarray, quad: np.ndarray, average: int) -> tuple[np.ndarray, np.ndarray]:
    """The photograph around the quad, mirrored beyond its edges and averaged; its top left px."""
    border = 8 * average  # what splines reach
    low = np.floor(quad.min(0)).astype(int) - border
    high = np.ceil(quad.max(0)).astype(int) + border
    high += -(high - low) % average
    if (high - low).prod() > MOST_REGION:
        raise SampleError("the crop is larger than any photograph")
    part = photo[mirrored(low[1], high[1], photo.shape[0])]
    part = part[:, mirrored(low[0], high[0], photo.shape[1])]
    if average > 1:
        from PIL import Image

        part = np.asarray(Image.fromarray(np.ascontiguousarray(part)).reduce(average))
    return part, low.astype(np.float64)


def mirrored(start: int, stop: int, length: int) -> np.ndarray:
    """Indices start .. stop folded into 0 .. length - 1, edges repeated: c b a | a b c | c b a."""
    i = np.arange(start, stop) % (2 * length)
    return np.minimum(i, 2 * length - 1 - i)


def sample(pixels: np.ndarray, at: np.ndarray, *, spline: bool) -> np.ndarray:
    """float32 [..., 3] of uint8 [H, W, 3] at pixel indices `at` [..., 2] (x, y)."""
    where = [at[..., 1], at[..., 0]]
    planes = [
        ndimage.map_coordinates(
            pixels[..., c].astype(np.float32), where, order=3 if spline else 1, mode="reflect"
        )
        for c in range(pixels.shape[2])
    ]
    return np.stack(planes, -1)


def _lanczos(pixels: np.ndarray, size: int) -> np.ndarray:
    """float32 [n, n, 3] reduced to uint8 [size, size, 3]."""
    from PIL import Image

    planes = [Image.fromarray(np.ascontiguousarray(pixels[..., c])) for c in range(3)]
    small = [np.asarray(p.resize((size, size), Image.Resampling.LANCZOS)) for p in planes]
    return to_uint8(np.stack(small, -1))


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Grey levels rounded and clipped to 0..255."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
