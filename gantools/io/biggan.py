"""What the tensors of BigGAN are: names, shapes, and that none lacks (formats.md 2d).

Readers of other projects' files rename to these names and end here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from gantools.io.inert import Malformed
from gantools.io.stylegan2 import Shapes, Tensors

Config = Mapping[str, Any]
CONVS = ("conv0", "conv1", "conv2", "conv3")  # of a deep block: 1x1, 3x3, 3x3, 1x1


def generator_shapes(cfg: Config) -> Shapes:
    """(name, shape) of every tensor of a generator."""
    sn, cond = cfg["spectral_norm"], condition(cfg)
    smooth = sn and bool(cfg["embed_dim"] or not cfg["c_dim"])
    widths = cfg["widths"]
    if cfg["c_dim"] and cfg["embed_dim"]:
        yield "shared.weight", (cfg["embed_dim"], cfg["c_dim"])
    inputs = cond if cfg["deep"] else chunk(cfg)
    yield from _layer("fc", (widths[0] * 16, inputs), sn)
    for i, (before, after) in enumerate(pairwise(widths)):
        block = f"blocks.{i}"
        if cfg["deep"]:
            inner = before // 4
            yield from _deep(block, before, after, inner, sn)
            normed = [before, inner, inner, inner]
        else:
            yield from _layer(f"{block}.conv0", (after, before, 3, 3), sn)
            yield from _layer(f"{block}.conv1", (after, after, 3, 3), sn)
            if i in cfg["doubles"] or before != after:
                yield from _layer(f"{block}.skip", (after, before, 1, 1), sn)
            normed = [before, after]
        for j, channels in enumerate(normed):
            yield from _moments(f"{block}.norm{j}", channels, cfg)
            for part in ("gain", "shift"):
                name = f"{block}.norm{j}.{part}"
                yield from _layer(name, (channels, cond), smooth, bias=False)
    for i in cfg["attention"]:
        yield from _attention(f"attention.{i}", widths[i], sn)
    yield from _moments("norm", widths[-1], cfg)
    yield from (("norm.gain", (widths[-1],)), ("norm.shift", (widths[-1],)))
    yield from _layer("torgb", (cfg["last"], widths[-1], 3, 3), sn)


def discriminator_shapes(cfg: Config) -> Shapes:
    """(name, shape) of every tensor of a discriminator; all of it is spectrally normalised."""
    widths, before = cfg["widths"], cfg["stem"] or cfg["img_channels"]
    if cfg["stem"]:
        yield from _layer("stem", (before, cfg["img_channels"], 3, 3))
    for i, after in enumerate(widths):
        block = f"blocks.{i}"
        if cfg["stem"]:
            yield from _deep(block, before, after, after // 4)
            if before != after:
                yield from _layer(f"{block}.skip", (after - before, before, 1, 1))
        else:
            inner = after if cfg["wide"] else before
            yield from _layer(f"{block}.conv0", (inner, before, 3, 3))
            yield from _layer(f"{block}.conv1", (after, inner, 3, 3))
            if i in cfg["halves"] or before != after:
                yield from _layer(f"{block}.skip", (after, before, 1, 1))
        before = after
    for i in cfg["attention"]:
        yield from _attention(f"attention.{i}", widths[i - 1])
    yield from _layer("out", (1, before))
    if cfg["c_dim"]:
        yield "embed.weight", (before, cfg["c_dim"])
        yield "embed.spectral_norm.u", (before,)


def chunk(cfg: Config) -> int:
    """Numbers of z that the first layer reads."""
    parts = len(cfg["widths"]) if cfg["hier"] and not cfg["deep"] else 1
    return int(cfg["z_dim"]) // parts


def condition(cfg: Config) -> int:
    """Numbers that a block's batch norms read: the class, then z or a chunk of it."""
    embedded = (cfg["embed_dim"] or cfg["c_dim"]) if cfg["c_dim"] else 0
    return int(embedded) + (chunk(cfg) if cfg["hier"] else 0)


def _layer(name: str, shape: tuple[int, ...], sn: bool = True, *, bias: bool = True) -> Shapes:
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]
    if sn:
        columns = 1
        for n in shape[1:]:
            columns *= n
        yield f"{name}.spectral_norm.u", (columns,)


def _deep(block: str, before: int, after: int, inner: int, sn: bool = True) -> Shapes:
    pairs = ((inner, before, 1), (inner, inner, 3), (inner, inner, 3), (after, inner, 1))
    for conv, (outputs, inputs, side) in zip(CONVS, pairs, strict=True):
        yield from _layer(f"{block}.{conv}", (outputs, inputs, side, side), sn)


def _moments(name: str, channels: int, cfg: Config) -> Shapes:
    shape = (channels,) if cfg["n_stats"] == 1 else (cfg["n_stats"], channels)
    yield from ((f"{name}.mean", shape), (f"{name}.var", shape))


def _attention(name: str, channels: int, sn: bool = True) -> Shapes:
    yield f"{name}.gamma", ()
    inner, half = channels // 8, channels // 2
    for part, shape in (
        ("theta", (inner, channels)), ("phi", (inner, channels)),
        ("g", (half, channels)), ("o", (channels, half)),
    ):  # fmt: skip
        yield from _layer(f"{name}.{part}", (*shape, 1, 1), sn, bias=False)


def indices(source: Mapping[str, Any], pattern: str) -> list[int]:
    """The numbers in group 1 of the names that match, sorted, each once."""
    found = (re.match(pattern, name) for name in source)
    return sorted({int(m[1]) for m in found if m})


def need(source: Tensors, name: str, ndim: int) -> np.ndarray:
    """A tensor that has to be there, with so many dimensions, none of them 0."""
    if name not in source:
        raise Malformed(f"lacks the tensor {name}")
    value = source[name]
    if value.ndim != ndim or 0 in value.shape or value.dtype.kind != "f":
        raise Malformed(f"{name} is {list(value.shape)} of {value.dtype}")
    return value
