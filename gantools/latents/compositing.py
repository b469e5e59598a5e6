"""Latents with features or style maps over each other, by masks and places (papers.md S2.4, S2.5).

Later latents lie over earlier ones. Where f, r, style and noise maps show which of them is one
field of shares, made for each size; sizes and places are counted in cells of f. No torch here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from gantools.io.latent import Latent
from gantools.io.space import Size, scaled
from gantools.io.spatial_latent import last_block
from gantools.latents.masks import Mask, resized
from gantools.latents.mixing import Share, blend, blend_noise
from gantools.report import SampleError

Place = tuple[int, int]  # x, y of the upper left corner
COLOURS = 2  # the last styles, which hold the colours (Fig 6.11)


@dataclass(frozen=True)
class Composition:
    """How latents are laid over each other.

    shares: without masks and places one for each latent, summing to 1; with masks how far each of
    them has moved (`Mask.at`). masks: one for each latent but the first, over the whole result.
    smooth: the blur of masks at the first and the last block, in sides. layers: 0-based, the others
    are the first latent's. style_share: of each style vector but the first latent's. canvas (w, h)
    and places: in cells of f; places of all latents, or none.
    """

    shares: Sequence[float]
    masks: Sequence[Mask] = ()
    smooth: tuple[float, float] = (0.0, 0.0)
    layers: Collection[int] | None = None
    keep_colour: bool = False
    style_share: float | None = None
    canvas: tuple[int, int] | None = None
    places: Sequence[Place] = field(default_factory=list)


def compose(latents: Sequence[Latent], wanted: Composition) -> dict[str, np.ndarray]:
    """The tensors of latents of one space (not fnz) over each other; SampleError where they differ.

    m = 0 everywhere gives the lower, m = 1 the upper latent to the bit.
    """
    sheet = Sheet(latents, wanted)
    made: dict[str, np.ndarray] = {}
    for name in latents[0].tensors:
        parts = [latent.tensors[name] for latent in latents]
        if not sheet.placed and all(part is parts[0] for part in parts):
            made[name] = parts[0]
            continue
        made[name] = sheet.vectors(parts) if name == "w" else sheet.maps(name, parts)
    return made


class Sheet:
    """The latents on their canvas: shares and sums of every map. SampleError where they misfit."""

    def __init__(self, latents: Sequence[Latent], wanted: Composition) -> None:
        self.wanted = wanted
        self.first = latents[0].first
        last = last_block(latents[0].space, latents[0].tensors)
        assert last is not None  # fnz is converted before
        self.last = last
        self.sizes = [_size(latent) for latent in latents]
        self.placed = bool(wanted.canvas or wanted.places)
        self.canvas = wanted.canvas[::-1] if wanted.canvas else self.sizes[0]
        self.places = list(wanted.places) or self._spread()
        self._drawn: dict[int, np.ndarray] = {}  # masks at the picture's size
        self.whole = scaled((self.canvas[0], self.canvas[1]), self.first, self.last)  # picture's
        self._check(latents)

    def _spread(self) -> list[Place]:
        """From one corner of the canvas to the other in equal steps, whole cells of r."""
        cell, legs = self._cell, max(len(self.sizes) - 1, 1)
        return [
            (
                cell * ((self.canvas[1] - size[1]) * k // (legs * cell)),
                cell * ((self.canvas[0] - size[0]) * k // (legs * cell)),
            )
            for k, size in enumerate(self.sizes)
        ]

    @property
    def _cell(self) -> int:
        return 2 if self.first > 2 else 1

    def _check(self, latents: Sequence[Latent]) -> None:
        shapes = [{n: _without_size(n, t) for n, t in x.tensors.items()} for x in latents]
        for latent, shape, size in zip(latents[1:], shapes[1:], self.sizes[1:], strict=True):
            same = self.placed or size == self.sizes[0]
            if shape != shapes[0] or not same:
                why = " (a --canvas takes them)" if shape == shapes[0] else ""
                raise SampleError(
                    f"{latent.key} and {latents[0].key} hold tensors of different sizes{why}"
                )
        for value in (*self.canvas, *(n for place in self.places for n in place)):
            if value % self._cell:
                raise SampleError(
                    f"{value} cells: from block 3 on places and sizes are even, because r has "
                    "half as many cells as f"
                )
        layers = self.wanted.layers
        if layers is not None and max(layers, default=0) >= self.last:
            raise SampleError(f"--layers {max(layers)}: the latents have layers 0-{self.last - 1}")
        if self.placed and not self.cover(self.whole, None)[1].all():
            width, height = self.canvas[::-1]
            raise SampleError(f"the canvas of {width}x{height} cells has some that nothing covers")

    # ------------------------------------------------------------------------ sums

    def vectors(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """Style vectors [n, w_dim] by one share each."""
        shares: Sequence[Share] = self.wanted.shares
        if self.wanted.style_share is not None:
            shares = over([1.0, *[self.wanted.style_share] * (len(rows) - 1)])[0]
        mixed = blend(rows, shares, arc=False).copy()
        kept = [not self._taken(j, style=True) for j in range(self.first, self.last + 1)]
        mixed[kept] = rows[0][kept]
        return mixed

    def maps(self, name: str, parts: Sequence[np.ndarray]) -> np.ndarray:
        """f, r, a style or a noise map."""
        letter, _, number = name.partition(".")
        block = int(number or self.first)
        if not (
            self._taken(block, style=letter == "s")
            if number
            else features_taken(self.first, self.wanted.layers)
        ):
            return parts[0]
        size = self._scaled(name, self.canvas)
        laid = [
            _laid(part, self._scaled(name, place), size)
            for part, place in zip(parts, self.places, strict=True)
        ]
        shares = self.shares(size, block)
        return blend_noise(laid, shares) if letter == "n" else blend(laid, shares, arc=False)

    def _scaled(self, name: str, value: tuple[int, int]) -> tuple[int, int]:
        """A size or a place of f as that of the tensor."""
        if name == "f":
            return value
        if name == "r":
            return value[0] // 2, value[1] // 2
        j = int(name[2:]) + name.startswith("n")
        return scaled(value, self.first, j)

    def _taken(self, block: int, *, style: bool) -> bool:
        if style and self.wanted.keep_colour and block > self.last - COLOURS:
            return False
        return self.wanted.layers is None or block - 1 in self.wanted.layers

    # ------------------------------------------------------------------------ shares

    def shares(self, size: Size, block: int) -> list[Share]:
        """The share of each latent, summing to 1: [H, W], or numbers without masks and places."""
        if not self.wanted.masks and not self.placed:
            return list(self.wanted.shares)
        return self.cover(size, block)[0]

    def cover(self, size: Size, block: int | None) -> tuple[list[Share], np.ndarray]:
        """Shares [H, W], and how much of each cell is covered; masks blurred as of a block."""
        layers: list[Share] = []
        for k, (own, place) in enumerate(zip(self.sizes, self.places, strict=True)):
            seam = self.placed and not self.wanted.masks
            layer = _window(size, self.canvas, own, place, seam=seam)
            if k and self.wanted.masks:
                layer = layer * self._mask(k - 1, size, block)
            layers.append(layer)
        shares, cover = over(layers)
        return shares, np.asarray(cover)

    def _mask(self, k: int, size: Size, block: int | None) -> np.ndarray:
        if k not in self._drawn:
            self._drawn[k] = self.wanted.masks[k].at(self.whole, self.wanted.shares[k])
        if block is None:
            return resized(self._drawn[k], size)
        start, end = self.wanted.smooth
        blur = start + (end - start) * (block - 1) / max(self.last - 1, 1)
        return resized(self._drawn[k], size, blur)


def over(layers: Sequence[Share]) -> tuple[list[Share], Share]:
    """Shares of layers of opacity 0..1, each over the ones before it, and the opacity of all.

    Porter and Duff 1984; shares sum to 1 wherever anything covers.
    """
    shares: list[Share] = []
    cover: Share = 0.0
    for layer in layers:
        cover = layer + cover * (1 - layer)
        share = layer / np.where(cover, cover, 1)
        shares = [*(below * (1 - share) for below in shares), share]
    return shares, cover


def features_taken(first: int, layers: Collection[int] | None) -> bool:
    """Whether f and r, which the layers before block `first` have made, are among those chosen.

    layers: 0-based, None for all. SampleError where some of these layers are and some are not.
    """
    if layers is None:
        return True
    before = range(max(first - 1, 1))
    chosen = [layer for layer in before if layer in layers]
    if chosen and len(chosen) < len(before):
        raise SampleError(
            f"--layers: features of block {first} stand for the layers 0-{before[-1]}, which go "
            "all together or not at all"
        )
    return bool(chosen)


def _size(latent: Latent) -> Size:
    anchor = latent.tensors["f" if "f" in latent.tensors else "s.1"]
    return int(anchor.shape[1]), int(anchor.shape[2])


def _without_size(name: str, value: np.ndarray) -> tuple[int, ...]:
    return value.shape if name == "w" else value.shape[:1]


def _window(size: Size, canvas: Size, own: Size, place: Place, *, seam: bool) -> np.ndarray:
    """[H, W]: 1 where a latent lies, 0 beside it.

    seam: rising from its edge to its middle, but not from an edge that is the canvas' own.
    """
    axes = []
    for n, whole, length, start in zip(size, canvas, own, place[::-1], strict=True):
        at = (np.arange(n) + 0.5) * (whole / n)
        before = np.full(n, np.inf) if start <= 0 else at - start
        after = np.full(n, np.inf) if start + length >= whole else start + length - at
        inside = (at > start) & (at < start + length)
        rise = np.clip(np.minimum(before, after) / (length / 2), 0, 1) if seam else 1.0
        axes.append(inside * rise)
    return np.outer(*axes)


def _laid(part: np.ndarray, place: Place, size: Size) -> np.ndarray:
    """A map on a canvas of zeros; what lies outside is cut."""
    if place == (0, 0) and part.shape[1:] == size:
        return part
    laid = np.zeros((len(part), *size), part.dtype)
    x, y = place
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + part.shape[1], size[0]), min(x + part.shape[2], size[1])
    if bottom > top and right > left:
        laid[:, top:bottom, left:right] = part[:, top - y : bottom - y, left - x : right - x]
    return laid
