"""Stacked pictures: three grey ones, drawn at random, in R, G and B, as MNIST-RGB is (S1.15).

The draw is that of PGGAN's data set: RandomState(seed) gives three numbers for each picture, with
replacement. With seed 123 over MNIST's 60,000 padded training pictures it is the paper's set.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType

import numpy as np

from gantools.io import atomic
from gantools.report import Usage

DRAWN = 4096  # numbers are drawn for so many pictures at once


class Planes:
    """The grey pictures to draw from, in a temporary file: memory does not grow with them."""

    def __init__(self, size: int) -> None:
        self.keys: list[str] = []
        self._shape = size, size
        try:
            self._file = tempfile.TemporaryFile()
        except OSError as e:
            raise atomic.failure("the temporary file of --stack-rgb", e) from e

    def add(self, key: str, pixels: np.ndarray) -> None:
        """One picture, uint8 [size, size, 3], as its luma (ITU-R BT.601). Usage on a full disk."""
        from PIL import Image

        try:
            self._file.write(Image.fromarray(pixels).convert("L").tobytes())
        except OSError as e:
            raise atomic.failure("the temporary file of --stack-rgb", e) from e
        self.keys.append(key)

    def stacked(
        self, count: int, seed: int, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[int, list[str], np.ndarray]]:
        """(number, keys of R, G and B, uint8 [size, size, 3]) of the shard's among `count`."""
        if not self.keys:
            raise Usage("--stack-rgb: no picture to stack")
        try:
            self._file.flush()
        except OSError as e:
            raise atomic.failure("the temporary file of --stack-rgb", e) from e
        planes = np.memmap(self._file, np.uint8, "r", shape=(len(self.keys), *self._shape))
        index, parts = shard
        for i, three in enumerate(draw(len(self.keys), count, seed)):
            if i % parts == index:
                yield i, [self.keys[n] for n in three], np.stack(planes[three], axis=2)

    def __enter__(self) -> Planes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        self._file.close()


def draw(pictures: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """Three numbers below `pictures` [3], `count` times; the first are the same for any count."""
    random = np.random.RandomState(seed)
    for start in range(0, count, DRAWN):
        yield from random.randint(pictures, size=(min(DRAWN, count - start), 3))
