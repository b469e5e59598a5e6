"""NVIDIA's PyTorch pickles: stylegan2-ada-pytorch, stylegan3 and their forks (formats.md 2a).

The file holds whole module objects; only their state is read. Modules of other kinds (the
discriminators of projected-gan and StyleGAN-XL) are inert and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

import numpy as np

from gantools.io import stylegan2, stylegan3
from gantools.io.arrays import Arrays, is_array, number
from gantools.io.inert import Malformed, Pair, Record, short
from gantools.io.network import Checkpoint
from gantools.io.stylegan2 import Tensors

_PERSISTENT: Pair = ("torch_utils.persistence", "_reconstruct_persistent_obj")
_DEEPEST = 32
_STYLEGAN3_DEFAULTS = {
    "channel_base": 32768,
    "channel_max": 512,
    "first_cutoff": 2.0,
    "first_stopband": 2**2.1,
    "last_stopband_rel": 2**0.3,
    "filter_size": 6,
    "lrelu_upsampling": 2,
}


@dataclass(slots=True)
class Module:
    """One module of a file: its dotted name, class name and attributes."""

    name: str
    kind: str
    state: dict[Any, Any]

    def get(self, key: str, default: Any = None) -> Any:
        """An attribute, numpy scalars as Python numbers."""
        return number(self.state.get(key, default))

    def kwarg(self, key: str, default: Any) -> Any:
        """What the constructor was given by name, or the class's default."""
        given = self.state.get("_init_kwargs")
        return number(given.get(key, default)) if isinstance(given, dict) else default


def is_module(value: Any) -> bool:
    """Whether a record is a torch module, persistent or plain."""
    return isinstance(value, Record) and _state(value) is not None


def read(files: dict[Any, Any], arrays: Arrays) -> Checkpoint:
    """The networks of the dictionary {G, D, G_ema, …}. Malformed where no generator is known."""
    if not is_module(files.get("G_ema")):
        raise Malformed("its G_ema is no network")
    family, g, ema = _generator(files["G_ema"], arrays, "G_ema")
    tensors = {f"g_ema.{name}": value for name, value in ema.items()}
    left: list[str] = []
    if is_module(files.get("G")):
        other, config, raw = _generator(files["G"], arrays, "G")
        if (other, config) == (family, g):
            tensors |= {f"g.{name}": value for name, value in raw.items()}
        else:
            left.append("G (another configuration than G_ema's)")
    d = None
    if is_module(files.get("D")):
        modules = _modules(files["D"], "D")
        if "b4" in modules and "b4.out" in modules:
            d, found = _discriminator(modules, arrays)
            tensors |= {f"d.{name}": value for name, value in found.items()}
        else:
            left.append(f"D ({modules[''].kind[:80]})")
    meta = _meta(files, arrays)
    if left:
        meta["left_out"] = left
    return Checkpoint(family, {"g": g, "d": d}, tensors, meta)


def _state(value: Record) -> tuple[str, dict[Any, Any]] | None:
    """Class name and attributes of a module record, None for any other record."""
    kind: Any = value.pair[1]
    state: Any = value.state
    if value.pair == _PERSISTENT and isinstance(value.args, tuple) and value.args:
        meta = value.args[0]
        if isinstance(meta, dict):
            kind, state = meta.get("class_name"), meta.get("state")
    known = isinstance(state, dict) and isinstance(state.get("_modules"), dict)
    return (kind if isinstance(kind, str) else "", state) if known else None


def _modules(root: Record, what: str) -> dict[str, Module]:
    """Every module below `root` by its dotted name ('' is the root), in the file's order."""
    found: dict[str, Module] = {}
    seen: set[int] = set()

    def visit(value: Any, name: str, depth: int) -> None:
        known = _state(value) if isinstance(value, Record) else None
        if known is None:
            if value is not None:
                raise Malformed(f"{what}: {name[:80]} is no module")
            return
        # A module twice is a cycle, or a way to make a small file large.
        if id(value) in seen or depth > _DEEPEST:
            raise Malformed(f"{what}: its modules contain themselves or each other twice")
        seen.add(id(value))
        found[name] = Module(name, *known)
        for key, child in known[1]["_modules"].items():
            if not isinstance(key, str):
                raise Malformed(f"{what}: a module's name is {short(key)}")
            visit(child, f"{name}.{key}" if name else key, depth + 1)

    visit(root, "", 0)
    return found


def _tensors(modules: dict[str, Module], arrays: Arrays, what: str) -> Tensors:
    """Parameters and buffers (frozen layers keep theirs as buffers) under their dotted names."""
    made: Tensors = {}
    for module in modules.values():
        for key, value in _own(module):
            name = f"{module.name}.{key}" if module.name else key
            made[name] = arrays.array(value, f"{what}: {name[:80]}")
    return made


def _own(module: Module) -> Iterator[tuple[str, Any]]:
    for group in ("_parameters", "_buffers"):
        members = module.state.get(group)
        for key, value in members.items() if isinstance(members, dict) else ():
            if isinstance(key, str) and value is not None:
                yield key, value


def _generator(root: Record, arrays: Arrays, what: str) -> tuple[str, dict[str, Any], Tensors]:
    modules = _modules(root, what)
    if "synthesis.b4" in modules and "mapping" in modules:
        return "stylegan2", *_stylegan2(modules, arrays, what)
    if "synthesis.input" in modules and "mapping" in modules:
        return "stylegan3", *_stylegan3(modules, arrays, what)
    kind = modules[""].kind[:80]
    raise Malformed(f"{what}, of class {kind!r}, is no generator of StyleGAN2 or StyleGAN3")


def _stylegan2(
    modules: dict[str, Module], arrays: Arrays, what: str
) -> tuple[dict[str, Any], Tensors]:
    layers = [m for m in modules.values() if re.fullmatch(r"synthesis\.b\d+\.conv[01]", m.name)]
    rgbs = [m for m in modules.values() if re.fullmatch(r"synthesis\.b\d+\.torgb", m.name)]
    blocks = [m for m in modules.values() if re.fullmatch(r"synthesis\.b\d+", m.name)]
    _only(layers, "activation", "lrelu", what)
    tensors = _tensors(modules, arrays, what)
    known = _known(layers + rgbs, blocks, modules, tensors, what)
    tensors = {n: t for n, t in tensors.items() if not n.endswith("resample_filter")}
    config = stylegan2.generator_config(tensors, known)
    _agree(modules[""], config, what)
    stylegan2.without_noise(tensors, config)
    return config, stylegan2.checked(tensors, stylegan2.generator_shapes(config), what)


def _discriminator(modules: dict[str, Module], arrays: Arrays) -> tuple[dict[str, Any], Tensors]:
    layers = [m for m in modules.values() if re.fullmatch(r"b\d+\.(conv|conv[01]|fromrgb)", m.name)]
    blocks = [m for m in modules.values() if re.fullmatch(r"b\d+", m.name)]
    _only(layers, "activation", "lrelu", "D")
    tensors = _tensors(modules, arrays, "D")
    known = _known(layers, blocks, modules, tensors, "D")
    if "b4.mbstd" in modules:  # None is the whole batch
        group = modules["b4.mbstd"].get("group_size", 4)
        known["mbstd_group"] = 0 if group is None else _integer(group, "mbstd_group_size")
    tensors = {n: t for n, t in tensors.items() if not n.endswith("resample_filter")}
    config = stylegan2.discriminator_config(tensors, known)
    _agree(modules[""], config, "D")
    return config, stylegan2.checked(tensors, stylegan2.discriminator_shapes(config), "D")


def _known(
    layers: list[Module],
    blocks: list[Module],
    modules: dict[str, Module],
    tensors: Tensors,
    what: str,
) -> dict[str, Any]:
    """What shapes do not tell. Each layer's own clamp counts: the repositories' defaults differ."""
    known: dict[str, Any] = {
        "conv_clamp": _clamp(layers, what),
        "num_fp16_res": sum(1 for block in blocks if block.get("use_fp16") is True),
    }
    if "mapping.fc0" in modules:
        known["mapping_lr_mult"] = _lr_mult(modules)
    filters = [t for n, t in tensors.items() if n.endswith("resample_filter") and t.size > 1]
    if filters:
        known["resample_filter"] = stylegan2.taps(filters[0])
    return known


def _stylegan3(
    modules: dict[str, Module], arrays: Arrays, what: str
) -> tuple[dict[str, Any], Tensors]:
    if "mapping.embed_proj" in modules or modules[""].kind.startswith("Superres"):
        raise Malformed(f"{what} is a StyleGAN-XL generator; this reads StyleGAN2 and StyleGAN3")
    top, net, mapping = modules[""], modules["synthesis"], modules["mapping"]
    layers = [m for m in modules.values() if re.fullmatch(r"synthesis\.L\d+_\d+_\d+", m.name)]
    inner = [layer for layer in layers if layer.get("is_torgb") is False]
    if len(layers) < 3 or not inner:
        raise Malformed(f"{what} lacks its synthesis layers")
    config = {
        **{n: _integer(top.get(n), n) for n in ("z_dim", "w_dim", "c_dim", "img_channels")},
        "resolution": _integer(top.get("img_resolution"), "img_resolution"),
        "mapping_layers": _integer(mapping.get("num_layers"), "num_layers"),
        "mapping_lr_mult": _lr_mult(modules),
        **{n: _integer(net.get(n), n) for n in ("num_layers", "num_critical", "margin_size")},
        "output_scale": _real(net.get("output_scale", 0.25), "output_scale"),
        "num_fp16_res": _integer(net.get("num_fp16_res", 4), "num_fp16_res"),
        "conv_kernel": _integer(inner[0].get("conv_kernel"), "conv_kernel"),
        "use_radial_filters": any(layer.get("down_radial") is True for layer in inner),
        "conv_clamp": _clamp(layers, what),
    }
    # What the layers do not store is what their constructor was given, or its default.
    for name, default in _STYLEGAN3_DEFAULTS.items():
        read = _integer if isinstance(default, int) else _real
        config[name] = read(net.kwarg(name, default), name)
    tensors = _tensors(modules, arrays, what)
    return config, stylegan3.checked(tensors, config, what)


def _meta(files: dict[Any, Any], arrays: Arrays) -> dict[str, Any]:
    meta: dict[str, Any] = {"origin": "NVIDIA PyTorch pickle"}
    data = files.get("training_set_kwargs")
    path = data.get("path") if isinstance(data, dict) else None
    if isinstance(path, str) and PureWindowsPath(path).name:
        meta["trained_on"] = PureWindowsPath(path).name[:200]  # splits at / and \
    progress = files.get("progress")
    if isinstance(progress, dict):
        shown = progress.get("cur_nimg")
        shown = arrays.array(shown, "cur_nimg").item() if is_array(shown) else shown
        if isinstance(shown, int) and shown >= 0:
            meta["images_shown"] = shown
    pipe = files.get("augment_pipe")
    if isinstance(pipe, Record) and is_module(pipe):
        buffers = _modules(pipe, "augment_pipe")[""].state.get("_buffers")
        if isinstance(buffers, dict) and is_array(buffers.get("p")):
            p = arrays.array(buffers["p"], "augment_pipe: p")
            meta["augment_p"] = float(p) if p.shape == () and np.isfinite(p) else 0.0
    return meta


def _only(modules: list[Module], key: str, wanted: str, what: str) -> None:
    for module in modules:
        found = module.get(key, wanted)
        if found != wanted:
            raise Malformed(f"{what}: {module.name} has the {key} {short(found)}")


def _clamp(layers: list[Module], what: str) -> float | None:
    given = [layer.get("conv_clamp") for layer in layers]
    found = {None if value is None else _real(value, "conv_clamp") for value in given}
    if len(found) > 1:
        raise Malformed(f"{what}: its layers clamp at different values")
    return found.pop() if found else None


def _lr_mult(modules: dict[str, Module]) -> float:
    first = modules.get("mapping.fc0")
    return 0.01 if first is None else _real(first.get("bias_gain", 0.01), "lr_multiplier")


def _agree(top: Module, config: dict[str, Any], what: str) -> None:
    """The module's own attributes must say what its shapes say."""
    for own, derived in (("img_resolution", "resolution"), ("z_dim", "z_dim"), ("c_dim", "c_dim")):
        said = top.get(own)
        if derived in config and said is not None and said != config[derived]:
            raise Malformed(f"{what}: {own} says {short(said)}, its tensors {config[derived]}")


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 24:
        raise Malformed(f"its {name} is {short(value)}")
    return value


def _real(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        raise Malformed(f"its {name} is {short(value)}")
    return float(value)
