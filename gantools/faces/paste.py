"""An edited crop back into the whole photograph, blended at the crop's border."""

from __future__ import annotations

import numpy as np

from gantools.faces import warp
from gantools.report import SampleError

BORDER = 0.125  # share of the crop's side over which the photograph turns into the crop
MOST_PIXELS = 1 << 28


def mask(u: np.ndarray, v: np.ndarray, border: float = BORDER) -> np.ndarray:
    """Weight of the crop at its coordinates u, v in 0..1: 0 on and beyond its edge, 1 inside.

    3t² - 2t³ of the distance to each edge over `border`, so that value and slope are continuous.
    """

    def rise(t: np.ndarray) -> np.ndarray:
        t = np.clip(np.minimum(t, 1 - t) / border, 0, 1)
        return t * t * (3 - 2 * t)

    return rise(u) * rise(v)


def paste(photo: np.ndarray, pixels: np.ndarray, quad: np.ndarray, scale: float = 1) -> np.ndarray:
    """The uint8 [H, W, 3] photograph with `pixels` [h, w, 3] uint8 at the quad, `scale` as large.

    quad: the crop's corners [4, 2] in the photograph as `align` gives them. Outside it every px is
    the photograph's own (with scale 1) or the photograph enlarged with Lanczos. The crop is
    resampled once: reduced with Lanczos first where the photograph is coarser.
    """
    before = np.array(photo.shape[1::-1])
    photo = _scaled(photo, scale)
    corners = np.asarray(quad, np.float64) * (np.array(photo.shape[1::-1]) / before)
    origin, x, y = warp.axes(corners)
    low = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int), photo.shape[1::-1])
    if (high <= low).any():
        return photo
    columns, rows = (np.arange(a, b) + 0.5 for a, b in zip(low, high, strict=True))
    back = np.linalg.inv(np.stack([x, y], 1))  # photograph -> crop, 0..1
    at = np.stack(np.meshgrid(columns, rows), -1) - origin  # [h, w, 2]
    uv = at @ back.T
    weight = mask(uv[..., 0], uv[..., 1])[..., None]
    longest = max(pixels.shape[:2])
    high_px, wide_px = np.hypot(*y) * (longest / len(pixels)), np.hypot(*x)
    crop = _reduced(pixels, max(wide_px * (longest / pixels.shape[1]), high_px))
    face = warp.sample(crop, uv * crop.shape[1::-1] - 0.5, spline=True)
    result = photo.copy()
    window = result[low[1] : high[1], low[0] : high[0]]
    window[...] = warp.to_uint8(window + weight * (np.clip(face, 0, 255) - window))
    return result


def _scaled(photo: np.ndarray, scale: float) -> np.ndarray:
    """The photograph enlarged; Lanczos."""
    if scale == 1:
        return photo
    from PIL import Image

    height, width = (max(1, round(n * scale)) for n in photo.shape[:2])
    if height * width > MOST_PIXELS:
        raise SampleError(f"--scale {scale:g}: {width}x{height} is too large a picture")
    big = Image.fromarray(np.ascontiguousarray(photo)).resize(
        (width, height), Image.Resampling.LANCZOS
    )
    return np.asarray(big)


def _reduced(pixels: np.ndarray, side: float) -> np.ndarray:
    """The crop, its longer side no finer than `side` px."""
    longest = max(pixels.shape[:2])
    if longest <= side:
        return pixels
    from PIL import Image

    n = max(1, int(np.ceil(side)))
    height, width = (max(1, round(n * size / longest)) for size in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
