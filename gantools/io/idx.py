"""IDX files, MNIST's (yann.lecun.com/exdb/mnist): pictures as they come, and their labels."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gantools import report
from gantools.io import sample
from gantools.io.archives import Entry, Peekable, exactly, numbered, unpacked
from gantools.io.stream import LIMIT, DamagedStream


def entries(stream: Peekable, name: str, stem: str) -> Iterator[Entry]:
    """The pictures of an IDX file: bytes [N, H, W] or [N, H, W, 3], as `stem/00042`."""
    shape = _shape(stream, name)
    count, height, width = shape[0], shape[1], shape[2]
    size = math.prod(shape[1:])
    head = b"P%d %d %d 255\n" % (6 if len(shape) == 4 else 5, width, height)
    exactly(stream, 4 + 4 * len(shape))
    for i in range(count):
        data = exactly(stream, size)
        if len(data) < size:
            raise DamagedStream(f"{name}: cut: {i} of {count} pictures are there")
        yield numbered(stem, i, count), partial(bytes, head + data)
    if stream.peek(1):  # only at its end is a gzip file known to be whole
        raise DamagedStream(f"{name}: more is there than the {count} pictures of its header")


def _shape(stream: Peekable, name: str) -> tuple[int, ...]:
    """The dimensions in the header. Usage where it holds no pictures."""
    head = stream.peek(20)
    shape = _dimensions(head)
    if head[2] != 0x08 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3:] != (3,)):
        raise report.Usage(
            f"{name}: an IDX file of shape {shape or 'unknown'}, type {head[2]:#x}: pictures are "
            "bytes [N, H, W] or [N, H, W, 3] (labels are no pictures: they go to --labels)"
        )
    if 0 in shape[1:] or math.prod(shape[1:]) > LIMIT:
        raise report.Usage(f"{name}: an IDX file whose pictures would be {shape[1:]}")
    return shape


def _dimensions(head: bytes) -> tuple[int, ...]:
    """What the header says, () where it is cut."""
    dims = head[3]
    return struct.unpack(f">{dims}I", head[4 : 4 + 4 * dims]) if len(head) >= 4 + 4 * dims else ()


def may_be_labels(path: Path) -> bool:
    """Whether the file is IDX or gzip: by its first bytes; OSError where it cannot be read."""
    with path.open("rb") as file:
        return sample.kind(file.read(sample.HEAD)) in ("idx", "gz")


def labels(path: Path) -> dict[str, int]:
    """The labels of an IDX file [N], gzip or not, by the keys of the pictures they are of.

    train-labels-idx1-ubyte.gz is of train-images-idx3-ubyte, as MNIST and its relatives name
    them. Usage for a file of another name or content, and for one that is cut.
    """
    stem = sample.key_of_member(path.name)
    pictures = stem.replace("labels", "images").replace("idx1", "idx3")
    if pictures == stem:
        raise report.Usage(
            f"--labels {path.name}: of which pictures? An IDX file of labels is called "
            "...-labels-idx1-ubyte beside ...-images-idx3-ubyte"
        )
    try:
        with path.open("rb") as file:
            numbers = _numbers(unpacked(Peekable(file, path.name), path.name), path.name)
    except DamagedStream as e:  # labels are read before any work
        raise report.Usage(f"--labels {e}") from None
    return {numbered(pictures, i, len(numbers)): label for i, label in enumerate(numbers)}


def _numbers(stream: Peekable, name: str) -> bytes:
    head = stream.peek(8)
    if sample.kind(head) != "idx":
        raise report.Usage(f"--labels {name}: neither a CSV nor an IDX file")
    shape = _dimensions(head)
    if head[2] != 0x08 or len(shape) != 1 or shape[0] > LIMIT:
        raise report.Usage(f"--labels {name}: an IDX file, but labels are bytes [N] there")
    exactly(stream, 8)
    found = exactly(stream, shape[0])
    if len(found) < shape[0] or stream.peek(1):
        cut = len(found) < shape[0]
        there = f"cut: {len(found)} of" if cut else "damaged: more than"
        raise report.Usage(f"--labels {name}: {there} {shape[0]} labels are there")
    return found
