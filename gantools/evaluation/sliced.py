"""Sliced Wasserstein distance of patches of a Laplacian pyramid, level by level (S1.18)."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gantools.evaluation import bootstrap
from gantools.io.seeds import derive
from gantools.ops import pyramid
from gantools.report import SampleError, Usage

PATCH = 7  # pixels along a side
PATCHES = 128  # of each level of each picture
DIM = 3 * PATCH**2
SMALLEST = 16  # side of the last level, at least
REPEATS, DIRECTIONS = 4, 128
TOGETHER = 32  # directions along which all descriptors are projected at once
ROWS = 1 << 16  # descriptors that are read together

PROTOCOL = {
    "pyramid": f"Laplacian, 5x5 binomial, mirrored borders, down to {SMALLEST} pixels",
    "patches": f"{PATCHES} of {PATCH}x{PATCH} of each level, normalised by set and channel",
    "directions": f"{REPEATS} x {DIRECTIONS}",
    "interval": f"{bootstrap.NAMED} of the directions; the pictures are not resampled",
    "units": "times 1000",
}
"""What the measure is, for a protocol."""


def laplacian(images: Tensor) -> list[Tensor]:
    """The Laplacian pyramid of grey levels [N, 3, H, W], finest first, in float32.

    Each level is what the next one, enlarged, leaves; the last is the low-pass. SampleError where
    a side is below 16 pixels or cannot be halved down to the last level.
    """
    height, width = images.shape[2:]
    count = min(height, width) // SMALLEST
    if not count:
        raise SampleError(f"{width}x{height} pixels are below {SMALLEST}: no level of the pyramid")
    halvings = count.bit_length() - 1
    if height % (1 << halvings) or width % (1 << halvings):
        raise SampleError(f"{width}x{height} pixels cannot be halved down to {SMALLEST}")
    return pyramid.laplacian(images.float(), halvings + 1)


def descriptors(level: Tensor, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Patches [P, 147] of a level [3, H, W] about the centres x, y [P].

    As published each is channel, column, row: the transposed patch.
    """
    offset = np.arange(PATCH) - PATCH // 2
    columns, rows = x[:, None, None] + offset[:, None], y[:, None, None] + offset
    found = level.cpu().numpy()[:, rows, columns]
    return found.transpose(1, 0, 2, 3).reshape(len(x), DIM)


class Level:
    """Descriptors of one level of one set: in a temporary file, so that memory does not grow."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        weakref.finalize(self, self._file.close)
        self._sums = np.zeros((2, 3))
        self.count = 0

    def add(self, rows: np.ndarray) -> None:
        """Append descriptors [P, 147]."""
        rows = rows.astype(np.float32)
        by_channel = rows.reshape(len(rows), 3, -1).astype(np.float64)
        self._sums += by_channel.sum((0, 2)), np.square(by_channel).sum((0, 2))
        self._file.write(rows.tobytes())
        self.count += len(rows)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [3] of the channels; Usage where one does not vary."""
        mean, square = self._sums / (self.count * PATCH**2)
        std = np.sqrt(np.maximum(square - mean**2, 0))
        if (std < 1e-4).any():
            raise Usage("a colour channel does not vary over a whole set: it has no distance")
        return mean, std

    def projected(self, directions: np.ndarray) -> np.ndarray:
        """The normalised descriptors along directions [147, K], each direction sorted: [K, N]."""
        mean, std = (np.repeat(x, PATCH**2) for x in self.moments())
        scaled = directions / std[:, None]
        found = np.empty((directions.shape[1], self.count), np.float32)
        start = 0
        for rows in self._rows():
            found[:, start : start + len(rows)] = scaled.T.astype(np.float32) @ rows.T
            start += len(rows)
        found -= (mean @ scaled)[:, None].astype(np.float32)
        found.sort(axis=1)
        return found

    def _rows(self) -> Iterator[np.ndarray]:
        self._file.seek(0)
        while data := self._file.read(ROWS * DIM * 4):
            yield np.frombuffer(data, np.float32).reshape(-1, DIM)


def distances(a: Level, b: Level, directions: np.ndarray) -> np.ndarray:
    """Mean of |sort(A p) - sort(B p)| for each unit direction p, a column of [147, K]: [K].

    ValueError where the two have not equally many descriptors.
    """
    if a.count != b.count:
        raise ValueError("the sliced Wasserstein distance compares sets of one size")
    found = []
    for start in range(0, directions.shape[1], TOGETHER):
        some = directions[:, start : start + TOGETHER]
        difference = a.projected(some) - b.projected(some)
        found.append(np.abs(difference).mean(axis=1, dtype=np.float64))
    return np.concatenate(found)


def directions(seed: int, name: str) -> np.ndarray:
    """Random unit directions [147, 512] of a level, float64."""
    generator = np.random.default_rng(derive(seed, name, "directions"))
    found = generator.standard_normal((DIM, REPEATS * DIRECTIONS))
    return found / np.linalg.norm(found, axis=0)


class Patches:
    """The descriptors of a set of pictures of one size.

    Where a patch lies follows from the seed, the picture's key and the level: neither order nor
    batches matter, and the same pictures give the same patches.
    """

    def __init__(self, seed: int, device: str = "cpu") -> None:
        self._seed, self._device = seed, device
        self.levels: dict[str, Level] = {}
        self.size: tuple[int, ...] = ()
        self.count = 0

    def add(self, key: str, pixels: np.ndarray) -> None:
        """A picture, uint8 [H, W, 3]. SampleError as in `laplacian`, and for another size."""
        if self.size and pixels.shape != self.size:
            sizes = [f"{s[1]}x{s[0]}" for s in (pixels.shape, self.size)]
            raise SampleError(f"{sizes[0]} pixels, the pictures before it {sizes[1]}")
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
        levels = laplacian(image.to(self._device))
        self.size = pixels.shape
        for level in levels:
            height, width = level.shape[2:]
            name = str(height) if height == width else f"{height}x{width}"
            generator = np.random.default_rng(derive(self._seed, key, f"patches {name}"))
            edge = PATCH // 2
            x = generator.integers(edge, width - edge, PATCHES)
            y = generator.integers(edge, height - edge, PATCHES)
            if name not in self.levels:
                self.levels[name] = Level()
            self.levels[name].add(descriptors(level[0], x, y))
        self.count += 1


def compare(
    real: Patches, fake: Patches, seed: int
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """swd: the mean over the levels, and swd_<resolution>: each level; times 1000.

    Beside them the intervals <name>_ci, of what the random directions leave open. Usage for sets
    of another size or count.
    """
    if real.count != fake.count:
        few = min(real.count, fake.count)
        raise Usage(
            f"sets of one size are compared, REAL has {real.count} pictures and FAKE {fake.count}: "
            f"--num {few} takes the first {few} of each"
        )
    if real.size != fake.size:
        sizes = [f"{x.size[1]}x{x.size[0]}" for x in (real, fake)]
        raise Usage(f"REAL has pictures of {sizes[0]} pixels, FAKE of {sizes[1]}")
    each = {
        f"swd_{name}": 1000 * distances(level, fake.levels[name], directions(seed, name))
        for name, level in real.levels.items()
    }
    each = {"swd": np.mean(list(each.values()), axis=0), **each}
    ends = bootstrap.intervals(np.stack(list(each.values()), axis=1), seed)
    values = {name: float(column.mean()) for name, column in each.items()}
    return values, {f"{name}_ci": pair.tolist() for name, pair in zip(each, ends, strict=True)}
