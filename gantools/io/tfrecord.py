"""TFRecord files of pictures, as PGGAN's and StyleGAN's TensorFlow code reads them (S0.5).

A record is length (uint64), its checksum, data, its checksum. The data is a tf.train.Example with
`shape` (int64, [3]) and `data` (uint8 [3, H, W]), in the protobuf wire format.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np

POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected
LANES = 1024  # pieces of the data whose checksums are computed at once


def record(pixels: np.ndarray) -> bytes:
    """One picture, uint8 [3, H, W], as a record."""
    shape = b"".join(_varint(n) for n in pixels.shape)
    features = (
        (b"shape", _field(3, _field(1, shape))),
        (b"data", _field(1, _field(1, pixels.tobytes()))),
    )
    entries = (_field(1, _field(1, name) + _field(2, value)) for name, value in features)
    data = _field(1, b"".join(entries))
    head = struct.pack("<Q", len(data))
    return head + _masked(head) + data + _masked(data)


def pyramid(pixels: np.ndarray) -> list[np.ndarray]:
    """Levels of a uint8 [3, R, R] picture, R a power of two: R, R/2, .. 4, each uint8.

    Means of 2x2 px of the unrounded level above; rounded (half to even) where it is stored.
    """
    levels, x = [], pixels.astype(np.float32)
    while True:
        levels.append(np.clip(np.rint(x), 0, 255).astype(np.uint8))
        if x.shape[1] <= 4:
            return levels
        x = (x[:, 0::2, 0::2] + x[:, 0::2, 1::2] + x[:, 1::2, 0::2] + x[:, 1::2, 1::2]) * 0.25


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes: tag, length, data."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _masked(data: bytes) -> bytes:
    """TFRecord's checksum: CRC-32C, rotated and moved, so that it differs from its data's."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of at least four bytes.

    Checksums are linear: that of the whole is the sum of those of its pieces, each moved on by the
    zeros that follow it. The start value is the first four bytes inverted; zeros before them do
    nothing, so the data fills equal pieces from the end.
    """
    length = -(-len(data) // LANES)
    x = np.zeros(LANES * length, np.uint8)
    x[-len(data) :] = np.frombuffer(data, np.uint8)
    start = len(x) - len(data)
    x[start : start + 4] ^= 255
    table, moved = _table(), _moved(length)
    state: np.ndarray = np.zeros(LANES, np.uint32)
    for column in x.reshape(LANES, length).T:
        state = table[(state ^ column) & 255] ^ state >> 8
    crc = 0
    for piece in state.tolist():
        a, b, c, d = crc & 255, crc >> 8 & 255, crc >> 16 & 255, crc >> 24
        crc = moved[0][a] ^ moved[1][b] ^ moved[2][c] ^ moved[3][d] ^ piece
    return crc ^ 0xFFFFFFFF


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    """What each byte adds, uint32 [256]."""
    table: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = table >> 1 ^ np.where(table & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    return table


@lru_cache(maxsize=64)
def _moved(length: int) -> list[list[int]]:
    """For each of a checksum's four bytes: its value after `length` more zero bytes, [4][256]."""
    table = _table()
    place = np.array([[0], [8], [16], [24]], np.uint32)
    state: np.ndarray = np.arange(256, dtype=np.uint32)[None] << place
    for _ in range(length):
        state = table[state & 255] ^ state >> 8
    rows: list[list[int]] = state.tolist()
    return rows
