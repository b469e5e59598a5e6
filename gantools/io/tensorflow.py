"""NVIDIA's TensorFlow pickles of StyleGAN2, versions 4 and 5 (formats.md 2b): (G, D, Gs).

The code that such a file carries is text and stays text; its variables are what is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from gantools.io import stylegan2
from gantools.io.arrays import Arrays, number
from gantools.io.network import Checkpoint
from gantools.io.pickles import Malformed, Record, short
from gantools.io.stylegan2 import Tensors

_DEEPEST = 4
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


def is_network(value: Any) -> bool:
    """Whether a record is a Network object of one of the dnnlib.tflib generations."""
    return (
        isinstance(value, Record)
        and isinstance(value.state, dict)
        and isinstance(value.state.get("variables"), list)
        and "static_kwargs" in value.state
    )


def read(networks: list[Any], arrays: Arrays) -> Checkpoint:
    """The tuple (G, D, Gs). Malformed for families other than StyleGAN2, named."""
    g, d, smooth = networks
    config, ema = _generator(smooth, arrays, "Gs")
    tensors = {f"g_ema.{name}": value for name, value in ema.items()}
    left: list[str] = []
    raw_config, raw = _generator(g, arrays, "G")
    if raw_config == config:
        tensors |= {f"g.{name}": value for name, value in raw.items()}
    else:
        left.append("G (another configuration than Gs's)")
    critic, found = _discriminator(d, arrays)
    tensors |= {f"d.{name}": value for name, value in found.items()}
    meta: dict[str, Any] = {"origin": f"NVIDIA TensorFlow pickle, version {_version(smooth)}"}
    if left:
        meta["left_out"] = left
    return Checkpoint("stylegan2", {"g": config, "d": critic}, tensors, meta)


def _version(network: Record) -> int:
    version = network.state.get("version")
    if not isinstance(version, int) or not 2 <= version <= 5:
        raise Malformed(f"a TensorFlow network of the unknown version {short(version)}")
    return version


def _variables(network: Record, what: str) -> dict[str, Any]:
    """Names and records of a network and of its components (`mapping/…`, `synthesis/…`)."""
    found: dict[str, Any] = {}
    seen: set[int] = set()

    def visit(value: Any, prefix: str, depth: int) -> None:
        if not is_network(value):
            raise Malformed(f"{what}: its component {prefix[:40]!r} is no network")
        if id(value) in seen or depth > _DEEPEST:
            raise Malformed(f"{what}: its components contain themselves")
        seen.add(id(value))
        for item in value.state["variables"]:
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                raise Malformed(f"{what}: a damaged list of variables")
            name, array = item
            if not isinstance(name, str) or prefix + name in found:
                raise Malformed(f"{what}: a damaged list of variables")
            found[prefix + name] = array
        components = value.state.get("components")
        for name, part in components.items() if isinstance(components, dict) else ():
            if not isinstance(name, str):
                raise Malformed(f"{what}: a component's name is {short(name)}")
            visit(part, f"{prefix}{name}/", depth + 1)

    visit(network, "", 0)
    return found


def _family(names: dict[str, Any]) -> str:
    if any("/StyleMod/" in name for name in names):
        return "StyleGAN1"
    if "4x4/Dense/weight" in names:
        return "PGGAN"
    if "synthesis/4x4/Conv/mod_weight" in names:
        return "StyleGAN2"
    return ""


def _generator(network: Record, arrays: Arrays, what: str) -> tuple[dict[str, Any], Tensors]:
    version, variables = _version(network), _variables(network, what)
    family = _family(variables)
    if family in ("StyleGAN1", "PGGAN"):
        raise Malformed(f"a {family} network; this version reads StyleGAN2 and StyleGAN3")
    if not family:
        raise Malformed(f"{what}: its variables are missing, or of no StyleGAN2 network")
    source = {name: arrays.array(v, f"{what}: {name[:80]}") for name, v in variables.items()}
    said = _kwargs(network)
    _whole(source, "synthesis/lod", what)
    tensors = dict(_renamed_generator(source))
    growing = any("/ToRGB_lod" in name for name in source)
    known = {
        "mapping_lr_mult": _real(said, "mapping_lrmul", 0.01),
        "conv_clamp": _real(said, "conv_clamp", None),
        "num_fp16_res": _count(said, "num_fp16_res", 0) if version == 5 else 0,
        "resample_filter": _filter(said),
        "label_mode": "concat" if "mapping/LabelConcat/weight" in source else "embed",
        "torgb_all": growing,
    }
    config = stylegan2.generator_config(tensors, known)
    stylegan2.without_noise(tensors, config)
    return config, stylegan2.with_w_avg(tensors, config, tensors.get("mapping.w_avg"), what)


def _renamed_generator(source: Tensors) -> Iterator[tuple[str, np.ndarray]]:
    top = max((_size(n.split("/")[1]) for n in source if n.startswith("synthesis/")), default=0)
    for name, value in source.items():
        part, _, rest = name.partition("/")
        if name == "dlatent_avg":
            yield "mapping.w_avg", value
        elif part == "mapping":
            yield from _mapping(rest, value)
        elif rest == "4x4/Const/const":
            yield "synthesis.b4.const", _one(value)
        elif match := re.fullmatch(r"noise(\d{1,2})", rest):
            i = int(match[1])  # 0 is 4x4, then two at every resolution
            size = 4 << (i + 1) // 2
            layer = "conv0" if i % 2 else "conv1"
            yield f"synthesis.b{size}.{layer}.noise_const", _one(_one(value))
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
    if short is None or not _size(size):
        raise Malformed(f"the synthesis has a variable that is not read: {name[:80]}")
    target = "synthesis." + (short if short.startswith("b4.") else f"b{_size(size)}.{short}")
    if leaf == "mod_weight":
        yield f"{target}.affine.weight", value.T
    elif leaf == "mod_bias":
        yield f"{target}.affine.bias", value + np.float32(1)
    elif leaf == "weight":
        # TensorFlow's up-convolution flips its kernel, PyTorch's does not.
        flipped = kind in ("Conv0_up", "Skip")
        yield f"{target}.weight", _kernel(value, flipped=flipped)
    else:
        yield f"{target}.{leaf}", value


def _discriminator(network: Record, arrays: Arrays) -> tuple[dict[str, Any], Tensors]:
    version, variables = _version(network), _variables(network, "D")
    source = {name: arrays.array(v, f"D: {name[:80]}") for name, v in variables.items()}
    said = _kwargs(network)
    _whole(source, "lod", "D")
    tensors = dict(_renamed_critic(source))
    outputs = tensors.get("b4.out.weight", np.zeros((1, 1))).shape[0]
    mapped = "mapping.embed.weight" in tensors
    known = {
        "mapping_lr_mult": _real(said, "mapping_lrmul", 0.1),
        "conv_clamp": _real(said, "conv_clamp", None),
        "num_fp16_res": _count(said, "num_fp16_res", 0) if version == 5 else 0,
        "resample_filter": _filter(said),
        # Not the whole batch, which NVIDIA's converter takes where nothing is said.
        "mbstd_group": _count(said, "mbstd_group_size", 4),
        "label_mode": "logits" if outputs > 1 and not mapped else "projection",
        "fromrgb_all": any(name.startswith("FromRGB_lod") for name in source),
    }
    if not mapped:
        known["mapping_lr_mult"] = 0.01
    config = stylegan2.discriminator_config(tensors, known)
    return config, stylegan2.checked(tensors, stylegan2.discriminator_shapes(config), "D")


def _renamed_critic(source: Tensors) -> Iterator[tuple[str, np.ndarray]]:
    top = max((_size(name.split("/")[0]) for name in source), default=0)
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
        target = short if "." in short else f"b{_size(size)}.{short}"
        yield f"{target}.{leaf}", _kernel(value) if value.ndim == 4 else value.T


def _kernel(value: np.ndarray, *, flipped: bool = False) -> np.ndarray:
    """[kh, kw, in, out] as [out, in, kh, kw]."""
    if value.ndim != 4:
        raise Malformed("a convolution's weight without four dimensions")
    if flipped:
        return np.ascontiguousarray(value[::-1, ::-1].transpose(3, 2, 0, 1))
    return value.transpose(3, 2, 0, 1)


def _one(value: np.ndarray) -> np.ndarray:
    if value.ndim < 2 or value.shape[0] != 1:
        raise Malformed("a constant of an impossible shape")
    return value[0]


def _size(name: str) -> int:
    match = re.fullmatch(r"(\d{1,5})x\1", name)
    return int(match[1]) if match else 0


def _whole(source: Tensors, name: str, what: str) -> None:
    lod = source.get(name)
    if lod is not None and (lod.shape != () or lod != 0):
        raise Malformed(f"{what} was saved while it was still growing (lod {str(lod)[:20]})")


def _kwargs(network: Record) -> dict[str, Any]:
    given = network.state["static_kwargs"]
    if not isinstance(given, dict):
        raise Malformed("a network without its settings")
    said = {key: number(value) for key, value in given.items()}
    if said.get("nonlinearity", "lrelu") != "lrelu":
        raise Malformed(f"its nonlinearity is {short(said['nonlinearity'])}; lrelu is read")
    return said


def _count(said: dict[str, Any], name: str, default: int) -> int:
    value = said.get(name, default)
    value = 0 if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 16:
        raise Malformed(f"its {name} is {short(value)}")
    return value


def _real(said: dict[str, Any], name: str, default: float | None) -> float | None:
    value = said.get(name, default)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        raise Malformed(f"its {name} is {short(value)}")
    return float(value)


def _filter(said: dict[str, Any]) -> list[float]:
    given = said.get("resample_kernel") or said.get("resample_filter") or [1, 3, 3, 1]
    if not isinstance(given, (list, tuple)) or len(given) > 64:
        raise Malformed("its resampling filter is damaged")
    try:
        return stylegan2.taps(np.array([float(tap) for tap in given]))
    except (TypeError, ValueError):
        raise Malformed("its resampling filter is damaged") from None
