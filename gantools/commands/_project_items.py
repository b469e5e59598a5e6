"""The samples of `project`, ready to be worked on: pictures brought to size, latents converted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gantools import report
from gantools.commands._project_setup import Setup
from gantools.io import image
from gantools.io.latent import Latent
from gantools.report import SampleError

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.sample import Sample
    from gantools.io.sink import Sink


@dataclass
class Item:
    """One picture on its way: pixels [H,W,3] of the network's size, its place in the photograph.

    [H,W,4], straight, where the network's pictures have alpha. label: the number of its class,
    which all pictures of a run have, or none.
    """

    key: str
    name: str
    pixels: np.ndarray
    crop: dict[str, Any]
    start: Latent | None  # of the optimisation
    photo: np.ndarray | None  # kept for --paste alone
    label: int | None = None


def wanted(
    setup: Setup, samples: Iterable[Sample], sink: Sink
) -> Iterator[tuple[str, Item | Latent]]:
    """Names, and pictures ready to be projected or latents that are converted."""
    for sample in samples:
        if not sink.wanted(sample.key):
            continue
        try:
            yield sample.name, prepared(setup, sample)
        except SampleError as e:
            report.failed(sample.name, e)


def prepared(setup: Setup, sample: Sample) -> Item | Latent:
    """A picture that can be projected, or a latent in the space; SampleError where it cannot."""
    from gantools.io.sample import kind

    if kind(sample.data) == "latent":
        return _converted(setup, Latent.from_bytes(sample.data, sample.key))
    if setup.encoding is None:
        _ = setup.projector  # what the network cannot do is said before a face is looked for
    return started(setup, framed(setup, sample))


def framed(setup: Setup, sample: Sample) -> Item:
    """A photograph brought to the framing of the run, and its class; SampleError without one."""
    label = None if setup.label_of is None else setup.label_of(sample.key)
    photo = image.decode_channels(sample.data, setup.network.channels)
    pixels, quad = setup.cropper(photo)
    height, width = pixels.shape[:2]
    crop = {
        "quad": [[round(float(v), 3) for v in corner] for corner in quad],
        "size": height if height == width else [height, width],
        "source": [photo.shape[1], photo.shape[0]],
    }
    kept = photo if setup.wishes.paste is not None else None
    return Item(sample.key, sample.name, pixels, crop, None, kept, label)


def started(setup: Setup, item: Item) -> Item:
    """With where its optimisation starts: what is not there, or does not fit, fails it alone."""
    height, width = item.pixels.shape[:2]
    if setup.encoding is not None:
        setup.encoding.check((height, width))
        return item
    canvas = setup.projector.canvas((height, width))
    return replace(item, start=setup.projector.start(canvas, item.key, item.pixels, item.label))


def _converted(setup: Setup, latent: Latent) -> Latent:
    from gantools.latents import spaces
    from gantools.latents.source import NetworkSource

    for flag, wish in (("--tune", setup.wishes.tune), ("--psi", setup.wishes.psi)):
        if wish is not None:
            raise SampleError(f"{flag} needs pictures, and this is a latent")
    setup.network.check(latent)
    source = NetworkSource(setup.network, seed=setup.wishes.seed)
    made = spaces.convert(latent, setup.space, source, lossy=setup.wishes.lossy)
    return made.with_history("project", {"space": setup.space})
