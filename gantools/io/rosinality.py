"""Checkpoints of rosinality/stylegan2-pytorch (formats.md 2c), converted and of its training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from gantools.io import stylegan2
from gantools.io.arrays import Arrays, is_array
from gantools.io.inert import Malformed
from gantools.io.network import Checkpoint
from gantools.io.stylegan2 import Tensors

_MODULATED = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
}
_RGB = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "bias": "bias",
}
_CRITIC = {
    "conv1.0.weight": "conv0.weight",
    "conv1.1.bias": "conv0.bias",
    "conv2.1.weight": "conv1.weight",
    "conv2.2.bias": "conv1.bias",
    "skip.1.weight": "skip.weight",
}
_CRITIC_ENDS = {
    "convs.0.0.weight": "fromrgb.weight",
    "convs.0.1.bias": "fromrgb.bias",
    "final_conv.0.weight": "conv.weight",
    "final_conv.1.bias": "conv.bias",
    "final_linear.0.weight": "fc.weight",
    "final_linear.0.bias": "fc.bias",
    "final_linear.1.weight": "out.weight",
    "final_linear.1.bias": "out.bias",
}


def is_checkpoint(value: Any) -> bool:
    """Whether a dictionary is one of these: {g_ema: {input.input: …}, …}."""
    ema = value.get("g_ema") if isinstance(value, dict) else None
    return isinstance(ema, dict) and "input.input" in ema


def read(file: dict[Any, Any], arrays: Arrays, mean: np.ndarray | None = None) -> Checkpoint:
    """The networks of a checkpoint. Without `latent_avg` the mean w is estimated from 4096 z.

    mean: in place of the file's own, which other files may keep elsewhere.
    """
    latent = file.get("latent_avg")
    avg = arrays.array(latent, "latent_avg") if is_array(latent) else mean
    meta: dict[str, Any] = {"origin": "rosinality PyTorch checkpoint"}
    if avg is None:
        meta["w_avg"] = "estimated from 4096 z of seed 0: the file has no latent_avg"
    config, ema = _generator(file["g_ema"], avg, arrays, "g_ema")
    tensors = {f"g_ema.{name}": value for name, value in ema.items()}
    if isinstance(file.get("g"), dict):
        other, raw = _generator(file["g"], avg, arrays, "g")
        if other != config:
            raise Malformed("g and g_ema are of different configurations")
        tensors |= {f"g.{name}": value for name, value in raw.items()}
    critic = None
    if isinstance(file.get("d"), dict):
        critic, found = _discriminator(file["d"], arrays)
        tensors |= {f"d.{name}": value for name, value in found.items()}
    p = file.get("ada_aug_p")
    if isinstance(p, float):
        meta["augment_p"] = p
    return Checkpoint("stylegan2", {"g": config, "d": critic}, tensors, meta)


def _arrays(state: dict[Any, Any], arrays: Arrays, what: str) -> Tensors:
    return {
        name: arrays.array(value, f"{what}: {name[:80]}")
        for name, value in state.items()
        if isinstance(name, str)
    }


def _generator(
    state: dict[Any, Any], avg: np.ndarray | None, arrays: Arrays, what: str
) -> tuple[dict[str, Any], Tensors]:
    source = _arrays(state, arrays, what)
    tensors = dict(_renamed(source))
    config = stylegan2.generator_config(tensors, _known(source, "convs.0.conv.blur.kernel"))
    _with_noise_maps(tensors, config)
    return config, stylegan2.with_w_avg(tensors, config, avg, what)


def _known(source: Tensors, kernel: str) -> dict[str, Any]:
    return {"resample_filter": stylegan2.taps(source[kernel])} if kernel in source else {}


def _renamed(source: Tensors) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in source.items():
        if name.endswith(".kernel"):
            continue
        if match := re.fullmatch(r"style\.(\d{1,3})\.(weight|bias)", name):
            yield f"mapping.fc{int(match[1]) - 1}.{match[2]}", value
        elif name == "input.input":
            yield "synthesis.b4.const", _first(value)
        elif match := re.fullmatch(r"noises\.noise_(\d{1,2})", name):
            i = int(match[1])  # 0 is 4x4, then two at every resolution
            layer = "conv0" if i % 2 else "conv1"
            yield f"synthesis.b{_size((i + 1) // 2)}.{layer}.noise_const", _first(_first(value))
        elif match := re.fullmatch(r"conv1\.(.+)", name):
            yield _leaf("synthesis.b4.conv1", match[1], value, _MODULATED)
        elif match := re.fullmatch(r"convs\.(\d{1,2})\.(.+)", name):
            i = int(match[1])
            target = f"synthesis.b{_size(i // 2 + 1)}.conv{i % 2}"
            yield _leaf(target, match[2], value, _MODULATED)
        elif match := re.fullmatch(r"to_rgb1\.(.+)", name):
            yield _leaf("synthesis.b4.torgb", match[1], value, _RGB)
        elif match := re.fullmatch(r"to_rgbs\.(\d{1,2})\.(.+)", name):
            target = f"synthesis.b{_size(int(match[1]) + 1)}.torgb"
            yield _leaf(target, match[2], value, _RGB)
        else:
            raise Malformed(f"a tensor that is not read: {name[:80]}")


def _leaf(
    target: str, name: str, value: np.ndarray, table: dict[str, str]
) -> tuple[str, np.ndarray]:
    if name not in table:
        raise Malformed(f"a tensor that is not read: {target} {name[:60]}")
    leaf = table[name]
    if leaf == "weight":
        value = _first(value)
    elif leaf == "noise_strength":
        value = value.reshape(())
    elif table is _RGB and leaf == "bias":
        value = value.reshape(-1)
    return f"{target}.{leaf}", value


def _first(value: np.ndarray) -> np.ndarray:
    if value.ndim < 2 or value.shape[0] != 1:
        raise Malformed(f"a tensor of the impossible shape {list(value.shape)}")
    return value[0]


def _size(octave: int) -> int:
    if octave > 12:
        raise Malformed("a layer of an impossible resolution")
    return 4 << octave


def _with_noise_maps(tensors: Tensors, cfg: dict[str, Any]) -> None:
    """Old checkpoints keep no noise maps (they drew new ones each time): maps of seed 0."""
    if any(name.endswith(".noise_const") for name in tensors):
        return
    if cfg["resolution"] > stylegan2.LARGEST_MADE:
        raise Malformed("a network of this size without noise maps")
    random = np.random.RandomState(0)
    for name, shape in stylegan2.generator_shapes(cfg):
        if name.endswith(".noise_const"):
            tensors[name] = random.standard_normal(shape).astype(np.float32)


def _discriminator(state: dict[Any, Any], arrays: Arrays) -> tuple[dict[str, Any], Tensors]:
    source = _arrays(state, arrays, "d")
    top = _size(len({n.split(".")[1] for n in source if re.match(r"convs\.\d+\.conv1\.", n)}))
    tensors: Tensors = {}
    for name, value in source.items():
        if name.endswith(".kernel"):
            continue
        if name in _CRITIC_ENDS:
            size = top if name.startswith("convs.") else 4
            tensors[f"b{size}.{_CRITIC_ENDS[name]}"] = value
        elif (match := re.fullmatch(r"convs\.(\d{1,2})\.(.+)", name)) and match[2] in _CRITIC:
            tensors[f"b{top >> (int(match[1]) - 1)}.{_CRITIC[match[2]]}"] = value
        else:
            raise Malformed(f"d: a tensor that is not read: {name[:80]}")
    known = _known(source, "convs.1.conv2.0.kernel") | {"mbstd_group": 4}
    config = stylegan2.discriminator_config(tensors, known)
    return config, stylegan2.checked(tensors, stylegan2.discriminator_shapes(config), "d")
