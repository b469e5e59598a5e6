"""Latents of pictures of any size, whose f and noise are drawn part by part (papers.md S2.22)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gantools.io.latent import Latent
from gantools.io.seeds import derive
from gantools.io.space import Size
from gantools.networks.network import Network
from gantools.networks.stylegan2_tiles import Window
from gantools.ops.blurred_noise import blur_channels, radius

BLOCK = 32
"""Cells along a side of what is drawn at once."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What a latent's f and noise follow from; size: of f, in cells.

    noise: const, random or none, as in `spatial.noise_maps`.
    """

    seed: int
    key: str
    size: Size
    noise: str


@dataclass
class DrawnLatent(Latent):
    """A latent in fnzI, or what it becomes with its w, that holds neither f, r nor noise maps.

    Each part of them is drawn where it is needed; r is 0. `sampled.whole` draws all.
    """

    draw: Draw = field(kw_only=True)


def white(stream: int, channels: int, window: Window) -> Tensor:
    """[C, h, w] of N(0, 1), the window of a map without an end: from `stream` and the place only.

    window: rows and columns, from 0 on.
    """
    (top, bottom), (left, right) = window
    made = np.empty((channels, bottom - top, right - left), np.float32)
    for i in range(top // BLOCK, -(-bottom // BLOCK)):
        rows = _shared(i, top, bottom)
        for j in range(left // BLOCK, -(-right // BLOCK)):
            columns = _shared(j, left, right)
            block = _block(stream, channels, i, j)
            made[:, _moved(rows, -top), _moved(columns, -left)] = block[
                :, _moved(rows, -i * BLOCK), _moved(columns, -j * BLOCK)
            ]
    return torch.from_numpy(made)


def _block(stream: int, channels: int, i: int, j: int) -> np.ndarray:
    # The place stands in the upper half of Philox's counter, so that no two blocks share a number;
    # torch's generator takes 32 bits of a seed, which are too few for the blocks of large pictures.
    bits = np.random.Philox(key=stream, counter=[0, 0, i, j])
    return np.random.Generator(bits).standard_normal((channels, BLOCK, BLOCK), dtype=np.float32)


def _shared(index: int, start: int, stop: int) -> slice:
    """The cells of block `index` along an axis that stand between start and stop."""
    return slice(max(index * BLOCK, start), min((index + 1) * BLOCK, stop))


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)


def noise(seed: int, key: str, j: int, window: Window) -> Tensor:
    """[1, 1, h, w]: the window of noise map j of (seed, key), N(0, 1)."""
    return white(derive(seed, key, f"noise {j}"), 1, window)[None]


def features(network: Network, seed: int, key: str, window: Window) -> Tensor:
    """f [1, C, h, w] in the window, as the network was trained with: N(0, I), or blurred (S2.21).

    The noise that is blurred reaches beyond the picture, and over the window's own border.
    """
    cfg = network.g.cfg
    beyond = 2 * radius(cfg.noise_blur)
    (top, bottom), (left, right) = window
    wider = ((top, bottom + beyond), (left, right + beyond))
    drawn = white(derive(seed, key, "features"), cfg.features[0], wider)[None]
    return blur_channels(drawn, cfg.noise_blur)
