"""Figures of masked mixing: pixels against latents, and masks that move (papers.md S2.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gantools.commands._mixing import Wanted
from gantools.commands._overlay import read_mask
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.latent import Latent
    from gantools.latents.masks import Mask
    from gantools.networks.network import Network

DEFAULT = ("left", "top", "ellipse", "gradient")
MOVES = (0.0, 0.25, 0.5, 0.75, 1.0)


def with_masks(wanted: Wanted) -> Wanted:
    """The masks of the figure's rows where none were given; Usage for flags with no place in it."""
    if wanted.frames is not None or wanted.shares is not None or wanted.overlay.placed:
        raise Usage("--figure has no place for --at, --frames, --offset and --canvas")
    masks = wanted.overlay.masks or [read_mask(name) for name in DEFAULT]
    return replace(wanted, overlay=replace(wanted.overlay, masks=masks))


def figure(
    name: str, wanted: Wanted, incoming: Iterator[Latent]
) -> tuple[np.ndarray, dict[str, Any]]:
    """The sheet, uint8, and its story: a row for each mask of `with_masks`' wanted.

    masks (Fig 4.1): A, B, the mask, both pictures mixed, both latents mixed; moving (Fig 4.2): the
    latents mixed with the mask at 0, ¼, ½, ¾ and 1 of its way. Usage unless there are two latents.
    """
    from gantools.latents import figures

    latents = wanted.gathered(incoming)
    if len(latents) != 2:
        raise Usage(f"--figure {name} shows two latents, and got {len(latents)}")
    network = wanted.open()
    moves = MOVES if name == "moving" else (0.5,)
    try:
        for latent in latents:
            network.check(latent)
        rows = [
            [_mixed(wanted, latents, mask, moved) for moved in moves]
            for mask in wanted.overlay.masks
        ]
    except SampleError as e:
        raise Usage(str(e)) from None
    cells: list[np.ndarray] = []
    if name == "moving":
        for row in rows:
            cells += _pictures(network, row)
    else:
        a, b = _pictures(network, latents)
        for mask, row in zip(wanted.overlay.masks, rows, strict=True):
            cells += [a, b, *_by_pixels(a, b, mask), *_pictures(network, row)]
    columns = len(cells) // len(rows)
    args = {"figure": name, "of": [x.key for x in latents], **wanted.overlay.story()}
    story = figures.story("mix", name, columns, None, args, network.story())
    return figures.sheet(cells, columns), story


def _mixed(wanted: Wanted, latents: Sequence[Latent], mask: Mask, moved: float) -> Latent:
    return replace(latents[0], key="mix", tensors=wanted.composed(latents, [moved], [mask]))


def _pictures(network: Network, latents: Sequence[Latent]) -> list[np.ndarray]:
    from gantools.latents.render import images

    return [network.pixels(images(network, [latent]))[0] for latent in latents]


def _by_pixels(a: np.ndarray, b: np.ndarray, mask: Mask) -> list[np.ndarray]:
    """The mask as a grey picture, and the pictures mixed by it."""
    import numpy as np

    m = mask.at((a.shape[0], a.shape[1]), 0.5)[..., None]
    grey = np.broadcast_to(np.round(255 * m), a.shape).astype(np.uint8)
    if a.shape[2] == 4:
        grey[..., 3] = 255
    mixed = a.astype(np.float64) * (1 - m) + b.astype(np.float64) * m
    return [grey, np.round(mixed).astype(np.uint8)]
