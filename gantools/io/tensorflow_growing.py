"""NVIDIA's TensorFlow PGGAN and StyleGAN1 (formats.md 2b) under names that follow StyleGAN2's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from gantools.io import growing
from gantools.io.growing import shape
from gantools.io.inert import Malformed, short
from gantools.io.stylegan2 import Tensors, checked
from gantools.io.tensorflow_network import Network, kernel, one, size_of

Renamed = Iterator[tuple[str, np.ndarray]]

_FUSED_FROM = 128  # pixels; "fused_scale auto" of StyleGAN1
_LAYERS = {
    "4x4/Const": "b4.conv0",
    "4x4/Conv": "b4.conv1",
    "4x4/Dense": "b4.dense",
    "Conv0": "conv0",
    "Conv0_up": "conv0",
    "Conv1": "conv1",
}
_CRITIC_LAYERS = {
    "4x4/Conv": "b4.conv",
    "4x4/Dense0": "b4.fc",
    "4x4/Dense1": "b4.out",
    "Conv0": "conv0",
    "Conv1": "conv1",
    "Conv1_down": "conv1",
}
_LEAVES = {
    "weight": "weight",
    "bias": "bias",
    "Noise/weight": "noise_strength",
    "StyleMod/weight": "affine.weight",
    "StyleMod/bias": "affine.bias",
}


def pggan(network: Network) -> tuple[dict[str, Any], Tensors]:
    """Configuration and tensors of a PGGAN generator."""
    _read_as_built(network, pixelnorm_epsilon=1e-8)
    tensors = dict(_generator(network, network.variables, _pggan_kernel))
    widths = growing.widths(tensors, "b{}.conv1.bias")
    classes = network.count("label_size", 0)
    top = 4 << (len(widths) - 1)
    config: dict[str, Any] = {
        "resolution": top,
        "widths": widths,
        "z_dim": shape(tensors, "b4.dense.weight", 2)[1] - classes,
        "c_dim": classes,
        "img_channels": shape(tensors, f"b{top}.torgb.weight", 4)[0],
        "latent_norm": network.flag("normalize_latents", True),
        "equalized": network.flag("use_wscale", True),
        "norm": "pixel" if network.flag("use_pixelnorm", True) else "none",
        "activation": "lrelu" if network.flag("use_leakyrelu", True) else "relu",
        "tanh": False,
        "lod": _lod(network, widths),
    }
    if config["z_dim"] < 1:
        raise Malformed(f"{network.what}: it takes no z")
    return config, checked(tensors, growing.pggan_shapes(config), network.what)


def stylegan(network: Network) -> tuple[dict[str, Any], Tensors]:
    """Configuration and tensors of a StyleGAN1 generator."""
    _read_as_built(
        network,
        normalize_latents=True,
        use_wscale=True,
        use_styles=True,
        use_instance_norm=True,
        use_pixel_norm=False,
        const_input_layer=True,
        mapping_nonlinearity="lrelu",
    )
    tensors = dict(_stylegan(network))
    widths = growing.widths(tensors, "synthesis.b{}.conv1.bias")
    top = 4 << (len(widths) - 1)
    classes = 0
    if "mapping.embed.weight" in tensors:
        classes = shape(tensors, "mapping.embed.weight", 2)[1]
    inputs = shape(tensors, "mapping.fc0.weight", 2)[1]
    config = {
        "resolution": top,
        "widths": widths,
        "z_dim": inputs // 2 if classes else inputs,
        "w_dim": shape(tensors, "synthesis.b4.conv0.affine.weight", 2)[1],
        "c_dim": classes,
        "img_channels": shape(tensors, f"synthesis.b{top}.torgb.weight", 4)[0],
        "mapping_layers": sum(bool(re.fullmatch(r"mapping\.fc\d+\.bias", n)) for n in tensors),
        "mapping_lr_mult": network.real("mapping_lrmul", 0.01),
        "resample_filter": _blur(network) or [1],
        "lod": _lod(network, widths),
    }
    tensors = growing.with_noise(tensors, config)
    return config, checked(tensors, growing.stylegan_shapes(config), network.what)


def discriminator(network: Network, *, blurred: bool) -> tuple[dict[str, Any], Tensors]:
    """Configuration and tensors of D; blurred: StyleGAN1's."""
    tensors = dict(_critic(network.variables))
    widths = growing.widths(tensors, "b{}.fromrgb.bias")
    outputs = shape(tensors, "b4.out.weight", 2)[0]
    features = shape(tensors, "b4.conv.weight", 4)[1] - widths[0]
    fused = any("/Conv1_down/" in name for name in network.variables)
    config = {
        "resolution": 4 << (len(widths) - 1),
        "widths": widths,
        "img_channels": shape(tensors, "b4.fromrgb.weight", 4)[1],
        "c_dim": (outputs if outputs > 1 else 0) if blurred else outputs - 1,
        "label_mode": "logits" if blurred else "acgan",
        "fused_scale": fused,
        "resample_filter": _blur(network) if blurred else [],
        "mbstd_group": network.count("mbstd_group_size", 4) if features else 1,
        "mbstd_features": features or 1,
        "mbdisc_kernels": 0,
        "norm": "none",
        "equalized": network.flag("use_wscale", True),
        "lod": _lod(network, widths),
    }
    shapes = growing.discriminator_shapes({**config, "mbstd_features": features})
    return config, checked(tensors, shapes, network.what)


def _read_as_built(network: Network, **expected: Any) -> None:
    """Malformed where a setting asks for what these networks here do not do."""
    for name, usual in expected.items():
        said = network.settings.get(name)
        if said is not None and said != usual:
            why = f"its {name} is {short(said)}; {usual} is read"
            raise Malformed(f"{network.what}: {why}")


def _blur(network: Network) -> list[float]:
    """StyleGAN1's filter; its None, unlike that of other settings, means none."""
    if "blur_filter" in network.settings and not network.settings["blur_filter"]:
        return []
    return network.taps("blur_filter", default=[1, 2, 1])


def _lod(network: Network, widths: list[int]) -> float:
    if network.lod > len(widths) - 1:
        raise Malformed(f"{network.what}: lod {network.lod:g} of {len(widths)} resolutions")
    return network.lod


# -- generators -----------------------------------------------------------------------------------


def _stylegan(network: Network) -> Renamed:
    rest: Tensors = {}
    for name, value in network.variables.items():
        part, _, inner = name.partition("/")
        if name == "dlatent_avg":
            yield "mapping.w_avg", value
        elif part == "mapping":
            yield from _mapping(inner, value)
        elif inner == "4x4/Const/const":
            yield "synthesis.b4.const", one(value)
        elif match := re.fullmatch(r"noise(\d{1,2})", inner):
            i = int(match[1])
            yield f"synthesis.b{4 << i // 2}.conv{i % 2}.noise_const", one(one(value))
        elif part == "synthesis" and inner != "lod":
            rest[inner] = value
        elif name not in ("lod", "synthesis/lod"):
            raise Malformed(f"{network.what} has a variable that is not read: {name[:80]}")
    for name, value in _generator(network, rest, _stylegan_kernel):
        yield f"synthesis.{name}", value


def _mapping(name: str, value: np.ndarray) -> Renamed:
    layer, _, leaf = name.partition("/")
    if match := re.fullmatch(r"Dense(\d{1,3})", layer):
        yield f"mapping.fc{int(match[1])}.{leaf}", value.T
    elif name == "LabelConcat/weight":
        yield "mapping.embed.weight", value.T
    else:
        raise Malformed(f"the mapping has a variable that is not read: {name[:80]}")


def _generator(network: Network, source: Tensors, convolution: Any) -> Renamed:
    """The layers of a synthesis; convolution(network, size, kind, value) is a kernel of ours."""
    top = max((size_of(name.split("/")[0]) for name in source), default=0)
    for name, value in source.items():
        if name == "lod":
            continue
        if match := re.fullmatch(r"ToRGB_lod(\d{1,2})/(weight|bias)", name):
            rgb = kernel(value) if match[2] == "weight" else value
            yield f"b{top >> int(match[1])}.torgb.{match[2]}", rgb
            continue
        size, kind, leaf = _parts(name, network.what)
        short_name = _LAYERS.get(f"{size}x{size}/{kind}") or _LAYERS.get(kind)
        if short_name is None or leaf not in _LEAVES:
            raise Malformed(f"{network.what} has a variable that is not read: {name[:80]}")
        target = short_name if "." in short_name else f"b{size}.{short_name}"
        moved = convolution(network, size, kind, value) if value.ndim == 4 else value.T
        yield f"{target}.{_LEAVES[leaf]}", moved


def _parts(name: str, what: str) -> tuple[int, str, str]:
    """(8, Conv0_up, StyleMod/weight) of `8x8/Conv0_up/StyleMod/weight`."""
    size, _, rest = name.partition("/")
    kind, _, leaf = rest.partition("/")
    if not size_of(size) or not leaf:
        raise Malformed(f"{what} has a variable that is not read: {name[:80]}")
    return size_of(size), kind, leaf


def _pggan_kernel(network: Network, size: int, kind: str, value: np.ndarray) -> np.ndarray:
    """Fused kernels are flipped; PGGAN's own repository (version 2) keeps them as [.., out, in]."""
    if kind == "Conv0_up" and network.version == 2:
        value = value.swapaxes(2, 3)
    return kernel(value, flipped=kind == "Conv0_up")


def _stylegan_kernel(network: Network, size: int, kind: str, value: np.ndarray) -> np.ndarray:
    fused = network.settings.get("fused_scale", "auto")
    if fused not in ("auto", True, False):
        raise Malformed(f"{network.what}: its fused_scale is {short(fused)}")
    flipped = size >= _FUSED_FROM if fused == "auto" else bool(fused)
    return kernel(value, flipped=kind == "Conv0_up" and flipped)


# -- discriminators -------------------------------------------------------------------------------


def _critic(source: Tensors) -> Renamed:
    top = max((size_of(name.split("/")[0]) for name in source), default=0)
    for name, value in source.items():
        layer, _, leaf = name.rpartition("/")
        if name == "lod":
            continue
        if match := re.fullmatch(r"FromRGB_lod(\d{1,2})", layer):
            target = f"b{top >> int(match[1])}.fromrgb"
        else:
            size, kind, leaf = _parts(name, "D")
            found = _CRITIC_LAYERS.get(layer) or _CRITIC_LAYERS.get(kind)
            if found is None:
                raise Malformed(f"D has a variable that is not read: {name[:80]}")
            target = found if "." in found else f"b{size}.{found}"
        yield f"{target}.{leaf}", kernel(value) if value.ndim == 4 else value.T
