"""Training pictures: decoded once into one uint8 array, shuffled in epochs that need no state."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gantools import report
from gantools.io import atomic, image, seeds, source
from gantools.io.classes import Classes, ordered
from gantools.io.sample import Sample
from gantools.report import SampleError, Usage


@dataclass
class Pictures:
    """What a run is trained on and measured against.

    train, held: uint8 [N,C,H,W]; held is empty unless it was asked for. digest: of the keys, the
    pixels and the classes of `train`, so that a resumed run notices other data. names: the operands
    without their folders. classes: their names; labels, held_labels: the class of each picture as
    its number among them, int64 [N]; without classes all three are empty.
    """

    train: np.ndarray
    held: np.ndarray
    digest: str
    names: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    held_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def is_held_out(key: str, every: int) -> bool:
    """Whether the picture's number, the last digits of its key, is divisible by `every` (0: never).

    A key without a number is never held out.
    """
    numbers = re.findall(r"\d+", key)
    return every > 0 and bool(numbers) and int(numbers[-1]) % every == 0


def fit(pixels: np.ndarray, resolution: int, channels: int = 3) -> np.ndarray:
    """A square picture at the resolution, uint8 [C,R,R]; Lanczos where it is larger.

    One channel is the luma of ITU-R BT.601. SampleError for a picture that is not square, or
    smaller: neither is stretched silently.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    if height != width:
        raise SampleError(f"{width}x{height} is not square: crop it first (gantools prefilter)")
    if height < resolution:
        raise SampleError(f"{width}x{height} is smaller than --resolution {resolution}")
    if channels == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))
    if height > resolution:
        size = (resolution, resolution)
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    pixels = pixels.reshape(resolution, resolution, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _decoded(
    samples: Iterable[Sample], resolution: int, channels: int, workers: int
) -> Iterator[tuple[Sample, np.ndarray]]:
    """Samples with their pixels, in order; the bad ones are reported and left out."""

    def work(sample: Sample) -> np.ndarray:
        return fit(image.decode(sample.data), resolution, channels)

    def finish(sample: Sample, future: Future[np.ndarray]) -> Iterator[tuple[Sample, np.ndarray]]:
        try:
            yield sample, future.result()
        except SampleError as e:
            report.failed(sample.name, e)

    with ThreadPoolExecutor(workers) as pool:
        waiting: list[tuple[Sample, Future[np.ndarray]]] = []
        for sample in samples:
            waiting.append((sample, pool.submit(work, sample)))
            if len(waiting) > 8 * workers:
                yield from finish(*waiting.pop(0))
        for one in waiting:
            yield from finish(*one)


def resolution_of(operands: Sequence[str]) -> int:
    """The size of the first picture that can be read; Usage unless it is a power of two."""
    for sample in source.samples(operands, kinds=("image",), stdin_ok=False):
        try:
            height, width = image.decode(sample.data).shape[:2]
        except SampleError:
            continue
        if height != width or height & (height - 1) or height < 4:
            raise Usage(f"{sample.name} is {width}x{height}: give --resolution 64, 128, …")
        return int(height)
    raise Usage("no picture found to train on")


class _Store:
    """A growing uint8 array [N,C,R,R] in a file without a name, so that it may exceed memory."""

    def __init__(self, folder: Path, resolution: int, channels: int) -> None:
        self.shape = (channels, resolution, resolution)
        self.folder = folder
        self.count = 0
        self.file = tempfile.TemporaryFile(dir=folder)

    def __enter__(self) -> _Store:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # what is left to write is wanted no more
            self.file.close()

    def add(self, pixels: np.ndarray) -> None:
        try:
            self.file.write(pixels.data)
        except OSError as e:
            raise atomic.failure(self.folder, e) from None
        self.count += 1

    def array(self) -> np.ndarray:
        if not self.count:
            return np.zeros((0, *self.shape), np.uint8)
        try:
            self.file.flush()
        except OSError as e:
            raise atomic.failure(self.folder, e) from None
        return np.memmap(self.file, np.uint8, "r+", shape=(self.count, *self.shape))


def load(
    operands: Sequence[str],
    resolution: int,
    folder: Path,
    *,
    hold_out: int = 0,
    keep_held: bool = False,
    workers: int = 4,
    channels: int = 3,
    classes: Classes | None = None,
) -> Pictures:
    """Decode every picture of the operands; Usage where none is left to train on.

    The pixels stand in an unnamed temporary file in `folder`, which the system keeps in memory as
    far as there is some. With `classes`, pictures without one are left out, and a note says how
    many.
    """
    digest = hashlib.sha256()
    found = _Found(classes)
    samples = found.labelled(source.samples(operands, kinds=("image",), stdin_ok=False))
    decoded = _decoded(samples, resolution, channels, workers)
    with (
        _Store(folder, resolution, channels) as train,
        _Store(folder, resolution, channels) as held,
    ):
        for sample, pixels in report.progress(decoded, unit="pictures", desc="reading"):
            out = is_held_out(sample.key, hold_out)
            if out and keep_held:
                held.add(pixels)
            name = found.add(sample.key, kept=keep_held or not out, held=out)
            if out:
                continue
            train.add(pixels)
            digest.update(sample.key.encode("utf-8", "surrogateescape") + b"\0")
            digest.update(name.encode("utf-8", "surrogateescape"))
            digest.update(pixels.data)
        if not train.count:
            which = "" if classes is None else f" that has a class ({classes.origin})"
            raise Usage(f"no picture left to train on{which}")
        names = [Path(operand).name or operand for operand in operands]
        known, labels, held_labels = found.numbered()
        digest.update("\0".join(known).encode("utf-8", "surrogateescape"))
        return Pictures(
            train.array(), held.array(), digest.hexdigest(), names, known, labels, held_labels
        )


class _Found:
    """The classes of the pictures that are kept, by name; of none where there are no classes."""

    def __init__(self, classes: Classes | None) -> None:
        self.classes = classes
        self.seen: set[str] = set()
        self.names: dict[bool, list[str]] = {False: [], True: []}  # by held

    def labelled(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The samples that have a class; a note says how many have none."""
        if self.classes is None:
            yield from samples
            return
        without = 0
        for sample in samples:
            if self.classes.of(sample.key) is None:
                without += 1
                continue
            yield sample
        if without:
            report.note(f"{self.classes.origin}: pictures without a class, left out: {without:,}")

    def add(self, key: str, *, kept: bool, held: bool) -> str:
        """Remember the class of a picture; its name, or nothing without classes."""
        name = self.classes.of(key) if self.classes is not None else None
        if name is None:
            return ""
        self.seen.add(name)
        if kept:
            self.names[held].append(name)
        return name

    def numbered(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """All classes, and the numbers [N] of the training pictures' and of the held ones'."""
        known: list[str] = []
        if self.classes is not None:
            known = self.classes.names or ordered(self.seen, self.classes.origin)
        number = {name: i for i, name in enumerate(known)}
        train, held = (
            np.array([number[name] for name in self.names[side]], np.int64)
            for side in (False, True)
        )
        return known, train, held


class Order:
    """Which pictures the run sees: epoch after epoch, each shuffled from (seed, epoch) alone.

    With mirror the set is doubled: index i >= n is picture i - n, flipped (S1.13). Nothing has to
    be saved but the number of pictures shown.
    """

    def __init__(self, n: int, seed: int, *, mirror: bool) -> None:
        self.n, self.seed = n, seed
        self.length = 2 * n if mirror else n
        self._epoch, self._shuffled = -1, np.zeros(0, np.int64)

    def _of(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            rng = np.random.default_rng(seeds.derive(self.seed, str(epoch), "order"))
            self._epoch, self._shuffled = epoch, rng.permutation(self.length)
        return self._shuffled

    def take(self, position: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(picture numbers [count], flipped [count]) from `position` on."""
        chunks = []
        while count:
            epoch, start = divmod(position, self.length)
            chunks.append(self._of(epoch)[start : start + count])
            position, count = position + len(chunks[-1]), count - len(chunks[-1])
        index = np.concatenate(chunks)
        return index % self.n, index >= self.n
