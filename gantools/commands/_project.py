"""The pipeline of `project`: samples in batches to latents, written as soon as each is done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gantools import report
from gantools.commands import _paste
from gantools.commands._cropping import Cropper
from gantools.commands._film import Film
from gantools.commands._starts import Start, start_of
from gantools.io import alpha, image
from gantools.io.latent import Latent
from gantools.io.space import Size, spatial, split
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gantools.inversion.coded import AnyEncoder
    from gantools.inversion.encoding import Encoding
    from gantools.inversion.optimise import Tensors
    from gantools.inversion.project import Projector
    from gantools.inversion.start import Init
    from gantools.io.network import Checkpoint
    from gantools.io.sample import Sample
    from gantools.io.sink import Sink
    from gantools.networks.network import Network

FRAMES = 300  # of one batch in it
STYLE_FLAGS = {
    "style_smooth": "--style-smooth",
    "style_radius": "--style-radius",
    "style_cells": "--style-cells",
    "style_falloff": "--style-falloff",
}


@dataclass
class Wishes:
    """What the command line asked for."""

    space: str | None
    method: str
    changes: dict[str, Any]  # of the method's settings
    perceptual: str | None
    init: str | None  # None: by an encoder where one is kept for the space, else the mean
    align: Literal["auto", "always", "never"]
    size: Size | Literal["own", "faces"] | None  # height and width; None: the network's
    lossy: bool
    seed: int
    batch: int
    paste: float | None  # the scale of --paste
    tune: tuple[str, int, float] | None  # file, steps, learning rate
    label: str | None = None  # the pictures' class, of an encoder that is told it


@dataclass
class Item:
    """One picture on its way: pixels [H,W,3] of the network's size, its place in the photograph.

    [H,W,4], straight, where the network's pictures have alpha.
    """

    key: str
    name: str
    pixels: np.ndarray
    crop: dict[str, Any]
    start: Latent | None  # of the optimisation
    photo: np.ndarray | None  # kept for --paste alone


def _check_tuned(path: Path) -> None:
    """Usage, before the work, where --tune could not be written after it."""
    from gantools.io.atomic import real_target

    if path.suffix != ".safetensors":
        raise Usage(f"--tune {path}: a name that ends in .safetensors")
    real_target(path)


@dataclass
class Run:
    """One run of the command: a network, a projector (made for the first picture), an output."""

    wishes: Wishes
    sink: Sink
    film: Film
    net: str | None
    device: str
    dtype: str
    pivots: list[tuple[Item, Latent]] = field(default_factory=list)  # of --tune

    def __post_init__(self) -> None:
        from gantools.inversion.methods import ENCODED, METHODS, ONE_PASS
        from gantools.io import network as files
        from gantools.networks.network import build

        if self.wishes.tune:
            _check_tuned(Path(self.wishes.tune[0]))
        known = METHODS[self.wishes.method]
        encoded = self.wishes.method in ENCODED
        self.only_encoded = self.wishes.method in ONE_PASS
        self.space = self.wishes.space or known.space
        if not encoded:
            self._choose_method()
        self._check_encoding()
        self.path = files.find(self.net)
        self.ckpt: Checkpoint = files.load(self.path)
        own = known.own_distance
        self.perceptual = self.wishes.perceptual or own or self._default_perceptual()
        self.network: Network = build(
            self.ckpt,
            self.path.stem,
            device=self.device,
            dtype=self.dtype,
            discriminator=self.perceptual == "discriminator" and not self.only_encoded,
        )
        self._check_class()
        if not encoded and not self.network.has_w:
            self._project_to_z()
        if self.wishes.paste is not None and self.network.channels == 4:
            raise Usage(_paste.HAS_ALPHA)
        self._start = Start(
            self.wishes.init, self.network, self.path, self.wishes.space, self.device
        )
        self._encoder: AnyEncoder | None = None
        if encoded:
            self._encoder = self._start.encoder(self.wishes.method)
            self.space = self.wishes.space or self._encoder.space
            self._choose_method()
        self.encoding = self._made_encoding() if self.only_encoded else None
        self.cropper = Cropper(
            self.network, self.space, self.wishes.align, self.wishes.size, self.device
        )
        self._projector: Projector | None = None

    def _choose_method(self) -> None:
        """The settings in the space, once that is known."""
        from gantools.inversion.methods import METHODS

        changes = self._of_family() | self.wishes.changes
        self.method = METHODS[self.wishes.method].for_space(self.space, changes)
        self._check_wishes()

    def _of_family(self) -> dict[str, Any]:
        """What a method that begins with an encoder does otherwise in the network's family."""
        from gantools.inversion.methods import ENCODED, FAMILIES

        name = self.wishes.method
        return FAMILIES.get((name, self.network.family), {}) if name in ENCODED else {}

    def _project_to_z(self) -> None:
        """Of a network without w the space is that of its z; Usage for one of styles."""
        from gantools.inversion import z_space

        if self.wishes.space is None and "n" not in self.space:
            self.space = z_space.space_of(self.network)
            self._choose_method()
        z_space.check_space(self.network, self.space)

    def _check_class(self) -> None:
        """Usage for --class where nothing asks for it."""
        from gantools.commands._classes import number_of

        label = self.wishes.label
        self.label = None if label is None else number_of(label, self.network)
        if label is not None and self.network.has_w:
            raise Usage("--class is for networks of z, whose latents have a class beside it")

    def _check_encoding(self) -> None:
        """Usage for flags of an optimisation where there is none."""
        if not self.only_encoded:
            return
        idle = [n for n in self.wishes.changes if n != "steps" or self.wishes.changes[n]]
        if idle or self.wishes.perceptual or self.film.sink is not None or self.wishes.tune:
            raise Usage(
                f"--method {self.wishes.method} optimises nothing: leave out the flags of an "
                "optimisation, or take --method hybrid"
            )

    def _made_encoding(self) -> Encoding:
        from gantools.inversion.encoding import Encoding

        assert self._encoder is not None
        return Encoding(
            self.network, self._encoder, self.space, self.label, self.wishes.lossy,
            self.wishes.seed, self.wishes.method,
        )  # fmt: skip

    def _check_wishes(self) -> None:
        """Usage for flags that the space has no use for."""
        kind, index = split(self.space)
        m = self.method
        if not any((m.perceptual, m.mse, m.cos, m.ssim)):
            raise Usage("--perceptual-weight and --mse-weight are both 0: nothing is minimised")
        if m.dist and "z" in kind:
            raise Usage(f"--dist-weight is for styles and features, and not for {self.space}")
        if "noise_reg" in self.wishes.changes and "n" not in kind:
            raise Usage(f"--noise-reg is for spaces like nw+; {self.space} has no noise maps")
        for name, flag in STYLE_FLAGS.items():
            if name in self.wishes.changes and "s" not in kind:
                raise Usage(f"{flag} is for spaces like fnsw+5; {self.space} has no style maps")
        if self.wishes.size is not None and index is None:
            raise Usage(f"--size is for spaces with features, like fnw+5, and not {self.space}")
        if self.wishes.size is not None and self.wishes.align == "always":
            raise Usage("--size takes pictures as they are: leave --align out")
        if self.wishes.tune and (spatial(self.space) or "z" in kind):
            raise Usage(f"--tune is for w, w+, nw and nw+, and not {self.space}")

    def _default_perceptual(self) -> str:
        from gantools.inversion.project import default_perceptual

        return default_perceptual(bool(self.ckpt.config.get("d")))

    def all(self, samples: Iterable[Sample]) -> None:
        """Project every picture and convert every latent, in order; failures are lines."""
        from gantools.io.source import batches

        # An encoder that is tuned is tuned for one picture, which the film then shows alone.
        most = 1 if self.method.latent else self.wishes.batch

        def full(group: list[tuple[str, Item | Latent]]) -> bool:
            return len(group) == most or isinstance(group[-1][1], Latent)

        for group in batches(self._wanted(samples), full):
            items = [item for _, item in group if isinstance(item, Item)]
            for _, alike in groupby(items, lambda item: item.pixels.shape):
                self._project(list(alike))
            for name, latent in group:
                if isinstance(latent, Latent):
                    self._write(latent, name=name)
        if self.pivots:
            self._tune()

    def _wanted(self, samples: Iterable[Sample]) -> Iterator[tuple[str, Item | Latent]]:
        """Names, and pictures ready to be projected or latents that are converted."""
        for sample in samples:
            if not self.sink.wanted(sample.key):
                continue
            try:
                yield sample.name, self._prepared(sample)
            except SampleError as e:
                report.failed(sample.name, e)

    # ------------------------------------------------------------------------ one sample

    def _prepared(self, sample: Sample) -> Item | Latent:
        from gantools.io.sample import kind

        if kind(sample.data) == "latent":
            return self._converted(Latent.from_bytes(sample.data, sample.key))
        if self.encoding is None:
            _ = self.projector  # what the network cannot do is said before a face is looked for
        photo = image.decode_channels(sample.data, self.network.channels)
        pixels, quad = self.cropper(photo)
        height, width = pixels.shape[:2]
        # Here, so that a start that is not there, or does not fit, fails its sample alone.
        start = None
        if self.encoding is None:
            canvas = self.projector.canvas((height, width))
            start = self.projector.start(canvas, sample.key, pixels)
        else:
            self.encoding.check((height, width))
        crop = {
            "quad": [[round(float(v), 3) for v in corner] for corner in quad],
            "size": height if height == width else [height, width],
            "source": [photo.shape[1], photo.shape[0]],
        }
        kept = photo if self.wishes.paste is not None else None
        return Item(sample.key, sample.name, pixels, crop, start, kept)

    def _converted(self, latent: Latent) -> Latent:
        from gantools.latents import spaces
        from gantools.latents.source import NetworkSource

        if self.wishes.tune:
            raise SampleError("--tune needs pictures, and this is a latent")
        self.network.check(latent)
        source = NetworkSource(self.network, seed=self.wishes.seed)
        made = spaces.convert(latent, self.space, source, lossy=self.wishes.lossy)
        return made.with_history("project", {"space": self.space})

    # ------------------------------------------------------------------------ a batch

    @property
    def projector(self) -> Projector:
        """Made for the first picture: a run over latents needs no perceptual distance."""
        if self._projector is None:
            from gantools.inversion.project import Projector

            self._projector = Projector(
                self.network,
                self.space,
                self.wishes.method,
                self.method,
                self.perceptual,
                self._init(),
                self.wishes.seed,
                self._encoder,
                self.label,
            )
        return self._projector

    def _init(self) -> Init:
        from gantools.inversion import coded
        from gantools.inversion.start import Given

        if self._encoder is not None:
            condition = coded.told(self.network, self._encoder, self.label)
            return Given("encoder", start_of(self._encoder, condition))
        if self.wishes.init is None and "z" in self.space:
            return "random"
        if self.wishes.init is None and self.method.init is not None:
            return self.method.init
        return replace(self._start, space=self.space).init()

    def _encode(self, items: list[Item]) -> None:
        assert self.encoding is not None
        keys, pixels = [item.key for item in items], [item.pixels for item in items]
        try:
            found = self.encoding.latents(keys, pixels)
        except SampleError as e:
            for item in items:
                report.failed(item.name, e)
            return
        for item, latent in zip(items, found, strict=True):
            latent.header["crop"] = item.crop
            done = latent.with_history("project", {"space": self.space, "align": self.wishes.align})
            self._write(done, item.photo, item.name)

    def _project(self, items: list[Item]) -> None:
        if self.encoding is not None:
            self._encode(items)
            return
        total = self.method.steps
        name = items[0].key if len(items) == 1 else f"{items[0].key} … {items[-1].key}"
        every = max(1, total // FRAMES)
        targets = [item.pixels for item in items]
        with ExitStack() as stack:
            bar = report.progress_bar(total=total, unit="step", desc=name)
            stack.callback(bar.close)

            def watch(step: int, tensors: Tensors, images: Tensor, losses: Tensor) -> None:
                bar.update(1)
                bar.set_postfix_str(f"loss {losses.mean().item():.4g}")
                if self.film.sink is not None and (step % every == 0 or step == total - 1):
                    now = alpha.on_white(self.network.pixels(images))
                    shown = [alpha.on_white(target) for target in targets]
                    self.film.frame(shown, now if now.shape[3] == 3 else now.repeat(3, 3))

            starts = [item.start for item in items if item.start is not None]
            latents = self.projector.run([item.key for item in items], targets, watch, starts)
        for item, latent in zip(items, latents, strict=True):
            if not math.isfinite(latent.header["projection"]["loss"]):
                report.failed(item.name, "the optimisation diverged: lower --lr")
                continue
            latent.header["crop"] = item.crop
            done = latent.with_history("project", {"space": self.space, "align": self.wishes.align})
            if self.wishes.tune:
                self.pivots.append((item, done))
            else:
                self._write(done, item.photo, item.name)

    def _tune(self) -> None:
        """The personal network from all pictures of the run; then their latents, which name it."""
        from gantools.inversion.tune import Tuning

        assert self.wishes.tune is not None
        file, steps, lr = self.wishes.tune
        tuning = Tuning(steps=steps, lr=lr)
        items, latents = zip(*self.pivots, strict=True)
        pixels = [item.pixels for item in items]
        bar = report.progress_bar(total=steps, unit="step", desc="tuning")
        try:
            tuned = self.projector.tuned(
                latents, pixels, tuning, self.wishes.batch, lambda step: bar.update(1)
            )
        finally:
            bar.close()
        self._save(tuned, Path(file), tuning)
        self.projector.network = self.network
        for item, latent in zip(items, latents, strict=True):
            self.projector.judge([latent], [item.pixels])
            latent.header["network"] = self.network.story()
            latent.header["projection"]["tuned"] = {"steps": steps, "lr": lr}
            self._write(latent, item.photo, item.name)

    def _save(self, tuned: Any, path: Path, tuning: Any) -> None:
        from gantools.io import network as files
        from gantools.networks.network import numbers

        tensors = {f"g_ema.{n}": t for n, t in numbers(tuned).items()}
        tensors |= {n: t for n, t in self.ckpt.tensors.items() if n.startswith("d.")}
        meta = {n: v for n, v in self.ckpt.meta.items() if n not in {"id", "w_avg"}}
        meta["derived_from"] = [self.network.id, *meta.get("derived_from", [])]
        meta["tuned"] = {"pictures": len(self.pivots), "steps": tuning.steps, "lr": tuning.lr}
        ckpt = replace(self.ckpt, tensors=tensors, meta=meta)
        identity = files.save(path, ckpt)
        self.network = replace(self.network, name=path.stem, id=identity, g=tuned, meta=meta)
        report.note(f"the tuned network is {path}: give it with --net where these latents go")

    # ------------------------------------------------------------------------ out

    def _write(self, latent: Latent, photo: np.ndarray | None = None, name: str = "") -> None:
        try:
            if self.sink.kind == "latent":
                self.sink.put(latent.key, latent.to_bytes())
                return
            pixels = self._rendered(latent)
            if self.wishes.paste is not None:
                if photo is None:
                    raise SampleError("--paste needs the photograph, and this is a latent")
                pixels = _paste.paste_into(latent, pixels, photo, self.wishes.paste)
            self.sink.put_frame(latent.key, pixels, latent.story())
        except SampleError as e:
            report.failed(name or latent.key, e)

    def _rendered(self, latent: Latent) -> np.ndarray:
        from gantools.latents.render import images

        return self.network.pixels(images(self.network, [latent]))[0]
