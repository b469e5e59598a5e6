"""StyleGAN2's synthesis by the blocks of paper 002, from any block on (papers.md S2.0, S2.1).

Block j = 1 … L is what style j does: odd ones a convolution, even ones ToRGB and the convolution
that doubles the size, the last one ToRGB alone. Each takes features F_j and, from the third on, the
picture so far R_j of half their size. Nothing here depends on the size of F: what it is, the
picture follows. Networks of the architecture skip only: others have no R.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gantools.io.space import Size, level, scaled
from gantools.networks.stylegan2 import Synthesis
from gantools.networks.stylegan2_config import GeneratorConfig
from gantools.ops.resample import upsample


@dataclass(frozen=True)
class Row:
    """One line of S2.0's table: what block `index` takes, (channels, height, width)."""

    index: int
    f: tuple[int, int, int]
    r: tuple[int, int, int] | None
    noise: Size | None  # of its noise map; the last block has none


@dataclass(frozen=True)
class State:
    """F [N, C, h, w] and R [N, 3, h/2, w/2] in front of block `index`.

    R is None before block 3; later None means zeros, no picture so far (S2.20).
    """

    index: int
    f: Tensor
    r: Tensor | None


def table(cfg: GeneratorConfig) -> list[Row]:
    """The L blocks of a network at the size it was trained at (S2.0)."""
    return [_row(cfg, index) for index in range(1, cfg.num_ws + 1)]


def _row(cfg: GeneratorConfig, index: int) -> Row:
    height, width = cfg.sizes[level(index)]
    f = (cfg.widths[level(index)], height, width)
    r = (cfg.img_channels, height // 2, width // 2) if index > 2 else None
    noise = None if index == cfg.num_ws else scaled((height, width), index, index + 1)
    return Row(index, f, r, noise)


def need_skip(cfg: GeneratorConfig) -> None:
    """ValueError for an architecture that has no picture so far."""
    if cfg.architecture != "skip":
        raise ValueError(
            f"its architecture is {cfg.architecture}, and only skip has the blocks of the spaces "
            "with style maps or features"
        )


def first(synthesis: Synthesis, batch: int = 1) -> State:
    """What block 1 takes: the network's constant; ValueError where it starts at another (FNZ)."""
    need_skip(synthesis.cfg)
    if synthesis.cfg.fnz:
        raise ValueError(f"it has no constant: it starts at block {synthesis.cfg.fnz}, from f")
    const = synthesis.blocks()[0].const
    return State(1, const.unsqueeze(0).expand(batch, -1, -1, -1), None)


def advance(
    synthesis: Synthesis,
    state: State,
    styles: Sequence[Tensor],
    noise: Sequence[Tensor | None],
    *,
    dtype: torch.dtype | None = None,
    taps: bool = False,
) -> State:
    """Run as many blocks as there are styles; behind block L the state's r is the picture.

    styles: of blocks state.index, state.index + 1, …, each [N, w_dim] or a map [N, w_dim, h, w] of
    that block's F. noise: a map [1 or N, 1, H, W] of the block's output or None, for each of the
    blocks but L. dtype as in Synthesis.forward, taps as in ops.modulate. ValueError where a size
    does not fit.
    """
    need_skip(synthesis.cfg)
    last = state.index + len(styles) - 1
    if last > synthesis.cfg.num_ws or len(noise) < min(last, synthesis.cfg.num_ws - 1) + 1 - (
        state.index
    ):
        raise ValueError(f"{len(styles)} styles and {len(noise)} noise maps from {state.index} on")
    _check(state, synthesis.cfg)
    maps = [*noise, None]
    for style, own in zip(styles, maps, strict=False):
        state = _block(synthesis, state, style, own, dtype, taps)
    return state


def _check(state: State, cfg: GeneratorConfig) -> None:
    if state.index < cfg.first:
        raise ValueError(f"block {state.index}, and the network starts at block {cfg.first}")
    channels = cfg.widths[level(state.index)]
    if state.f.shape[1] != channels:
        raise ValueError(f"f has {state.f.shape[1]} channels, F_{state.index} has {channels}")
    if state.r is not None and state.index < 3:
        raise ValueError(f"block {state.index} takes no r")
    if state.r is not None:
        half = [n / 2 for n in state.f.shape[2:]]
        if list(state.r.shape[2:]) != half or state.r.shape[1] != cfg.img_channels:
            raise ValueError(f"r is {list(state.r.shape[1:])}, half of f's size is {half}")


def _block(
    synthesis: Synthesis,
    state: State,
    w: Tensor,
    noise: Tensor | None,
    dtype: torch.dtype | None,
    taps: bool,
) -> State:
    index = state.index
    if w.ndim == 4 and w.shape[2:] != state.f.shape[2:]:
        raise ValueError(
            f"style map {index} is {list(w.shape[2:])}, F_{index} {list(state.f.shape[2:])}"
        )
    _check_noise(state, noise)
    block = synthesis.resolution_of(index)
    x = _cast(synthesis, state.f, level(index), dtype, w.dtype)
    if index % 2:
        x = block.conv1(x, w, noise, synthesis.kernel, taps=taps)
        return State(index + 1, x, state.r)
    image = block.torgb(x, w)
    if state.r is not None:
        image = upsample(state.r, synthesis.kernel) + image
    if index == synthesis.cfg.num_ws:
        return State(index + 1, x, image)
    x = _cast(synthesis, x, level(index) + 1, dtype, w.dtype)
    x = synthesis.resolution_of(index + 1).conv0(x, w, noise, synthesis.kernel, taps=taps)
    return State(index + 1, x, image)


def _check_noise(state: State, noise: Tensor | None) -> None:
    if noise is None:
        return
    height, width = state.f.shape[2:]
    size = scaled((height, width), state.index, state.index + 1)
    if tuple(noise.shape[2:]) != size:
        raise ValueError(
            f"noise map {state.index} is {list(noise.shape[2:])}, its block gives {list(size)}"
        )


def _cast(
    synthesis: Synthesis, x: Tensor, number: int, dtype: torch.dtype | None, full: torch.dtype
) -> Tensor:
    wanted = synthesis.dtype_at(synthesis.cfg.resolutions[number], dtype, full)
    return x.to(wanted, memory_format=torch.channels_last)


def picture_from(
    synthesis: Synthesis,
    state: State,
    styles: Sequence[Tensor],
    noise: Sequence[Tensor | None],
    *,
    dtype: torch.dtype | None = None,
    taps: bool = False,
) -> Tensor:
    """From block state.index to the end: image [N, C, H, W]; arguments as in `advance`.

    Styles are those of blocks state.index … L, of any size that fits F's.
    """
    left = synthesis.cfg.num_ws + 1 - state.index
    if len(styles) != left:
        raise ValueError(f"{len(styles)} styles for the {left} blocks from {state.index} on")
    made = advance(synthesis, state, styles, noise, dtype=dtype, taps=taps).r
    assert made is not None
    return made
