"""StyleGAN3's tensors: that a generator has the expected ones and no others (formats.md 2a)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gantools.io.inert import Malformed
from gantools.io.stylegan2 import Shapes, Tensors

# Filters of a layer; those that would do nothing are absent.
_FILTERS = re.compile(r"synthesis\.L\d+_\d+_\d+\.(up|down)_filter")


def checked(tensors: Tensors, cfg: Mapping[str, Any], what: str) -> Tensors:
    """The tensors if they fit the configuration and each other; Malformed names what does not."""
    made: Tensors = {}
    for name, shape in _shapes(_layers(tensors, cfg, what), tensors, cfg):
        value = tensors.get(name)
        if value is None:
            raise Malformed(f"{what} lacks the tensor {name}")
        if value.shape != shape or value.dtype.kind != "f":
            raise Malformed(f"{what}: {name} is {list(value.shape)}, not {list(shape)}")
        made[name] = value
    for name, value in tensors.items():
        if _FILTERS.fullmatch(name) and value.ndim in (1, 2) and value.dtype.kind == "f":
            made[name] = value
        elif name not in made:
            raise Malformed(f"{what} has a tensor that StyleGAN3 does not know: {name[:80]}")
    return made


def _layers(tensors: Tensors, cfg: Mapping[str, Any], what: str) -> list[str]:
    """`L{i}_{size}_{channels}` for i = 0 … num_layers, the last one ToRGB."""
    named = (re.fullmatch(r"synthesis\.(L(\d{1,3})_\d+_\d+)\.weight", name) for name in tensors)
    found = dict(sorted((int(m[2]), m[1]) for m in named if m))
    if len(found) != cfg["num_layers"] + 1 or max(found) != cfg["num_layers"]:
        raise Malformed(f"{what} has {len(found)} layers, not {cfg['num_layers'] + 1}")
    return list(found.values())


def _shapes(names: list[str], tensors: Tensors, cfg: Mapping[str, Any]) -> Shapes:
    w_dim, c_dim, inputs = cfg["w_dim"], cfg["c_dim"], cfg["z_dim"]
    if c_dim:
        yield "mapping.embed.weight", (w_dim, c_dim)
        yield "mapping.embed.bias", (w_dim,)
        inputs += w_dim
    for i in range(cfg["mapping_layers"]):
        yield f"mapping.fc{i}.weight", (w_dim, w_dim if i else inputs)
        yield f"mapping.fc{i}.bias", (w_dim,)
    yield "mapping.w_avg", (w_dim,)
    first = tensors.get("synthesis.input.phases")
    before = first.shape[0] if first is not None and first.ndim == 1 else 0
    yield "synthesis.input.weight", (before, before)
    yield "synthesis.input.affine.weight", (4, w_dim)
    yield "synthesis.input.affine.bias", (4,)
    yield "synthesis.input.transform", (3, 3)
    yield "synthesis.input.freqs", (before, 2)
    yield "synthesis.input.phases", (before,)
    for name in names:
        channels = int(name.split("_")[2])
        kernel = 1 if name == names[-1] else cfg["conv_kernel"]
        yield f"synthesis.{name}.weight", (channels, before, kernel, kernel)
        yield f"synthesis.{name}.bias", (channels,)
        yield f"synthesis.{name}.affine.weight", (before, w_dim)
        yield f"synthesis.{name}.affine.bias", (before,)
        yield f"synthesis.{name}.magnitude_ema", ()
        before = channels
