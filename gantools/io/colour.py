"""Colour of files to 8-bit sRGB: 16 bits, floats, CMYK and Lab, embedded ICC profiles."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from gantools.report import SampleError

Pixels = NDArray[np.uint8]


def from_numbers(image: Image.Image) -> tuple[Image.Image, Pixels | None]:
    """Grey of 16 bits (I;16, or I within 0..65535) or of floats within 0..1."""
    x = np.asarray(image)
    bits = getattr(image, "tag_v2", {}).get(258, (16,))  # a TIFF of 12 bits is not stretched
    top = 1 if image.mode == "F" else 4095 if bits == (12,) else 65535
    low, high = x.min(), x.max()
    if not (low >= 0 and high <= top):  # also false for NaN
        raise SampleError(f"grey values from {low} to {high}: between 0 and {top} are expected")
    grey = _banded(lambda rows: np.floor(rows * (255 / top) + 0.5), x)
    hole = image.info.get("transparency")
    alpha = np.where(x == hole, 0, 255).astype(np.uint8) if isinstance(hole, int) else None
    return Image.fromarray(grey), alpha


def _banded(f: Callable[[NDArray[Any]], NDArray[Any]], x: NDArray[Any]) -> Pixels:
    """`f` of 256 rows at a time as uint8: no large picture is ever held in 64 bits."""
    out = np.empty(x.shape, np.uint8)
    for y in range(0, len(x), 256):
        out[y : y + 256] = f(x[y : y + 256])
    return out


_LOW = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16B",
    "LA;16B": "RGBA",  # four bytes per pixel, read as four channels: all of them
}
"""The raw mode that reads the low bytes where Pillow's own keeps the high ones."""


def _raw_mode(image: Image.Image) -> Any:
    """How the first tile's bytes are laid out, in Pillow's words."""
    tiles = getattr(image, "tile", None)
    args = tiles[0].args if tiles else None
    return args[0] if isinstance(args, tuple) and args else args


def has_sixteen(image: Image.Image) -> bool:
    """Whether a picture that is not loaded yet has colours of 16 bits, which Pillow would cut."""
    return _raw_mode(image) in _LOW


def low_bytes(image: Image.Image) -> Pixels:
    """The low bytes of 16-bit colour: a second reading with the byte order turned round."""
    again: Any = image
    raw = _LOW[_raw_mode(image)]
    again.tile = [
        t._replace(args=(raw, *t.args[1:]) if isinstance(t.args, tuple) else raw)
        for t in again.tile
    ]
    again.load()
    low = np.asarray(image)
    return low[..., [1, 1, 1, 3]] if raw == "RGBA" else low


def from_sixteen(image: Image.Image, low: Pixels) -> tuple[Image.Image, Pixels | None]:
    """16-bit colour of its high bytes, which Pillow has, and its low ones."""
    x = np.asarray(image).astype(np.uint16) * np.uint16(256) + low
    eight = _banded(lambda rows: (rows.astype(np.uint32) + 128) // 257, x)  # round(x / 257)
    hole = image.info.get("transparency")
    alpha = eight[..., 3] if x.shape[2] == 4 else None
    if alpha is None and isinstance(hole, tuple):
        alpha = np.where((x == np.array(hole)).all(-1), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(eight[..., :3])), alpha


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply an embedded ICC profile. One that is broken, or for another mode, is passed over."""
    if image.mode == "LAB":
        profile = _LAB
    if not profile:
        return image
    transform = _transform(profile, image.mode)
    return image if transform is None else ImageCms.applyTransform(image, transform) or image


_LAB = b"the colour space itself"


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> Any:
    try:
        source = ImageCms.ImageCmsProfile(
            ImageCms.createProfile("LAB") if profile is _LAB else io.BytesIO(profile)
        )
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if mode == "RGB" and _is_identity(transform) else transform


def _is_identity(transform: Any) -> bool:
    """Whether a cube of colours stays where it is: then sRGB pixels are not touched at all."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3)
    after = np.asarray(ImageCms.applyTransform(Image.fromarray(cube), transform))
    return bool(np.abs(after.astype(int) - cube).max() <= 2)
