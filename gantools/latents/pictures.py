"""Pictures made of one latent, or of many on a sheet; cells of all of them rendered in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from gantools import report
from gantools.io.latent import Latent
from gantools.latents import spatial
from gantools.latents.figures import sheet
from gantools.latents.inputs import styles
from gantools.latents.render import check_z, images
from gantools.latents.sampled import drawn
from gantools.networks.mapping import truncate
from gantools.networks.network import Network
from gantools.report import SampleError


@dataclass(frozen=True, slots=True)
class Look:
    """How latents become pictures. None: as the latent's header says, else psi 1 everywhere.

    noise: const, random (from seed and key) or none; noise_layers: only these have it (S0.13).
    tile: pixels along a side of the tiles of large pictures (S2.22). taps: style maps demodulate as
    in ops.modulate.
    """

    psi: float | None = None
    cutoff: int | None = None
    noise: str | None = None
    noise_layers: Sequence[int] | None = None
    seed: int = 0
    tile: int | None = None
    taps: bool = False

    @property
    def noises(self) -> tuple[object, ...]:
        """What the cells of one batch have in common; psi and cutoff are each latent's own."""
        return self.noise, self.noise_layers, self.seed, self.tile, self.taps


@dataclass(frozen=True, slots=True)
class Cell:
    """One rendering; its noise follows from the latent's key."""

    latent: Latent
    look: Look


@dataclass(frozen=True, slots=True)
class Strips:
    """A picture of `shape` (H, W, C) that is made row by row of tiles, each time it is gone over.

    Its memory is that of a tile, and of 8 bits for each pixel as high as a tile and W wide.
    """

    network: Network
    cell: Cell

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return *spatial.picture_size(self.network, self.cell.latent), self.network.channels

    def __iter__(self) -> Iterator[np.ndarray]:
        """uint8 [h, W, C] from top to bottom, each in the place of the last one."""
        look, (_, width, channels) = self.cell.look, self.shape
        made = spatial.tiles(
            self.network,
            self.cell.latent,
            look.noise or "const",
            look.seed,
            look.noise_layers,
            tile=look.tile,
            taps=look.taps,
        )
        strip = np.empty((0, width, channels), np.uint8)
        for ((top, bottom), (left, right)), part in made:
            rows = bottom - top
            if rows > len(strip):  # the first: none is higher
                strip = np.empty((rows, width, channels), np.uint8)
            strip[:rows, left:right] = self.network.pixels(part)[0]
            if right == width:
                yield strip[:rows]

    def whole(self) -> np.ndarray:
        """uint8 [H, W, C]."""
        made, row = np.empty(self.shape, np.uint8), 0
        for strip in self:
            made[row : row + len(strip)] = strip
            row += len(strip)
        return made


@dataclass(slots=True)
class Picture:
    """A cell, or a sheet of cells in `columns`, where None and what could not be made are white."""

    key: str
    cells: Sequence[Cell | None]
    columns: int = 0
    story: dict[str, Any] | None = None
    strips: Strips | None = None  # of a large picture that `rendered` has left to who writes it
    _pixels: dict[int, np.ndarray] = field(default_factory=dict)
    _left: int = 0

    def pixels(self) -> np.ndarray | None:
        """uint8 [H, W, C]; None where no cell could be made."""
        if not self._pixels:
            return None
        if not self.columns:
            return self._pixels[0]
        return sheet([self._pixels.get(i) for i in range(len(self.cells))], self.columns)


@torch.no_grad()
def truncated(network: Network, latent: Latent, look: Look) -> Latent:
    """The latent in w+ (with its noise: nw+) as it is rendered: w_avg + psi (w - w_avg) (S0.12).

    A z is truncated by the look or else by its own header; a w, which has been truncated before,
    by the look only. A network without w renders z as it is. What has features or style maps stays
    so, fnz becomes fnw+; a z of a network that starts from sampled features gets them first.
    SampleError where the latent does not fit the network.
    """
    latent = drawn(network, latent, noise=look.noise or "random", seed=look.seed)
    spatial.check(network, latent)
    if not network.has_w:
        check_z(network, latent, look.psi)
        if look.psi is None:
            return latent
        return replace(latent, header={**latent.header, "psi": look.psi})
    if latent.spatial:
        return _truncated_spatial(network, latent, look)
    psi, cutoff = latent.truncation
    psi = psi if look.psi is None else look.psi
    cutoff = cutoff if look.cutoff is None else look.cutoff
    ws = truncate(styles(network, [latent], psi=1.0), network.g.mapping.w_avg, psi, cutoff)
    kept = {} if look.noise in {"none", "random"} else latent.tensors
    tensors = {name: value for name, value in kept.items() if name.startswith("n.")}
    tensors["w"] = ws[0].cpu().numpy()
    return replace(latent, space="nw+" if len(tensors) > 1 else "w+", tensors=tensors)


def _truncated_spatial(network: Network, latent: Latent, look: Look) -> Latent:
    if "z" not in latent.tensors and (look.psi not in {None, 1.0} or look.cutoff is not None):
        raise SampleError(f"a {latent.space} latent: --psi and --cutoff truncate z and w alone")
    psi, cutoff = latent.truncation
    psi = psi if look.psi is None else look.psi
    cutoff = cutoff if look.cutoff is None else look.cutoff
    latent = spatial.with_w(network, latent, psi, cutoff)
    return spatial.without_noise(latent) if look.noise in {"none", "random"} else latent


def rendered(
    network: Network,
    pictures: Iterable[Picture],
    batch: int,
    *,
    exact: bool = True,
    strips: bool = False,
) -> Iterator[Picture]:
    """The pictures in order, with pixels; what cannot be made is reported, its cell white.

    exact: the same pictures whatever the batch, on a GPU too, where that costs speed. strips: a
    large one has `Picture.strips` instead of pixels, unless it is a sheet.
    """
    waiting: deque[Picture] = deque()
    group: list[_Place] = []
    try:
        for picture in pictures:
            waiting.append(picture)
            for place in _places(network, picture):
                if strips and not picture.columns and place.large(network):
                    picture.strips, picture._left = Strips(network, place.cell), 0
                    continue
                if group and group[0].alike != place.alike:
                    _fill(network, group, exact)
                group.append(place)
                if len(group) == batch or place.large(network):
                    _fill(network, group, exact)
            while waiting and not waiting[0]._left:
                yield waiting.popleft()
    except report.Usage:  # a damaged stream: what came whole is rendered before it ends
        _fill(network, group, exact)
        yield from waiting
        raise
    _fill(network, group, exact)
    yield from waiting


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a rendered cell goes; its latent is truncated (`truncated`)."""

    picture: Picture
    index: int
    cell: Cell

    @property
    def alike(self) -> tuple[object, ...]:
        """What the places of one batch have in common: how they look, and how large they are."""
        latent = self.cell.latent
        size = (latent.first, spatial.size_of(latent)) if latent.spatial else None
        return self.cell.look.noises, size

    def large(self, network: Network) -> bool:
        """Whether it takes the memory of many: then it is rendered at once."""
        latent = self.cell.latent
        return latent.spatial and spatial.is_large(network, latent, self.cell.look.tile)


def _places(network: Network, picture: Picture) -> list[_Place]:
    places = []
    for i, cell in enumerate(picture.cells):
        if cell is None:
            continue
        try:
            latent = truncated(network, cell.latent, cell.look)
        except SampleError as e:
            report.failed(cell.latent.key, e)
            continue
        places.append(_Place(picture, i, Cell(latent, cell.look)))
    picture._left = len(places)
    return places


def _fill(network: Network, group: list[_Place], exact: bool) -> None:
    """Render the group as one batch, and empty it."""
    if not group:
        return
    latents = [place.cell.latent for place in group]
    # A GPU picks its algorithms by the batch's size: one at a time there, or --batch would change
    # pictures by a rounding. On the CPU the network itself sees to it.
    whole = network.device == "cpu" or not exact
    at_once = [latents] if whole else [[latent] for latent in latents]
    look = group[0].cell.look
    if latents[0].spatial:
        pixels = [Strips(network, place.cell).whole() for place in group]
    else:
        pixels = [p for part in at_once for p in _pixels(network, part, look)]
    for place, picture in zip(group, pixels, strict=True):
        place.picture._pixels[place.index] = picture
        place.picture._left -= 1
    group.clear()


def _pixels(network: Network, latents: Sequence[Latent], look: Look) -> np.ndarray:
    layers = look.noise_layers
    noise = look.noise or "const"
    made = images(network, latents, noise=noise, noise_layers=layers, seed=look.seed)
    return network.pixels(made)
