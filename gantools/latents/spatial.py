"""Latents with features or style maps: their pictures, and the run of one block (S2.1, S2.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gantools import report
from gantools.io.latent import Latent
from gantools.io.space import Size, scaled
from gantools.io.space import without_noise as plain
from gantools.latents.drawn import Draw, DrawnLatent, features
from gantools.latents.drawn import noise as part_of_noise
from gantools.latents.inputs import drawn, styles
from gantools.networks import stylegan2_tiles
from gantools.networks.network import Network
from gantools.networks.stylegan2_blocks import State, advance
from gantools.networks.stylegan2_tiles import Canvas, Map, Window, cut
from gantools.report import SampleError


def size_of(latent: Latent) -> Size:
    """(height, width) of the features in front of its first block."""
    if isinstance(latent, DrawnLatent):
        return latent.draw.size
    anchor = latent.tensors["f" if "f" in latent.tensors else "s.1"]
    return int(anchor.shape[1]), int(anchor.shape[2])


def check(network: Network, latent: Latent) -> None:
    """SampleError where the latent does not fit; what is drawn does, its z has been checked."""
    if not isinstance(latent, DrawnLatent):
        network.check(latent)


def noise_maps(
    network: Network,
    latent: Latent,
    mode: str = "const",
    seed: int = 0,
    layers: Sequence[int] | None = None,
) -> list[Tensor | None]:
    """[1, 1, H, W] or None for each block from latent.first to L - 1: its own, or else by mode.

    const: the stored maps, laid side by side where the latent is larger, cut where it is smaller;
    random: N(0, 1) from (seed, key), at the network's own size the same as for its w; none.
    `layers` (0-based) keeps noise in these layers only.
    """
    maps = _noise(network, latent, mode, seed, layers)
    shapes = _shapes(network, latent)
    return [
        n if n is None or isinstance(n, Tensor) else n(((0, h), (0, w)))
        for n, (h, w) in zip(maps, shapes, strict=True)
    ]


def _shapes(network: Network, latent: Latent) -> list[Size]:
    size, first = size_of(latent), latent.first
    return [scaled(size, first, j + 1) for j in range(first, network.g.num_ws)]


def _noise(
    network: Network, latent: Latent, mode: str, seed: int, layers: Sequence[int] | None
) -> list[Map | None]:
    """`noise_maps`, where what is larger than the network's own is made window by window."""
    key, own = latent.key, latent.noise
    if isinstance(latent, DrawnLatent) and "n" in latent.space:
        mode, seed, key = latent.draw.noise, latent.draw.seed, latent.draw.key
    by_mode = _by_mode(network, key, mode, seed, _shapes(network, latent), latent.first)
    maps: list[Map | None] = []
    for j, other in enumerate(by_mode, latent.first):
        found = _tensor(own[j], network)[None] if j in own else other
        maps.append(found if layers is None or j - 1 in layers else None)
    return maps


def _by_mode(
    network: Network, key: str, mode: str, seed: int, shapes: Sequence[Size], first: int
) -> list[Map | None]:
    if mode == "const":
        stored = network.g.synthesis.layers()[first - network.g.cfg.first :]
        return [partial(laid, layer.noise_const) for layer in stored]
    if mode == "none":
        return [None] * len(shapes)
    if list(shapes) == network.g.noise_shapes[first - 1 :]:
        return [n[None].to(network.device) for n in drawn(network, key, seed)[first - 1 :]]
    return [partial(_drawn_noise, network, key, seed, j) for j in range(first, network.g.num_ws)]


# By block, so that a latent keeps its later maps when its first blocks have been run.
def _drawn_noise(network: Network, key: str, seed: int, j: int, window: Window) -> Tensor:
    return part_of_noise(seed, key, j, window).to(network.device)


def laid(noise: Tensor, window: Window) -> Tensor:
    """The window [1, 1, h, w] of a stored noise map [H, W] that is laid side by side."""
    rows, columns = (
        torch.arange(*span, device=noise.device) % n
        for span, n in zip(window, noise.shape, strict=True)
    )
    return noise[rows[:, None], columns][None, None]


def _tensor(value: np.ndarray, network: Network) -> Tensor:
    # Copied only where torch could not share it: a wide latent's noise is larger than its picture.
    shared = np.require(value, np.float32, ["C", "W"])
    return torch.from_numpy(shared).to(network.device)


@torch.no_grad()
def with_w(
    network: Network, latent: Latent, psi: float | None = None, cutoff: int | None = None
) -> Latent:
    """An fnz latent as fnw+, its z truncated by psi and cutoff or else its header; others as is."""
    if "z" not in latent.tensors:
        return latent
    ws = styles(network, [latent], psi, cutoff)[0, latent.first - 1 :]
    tensors = {n: t for n, t in latent.tensors.items() if n not in {"z", "y"}}
    tensors["w"] = ws.cpu().numpy()
    return replace(latent, space=f"fnw+{latent.first}", tensors=tensors)


def without_noise(latent: Latent) -> Latent:
    """The latent in its space without noise maps; one without them, and fnz, as they are."""
    space = plain(latent.space)
    if space == latent.space:
        return latent
    tensors = {n: t for n, t in latent.tensors.items() if not n.startswith("n.")}
    return replace(latent, space=space, tensors=tensors)


def state_of(network: Network, latent: Latent) -> State:
    """What stands in front of its first block, batch 1: its own features, or the constant."""
    f, r = (latent.tensors.get(name) for name in ("f", "r"))
    start = network.g.synthesis.blocks()[0].const if f is None else _tensor(f, network)
    return State(latent.first, start[None], None if r is None else _tensor(r, network)[None])


def _canvas(network: Network, latent: Latent, noise: Sequence[Map | None]) -> Canvas:
    ws, first, size = styles_of(network, latent), latent.first, size_of(latent)
    if isinstance(latent, DrawnLatent):
        return Canvas(first, size, partial(_drawn_features, network, latent.draw), None, ws, noise)
    state = state_of(network, latent)
    return Canvas(first, size, state.f, state.r, ws, noise)


def _drawn_features(network: Network, draw: Draw, window: Window) -> Tensor:
    return features(network, draw.seed, draw.key, window).to(network.device)


def styles_of(network: Network, latent: Latent, count: int | None = None) -> list[Tensor]:
    """The first `count` styles, by default all: vectors [1, w_dim] or maps [1, w_dim, h, w]."""
    w = latent.tensors.get("w")
    if w is not None:
        return list(_tensor(w[:count], network).split(1))
    stop = network.g.num_ws + 1 if count is None else latent.first + count
    return [_tensor(latent.tensors[f"s.{j}"], network)[None] for j in range(latent.first, stop)]


@torch.no_grad()
def picture(
    network: Network,
    latent: Latent,
    noise: str = "const",
    seed: int = 0,
    layers: Sequence[int] | None = None,
    *,
    tile: int | None = None,
    taps: bool = False,
) -> Tensor:
    """The picture [1, C, H, W] of one latent, as large as its features say; as in `tiles`."""
    size, made = picture_size(network, latent), torch.empty(0)
    for place, part in tiles(network, latent, noise, seed, layers, tile=tile, taps=taps):
        made = made if made.numel() else part.new_empty(1, part.shape[1], *size)
        cut(made, place).copy_(part)
    return made


@torch.no_grad()
def tiles(
    network: Network,
    latent: Latent,
    noise: str = "const",
    seed: int = 0,
    layers: Sequence[int] | None = None,
    *,
    tile: int | None = None,
    taps: bool = False,
) -> Iterator[tuple[Window, Tensor]]:
    """The picture by rows of tiles: where each stands in pixels, and [1, C, h, w].

    noise, seed and layers as in `noise_maps`. tile: pixels a side at most (S2.22); where there are
    several, they have a bar. taps: as in ops.modulate, for style maps (S2.3).
    """
    check(network, latent)
    latent = with_w(network, latent)
    synthesis = network.g.synthesis
    canvas = _canvas(network, latent, _noise(network, latent, noise, seed, layers))
    number = stylegan2_tiles.count(synthesis.cfg, latent.first, canvas.size, tile)
    made = stylegan2_tiles.tiles(synthesis, canvas, tile=tile, dtype=network.dtype, taps=taps)
    if number == 1:
        yield from made
    else:
        yield from report.progress(made, total=number, unit="tile", desc=latent.key)


def picture_size(network: Network, latent: Latent) -> Size:
    """(height, width) of its picture in pixels."""
    each = stylegan2_tiles.cell(network.g.synthesis.cfg, latent.first)
    height, width = size_of(latent)
    return height * each, width * each


def is_large(network: Network, latent: Latent, tile: int | None = None) -> bool:
    """Whether the picture of a latent with features or style maps is made in several tiles."""
    cfg, size = network.g.synthesis.cfg, size_of(latent)
    return stylegan2_tiles.count(cfg, latent.first, size, tile) > 1


@torch.no_grad()
def after_a_block(
    network: Network, latent: Latent, noise: str = "const", seed: int = 0
) -> dict[str, np.ndarray]:
    """f (and r) behind the latent's first block, with its own noise or that of `noise`, seed."""
    if latent.first == network.g.num_ws:
        raise SampleError(f"behind block {latent.first}, the last one, there is only the picture")
    latent = with_w(network, latent)
    maps = noise_maps(network, latent, noise, seed, [latent.first - 1])[:1]
    state = state_of(network, latent)
    made = advance(network.g.synthesis, state, styles_of(network, latent, 1), maps)
    found = {"f": made.f, **({} if made.r is None else {"r": made.r})}
    return {n: t[0].float().contiguous().cpu().numpy() for n, t in found.items()}
