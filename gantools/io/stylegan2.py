"""What StyleGAN2's tensors say about themselves: configuration from shapes, and that none lacks.

Names are those of NVIDIA's PyTorch files (formats.md 2a); every reader of another project's file
renames to them and ends here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gantools.io.inert import Malformed

Tensors = dict[str, np.ndarray]
Shapes = Iterator[tuple[str, tuple[int, ...]]]
LARGEST_MADE = 2048  # no noise maps are made for networks larger than this


def generator_config(tensors: Mapping[str, np.ndarray], known: Mapping[str, Any]) -> dict[str, Any]:
    """The generator's configuration: what shapes tell, and `known` for what they do not.

    known: mapping_lr_mult, conv_clamp, num_fp16_res, resample_filter, label_mode.
    """
    widths = _widths(tensors, "synthesis.b{}.conv1.bias")
    top = 4 << (len(widths) - 1)
    rgbs = sum(f"synthesis.b{r}.torgb.weight" in tensors for r in _sizes(widths))
    residual = "synthesis.b8.skip.weight" in tensors
    every = rgbs == len(widths) and not residual
    growing = bool(known.get("torgb_all"))
    layers = _layers(tensors, "mapping.fc{}.weight")
    c_dim = _shape(tensors, "mapping.embed.weight", 2)[1] if _conditional(tensors) else 0
    embedded = _shape(tensors, "mapping.embed.weight", 2)[0] if c_dim else 0
    z_dim = _shape(tensors, "mapping.fc0.weight", 2)[1] - embedded
    if z_dim < 1:
        raise Malformed("its mapping takes no z")
    architecture = "skip" if every and not growing else "resnet" if residual else "orig"
    return {
        "resolution": top,
        "widths": widths,
        "z_dim": z_dim,
        "w_dim": _shape(tensors, "synthesis.b4.conv1.affine.weight", 2)[1],
        "c_dim": c_dim,
        "img_channels": _shape(tensors, f"synthesis.b{top}.torgb.weight", 4)[0],
        "mapping_layers": layers,
        "mapping_lr_mult": known.get("mapping_lr_mult", 0.01),
        "label_mode": known.get("label_mode", "embed"),
        "architecture": architecture,
        "conv_clamp": known.get("conv_clamp"),
        "num_fp16_res": known.get("num_fp16_res", 0),
        "resample_filter": known.get("resample_filter", [1, 3, 3, 1]),
        "torgb_all": every and growing,
    }


def discriminator_config(
    tensors: Mapping[str, np.ndarray], known: Mapping[str, Any]
) -> dict[str, Any]:
    """The discriminator's configuration; `known` also holds mbstd_group and label_mode."""
    widths = [_shape(tensors, "b4.conv.weight", 4)[0], *_widths(tensors, "b{}.conv0.bias", 8)]
    top = 4 << (len(widths) - 1)
    outputs = _shape(tensors, "b4.out.weight", 2)[0]
    mapped = _conditional(tensors)
    by_logits = known.get("label_mode") == "logits"
    growing = "b4.fromrgb.weight" in tensors and bool(known.get("fromrgb_all"))
    residual = "b8.skip.weight" in tensors
    skip = "b4.fromrgb.weight" in tensors and not growing
    features = _shape(tensors, "b4.conv.weight", 4)[1] - widths[0]
    return {
        "resolution": top,
        "widths": widths,
        "c_dim": _shape(tensors, "mapping.embed.weight", 2)[1]
        if mapped
        else (outputs if by_logits else 0),
        "img_channels": _shape(tensors, f"b{top}.fromrgb.weight", 4)[1],
        "architecture": "resnet" if residual else "skip" if skip else "orig",
        "conv_clamp": known.get("conv_clamp"),
        "num_fp16_res": known.get("num_fp16_res", 0),
        "resample_filter": known.get("resample_filter", [1, 3, 3, 1]),
        "mbstd_group": known.get("mbstd_group", 4) if features else 1,
        "mbstd_features": features,
        "mapping_layers": _layers(tensors, "mapping.fc{}.weight") if mapped else 8,
        "mapping_lr_mult": known.get("mapping_lr_mult", 0.01),
        "cmap_dim": outputs if mapped else 0,
        "label_mode": "logits" if by_logits else "projection",
        "fromrgb_all": growing,
    }


def checked(tensors: Tensors, shapes: Shapes, what: str) -> Tensors:
    """The tensors if they are exactly the expected ones; Malformed names the first that is not."""
    rest = dict(tensors)
    made: Tensors = {}
    for name, shape in shapes:
        value = rest.pop(name, None)
        if value is None:
            raise Malformed(f"{what} lacks the tensor {name}")
        if value.shape != shape:
            raise Malformed(f"{what}: {name} is {list(value.shape)}, not {list(shape)}")
        if value.dtype.kind != "f":
            raise Malformed(f"{what}: {name} holds no real numbers")
        made[name] = value
    if rest:
        raise Malformed(f"{what} has a tensor that its family lacks: {min(rest)[:80]}")
    return made


def generator_shapes(cfg: Mapping[str, Any]) -> Shapes:
    """(name, shape) of every tensor of a generator with this configuration."""
    w_dim, c_dim, rgb = cfg["w_dim"], cfg["c_dim"], cfg["img_channels"]
    inputs = cfg["z_dim"]
    if c_dim:
        embedded = w_dim if cfg["label_mode"] == "embed" else inputs
        yield "mapping.embed.weight", (embedded, c_dim)
        if cfg["label_mode"] == "embed":
            yield "mapping.embed.bias", (embedded,)
        inputs += embedded
    yield from _dense("mapping", cfg["mapping_layers"], inputs, w_dim)
    yield "mapping.w_avg", (w_dim,)
    before = 0
    for size, width in zip(_sizes(cfg["widths"]), cfg["widths"], strict=True):
        block = f"synthesis.b{size}"
        if before:
            yield from _modulated(f"{block}.conv0", before, width, w_dim, size)
        else:
            yield f"{block}.const", (width, 4, 4)
        yield from _modulated(f"{block}.conv1", width, width, w_dim, size)
        last = size == cfg["resolution"]
        if cfg["architecture"] == "skip" or last or cfg["torgb_all"]:
            yield f"{block}.torgb.weight", (rgb, width, 1, 1)
            yield f"{block}.torgb.bias", (rgb,)
            yield f"{block}.torgb.affine.weight", (width, w_dim)
            yield f"{block}.torgb.affine.bias", (width,)
        if before and cfg["architecture"] == "resnet":
            yield f"{block}.skip.weight", (width, before, 1, 1)
        before = width


def discriminator_shapes(cfg: Mapping[str, Any]) -> Shapes:
    """(name, shape) of every tensor of a discriminator with this configuration."""
    rgb, widths, cmap = cfg["img_channels"], cfg["widths"], cfg["cmap_dim"]
    every = cfg["architecture"] == "skip" or cfg["fromrgb_all"]
    for i, (size, width) in enumerate(zip(_sizes(widths), widths, strict=True)):
        if every or size == cfg["resolution"]:
            yield f"b{size}.fromrgb.weight", (width, rgb, 1, 1)
            yield f"b{size}.fromrgb.bias", (width,)
        if not i:
            continue
        for name, outputs in (("conv0", width), ("conv1", widths[i - 1])):
            yield f"b{size}.{name}.weight", (outputs, width, 3, 3)
            yield f"b{size}.{name}.bias", (outputs,)
        if cfg["architecture"] == "resnet":
            yield f"b{size}.skip.weight", (widths[i - 1], width, 1, 1)
    first = widths[0]
    yield "b4.conv.weight", (first, first + cfg["mbstd_features"], 3, 3)
    yield "b4.conv.bias", (first,)
    yield "b4.fc.weight", (first, first * 16)
    yield "b4.fc.bias", (first,)
    outputs = cmap or (cfg["c_dim"] if cfg["label_mode"] == "logits" else 0) or 1
    yield "b4.out.weight", (outputs, first)
    yield "b4.out.bias", (outputs,)
    if cmap:
        yield "mapping.embed.weight", (cmap, cfg["c_dim"])
        yield "mapping.embed.bias", (cmap,)
        yield from _dense("mapping", cfg["mapping_layers"], cmap, cmap)


def without_noise(tensors: Tensors, cfg: Mapping[str, Any]) -> bool:
    """Give a generator that was built without noise maps of strength 0; whether that was needed."""
    names = [name for name, _ in generator_shapes(cfg) if name.endswith(".noise_strength")]
    if any(name in tensors for name in names) or cfg["resolution"] > LARGEST_MADE:
        return False
    for name in names:
        size = int(name.split(".")[1][1:])
        tensors[name] = np.zeros((), np.float32)
        tensors[name[: -len("strength")] + "const"] = np.zeros((size, size), np.float32)
    return True


def with_w_avg(
    tensors: Tensors, cfg: Mapping[str, Any], avg: np.ndarray | None, what: str
) -> Tensors:
    """The checked tensors of a generator; where the file keeps no mean w, its estimate."""
    tensors["mapping.w_avg"] = (
        np.zeros(cfg["w_dim"], np.float32) if avg is None else avg.reshape(-1)
    )
    made = checked(tensors, generator_shapes(cfg), what)
    if avg is None:
        made["mapping.w_avg"] = estimated_w_avg(made, cfg)
    return made


def estimated_w_avg(tensors: Mapping[str, np.ndarray], cfg: Mapping[str, Any]) -> np.ndarray:
    """The mean of w over 4096 z of seed 0, for files that keep none (rosinality's training)."""
    random = np.random.RandomState(0)
    total = np.zeros(cfg["w_dim"])
    with np.errstate(all="ignore"):  # damaged weights: the result says so
        for _ in range(16):  # 256 at a time: no more memory than the weights
            z = random.randn(256, cfg["z_dim"]).astype(np.float32)
            label = random.randint(cfg["c_dim"], size=256) if cfg["c_dim"] else None
            total += _mapped(tensors, cfg, z, label).sum(axis=0, dtype=np.float64)
    return (total / 4096).astype(np.float32)


def _mapped(
    tensors: Mapping[str, np.ndarray],
    cfg: Mapping[str, Any],
    z: np.ndarray,
    label: np.ndarray | None,
) -> np.ndarray:
    """w of z [N, z_dim] and class numbers [N]: the mapping network of formats.md 2a."""
    x = _unit(z)
    if label is not None:
        y = tensors["mapping.embed.weight"].T[label]
        if cfg["label_mode"] == "concat":
            x = _unit(np.concatenate([z, y], axis=1))
        else:
            y = _unit(y / math.sqrt(cfg["c_dim"]) + tensors["mapping.embed.bias"])
            x = np.concatenate([x, y], axis=1)
    for i in range(cfg["mapping_layers"]):
        weight, bias = tensors[f"mapping.fc{i}.weight"], tensors[f"mapping.fc{i}.bias"]
        gain = np.float32(cfg["mapping_lr_mult"])
        x = x @ (weight.T * (gain / math.sqrt(weight.shape[1]))) + bias * gain
        x = np.where(x < 0, x * np.float32(0.2), x) * np.float32(math.sqrt(2))
    return x


def taps(kernel: np.ndarray) -> list[float]:
    """The row filter (1,3,3,1) behind a stored [4,4] outer product, its smallest tap 1."""
    if kernel.ndim not in (1, 2) or not kernel.size or kernel.shape[0] != kernel.shape[-1]:
        raise Malformed("a resampling filter of an impossible shape")
    row = np.asarray(kernel, np.float64)
    if not np.isfinite(row).all() or row.min() <= 0 or row.max() > 1e6 * row.min():
        raise Malformed("a resampling filter with impossible taps")
    row = row.sum(axis=0) if kernel.ndim == 2 else row
    row = row / row.min()
    return [round(t) if abs(t - round(t)) < 1e-3 else float(t) for t in row]


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + np.float32(1e-8))


def _modulated(name: str, inputs: int, outputs: int, w_dim: int, size: int) -> Shapes:
    yield f"{name}.weight", (outputs, inputs, 3, 3)
    yield f"{name}.bias", (outputs,)
    yield f"{name}.noise_strength", ()
    yield f"{name}.noise_const", (size, size)
    yield f"{name}.affine.weight", (inputs, w_dim)
    yield f"{name}.affine.bias", (inputs,)


def _dense(name: str, count: int, inputs: int, outputs: int) -> Shapes:
    for i in range(count):
        yield f"{name}.fc{i}.weight", (outputs, outputs if i else inputs)
        yield f"{name}.fc{i}.bias", (outputs,)


def _conditional(tensors: Mapping[str, np.ndarray]) -> bool:
    return "mapping.embed.weight" in tensors


def _sizes(widths: list[int]) -> list[int]:
    return [4 << i for i in range(len(widths))]


def _shape(tensors: Mapping[str, np.ndarray], name: str, ndim: int) -> tuple[int, ...]:
    if name not in tensors:
        raise Malformed(f"lacks the tensor {name}")
    shape = tensors[name].shape
    if len(shape) != ndim or not math.prod(shape):
        raise Malformed(f"{name} is {list(shape)}")
    return shape


def _widths(tensors: Mapping[str, np.ndarray], pattern: str, size: int = 4) -> list[int]:
    widths = []
    while pattern.format(size) in tensors:
        widths.append(_shape(tensors, pattern.format(size), 1)[0])
        size *= 2
    if not widths or size <= 8:
        raise Malformed(f"lacks the tensor {pattern.format(size)}")
    return widths


def _layers(tensors: Mapping[str, np.ndarray], pattern: str) -> int:
    count = 0
    while pattern.format(count) in tensors:
        count += 1
    return count
