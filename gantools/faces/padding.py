"""What lies beyond a photograph's edge in CelebA-HQ and FFHQ: mirrored, blurred, faded (S1.16).

The squares about faces often reach out of the photograph. Both sets were made by the same steps:
the region about the square, mirrored beyond the photograph's edges; towards the outside it is
blurred, and then fades to the region's median colour, so that no second face shows.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from gantools.faces import warp
from gantools.report import SampleError

BORDER, LEAST_BORDER = 0.1, 3  # around the square, in sides and px
PAD = 0.3  # sides: at least so much is put on each side where anything is
BLUR = 0.02  # sides: deviation of the Gaussian
NEAR = 4  # px: a square so near to the edge counts as reaching it
MOST_PIXELS = 1 << 26


def crop_padded(photo: np.ndarray, quad: np.ndarray, size: int, *, enlarge: bool) -> np.ndarray:
    """The square `quad` of a uint8 [H, W, 3] photograph as uint8 [size, size, 3].

    enlarge: small faces are first enlarged with Lanczos by a power of two, as CelebA-HQ did
    (in place of its super-resolution network, which was never published); its half px more, in
    the enlarged picture, is kept. SampleError where the square lies outside the photograph.
    """
    warp.axes(quad)
    part, quad = _shrunk(photo, quad, size)
    part, quad, border = _region(part, quad)
    if enlarge:
        part, quad = _enlarged(part, quad, size)
    part, quad = _padded(part, quad, border)
    return warp.crop_quad(part, quad + 0.5 if enlarge else quad, size)


def _side(quad: np.ndarray) -> float:
    return float(np.hypot(*(quad[3] - quad[0])))


def _resized(photo: np.ndarray, width: int, height: int) -> np.ndarray:
    if width * height > MOST_PIXELS:
        raise SampleError("the crop is larger than any photograph")
    picture = Image.fromarray(np.ascontiguousarray(photo))
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


def _shrunk(photo: np.ndarray, quad: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """By a whole factor, so that the square keeps two px and more for each of the crop."""
    factor = int(0.5 * _side(quad) / size)
    if factor < 2:
        return photo, quad
    height, width = (max(1, round(n / factor)) for n in photo.shape[:2])
    scale = np.array([width / photo.shape[1], height / photo.shape[0]])
    return _resized(photo, width, height), quad * scale


def _region(photo: np.ndarray, quad: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """What the photograph has of the square and a border about it, and the border, px."""
    border = max(round(BORDER * _side(quad)), LEAST_BORDER)
    low = np.maximum(np.floor(quad.min(0)).astype(int) - border, 0)
    high = np.minimum(np.ceil(quad.max(0)).astype(int) + border, photo.shape[1::-1])
    if (high <= low).any():
        raise SampleError("the face lies outside the picture")
    return photo[low[1] : high[1], low[0] : high[0]], quad - low, border


def _enlarged(photo: np.ndarray, quad: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """By a power of two, until the square has as many px as the crop."""
    factor = 2 ** max(0, int(np.ceil(np.log2(size / _side(quad)))))
    height, width = photo.shape[:2]
    return _resized(photo, width * factor, height * factor), quad * factor


def _padded(photo: np.ndarray, quad: np.ndarray, border: int) -> tuple[np.ndarray, np.ndarray]:
    """Mirrored, blurred and faded where the square comes near the photograph's edge."""
    height, width = photo.shape[:2]
    outside = np.concatenate([-np.floor(quad.min(0)), np.ceil(quad.max(0)) - [width, height]])
    pad = np.maximum(outside.astype(int) + border, 0)
    if pad.max() <= border - NEAR:
        return photo, quad
    pad = np.maximum(pad, round(PAD * _side(quad)))
    left, top, right, bottom = pad.tolist()
    if (height + top + bottom) * (width + left + right) > MOST_PIXELS:
        raise SampleError("the crop is larger than any photograph")
    rows, columns = reflected(-top, height + bottom, height), reflected(-left, width + right, width)
    x = photo[rows][:, columns].astype(np.float32)
    inside = mask(len(rows), len(columns), (left, top, right, bottom))[..., None]
    x += (blurred(x, BLUR * _side(quad)) - x) * np.clip(3 * inside + 1, 0, 1)
    x += (np.median(x, (0, 1)) - x) * np.clip(inside, 0, 1)
    return warp.to_uint8(x), quad + pad[:2]


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of float32 [H, W, C], mirrored at the edges.

    Wide ones are computed on means of f x f px, f a quarter of sigma, whose own variance,
    (f² - 1) / 12, is taken off: the same to a few tenths of a grey level, and f² times faster.
    """
    f = int(sigma / 4)
    if f < 2:
        return np.asarray(ndimage.gaussian_filter(x, (sigma, sigma, 0)))
    height, width = x.shape[:2]
    around = f * int(np.ceil(4 * sigma / f))  # what the Gaussian reaches
    rows = warp.mirrored(-around, height + around + -height % f, height)
    columns = warp.mirrored(-around, width + around + -width % f, width)
    small = x[rows][:, columns].reshape(len(rows) // f, f, len(columns) // f, f, -1).mean((1, 3))
    rest = (sigma**2 - (f**2 - 1) / 12) ** 0.5 / f
    small = ndimage.gaussian_filter(small, (rest, rest, 0))
    size = len(columns), len(rows)
    planes = [
        np.asarray(Image.fromarray(small[..., c]).resize(size, Image.Resampling.BICUBIC))
        for c in range(x.shape[2])
    ]
    return np.stack(planes, -1)[around : around + height, around : around + width]


def mask(height: int, width: int, pad: tuple[int, int, int, int]) -> np.ndarray:
    """How far outside a px is, [height, width]: 1 on the outermost, 0 where the photograph begins.

    Inside it is negative. pad: left, top, right, bottom.
    """
    left, top, right, bottom = pad
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    across = np.minimum(x / left, (width - 1 - x) / right)
    down = np.minimum(y / top, (height - 1 - y) / bottom)
    return 1 - np.minimum(across, down)


def reflected(start: int, stop: int, length: int) -> np.ndarray:
    """Indices start .. stop folded into 0 .. length - 1, edges not repeated: c b | a b c | b a."""
    if length == 1:
        return np.zeros(stop - start, np.int64)
    i = np.arange(start, stop) % (2 * length - 2)
    return np.minimum(i, 2 * length - 2 - i)
