"""CIFAR-10's binary version: records of a label and 3 x 32 x 32 bytes, without any header.

www.cs.toronto.edu/~kriz/cifar.html; the Python version is a pickle and is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from gantools.io.archives import Entry, numbered

SIDE, CLASSES = 32, 10
RECORD = 1 + 3 * SIDE * SIDE


def is_batch(data: bytes) -> bool:
    """Whether these are whole records only, each with a label below 10."""
    return bool(data) and len(data) % RECORD == 0 and max(data[::RECORD]) < CLASSES


def may_be_batch(head: bytes, size: int) -> bool:
    """The same of a file, as far as its size and its first bytes can say."""
    return size > 0 and size % RECORD == 0 and max(head[::RECORD]) < CLASSES


def entries(data: bytes, stem: str) -> Iterator[Entry]:
    """The pictures as `7/data_batch_1/00042`: the class first, so that it is a folder's name."""
    count = len(data) // RECORD
    head = b"P6 %d %d 255\n" % (SIDE, SIDE)
    plane = SIDE * SIDE
    for i in range(count):
        start = i * RECORD
        pixels = bytearray(RECORD - 1)
        for channel in range(3):
            at = start + 1 + channel * plane
            pixels[channel::3] = data[at : at + plane]
        yield numbered(f"{data[start]}/{stem}", i, count), partial(bytes, head + bytes(pixels))
