"""Pictures in and out: any file to uint8 sRGB [H, W, 3], and back with its story.

Transparent pixels are laid on white, as a browser does. 16 bits become 8 by rounding, not by
cutting. Without a profile, CMYK is (1 - C)(1 - K) and colours are sRGB.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from gantools.io import colour, png, sample
from gantools.io.alpha import on_white
from gantools.report import SampleError

Pixels = NDArray[np.uint8]
MAX_PIXELS = 178_000_000
"""A picture that claims more is refused before memory is taken for it."""
KEYWORD = "gantools"
"""The keyword of the iTXt chunk that holds a picture's story."""
FORMATS = (
    "PNG",
    "JPEG",
    "GIF",
    "WEBP",
    "AVIF",
    "BMP",
    "DIB",
    "TIFF",
    "PPM",
    "JPEG2000",
    "ICO",
    "QOI",
)
# Not among them: formats that start another program (EPS, WMF) or hold no picture (FITS, HDF5).


def decode(data: bytes) -> Pixels:
    """A file's bytes to [H, W, 3] sRGB: upright, on white where it is transparent. SampleError."""
    rgb, alpha = decode_with_alpha(data)
    return rgb if alpha is None else on_white(np.dstack([rgb, alpha]))


def decode_channels(data: bytes, channels: int) -> Pixels:
    """As a network of so many channels sees it: `decode`, or [H, W, 4] with straight alpha.

    SampleError. What has no alpha is opaque. Grey is [H, W, 3] still.
    """
    if channels != 4:
        return decode(data)
    rgb, alpha = decode_with_alpha(data)
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8) if alpha is None else alpha])


def decode_with_alpha(data: bytes) -> tuple[Pixels, Pixels | None]:
    """[H, W, 3] and the alpha [H, W], or None where every pixel is opaque. SampleError."""
    if not data:
        raise SampleError("empty file (0 bytes)")
    with _quiet():
        try:
            return _decode(data)
        except SampleError:
            raise
        except UnidentifiedImageError as e:
            raise SampleError(_unknown(data)) from e
        except Image.DecompressionBombError as e:
            raise SampleError(_too_large("it")) from e
        except MemoryError as e:
            raise SampleError("too large for the memory there is") from e
        except Exception as e:  # what Pillow's readers raise on damaged bytes is of every kind
            raise SampleError(f"damaged or cut short: {str(e) or type(e).__name__}") from e


def _decode(data: bytes) -> tuple[Pixels, Pixels | None]:
    image = _open(data)
    low = colour.low_bytes(_open(data)) if colour.has_sixteen(image) else None
    image.load()
    orientation = _orientation(image)
    picture, alpha = _split(image) if low is None else colour.from_sixteen(image, low)
    picture = colour.to_srgb(picture, image.info.get("icc_profile"))
    rgb = np.asarray(picture.convert("RGB"))
    if alpha is not None and alpha.min() == 255:
        alpha = None
    return _upright(rgb, orientation), None if alpha is None else _upright(alpha, orientation)


def _open(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise SampleError(_too_large(f"{width}x{height}"))
    return image


def size_of(head: bytes, tail: bytes, size: int) -> tuple[int, int] | None:
    """(height, width) of what `decode` will give, from a file's first and last bytes.

    None where they do not tell, or not that the file of `size` bytes is whole: decode it to know.
    SampleError for a picture of too many pixels.
    """
    with _quiet():
        try:
            image = _open(head)
            turned = _orientation(image) > 4 if "exif" in image.info else False
        except SampleError:
            raise
        except Exception:  # a header that is longer than `head`, or damaged
            return None
    width, height = image.size
    if image.format == "TIFF" or not _ends(image, head, tail, size):
        return None
    return (width, height) if turned else (height, width)


def _ends(image: Image.Image, head: bytes, tail: bytes, size: int) -> bool:
    """Whether the file ends as its format does, so that it was not cut."""
    if image.format == "PNG":
        return tail.endswith(b"IEND\xae\x42\x60\x82")
    if image.format in ("JPEG", "MPO"):
        return tail.endswith(b"\xff\xd9")
    if image.format == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8 <= size
    if image.format == "PPM" and head[:2] in (b"P5", b"P6"):
        start = image.tile[0][2]  # type: ignore[attr-defined]
        return bool(size >= start + image.width * image.height * (3 if head[:2] == b"P6" else 1))
    return False


def _too_large(what: str) -> str:
    return f"{what} is too large: more than {MAX_PIXELS // 1_000_000} megapixels; make it smaller"


def _unknown(data: bytes) -> str:
    if data[4:8] == b"ftyp" and sample.kind(data) == "image":
        return "a HEIF picture, which cannot be read here: convert it to PNG or JPEG"
    return "not an image" if sample.kind(data) != "image" else "damaged: not a readable image"


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1-8 (Pillow has applied a TIFF's own). A broken EXIF block says nothing."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # as every viewer does: the picture is there, only its block is broken
        return 1
    return value if value in range(1, 9) else 1


def _upright(x: Pixels, orientation: int) -> Pixels:
    """Undo EXIF's orientation: 2-4 flips and half turn, 5-8 the same of the transposed picture."""
    if orientation in (5, 6, 7, 8):
        x = x.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return np.array(x[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1], order="C")


def _split(image: Image.Image) -> tuple[Image.Image, Pixels | None]:
    """Colour as L, RGB, CMYK or LAB, and alpha."""
    if image.mode.startswith(("I", "F")):
        return colour.from_numbers(image)
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes Adobe's inverted numbers for granted
    if image.mode in ("YCbCr", "RGBX"):
        image = image.convert("RGB")
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in ("1", "L", "RGB") and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode in ("PA", "La", "RGBa"):
        image = image.convert("RGBA")
    if image.mode == "1":
        image = image.convert("L")
    if image.mode not in ("LA", "RGBA"):
        return image, None
    return image.convert(image.mode[:-1]), np.asarray(image.getchannel("A"))


_lock = threading.Lock()
_depth = 0
_filters: Any = None


@contextmanager
def _quiet() -> Iterator[None]:
    """No warning of Pillow reaches stderr; safe where several threads decode."""
    global _depth, _filters  # noqa: PLW0603 - warnings' filters are global as well
    with _lock:
        if _depth == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.simplefilter("ignore")
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _filters.__exit__(None, None, None)


def encode(pixels: Pixels, format: str = "png", story: dict[str, Any] | None = None) -> bytes:
    """uint8 [H, W, 1, 3 or 4] or [H, W] to a file's bytes; the same input, the same bytes.

    png (lossless, carries the story), jpg (quality 95, 4:4:4, alpha laid on white) or webp
    (quality 95).
    """
    if format == "jpg":
        pixels = on_white(pixels) if pixels.ndim == 3 else pixels
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    out = io.BytesIO()
    if format == "png":
        image.save(out, "PNG", pnginfo=_text(story))
    elif format == "jpg":
        image.convert("RGB").save(out, "JPEG", quality=95, subsampling=0)
    elif format == "webp":
        kept = image if image.mode == "RGBA" else image.convert("RGB")
        kept.save(out, "WEBP", quality=95, method=4)
    else:
        raise ValueError(f"no picture format {format}")
    return out.getvalue()


def content(pixels: Pixels) -> bytes:
    """What tells one picture from all others: the sha256 of its shape and its uint8 pixels."""
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()


def through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    """uint8 [H, W, 3] as a JPEG of a quality (4:2:0) keeps it."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "JPEG", quality=quality, subsampling=2)
    return decode(out.getvalue())


def encode_strips(
    shape: tuple[int, int, int], strips: Iterable[Pixels], story: dict[str, Any] | None = None
) -> Iterator[bytes]:
    """The PNG that `encode` makes, pixel for pixel, of strips [h, W, C]: its bytes as they come."""
    text = b"" if story is None else png.itxt(KEYWORD, _told(story))
    return png.written(shape, strips, text)


def _text(story: dict[str, Any] | None) -> PngInfo | None:
    if story is None:
        return None
    info = PngInfo()
    info.add_itxt(KEYWORD, _told(story))
    return info


def _told(story: dict[str, Any]) -> str:
    text = json.dumps(story, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # A key of a file name that is not UTF-8 holds surrogates: JSON's own \udcff stands for them.
    return text.encode("utf-8", "backslashreplace").decode()


def encode_exact(pixels: NDArray[Any]) -> bytes:
    """uint8 or uint16 [H, W] or [H, W, 1|3|4] to the cheapest file that keeps every bit.

    PGM or PPM; a PNG, barely compressed, for alpha and for 16 bits (Pillow writes neither).
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    height, width, channels = pixels.shape
    if pixels.dtype == np.uint8 and channels < 4:
        return b"P%d %d %d 255\n" % (6 if channels == 3 else 5, width, height) + pixels.tobytes()
    head = png.header(height, width, channels, 8 * pixels.dtype.itemsize)
    rows = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">")))
    rows = rows.view(np.uint8).reshape(height, -1)
    body = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes(), 1)
    return png.SIGNATURE + head + png.chunk(b"IDAT", body) + png.chunk(b"IEND", b"")


def story(data: bytes) -> dict[str, Any] | None:
    """The story in a PNG's iTXt chunk, or None."""
    at = 8 if data.startswith(png.SIGNATURE) else len(data)
    while at + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if name == b"iTXt" and data[at + 8 : at + 17] == KEYWORD.encode() + b"\0":
            return _parse_story(data[at + 17 : at + 8 + size])
        at += 12 + size
    return None


def _parse_story(body: bytes) -> dict[str, Any] | None:
    """`body`: compression flag, method, language, translated keyword, text."""
    text = body[2:].split(b"\0", 2)[-1]
    try:
        if body[:1] == b"\1":
            text = zlib.decompressobj().decompress(text, 1 << 24)
        found = json.loads(text.decode())
    except (zlib.error, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
