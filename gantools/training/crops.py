"""Crops of huge rasters, every place equally probable (papers.md S2.23).

The places where a crop of h x w fits are numbered, (H-h+1)(W-w+1) of them in each raster, one
raster after another. Crop k of a run is a place drawn uniformly by (seed, k), so nothing has to be
saved but the number of crops shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gantools import report
from gantools.io import rasters
from gantools.io.alpha import on_white
from gantools.io.rasters import Raster
from gantools.report import SampleError, Usage
from gantools.training import shape as shapes
from gantools.training.data import DIGEST, fit, is_held_out
from gantools.training.decoding import Store
from gantools.training.order import Drawn

HELD = 2000  # crops of the rasters that are held out, to measure against
PROBE = 16  # pixels a side that the digest has of each raster


class Places:
    """The places of all crops of `size`, (height, width), in rasters that are large enough."""

    def __init__(self, found: Sequence[Raster], size: tuple[int, int], channels: int) -> None:
        self.size, self.channels = size, channels
        height, width = size
        self.rasters = [r for r in found if r.height >= height and r.width >= width]
        counts = [(r.height - height + 1) * (r.width - width + 1) for r in self.rasters]
        self.ends = np.cumsum(np.array(counts, np.int64))

    @property
    def shape(self) -> tuple[int, int, int]:
        """[C,H,W] of each crop."""
        return (self.channels, *self.size)

    @property
    def stride(self) -> int:
        """How far the place is that a damaged one is replaced by: beyond a damaged chunk."""
        return int(0.618 * len(self)) | 1

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def at(self, i: int) -> tuple[Raster, int, int]:
        """Place i: its raster, y and x."""
        number = int(np.searchsorted(self.ends, i, side="right"))
        raster = self.rasters[number]
        across = raster.width - self.size[1] + 1
        y, x = divmod(i - (int(self.ends[number - 1]) if number else 0), across)
        return raster, y, x

    def name(self, i: int) -> str:
        """Place i's, for messages."""
        raster, y, x = self.at(i)
        return f"{raster.name} at ({y}, {x})"

    def decode(self, i: int) -> np.ndarray:
        """The crop at place i, uint8 [C,H,W]. SampleError where it cannot be read."""
        raster, y, x = self.at(i)
        return fit(_seen(raster.crop(y, x, *self.size), self.channels), self.size, self.channels)


def _seen(pixels: np.ndarray, channels: int) -> np.ndarray:
    """[H,W,1|3|4] as `image.decode_channels` gives pictures: RGB, or with straight alpha."""
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    if channels != 4:
        return on_white(pixels)
    if pixels.shape[2] == 4:
        return pixels
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


@dataclass
class Crops:
    """What a run on crops is trained on and measured against: as `data.Pictures`, no classes."""

    train: Places
    held: np.ndarray
    digest: str
    names: list[str]
    classes: list[str] = field(default_factory=list)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    held_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def order(self, seed: int, *, mirror: bool) -> Drawn:
        """What the run sees."""
        return Drawn(len(self.train), seed, mirror=mirror)

    def told(self) -> str:
        """In words: `64x64 crops of 12 rasters`."""
        height, width = self.train.size
        n = len(self.train.rasters)
        return f"{width}x{height} crops of {n:,} raster{'s' * (n != 1)}"


def load(
    operands: Sequence[str],
    size: tuple[int, int],
    folder: Path,
    *,
    hold_out: int = 0,
    keep_held: bool = False,
    channels: int = 3,
) -> Crops:
    """The rasters of the operands; Usage where none is left to train on.

    A raster whose number (the last digits of its key) is divisible by hold_out is never trained
    on; with keep_held, HELD crops of those rasters, always the same, are read into an unnamed
    temporary file in `folder`. Rasters that are smaller than a crop are left out, and a note says
    how many.
    """
    found = rasters.read(operands)
    own = [r for r in found if not is_held_out(r.key, hold_out)]
    out = [r for r in found if is_held_out(r.key, hold_out)]
    train, held = Places(own, size, channels), Places(out, size, channels)
    small = len(found) - len(train.rasters) - len(held.rasters)
    if small:
        report.note(f"rasters smaller than a crop of {shapes.told(*size)}, left out: {small:,}")
    if not len(train):
        raise Usage(
            f"no raster left to take crops of {shapes.told(*size)} from ({len(found)} found, "
            f"{small} smaller, {len(out)} held out)"
        )
    names = [Path(operand).name or operand for operand in operands]
    crops = _held(held, folder) if keep_held else _held(Places([], size, channels), folder)
    return Crops(train, crops, _digest(train.rasters), names)


def _held(places: Places, folder: Path) -> np.ndarray:
    """HELD crops, uint8 [N,C,H,W]; those that are damaged are told and left out."""
    with Store(folder, places.shape) as store:
        if len(places):
            for i in Drawn(len(places), 0, mirror=False, purpose="held crops").take(0, HELD)[0]:
                try:
                    store.add(places.decode(int(i)))
                except SampleError as e:
                    report.failed(places.name(int(i)), e)
        return store.array()


def _digest(found: Sequence[Raster]) -> str:
    """Of the rasters' keys, sizes and first pixels."""
    digest = hashlib.sha256()
    for raster in found:
        size = f"{raster.key}\0{raster.height}x{raster.width}\0"
        digest.update(size.encode("utf-8", "surrogateescape"))
        try:
            probe = raster.crop(0, 0, min(PROBE, raster.height), min(PROBE, raster.width))
        except SampleError as e:
            raise Usage(f"{raster.name}: {e}") from None
        digest.update(np.ascontiguousarray(probe).data)
    return DIGEST + digest.hexdigest()
