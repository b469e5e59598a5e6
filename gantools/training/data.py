"""Training pictures: which there are, where their bytes are, and how they are fitted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gantools import report
from gantools.io import image, rasters, source
from gantools.io.alpha import premultiplied
from gantools.io.classes import Classes, ordered
from gantools.io.operands import Item, place_of
from gantools.io.places import AnyPlace, Spool
from gantools.report import SampleError, Usage
from gantools.training import shape
from gantools.training.decoding import Store, in_order
from gantools.training.order import Order

DIGEST = "2:"  # what digests of this kind begin with
HEAD = 1 << 14  # bytes that are read of each picture before the run: its header, and the digest's


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the set, where its bytes are. name: for messages."""

    key: str
    name: str
    place: AnyPlace


class Files:
    """Pictures in order, each decoded to uint8 `shape` [C,H,W] when it is asked for."""

    stride = 1  # the next one stands in the place of a damaged one

    def __init__(self, pictures: list[Picture], size: tuple[int, int], channels: int) -> None:
        self.pictures, self.size, self.channels = pictures, size, channels

    @property
    def shape(self) -> tuple[int, int, int]:
        """[C,H,W] of each."""
        return (self.channels, *self.size)

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, i: int) -> str:
        """Picture i's, for messages."""
        return self.pictures[i].name

    def decode(self, i: int) -> np.ndarray:
        """Picture i, uint8 [C,H,W]. SampleError where it cannot be decoded."""
        return pixels_of(self.pictures[i].place(), self.size, self.channels)


@dataclass
class Pictures:
    """What a run is trained on and measured against.

    held: uint8 [N,C,H,W], empty unless it was asked for. digest: of the keys, sizes in bytes, first
    bytes and classes of `train`, so that a resumed run notices other data. names: the operands
    without their folders. classes: their names; labels, held_labels: the class of each picture as
    its number among them, int64 [N]; without classes all three are empty.
    """

    train: Files
    held: np.ndarray
    digest: str
    names: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    held_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def order(self, seed: int, *, mirror: bool) -> Order:
        """What the run sees."""
        return Order(len(self.train), seed, mirror=mirror)

    def told(self) -> str:
        """In words: `20,000 pictures`."""
        return f"{len(self.train):,} pictures"


def is_held_out(key: str, every: int) -> bool:
    """Whether the picture's number, the last digits of its key, is divisible by `every` (0: never).

    A key without a number is never held out.
    """
    numbers = re.findall(r"\d+", key)
    return every > 0 and bool(numbers) and int(numbers[-1]) % every == 0


def pixels_of(data: bytes, size: tuple[int, int], channels: int = 3) -> np.ndarray:
    """A file's bytes as the network sees them, uint8 [C,H,W]. SampleError where it cannot."""
    return fit(image.decode_channels(data, channels), size, channels)


def fit(pixels: np.ndarray, size: tuple[int, int], channels: int = 3) -> np.ndarray:
    """A picture of the shape of `size`, (height, width), at this size: uint8 [C,H,W]; Lanczos.

    One channel is the luma of ITU-R BT.601; four are premultiplied by alpha, which pixels hold
    straight. SampleError for a picture of another shape, or smaller: neither is stretched silently.
    """
    from PIL import Image

    refuse_size(pixels.shape[0], pixels.shape[1], size)
    if channels == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))
    parts = [pixels]
    if channels == 4:  # Pillow would take alpha out of the colour again
        pixels = premultiplied(pixels)
        parts = [pixels[..., :3], pixels[..., 3]]
    if pixels.shape[:2] != size:
        parts = [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(part)).resize(
                    size[::-1], Image.Resampling.LANCZOS
                )
            )
            for part in parts
        ]
    pixels = np.dstack(parts)
    if channels == 4:  # Lanczos' overshoot leaves no colour above its alpha
        pixels = np.minimum(pixels, pixels[..., 3:])
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def refuse_size(height: int, width: int, size: tuple[int, int]) -> None:
    """SampleError for a picture of this size that `fit` cannot fit."""
    wanted = shape.told(*size)
    if height * size[1] != width * size[0]:
        if size[0] == size[1]:
            raise SampleError(f"{width}x{height} is not square: crop it first (gantools prefilter)")
        raise SampleError(
            f"{height} high and {width} wide has not the shape of the network's {wanted} (height x "
            "width): crop it first"
        )
    if height < size[0]:
        raise SampleError(f"{width}x{height} is smaller than the network's pictures, {wanted}")


def size_of(operands: Sequence[str]) -> tuple[int, int]:
    """(height, width) of the first picture that can be read; Usage where there is none."""
    if any(map(rasters.is_store, operands)):
        raise Usage("--resolution is needed with rasters: the size of the crops")
    for item in source.at_rest(operands):
        try:
            height, width = image.decode(item.read()).shape[:2]
        except SampleError:
            continue
        return int(height), int(width)
    raise Usage("no picture found to train on")


def load(
    operands: Sequence[str],
    size: tuple[int, int],
    folder: Path,
    *,
    hold_out: int = 0,
    keep_held: bool = False,
    workers: int = 4,
    channels: int = 3,
    classes: Classes | None = None,
) -> Pictures:
    """Look at every picture of the operands; Usage where none is left to train on.

    Of most only header and end are read, which tell if it fits and was not cut; what is held out
    is decoded, into an unnamed temporary file in `folder`. With `classes`, pictures without one
    are left out, and a note says how many.
    """
    digest = hashlib.sha256()
    found = _Found(classes)
    items = found.labelled(source.at_rest(operands, Spool(folder)))
    train: list[Picture] = []

    def look(item: Item) -> tuple[Picture, bytes]:
        return _looked_at(item, size, channels)

    with Store(folder, (channels, *size)) as held:
        for item, future in in_order(
            report.progress(items, unit="pictures", desc="reading"), look, workers
        ):
            out = is_held_out(item.key, hold_out)
            try:
                picture, head = future.result()
                if out and keep_held:
                    held.add(pixels_of(picture.place(), size, channels))
            except SampleError as e:
                report.failed(item.name, e)
                continue
            name = found.add(item.key, kept=keep_held or not out, held=out)
            if out:
                continue
            train.append(picture)
            digest.update(item.key.encode("utf-8", "surrogateescape") + b"\0")
            digest.update(name.encode("utf-8", "surrogateescape"))
            digest.update(picture.place.size.to_bytes(8, "little") + head)
        if not train:
            which = "" if classes is None else f" that has a class ({classes.origin})"
            raise Usage(f"no picture left to train on{which}")
        known, labels, held_labels = found.numbered()
        digest.update("\0".join(known).encode("utf-8", "surrogateescape"))
        names = [Path(operand).name or operand for operand in operands]
        files, rest = Files(train, size, channels), held.array()
        return Pictures(files, rest, DIGEST + digest.hexdigest(), names, known, labels, held_labels)


def _looked_at(item: Item, size: tuple[int, int], channels: int) -> tuple[Picture, bytes]:
    """The picture and its first bytes. SampleError where it is known not to fit, or cut."""
    place = place_of(item)
    head = place() if place.size <= HEAD else place.part(0, HEAD)
    source.check(head, ("image",))
    tail = head if place.size <= HEAD else place.part(place.size - 16, 16)
    found = image.size_of(head, tail, place.size)
    if found is None:
        pixels_of(place(), size, channels)
    else:
        refuse_size(*found, size)
    return Picture(item.key, item.name, place), head


class _Found:
    """The classes of the pictures that are kept, by name; of none where there are no classes."""

    def __init__(self, classes: Classes | None) -> None:
        if classes is not None and classes.names is not None:
            ordered(classes.names, classes.origin)  # too few are told before pictures are read
        self.classes = classes
        self.seen: set[str] = set()
        self.names: dict[bool, list[str]] = {False: [], True: []}  # by held

    def labelled(self, items: Iterable[Item]) -> Iterator[Item]:
        """The pictures that have a class; a note says how many have none."""
        if self.classes is None:
            yield from items
            return
        without = 0
        for item in items:
            if self.classes.of(item.key) is None:
                without += 1
                continue
            yield item
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
