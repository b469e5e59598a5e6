"""The pictures of a run as batches on the device: all in memory, or decoded as the run needs them.

Both give the same bits for any number of threads and processes, so a run may go on with the other.
A picture that turns out to be damaged is told once, and the next one that can be decoded, with its
class, stands in its place.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools import report
from gantools.report import Usage
from gantools.training.crops import Crops
from gantools.training.data import Pictures
from gantools.training.decoding import Found, Set, Store, Told, fetch, in_order
from gantools.training.order import Drawn, Order

Mine = Callable[[Tensor], Tensor]
"""This process's samples of a batch [N, …]."""
Batch = tuple[Tensor, Tensor | None]
"""Pictures uint8 [n,C,H,W] and their classes, int64 [n], on the device."""

CHUNK = 8  # pictures that a thread decodes at once: at 64x64, as long as ten switches take
AHEAD = 64  # pictures that are decoded ahead at least, and two batches


def _mirrored(pixels: Tensor, flipped: Tensor) -> Tensor:
    return torch.where(flipped[:, None, None, None], pixels.flip(3), pixels)


class InMemory:
    """All pictures on the device.

    pixels: uint8 [N,C,H,W]; labels: their classes, int64 [N]; numbers [N]: the picture that row i
    is, where it is not picture i. waited: seconds that `batch` has taken in all.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        order: Order | Drawn,
        *,
        device: str = "cpu",
        labels: np.ndarray | None = None,
        numbers: np.ndarray | None = None,
    ) -> None:
        self.device, self.order = device, order
        self.pixels = torch.from_numpy(pixels).to(device)
        self.labels = None if labels is None else torch.from_numpy(labels).to(device)
        self._shown = self.labels
        if self.labels is not None and numbers is not None:
            self._shown = self.labels[torch.from_numpy(numbers).to(device)]
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, position: int, count: int, mine: Mine) -> Batch:
        """This process's share of `count` pictures from `position` on, and their classes."""
        start = time.monotonic()
        taken = self.order.take(position, count)
        index, flipped = (mine(torch.from_numpy(x)).to(self.device) for x in taken)
        pixels = _mirrored(self.pixels[index], flipped)
        self.waited += time.monotonic() - start
        return pixels, None if self._shown is None else self._shown[index]

    def close(self) -> None:
        """Nothing runs."""


@dataclass(frozen=True, slots=True)
class _Coming:
    """A batch that is being decoded into `pixels`."""

    asked: tuple[int, int]
    pixels: Tensor
    flipped: Tensor
    parts: list[Future[list[Found]]]


class Streaming:
    """Pictures decoded by threads, this process's share only, some batches ahead.

    The next batches are expected to be as large as this one; another size is decoded when it is
    asked for. labels: classes of all pictures, int64 [N]. waited: seconds that `batch` has taken in
    all.
    """

    def __init__(
        self,
        pictures: Set,
        order: Order | Drawn,
        *,
        device: str = "cpu",
        labels: np.ndarray | None = None,
        workers: int = 4,
    ) -> None:
        self.device, self.order, self.pictures, self.workers = device, order, pictures, workers
        self.labels = None if labels is None else torch.from_numpy(labels).to(device)
        self.waited = 0.0
        self._pool = ThreadPoolExecutor(workers, "decode")
        self._coming: deque[_Coming] = deque()
        self._told = Told()

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, position: int, count: int, mine: Mine) -> Batch:
        """This process's share of `count` pictures from `position` on, and their classes."""
        start = time.monotonic()
        if not self._coming or self._coming[0].asked != (position, count):
            self._forget()
            self._coming.append(self._begun(position, count, mine))
        ahead = 1 + max(2, -(-AHEAD // len(self._coming[0].flipped)))
        while len(self._coming) < ahead:
            after = sum(self._coming[-1].asked)
            self._coming.append(self._begun(after, count, mine))
        taken = self._taken(self._coming.popleft())
        self.waited += time.monotonic() - start
        return taken

    def _begun(self, position: int, count: int, mine: Mine) -> _Coming:
        index, flipped = (mine(torch.from_numpy(x)) for x in self.order.take(position, count))
        numbers = index.tolist()
        pin = self.device.startswith("cuda")
        pixels = torch.empty(
            (len(numbers), *self.pictures.shape), dtype=torch.uint8, pin_memory=pin
        )
        chunk = max(1, min(CHUNK, len(numbers) // self.workers))
        rows = pixels.numpy()
        parts = [
            self._pool.submit(self._decoded, numbers[at : at + chunk], rows[at : at + chunk])
            for at in range(0, len(numbers), chunk)
        ]
        return _Coming((position, count), pixels, flipped, parts)

    def _decoded(self, numbers: list[int], rows: np.ndarray) -> list[Found]:
        """A thread's work: fills the rows."""
        return [fetch(self.pictures, i, row) for i, row in zip(numbers, rows, strict=True)]

    def _taken(self, coming: _Coming) -> Batch:
        """The batch, once it is whole."""
        found = [one for part in coming.parts for one in part.result()]
        for one in found:
            self._told.tell(one.damaged, alone=True)
        pixels = coming.pixels.to(self.device, non_blocking=True)
        pixels = _mirrored(pixels, coming.flipped.to(self.device))
        if self.labels is None:
            return pixels, None
        numbers = torch.tensor([one.number for one in found])
        return pixels, self.labels[numbers.to(self.device)]

    def _forget(self) -> None:
        """What was expected is not wanted."""
        for coming in self._coming:
            for part in coming.parts:
                part.cancel()
        self._coming.clear()

    def close(self) -> None:
        """End the threads."""
        self._forget()
        self._pool.shutdown(cancel_futures=True)


Reader = InMemory | Streaming


def in_memory(config: Any, pixels: np.ndarray, labels: np.ndarray | None = None) -> InMemory:
    """Pictures that are there, uint8 [N,C,H,W], for a run of this configuration."""
    order = Order(len(pixels), config.seed, mirror=config.mirror)
    return InMemory(pixels, order, device=config.device, labels=labels)


def opened(
    data: Pictures | Crops,
    folder: Path,
    *,
    seed: int,
    mirror: bool,
    device: str = "cpu",
    workers: int = 4,
    stream: bool | None = None,
) -> Reader:
    """The reader of a run's data; a note says which.

    stream: decode as the run needs them; by default where the decoded pictures of this machine's
    processes would take more than half of its memory, or a quarter of a GPU's. Crops always are.
    """
    order = data.order(seed, mirror=mirror)
    if isinstance(data, Crops):
        if stream is False:
            raise Usage("--no-stream: crops of rasters are read as the run needs them")
        report.note(f"{data.told()}, read as the run needs them: {len(data.train):,} places")
        return Streaming(data.train, order, device=device, workers=workers)
    needed = len(data.train) * math.prod(data.train.shape)
    if stream is None:
        stream = needed * int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > _room(device)
    labels = data.labels if data.classes else None
    size = f"{needed / 1e6:,.0f} MB"
    if stream:
        report.note(f"{data.told()}, decoded as the run needs them ({size} in all)")
        return Streaming(data.train, order, device=device, labels=labels, workers=workers)
    report.note(f"{data.told()}, decoded before the run: {size}")
    pixels, numbers = _all(data.train, folder, workers)
    return InMemory(pixels, order, device=device, labels=labels, numbers=numbers)


def _room(device: str) -> float:
    """Bytes that decoded pictures may take."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2
    if not device.startswith("cuda"):
        return memory
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # each has a GPU
    return min(memory, torch.cuda.mem_get_info()[1] / 4 * processes)


def _all(pictures: Set, folder: Path, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Every picture, uint8 [N,C,H,W], in an unnamed file in `folder`; and which it is, [N]."""
    told, numbers = Told(), []

    def work(i: int) -> tuple[np.ndarray, Found]:
        row = np.empty(pictures.shape, np.uint8)
        return row, fetch(pictures, i, row)

    shown = report.progress(
        range(len(pictures)), total=len(pictures), unit="pictures", desc="decoding"
    )
    with Store(folder, pictures.shape) as store:
        for _, future in in_order(shown, work, workers):
            row, found = future.result()
            told.tell(found.damaged)
            store.add(row)
            numbers.append(found.number)
        return store.array(), np.array(numbers, np.int64)
