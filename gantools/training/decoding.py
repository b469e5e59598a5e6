"""Threads that decode pictures, and where decoded pictures are kept."""

from __future__ import annotations

import contextlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from gantools import report
from gantools.io import atomic
from gantools.report import SampleError, Usage

T = TypeVar("T")
R = TypeVar("R")

DAMAGED = 100  # pictures in a row that cannot be decoded: something else is wrong


def in_order(
    items: Iterable[T], work: Callable[[T], R], workers: int
) -> Iterator[tuple[T, Future[R]]]:
    """Each item with its work, done by so many threads; a few are under way at any time."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > 8 * workers:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(cancel_futures=True)


class Set(Protocol):
    """What has pictures: number i's pixels, uint8 `shape` [C,H,W], and its name.

    stride: how far the picture is that stands in the place of a damaged one.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def stride(self) -> int: ...
    def __len__(self) -> int: ...
    def name(self, i: int) -> str: ...
    def decode(self, i: int) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Found:
    """Which picture it is: the one that was asked for, or the one in its place.

    damaged: names of those that were tried before, and what is wrong with them.
    """

    number: int
    damaged: list[tuple[str, str]]


def fetch(pictures: Set, i: int, row: np.ndarray) -> Found:
    """Put picture i into `row`, uint8 [C,H,W], or the next that can be decoded.

    Usage where very many in a row cannot.
    """
    damaged: list[tuple[str, str]] = []
    for tried in range(min(DAMAGED, len(pictures))):
        number = (i + tried * pictures.stride) % len(pictures)
        try:
            row[:] = pictures.decode(number)
            return Found(number, damaged)
        except SampleError as e:
            damaged.append((pictures.name(number), str(e)))
    name, why = damaged[-1]
    raise Usage(f"{len(damaged)} pictures in a row cannot be decoded; the last is {name}: {why}")


class Told:
    """Names each damaged picture once."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def tell(self, damaged: list[tuple[str, str]], *, alone: bool = False) -> None:
        """A line on stderr for each; alone: no other process of the run knows of them."""
        for name, why in damaged:
            if name not in self._names:
                self._names.add(name)
                report.failed(name, f"{why} (the next picture is shown in its place)", alone=alone)


class Store:
    """A growing uint8 array [N,C,H,W] in a file without a name, so that it may exceed memory."""

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.folder = folder
        self.count = 0
        self.file = tempfile.TemporaryFile(dir=folder)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # what is left to write is wanted no more
            self.file.close()

    def add(self, pixels: np.ndarray) -> None:
        """Append one [C,H,W]; Usage where the disk is full."""
        try:
            self.file.write(pixels.data)
        except OSError as e:
            raise atomic.failure(self.folder, e) from None
        self.count += 1

    def array(self) -> np.ndarray:
        """All of them; to be taken before the file is closed."""
        if not self.count:
            return np.zeros((0, *self.shape), np.uint8)
        try:
            self.file.flush()
        except OSError as e:
            raise atomic.failure(self.folder, e) from None
        return np.memmap(self.file, np.uint8, "r+", shape=(self.count, *self.shape))
