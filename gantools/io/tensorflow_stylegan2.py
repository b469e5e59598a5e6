"""NVIDIA's TensorFlow StyleGAN2, versions 4 and 5 (formats.md 2b), under PyTorch names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from gantools.io import stylegan2
from gantools.io.inert import Malformed
from gantools.io.stylegan2 import Tensors
from gantools.io.tensorflow_network import Network, kernel, one, size_of

_LAYERS = {
    "4x4/Conv": "b4.conv1",
    "Conv0_up": "conv0",
    "Conv1": "conv1",
    "Skip": "skip",
    "ToRGB": "torgb",
}
_CRITIC_LAYERS = {
    "4x4/Conv": "b4.conv",
    "4x4/Dense0": "b4.fc",
    "Output": "b4.out",
    "LabelEmbed": "mapping.embed",
    "FromRGB": "fromrgb",
    "Conv0": "conv0",
    "Conv1_down": "conv1",
    "Skip": "skip",
}


def generator(network: Network) -> tuple[dict[str, Any], Tensors]:
    """Configuration and tensors; Malformed where it is damaged or still growing."""
    _full_grown(network)
    source = network.variables
    tensors = dict(_renamed_generator(source))
    known = {
        "mapping_lr_mult": network.real("mapping_lrmul", 0.01),
        **_precision(network),
        "label_mode": "concat" if "mapping/LabelConcat/weight" in source else "embed",
        "torgb_all": any("/ToRGB_lod" in name for name in source),
    }
    config = stylegan2.generator_config(tensors, known)
    stylegan2.without_noise(tensors, config)
    return config, stylegan2.with_w_avg(tensors, config, tensors.get("mapping.w_avg"), network.what)


def _full_grown(network: Network) -> None:
    if network.lod:
        grown = f"{network.what} was saved while it was still growing"
        raise Malformed(f"{grown} (lod {network.lod:g})")


def _precision(network: Network) -> dict[str, Any]:
    clamp = network.settings.get("conv_clamp")
    return {
        "conv_clamp": None if clamp is None else network.real("conv_clamp", 0),
        "num_fp16_res": network.count("num_fp16_res", 0) if network.version == 5 else 0,
        "resample_filter": network.taps("resample_kernel", "resample_filter", default=[1, 3, 3, 1]),
    }


def _renamed_generator(source: Tensors) -> Iterator[tuple[str, np.ndarray]]:
    top = max((size_of(n.split("/")[1]) for n in source if n.startswith("synthesis/")), default=0)
    for name, value in source.items():
        part, _, rest = name.partition("/")
        if name == "dlatent_avg":
            yield "mapping.w_avg", value
        elif part == "mapping":
            yield from _mapping(rest, value)
        elif rest == "4x4/Const/const":
            yield "synthesis.b4.const", one(value)
        elif match := re.fullmatch(r"noise(\d{1,2})", rest):
            i = int(match[1])  # 0 is 4x4, then two at every resolution
            size = 4 << (i + 1) // 2
            layer = "conv0" if i % 2 else "conv1"
            yield f"synthesis.b{size}.{layer}.noise_const", one(one(value))
        elif name not in ("lod", "synthesis/lod"):
            yield from _synthesis(rest, value, top)


def _mapping(name: str, value: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    layer, _, leaf = name.partition("/")
    if match := re.fullmatch(r"Dense(\d{1,3})", layer):
        yield f"mapping.fc{int(match[1])}.{leaf}", value.T
    elif layer in ("LabelEmbed", "LabelConcat"):
        yield f"mapping.embed.{leaf}", value.T
    else:
        raise Malformed(f"the mapping has a variable that is not read: {name[:80]}")


def _synthesis(name: str, value: np.ndarray, top: int) -> Iterator[tuple[str, np.ndarray]]:
    layer, _, leaf = name.rpartition("/")
    if match := re.fullmatch(r"ToRGB_lod(\d{1,2})", layer):
        layer = f"{top >> int(match[1])}x{top >> int(match[1])}/ToRGB"
    size, _, kind = layer.partition("/")
    short = _LAYERS.get(layer) or _LAYERS.get(kind)
    if short is None or not size_of(size):
        raise Malformed(f"the synthesis has a variable that is not read: {name[:80]}")
    target = "synthesis." + (short if short.startswith("b4.") else f"b{size_of(size)}.{short}")
    if leaf == "mod_weight":
        yield f"{target}.affine.weight", value.T
    elif leaf == "mod_bias":
        yield f"{target}.affine.bias", value + np.float32(1)
    elif leaf == "weight":
        # TensorFlow's up-convolution flips its kernel, PyTorch's does not.
        flipped = kind in ("Conv0_up", "Skip")
        yield f"{target}.weight", kernel(value, flipped=flipped)
    else:
        yield f"{target}.{leaf}", value


def discriminator(network: Network) -> tuple[dict[str, Any], Tensors]:
    """Configuration and tensors of D."""
    _full_grown(network)
    source = network.variables
    tensors = dict(_renamed_critic(source))
    outputs = tensors.get("b4.out.weight", np.zeros((1, 1))).shape[0]
    mapped = "mapping.embed.weight" in tensors
    known = {
        "mapping_lr_mult": network.real("mapping_lrmul", 0.1) if mapped else 0.01,
        **_precision(network),
        # Not the whole batch, which NVIDIA's converter takes where nothing is said.
        "mbstd_group": network.count("mbstd_group_size", 4),
        "label_mode": "logits" if outputs > 1 and not mapped else "projection",
        "fromrgb_all": any(name.startswith("FromRGB_lod") for name in source),
    }
    config = stylegan2.discriminator_config(tensors, known)
    return config, stylegan2.checked(tensors, stylegan2.discriminator_shapes(config), network.what)


def _renamed_critic(source: Tensors) -> Iterator[tuple[str, np.ndarray]]:
    top = max((size_of(name.split("/")[0]) for name in source), default=0)
    for name, value in source.items():
        layer, _, leaf = name.rpartition("/")
        if match := re.fullmatch(r"FromRGB_lod(\d{1,2})", layer):
            layer = f"{top >> int(match[1])}x{top >> int(match[1])}/FromRGB"
        size, _, kind = layer.partition("/")
        short = _CRITIC_LAYERS.get(layer) or _CRITIC_LAYERS.get(kind)
        if name == "lod":
            continue
        if match := re.fullmatch(r"Mapping(\d{1,3})", layer):
            short = f"mapping.fc{int(match[1])}"
        elif short is None:
            raise Malformed(f"D has a variable that is not read: {name[:80]}")
        target = short if "." in short else f"b{size_of(size)}.{short}"
        yield f"{target}.{leaf}", kernel(value) if value.ndim == 4 else value.T
