"""What the tensors of PGGAN and StyleGAN1 are: names, shapes, and that none lacks (formats.md 2b).

Names follow those of StyleGAN2 (`b8.conv0.weight`); a reader of another project's file renames to
them and ends here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gantools.io.inert import Malformed
from gantools.io.stylegan2 import Shapes, Tensors

Config = Mapping[str, Any]


def shape(tensors: Tensors, name: str, ndim: int) -> tuple[int, ...]:
    """The shape of a tensor that has to be there, with so many dimensions, none of them 0."""
    if name not in tensors:
        raise Malformed(f"lacks the tensor {name}")
    found = tensors[name].shape
    if len(found) != ndim or not math.prod(found):
        raise Malformed(f"{name} is {list(found)}")
    return found


def widths(tensors: Tensors, pattern: str) -> list[int]:
    """Channels at 4, 8, 16, …: the length of the tensors `pattern` names by resolution."""
    found, size = [], 4
    while pattern.format(size) in tensors:
        found.append(shape(tensors, pattern.format(size), 1)[0])
        size *= 2
    if len(found) < 2:
        raise Malformed(f"lacks the tensor {pattern.format(size)}")
    return found


def sizes(cfg: Config) -> list[int]:
    """4, 8, …, resolution."""
    return [4 << i for i in range(len(cfg["widths"]))]


def pggan_shapes(cfg: Config) -> Shapes:
    """(name, shape) of every tensor of a PGGAN generator (without BatchNorm)."""
    before = 0
    for size, width in zip(sizes(cfg), cfg["widths"], strict=True):
        if before:
            yield from _conv(f"b{size}.conv0", width, before)
        else:
            yield "b4.dense.weight", (width * 16, cfg["z_dim"] + cfg["c_dim"])
            yield "b4.dense.bias", (width,)
        yield from _conv(f"b{size}.conv1", width, width)
        yield from _conv(f"b{size}.torgb", cfg["img_channels"], width, 1)
        before = width


def stylegan_shapes(cfg: Config) -> Shapes:
    """(name, shape) of every tensor of a StyleGAN1 generator."""
    w_dim, inputs = cfg["w_dim"], cfg["z_dim"]
    if cfg["c_dim"]:
        yield "mapping.embed.weight", (inputs, cfg["c_dim"])
        inputs *= 2
    for i in range(cfg["mapping_layers"]):
        yield f"mapping.fc{i}.weight", (w_dim, w_dim if i else inputs)
        yield f"mapping.fc{i}.bias", (w_dim,)
    yield "mapping.w_avg", (w_dim,)
    before = 0
    for size, width in zip(sizes(cfg), cfg["widths"], strict=True):
        block = f"synthesis.b{size}"
        if before:
            yield f"{block}.conv0.weight", (width, before, 3, 3)
        else:
            yield f"{block}.const", (width, 4, 4)
        yield f"{block}.conv1.weight", (width, width, 3, 3)
        for layer in (f"{block}.conv0", f"{block}.conv1"):
            yield f"{layer}.bias", (width,)
            yield f"{layer}.noise_strength", (width,)
            yield f"{layer}.noise_const", (size, size)
            yield f"{layer}.affine.weight", (2 * width, w_dim)
            yield f"{layer}.affine.bias", (2 * width,)
        yield from _conv(f"{block}.torgb", cfg["img_channels"], width, 1)
        before = width


def discriminator_shapes(cfg: Config) -> Shapes:
    """(name, shape) of every tensor of a discriminator (without LayerNorm)."""
    before = 0
    for size, width in zip(sizes(cfg), cfg["widths"], strict=True):
        yield from _conv(f"b{size}.fromrgb", width, cfg["img_channels"], 1)
        if before:
            yield from _conv(f"b{size}.conv0", width, width)
            yield from _conv(f"b{size}.conv1", before, width)
        before = width
    first = cfg["widths"][0]
    yield from _conv("b4.conv", first, first + cfg["mbstd_features"])
    yield "b4.fc.weight", (first, first * 16)
    yield "b4.fc.bias", (first,)
    classes = {"acgan": 1 + cfg["c_dim"], "logits": cfg["c_dim"] or 1}
    yield "b4.out.weight", (classes[cfg["label_mode"]], first)
    yield "b4.out.bias", (classes[cfg["label_mode"]],)


def _conv(name: str, outputs: int, inputs: int, side: int = 3) -> Shapes:
    yield f"{name}.weight", (outputs, inputs, side, side)
    yield f"{name}.bias", (outputs,)


def with_noise(tensors: Tensors, cfg: Config) -> Tensors:
    """A StyleGAN1 generator that was built without noise gets maps of strength 0."""
    made = dict(tensors)
    for name, wanted in stylegan_shapes(cfg):
        if name.endswith((".noise_strength", ".noise_const")):
            made.setdefault(name, np.zeros(wanted, np.float32))
    return made
