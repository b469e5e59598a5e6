"""What generate does with its options: checks, latents or pictures, and what each one tells."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from gantools import options, report
from gantools.commands._origins import Maker, Origin
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from gantools.io.image import Pixels
    from gantools.io.latent import Latent
    from gantools.io.sink import Sink
    from gantools.latents.pictures import Look, Picture

Put = Callable[[], None]
MOST_PIXELS = 1 << 30  # of --size: 32768x32768


@dataclass(kw_only=True)
class Plan:
    """The command line of generate, as it is meant."""

    origin: Origin
    psis: Sequence[float] | None
    noise: str | None
    noise_layers: str | None
    space: str | None
    grid: str | None
    figure: str | None
    sources: list[int] | None
    layers: str | None
    shard: tuple[int, int]
    frames: bool  # of a video
    tile: int | None = None
    taps: bool = False

    def check(self) -> None:
        """Usage where options contradict each other, or nothing is asked for."""
        seeds, operands, walk = self.origin.seeds, self.origin.operands, self.origin.walk
        several = self.psis is not None and len(self.psis) > 1
        rules = [
            (seeds and operands, "--seeds and latents: give one of them"),
            (walk and (seeds or operands),
             "--video draws its own walk from --seed; between latents goes gantools mix --frames"),
            (self.space and (self.grid or self.figure), "--space gives latents, not sheets"),
            (self.space and (self.noise_layers or (self.noise and self.space != "fnz")),
             "--noise-mode and --noise-layers are for pictures, and --space gives latents"),
            (self.space and self.tile, "--tile is for pictures, and --space gives latents"),
            (self.taps and (self.space or self.grid or self.figure or seeds or walk),
             "--taps is for the pictures of latents with style maps"),
            (self.space not in (None, "fnz") and self.origin.size,
             "--size is that of features, which only latents in --space fnz have"),
            (self.origin.size and self.origin.size[0] * self.origin.size[1] > MOST_PIXELS,
             f"--size: more than {MOST_PIXELS} pixels are not meant"),
            (self.figure and self.grid, "--figure and --grid: give one of them"),
            (self.figure and walk, "--figure and --video: give one of them"),
            (several and self.figure != "truncation",
             "--psi takes several numbers only with --figure truncation"),
            (self.figure == "mixing" and not self.sources,
             "--figure mixing needs the seeds of its columns: --sources 5-9"),
            (self.figure != "mixing" and (self.sources or self.layers),
             "--sources and --layers belong to --figure mixing"),
            (self.space == "w" and self.origin.cutoff is not None,
             "a w is the same in all layers: with --cutoff give --space w+"),
            (self.origin.cutoff is not None and self.psis is None and (seeds or walk)
             and self.figure != "truncation",
             "--cutoff says in which layers --psi works: give both"),
        ]  # fmt: skip
        for broken, why in rules:
            if broken:
                raise Usage(why)
        if not (seeds or operands or walk) and (sys.stdin is None or sys.stdin.isatty()):
            raise Usage("give --seeds 0-9, or latents as files, or pipe a stream of them in")
        for what, numbers in (("--seeds", seeds), ("--sources", self.sources)):
            if numbers and len(set(numbers)) < len(numbers):
                raise Usage(f"{what}: a number is there twice")

    def run(self, sink: Sink, batch: int) -> None:
        """Everything that is wanted and not there yet, into the sink."""
        if sink.kind == "latent":
            for key, make in self._shard(self.origin):
                if sink.wanted(key):
                    _put(key, partial(self._put_latent, sink, key, make))
            return
        from gantools.latents.pictures import rendered

        if self.figure is not None and not (
            self.figure == "truncation" and self.origin.network.open.truncates_z
        ):
            self.origin.network.open.need_w(f"--figure {self.figure}")
        wanted = self._wanted(sink)
        first = next(wanted, None)
        if first is None:
            return
        network = self.origin.network.open
        pictures = rendered(network, chain([first], wanted), batch, strips=sink.takes_strips)
        total = None if self.grid or self.figure else self.origin.count()
        pictures = report.progress(pictures, total=total, unit="img")
        encoders = 0 if self.frames else _encoders(network.device)
        for key, put in _puts(sink, pictures, encoders):
            _put(key, put)

    def _shard(self, items: Iterable[Any]) -> Iterator[Any]:
        index, count = self.shard
        return islice(items, index, None, count)

    def _args(self, *, features: bool) -> dict[str, Any]:
        """What the history tells of the command line; features: --seed draws them."""
        walk = self.origin.walk
        seeded = features or self.noise == "random" or walk
        args = {
            "psi": self.psis,
            "cutoff": self.origin.cutoff,
            "class": self.origin.class_,
            "noise_mode": self.noise,
            "noise_layers": self.noise_layers,
            "taps": self.taps or None,
            "seed": self.origin.seed if seeded else None,
            "walk": walk and [walk.seconds, walk.fps, walk.smoothing],
            "grid": self.grid,
            "figure": self.figure,
            "sources": self.sources,
            "layers": self.layers,
            "size": self.origin.size,
        }
        return {name: value for name, value in args.items() if value is not None}

    # -- latents ----------------------------------------------------------------------------------

    def _put_latent(self, sink: Sink, key: str, make: Maker) -> None:
        sink.put(key, self._latent(make))

    def _latent(self, make: Maker) -> bytes:
        """The latent in --space, truncated in w and w+; only z is converted."""
        latent = make()
        args = self._args(features=latent.space.startswith("fnz"))
        latent = latent.with_history("generate", args)
        if "z" not in latent.tensors and (self.psis or self.origin.cutoff is not None):
            raise SampleError(f"a {latent.space} latent: --psi and --cutoff truncate z alone here")
        if latent.space == self.space or (latent.space == "zy" and self.space == "z"):
            return latent.to_bytes()
        if self.space == "fnz" or latent.space.startswith("fnz"):
            return self._with_features(latent)
        if latent.space not in {"z", "zy"}:
            raise SampleError(
                f"a {latent.space} latent: gantools project --space {self.space} converts it"
            )
        from gantools.latents.pictures import truncated

        self.origin.network.open.need_w(f"--space {self.space}")
        plus = truncated(self.origin.network.open, latent, self._look)
        rows = plus.tensors["w"][: 1 if self.space == "w" else None]
        return replace(plus, space=str(self.space), tensors={"w": rows}).to_bytes()

    def _with_features(self, latent: Latent) -> bytes:
        network = self.origin.network.open
        if not network.starts_from_features:
            raise Usage(
                f"--space fnz: {network.name} starts from a constant; project --space fnzI converts"
            )
        if self.space != "fnz" or not latent.space.startswith("fnz"):
            raise SampleError(
                f"a {latent.space} latent: {network.name} starts from sampled features, which "
                f"--space fnz gives, and {self.space} has none"
            )
        from gantools.latents.sampled import whole, writable

        return writable(whole(network, latent)).to_bytes()

    # -- pictures ---------------------------------------------------------------------------------

    @cached_property
    def _picture_args(self) -> dict[str, Any]:
        return self._args(features=self.origin.network.open.starts_from_features)

    @cached_property
    def _look(self) -> Look:
        from gantools.latents.pictures import Look

        origin = self.origin
        layers: list[int] | None = None
        for flag, value in (("--noise-mode", self.noise), ("--noise-layers", self.noise_layers)):
            if value is not None and not origin.network.open.g.noise_shapes:
                raise Usage(f"{flag}: this network has no noise")
        if self.noise_layers is not None:
            count = len(origin.network.open.g.noise_shapes)
            layers = options.parse_layers(self.noise_layers, count, "--noise-layers")
        return Look(
            origin.psi,
            origin.checked_cutoff,
            self.noise,
            layers,
            origin.seed,
            tile=self.tile,
            taps=self.taps,
        )

    def _wanted(self, sink: Sink) -> Iterator[Picture]:
        """The pictures of this shard that are not there yet, made when they are asked for."""
        for key, make in self._shard(self._makers()):
            if not sink.wanted(key):
                continue
            try:
                made = make()
            except SampleError as e:
                report.failed(key, e)
                continue
            yield made

    def _makers(self) -> Iterator[tuple[str, Callable[[], Picture]]]:
        if self.figure is not None:
            yield self.figure, self._figure
        elif self.grid is not None:
            from gantools.commands._sheets import Sheets

            yield from Sheets(self.origin, self._look, self._picture_args).grid(self.grid)
        else:
            for key, make in self.origin:
                yield key, partial(self._plain, make)

    def _plain(self, make: Maker) -> Picture:
        from gantools.latents.pictures import Cell, Picture

        latent = make()
        if self.taps and "s" not in latent.space:
            raise SampleError(f"--taps: a {latent.space} latent has no style maps")
        return Picture(latent.key, [Cell(latent, self._look)], story=self._story(latent))

    def _story(self, latent: Latent) -> dict[str, Any]:
        """The latent's, and which noise the picture has."""
        from gantools.latents.drawn import DrawnLatent

        story = latent.with_history("generate", self._picture_args).story()
        if self.origin.network.open.g.noise_shapes:
            own = latent.noise or isinstance(latent, DrawnLatent)
            mode = self.noise or ("own" if own else "const")
            noise = {"mode": mode, "layers": self._look.noise_layers}
            story["noise"] = {n: v for n, v in noise.items() if v is not None}
        return story

    def _figure(self) -> Picture:
        from gantools.commands._sheets import Sheets

        sheets = Sheets(self.origin, self._look, self._picture_args)
        if self.figure == "truncation":
            return sheets.truncation(self.psis)
        if self.figure == "noise":
            return sheets.noise()
        return sheets.mixing(self.sources or [], self.layers)


def _encoders(device: str) -> int:
    """Threads that encode pictures: a GPU makes them faster than one core can; a CPU does not."""
    return 0 if device == "cpu" else min(os.cpu_count() or 1, 8)


def _puts(sink: Sink, pictures: Iterable[Picture], encoders: int) -> Iterator[tuple[str, Put]]:
    """(key, what writes it) for every picture in order; encoded ahead by so many threads."""
    there = ((picture, None if picture.strips else picture.pixels()) for picture in pictures)
    if not encoders:
        for picture, pixels in there:
            if picture.strips is not None or pixels is not None:
                yield picture.key, _put_of(sink, picture, pixels)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    from gantools.io import image

    waiting: deque[tuple[str, Future[bytes]]] = deque()
    pool = ThreadPoolExecutor(encoders)
    try:
        for picture, pixels in there:
            most = 0 if picture.strips else 2 * encoders
            if pixels is not None:
                encoding = pool.submit(image.encode, pixels, sink.image_format, picture.story)
                waiting.append((picture.key, encoding))
            while waiting and (len(waiting) > most or waiting[0][1].done()):
                key, encoded = waiting.popleft()
                yield key, partial(sink.put, key, encoded.result())
            if picture.strips is not None:
                yield picture.key, _put_of(sink, picture, None)
        for key, encoded in waiting:
            yield key, partial(sink.put, key, encoded.result())
    finally:
        pool.shutdown(cancel_futures=True)


def _put_of(sink: Sink, picture: Picture, pixels: Pixels | None) -> Put:
    if picture.strips is not None:
        strips = picture.strips
        return partial(sink.put_strips, picture.key, strips.shape, strips, picture.story)
    assert pixels is not None
    return partial(sink.put_frame, picture.key, pixels, picture.story)


def _put(key: str, put: Put) -> None:
    try:
        put()
    except SampleError as e:
        report.failed(key, e)
