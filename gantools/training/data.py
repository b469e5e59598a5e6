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
from gantools.io.sample import Sample
from gantools.report import SampleError, Usage


@dataclass
class Pictures:
    """What a run is trained on and measured against.

    train, held: uint8 [N,3,H,W]; held is empty unless it was asked for. digest: of the keys and
    the pixels of `train`, so that a resumed run notices other data. names: the operands without
    their folders.
    """

    train: np.ndarray
    held: np.ndarray
    digest: str
    names: list[str] = field(default_factory=list)


def is_held_out(key: str, every: int) -> bool:
    """Whether the picture's number, the last digits of its key, is divisible by `every` (0: never).

    A key without a number is never held out.
    """
    numbers = re.findall(r"\d+", key)
    return every > 0 and bool(numbers) and int(numbers[-1]) % every == 0


def fit(pixels: np.ndarray, resolution: int) -> np.ndarray:
    """A square picture at the resolution, uint8 [3,R,R]; Lanczos where it is larger.

    SampleError for a picture that is not square, or smaller: neither is stretched silently.
    """
    height, width = pixels.shape[:2]
    if height != width:
        raise SampleError(f"{width}x{height} is not square: crop it first (gantools prefilter)")
    if height < resolution:
        raise SampleError(f"{width}x{height} is smaller than --resolution {resolution}")
    if height > resolution:
        from PIL import Image

        size = (resolution, resolution)
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _decoded(
    samples: Iterable[Sample], resolution: int, workers: int
) -> Iterator[tuple[Sample, np.ndarray]]:
    """Samples with their pixels, in order; the bad ones are reported and left out."""

    def work(sample: Sample) -> np.ndarray:
        return fit(image.decode(sample.data), resolution)

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
    """A growing uint8 array [N,3,R,R] in a file without a name, so that it may exceed memory."""

    def __init__(self, folder: Path, resolution: int) -> None:
        self.shape = (3, resolution, resolution)
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
) -> Pictures:
    """Decode every picture of the operands; Usage where none is left to train on.

    The pixels stand in an unnamed temporary file in `folder`, which the system keeps in memory as
    far as there is some.
    """
    digest = hashlib.sha256()
    samples = source.samples(operands, kinds=("image",), stdin_ok=False)
    decoded = _decoded(samples, resolution, workers)
    with _Store(folder, resolution) as train, _Store(folder, resolution) as held:
        for sample, pixels in report.progress(decoded, unit="pictures", desc="reading"):
            if is_held_out(sample.key, hold_out):
                if keep_held:
                    held.add(pixels)
                continue
            train.add(pixels)
            digest.update(sample.key.encode() + b"\0")
            digest.update(pixels.data)
        if not train.count:
            raise Usage("no picture left to train on")
        names = [Path(operand).name or operand for operand in operands]
        return Pictures(train.array(), held.array(), digest.hexdigest(), names)


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
