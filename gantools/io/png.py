"""PNG files from rows of pixels as they come (ISO/IEC 15948): memory of a few rows."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR = {1: 0, 3: 2, 4: 6}
"""The colour type of so many channels."""
_FILTERED = 1 << 18  # bytes of rows that are filtered at once
_IDAT = 1 << 16  # bytes of a chunk of pixels


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk: length, name, data, CRC-32 (5.3)."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header(height: int, width: int, channels: int, bits: int = 8) -> bytes:
    """IHDR, not interlaced (11.2.2); ValueError where a side is longer than the format has."""
    if not (0 < height < 1 << 31 and 0 < width < 1 << 31):
        raise ValueError(f"{height}x{width}: no PNG has this size")
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, COLOUR[channels], 0, 0, 0))


def itxt(keyword: str, text: str) -> bytes:
    """An iTXt chunk, not compressed, of no language (11.3.4.5)."""
    return chunk(b"iTXt", keyword.encode("latin-1") + bytes(5) + text.encode())


def written(
    shape: tuple[int, int, int], strips: Iterable[NDArray[np.uint8]], text: bytes = b""
) -> Iterator[bytes]:
    """The bytes of a file of 8 bits, from strips [h, W, C] of a picture of `shape` (H, W, C).

    text: chunks that stand before the pixels. ValueError where the strips do not make that picture.
    """
    yield SIGNATURE + header(*shape) + text
    packer, packed = zlib.compressobj(strategy=zlib.Z_FILTERED), bytearray()
    for data in _lines(shape, strips):
        packed += packer.compress(data)
        while len(packed) >= _IDAT:
            yield chunk(b"IDAT", bytes(packed[:_IDAT]))
            del packed[:_IDAT]
    packed += packer.flush()
    for start in range(0, len(packed), _IDAT):
        yield chunk(b"IDAT", bytes(packed[start : start + _IDAT]))
    yield chunk(b"IEND", b"")


def _lines(shape: tuple[int, int, int], strips: Iterable[NDArray[np.uint8]]) -> Iterator[bytes]:
    """What is packed: a few filtered rows at a time."""
    height, width, channels = shape
    at_once = max(_FILTERED // (width * channels), 1)
    above, row = np.zeros((1, width * channels), np.uint8), 0
    for strip in strips:
        if strip.shape[1:] != (width, channels):
            raise ValueError(f"a strip of {strip.shape} of a picture of {shape}")
        for start in range(0, len(strip), at_once):
            rows = strip[start : start + at_once].reshape(-1, width * channels)
            yield _filtered(rows, above, channels)
            above = rows[-1:].copy()
        row += len(strip)
    if row != height:
        raise ValueError(f"{row} rows of a picture of {shape}")


def _filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> bytes:
    """Rows [n, bytes] with the filter (9.2) before each whose differences are smallest (12.7)."""
    up = np.concatenate([above, rows[:-1]])
    left, corner = (np.pad(x, ((0, 0), (step, 0)))[:, :-step] for x in (rows, up))
    mean = (left & up) + ((left ^ up) >> 1)  # in 8 bits, rounded down
    ways = {1: rows - left, 2: rows - up, 3: rows - mean, 4: rows - _paeth(left, up, corner)}
    # As signed numbers; -128 has no absolute value in 8 bits, and counts as 128.
    costs = [np.abs(x.view(np.int8)).view(np.uint8).sum(1, dtype=np.int64) for x in ways.values()]
    best = np.argmin(costs, axis=0)
    chosen = np.choose(best[:, None], list(ways.values()))
    return np.column_stack([np.array(list(ways), np.uint8)[best], chosen]).tobytes()


def _paeth(
    left: NDArray[np.uint8], up: NDArray[np.uint8], corner: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The nearest of the three to left + up - corner, ties in this order (9.4)."""
    a, b, c = (x.astype(np.int16) for x in (left, up, corner))
    to_left, to_up, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    is_left = (to_left <= to_up) & (to_left <= to_corner)
    return np.where(is_left, left, np.where(to_up <= to_corner, up, corner))
