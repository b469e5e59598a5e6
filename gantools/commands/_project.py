"""The pipeline of `project`: samples in batches to latents, written as soon as each is done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from gantools import report
from gantools.commands import _paste, _project_tune
from gantools.commands._film import Film
from gantools.commands._project_items import Item, wanted
from gantools.commands._project_setup import Given, Setup, Wishes
from gantools.io import alpha
from gantools.io.latent import Latent
from gantools.report import SampleError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gantools.inversion.optimise import Tensors
    from gantools.io.sample import Sample
    from gantools.io.sink import Sink

FRAMES = 300  # of one batch in it


@dataclass
class Run:
    """One run of the command: what it works with, a film and an output."""

    wishes: Wishes
    sink: Sink
    film: Film
    given: Given
    pivots: list[tuple[Item, Latent]] = field(default_factory=list)  # of --tune

    def __post_init__(self) -> None:
        if self.wishes.tune:
            _project_tune.check(Path(self.wishes.tune[0]))
        self.setup = Setup(self.wishes, self.given)

    def all(self, samples: Iterable[Sample]) -> None:
        """Project every picture and convert every latent, in order; failures are lines."""
        from gantools.io.source import batches

        # An encoder that is tuned is tuned for one picture, which the film then shows alone.
        most = 1 if self.setup.method.latent else self.wishes.batch

        def full(group: list[tuple[str, Item | Latent]]) -> bool:
            return len(group) == most or isinstance(group[-1][1], Latent)

        for group in batches(wanted(self.setup, samples, self.sink), full):
            items = [item for _, item in group if isinstance(item, Item)]
            for _, alike in groupby(items, lambda item: item.pixels.shape):
                for item, latent in projected(self.setup, list(alike), self.film):
                    if self.wishes.tune:
                        self.pivots.append((item, latent))
                    else:
                        self._write(latent, item.photo, item.name)
            for name, made in group:
                if isinstance(made, Latent):
                    self._write(made, name=name)
        if self.pivots:
            for item, latent in _project_tune.tuned(self.setup, self.pivots):
                self._write(latent, item.photo, item.name)

    def _write(self, latent: Latent, photo: np.ndarray | None = None, name: str = "") -> None:
        try:
            if self.sink.kind == "latent":
                self.sink.put(latent.key, latent.to_bytes())
                return
            pixels = rendered(self.setup, latent)
            if self.wishes.paste is not None:
                if photo is None:
                    raise SampleError("--paste needs the photograph, and this is a latent")
                pixels = _paste.paste_into(latent, pixels, photo, self.wishes.paste)
            self.sink.put_frame(latent.key, pixels, latent.story())
        except SampleError as e:
            report.failed(name or latent.key, e)


def projected(setup: Setup, items: Sequence[Item], film: Film) -> Iterator[tuple[Item, Latent]]:
    """Pictures of one size and their latents; a line for each that has none."""
    found = _optimised(setup, items, film) if setup.encoding is None else _encoded(setup, items)
    for item, latent in zip(items, found, strict=bool(found)):
        if not math.isfinite(latent.header["projection"].get("loss", 0.0)):
            report.failed(item.name, "the optimisation diverged: lower --lr")
            continue
        latent.header["crop"] = item.crop
        args = {"space": setup.space, "align": setup.wishes.align}
        yield item, latent.with_history("project", args)


def _encoded(setup: Setup, items: Sequence[Item]) -> list[Latent]:
    """A latent for each picture; none, with lines, where the encoder's do not convert."""
    assert setup.encoding is not None
    keys, pixels = [item.key for item in items], [item.pixels for item in items]
    try:
        return setup.encoding.latents(keys, pixels, _labels(items))
    except SampleError as e:
        for item in items:
            report.failed(item.name, e)
        return []


def _optimised(setup: Setup, items: Sequence[Item], film: Film) -> list[Latent]:
    network, total = setup.network, setup.method.steps
    name = items[0].key if len(items) == 1 else f"{items[0].key} … {items[-1].key}"
    every = max(1, total // FRAMES)
    targets = [item.pixels for item in items]
    with ExitStack() as stack:
        bar = report.progress_bar(total=total, unit="step", desc=name)
        stack.callback(bar.close)

        def watch(step: int, tensors: Tensors, images: Tensor, losses: Tensor) -> None:
            bar.update(1)
            bar.set_postfix_str(f"loss {losses.mean().item():.4g}")
            if film.sink is not None and (step % every == 0 or step == total - 1):
                now = alpha.on_white(network.pixels(images))
                shown = [alpha.on_white(target) for target in targets]
                film.frame(shown, now if now.shape[3] == 3 else now.repeat(3, 3))

        starts = [item.start for item in items if item.start is not None]
        keys = [item.key for item in items]
        return setup.projector.run(keys, targets, watch, starts, _labels(items))


def _labels(items: Sequence[Item]) -> list[int] | None:
    """Their classes, where pictures have them."""
    return [item.label for item in items if item.label is not None] or None


def rendered(setup: Setup, latent: Latent) -> np.ndarray:
    """The latent's picture, uint8 [H, W, C]; SampleError where it has none."""
    from gantools.latents.render import images

    return setup.network.pixels(images(setup.network, [latent]))[0]
