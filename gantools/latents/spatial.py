"""Latents with features or style maps: their pictures, and the run of one block (S2.1, S2.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gantools import report
from gantools.io.latent import Latent
from gantools.io.seeds import derive
from gantools.io.space import Size, scaled
from gantools.io.space import without_noise as plain
from gantools.latents.inputs import drawn, styles
from gantools.networks import stylegan2_tiles as tiles
from gantools.networks.network import Network
from gantools.networks.stylegan2_blocks import State, advance, picture_from
from gantools.report import SampleError


def size_of(latent: Latent) -> Size:
    """(height, width) of the features in front of its first block."""
    anchor = latent.tensors["f" if "f" in latent.tensors else "s.1"]
    return int(anchor.shape[1]), int(anchor.shape[2])


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
    first, count = latent.first, network.g.num_ws - 1
    size = size_of(latent)
    shapes = [scaled(size, first, j + 1) for j in range(first, count + 1)]
    own = latent.noise
    by_mode = _by_mode(network, latent, mode, seed, shapes)
    maps: list[Tensor | None] = []
    for j, other in enumerate(by_mode, first):
        found = _tensor(own[j], network) if j in own else other
        keep = layers is None or j - 1 in layers
        maps.append(found[None] if found is not None and keep else None)
    return maps


def _by_mode(
    network: Network, latent: Latent, mode: str, seed: int, shapes: Sequence[Size]
) -> list[Tensor | None]:
    first = latent.first
    if mode == "const":
        stored = network.g.synthesis.layers()[first - network.g.cfg.first :]
        return [tiled(x.noise_const, shape) for x, shape in zip(stored, shapes, strict=True)]
    if mode == "none":
        return [None] * len(shapes)
    if list(shapes) == network.g.noise_shapes[first - 1 :]:
        return [n.to(network.device) for n in drawn(network, latent.key, seed)[first - 1 :]]
    return [
        _of_block(latent.key, seed, j, s).to(network.device) for j, s in enumerate(shapes, first)
    ]


# By block, so that a latent keeps its later maps when its first blocks have been run.
def _of_block(key: str, seed: int, j: int, shape: Size) -> Tensor:
    generator = torch.Generator().manual_seed(derive(seed, key, f"noise {j}"))
    return torch.randn(1, *shape, generator=generator)


def tiled(noise: Tensor, shape: Size) -> Tensor:
    """A stored noise map [H, W] as [1, *shape]: laid side by side, or cut."""
    times = [-(-wanted // have) for wanted, have in zip(shape, noise.shape, strict=True)]
    return noise.repeat(*times)[None, : shape[0], : shape[1]]


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
    """The picture [1, C, H, W] of one latent, as large as its features say; as in `strips`."""
    made = strips(network, latent, noise, seed, layers, tile=tile, taps=taps)
    return torch.cat(list(made), dim=2)


@torch.no_grad()
def strips(
    network: Network,
    latent: Latent,
    noise: str = "const",
    seed: int = 0,
    layers: Sequence[int] | None = None,
    *,
    tile: int | None = None,
    taps: bool = False,
) -> Iterator[Tensor]:
    """The picture from top to bottom, [1, C, h, W] each; noise, seed and layers as in `noise_maps`.

    A large one is made in tiles of `tile` pixels a side (S2.22), with a bar. taps: as in
    ops.modulate, for style maps (S2.3).
    """
    network.check(latent)
    latent = with_w(network, latent)
    maps = noise_maps(network, latent, noise, seed, layers)
    state, ws = state_of(network, latent), styles_of(network, latent)
    synthesis, size = network.g.synthesis, size_of(latent)
    number = tiles.count(synthesis.cfg, latent.first, size, tile)
    if number == 1:
        yield picture_from(synthesis, state, ws, maps, dtype=network.dtype, taps=taps)
        return
    bar = report.progress_bar(total=number, unit="tile", desc=latent.key)
    try:
        yield from tiles.strips(
            synthesis, state, ws, maps, tile=tile, dtype=network.dtype, taps=taps, done=bar.update
        )
    finally:
        bar.close()


def picture_size(network: Network, latent: Latent) -> Size:
    """(height, width) of its picture in pixels."""
    each = tiles.cell(network.g.synthesis.cfg, latent.first)
    height, width = size_of(latent)
    return height * each, width * each


def is_large(network: Network, latent: Latent, tile: int | None = None) -> bool:
    """Whether the picture of a latent with features or style maps is made in several tiles."""
    cfg, size = network.g.synthesis.cfg, size_of(latent)
    return tiles.count(cfg, latent.first, size, tile) > 1


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
