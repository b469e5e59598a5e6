"""Checkpoints of ajbrock/BigGAN-PyTorch: BigGAN and BigGAN-deep (formats.md 2d)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from gantools.io import biggan, stylegan2
from gantools.io.inert import Malformed
from gantools.io.network import Checkpoint
from gantools.io.stylegan2 import Tensors

OUT_EPS = 1e-5  # of the last batch norm, whatever BN_eps says
HALVINGS_32 = 2  # D of 32 pixels ends at 8x8, all others at 4x4
_STATISTICS = {
    "stored_mean": "mean", "stored_var": "var", "bn.stored_mean": "mean", "bn.stored_var": "var",
    "bn.running_mean": "mean", "bn.running_var": "var",
}  # fmt: skip
_NOT_KEPT = re.compile(r"\.(sv\d+|accumulation_counter|num_batches_tracked)$")


def is_state(names: Any) -> bool:
    """Whether a dictionary has the names of a generator or a discriminator of that project."""
    return "blocks.0.0.conv1.weight" in names and "linear.weight" in names


def read(parts: Mapping[str, Tensors], known: Mapping[str, Any]) -> Checkpoint:
    """The networks of a run; parts: g_ema, and g and d where they are there.

    known: the flags of the run, as its state_dict.pth has them; shapes say nearly everything else.
    """
    _check_flags(known)
    config, tensors = _generator(parts["g_ema"], known)
    made = {f"g_ema.{name}": value for name, value in tensors.items()}
    if "g" in parts:
        other, tensors = _generator(parts["g"], known)
        if other != config:
            raise Malformed("G and G_ema are of different configurations")
        made |= {f"g.{name}": value for name, value in tensors.items()}
    critic = None
    if "d" in parts:
        critic, tensors = _discriminator(parts["d"], config, known)
        made |= {f"d.{name}": value for name, value in tensors.items()}
    meta = {"origin": "ajbrock BigGAN-PyTorch"}
    return Checkpoint("biggan", {"g": config, "d": critic}, made, meta)


def _check_flags(known: Mapping[str, Any]) -> None:
    read_here = {
        "norm_style": ("bn",), "G_nl": ("relu", "inplace_relu"), "D_nl": ("relu", "inplace_relu"),
        "G_kernel_size": (3,), "D_kernel_size": (3,), "bottom_width": (4,),
    }  # fmt: skip
    for flag, values in read_here.items():
        if known.get(flag, values[0]) not in values:
            raise Malformed(f"a BigGAN with --{flag} {known[flag]!s:.20}, which is not read")


def _depth(known: Mapping[str, Any], flag: str) -> int:
    depth = known.get(flag, 2)
    if not isinstance(depth, int) or not 1 <= depth <= 8:
        raise Malformed(f"its --{flag} is damaged")
    return depth


def _generator(source: Tensors, known: Mapping[str, Any]) -> tuple[dict[str, Any], Tensors]:
    first = biggan.need(source, "blocks.0.0.conv1.weight", 4).shape
    linear = biggan.need(source, "linear.weight", 2)
    gain = biggan.need(source, "blocks.0.0.bn1.gain.weight", 2).shape
    numbers = biggan.indices(source, r"blocks\.(\d{1,3})\.0\.conv1\.weight")
    count, deep = len(numbers), "blocks.0.0.conv4.weight" in source
    if numbers != list(range(count)) or count > 32:
        raise Malformed("its blocks are not numbered one after another")
    shared = source.get("shared.weight")
    if shared is None:
        classes, embed, hier = gain[0], 0, False
    else:
        classes, embed = biggan.need(source, "shared.weight", 2).shape
        hier = gain[1] > embed
    inputs = linear.shape[1] - (embed if deep else 0)
    depth = _depth(known, "G_depth") if deep else 1
    last = "conv4" if deep else "conv2"
    eps = known.get("BN_eps", OUT_EPS)
    config = {
        "resolution": 4 << (count // depth),
        "widths": [first[1], *(_outputs(source, i, last) for i in numbers)],
        "doubles": list(range(depth - 1, count, depth)),
        "attention": _attentions(source),
        "deep": deep,
        "z_dim": inputs * (count + 1) if hier and not deep else inputs,
        "c_dim": classes,
        "embed_dim": embed,
        "hier": hier,
        "bn_eps": float(eps) if isinstance(eps, int | float) else OUT_EPS,
        "out_eps": OUT_EPS,
        "n_stats": 1,
        "peer_rows": False,
        "spectral_norm": "linear.u0" in source,
        "last": biggan.need(source, "output_layer.2.weight", 4).shape[0],
        "img_channels": 3,
        "first_block": [4, 4],
    }
    if inputs < 1 or config["last"] < 3 or count % depth or (deep and not hier):
        raise Malformed("its generator's tensors do not fit together")
    made = dict(_renamed(source, _GENERATOR, deep=deep))
    if shared is None:
        # An embedding for each batch norm: weights of the label itself.
        made |= {n: t.T for n, t in made.items() if re.search(r"\.(gain|shift)\.weight$", n)}
    else:
        made["shared.weight"] = shared.T
    shapes = biggan.generator_shapes(config)
    return config, stylegan2.checked(made, shapes, "the generator")


def _discriminator(
    source: Tensors, g: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[dict[str, Any], Tensors]:
    numbers = biggan.indices(source, r"blocks\.(\d{1,3})\.0\.conv1\.weight")
    count, deep = len(numbers), "input_conv.weight" in source
    if numbers != list(range(count)) or not 1 <= count <= 32:
        raise Malformed("D's blocks are not numbered one after another")
    depth = _depth(known, "D_depth") if deep else 1
    halvings = int(np.log2(g["resolution"])) - 2 if g["resolution"] > 32 else HALVINGS_32
    first = biggan.need(source, "blocks.0.0.conv1.weight", 4).shape
    widths = [_outputs(source, i, "conv4" if deep else "conv2") for i in numbers]
    # A block without channels of its own to learn is as wide inside either way.
    narrow = not deep and any(_outputs(source, i, "conv1") != widths[i] for i in numbers)
    embed = source.get("embed.weight")
    config = {
        "resolution": g["resolution"],
        "widths": widths,
        "halves": [i for i in range(0, depth * halvings, depth) if i < count],
        "attention": _attentions(source),
        "stem": first[1] if deep else 0,
        "wide": not narrow,
        "c_dim": 0 if embed is None else biggan.need(source, "embed.weight", 2).shape[0],
        "img_channels": biggan.need(source, "input_conv.weight", 4).shape[1] if deep else first[1],
        "first_block": [4, 4],
    }
    made = dict(_renamed(source, _DISCRIMINATOR, deep=deep))
    if embed is not None:
        # Its u [classes] is of the other side: v = u W, normalised, is of ours.
        u = biggan.need(source, "embed.u0", 2)
        made |= {"embed.weight": embed.T, "embed.spectral_norm.u": _normal(u @ embed)}
    return config, stylegan2.checked(made, biggan.discriminator_shapes(config), "D")


def _attentions(source: Tensors) -> list[int]:
    return [i + 1 for i in biggan.indices(source, r"blocks\.(\d{1,3})\.1\.gamma$")]


def _outputs(source: Tensors, i: int, conv: str) -> int:
    return biggan.need(source, f"blocks.{i}.0.{conv}.weight", 4).shape[0]


_GENERATOR = {"linear": "fc", "output_layer.0": "norm", "output_layer.2": "torgb"}
_DISCRIMINATOR = {"linear": "out", "input_conv": "stem"}


def _renamed(source: Tensors, layers: Mapping[str, str], *, deep: bool) -> Any:
    for name, value in source.items():
        if _NOT_KEPT.search(name) or name in ("shared.weight", "embed.weight", "embed.u0"):
            continue
        if re.search(r"\.u[1-9]\d*$", name):
            raise Malformed("several singular values for each weight (num_SVs), which is not read")
        if match := re.fullmatch(r"blocks\.(\d{1,3})\.([01])\.(.+)", name):
            layer, rest = _in_block(match[1], match[2], match[3], deep=deep)
        else:
            base = next((b for b in layers if name.startswith(b + ".")), None)
            if base is None:
                raise Malformed(f"a tensor that is not read: {name[:80]}")
            layer, rest = layers[base], name[len(base) + 1 :]
        if rest == "u0":
            weight = source.get(name[: -len("u0")] + "weight")
            yield f"{layer}.spectral_norm.u", _other_side(value, weight, name)
        else:
            yield f"{layer}.{_leaf(layer, rest, name)}", value


def _in_block(i: str, j: str, rest: str, *, deep: bool) -> tuple[str, str]:
    """Our layer and what is left of the name."""
    head, _, end = rest.partition(".")
    if j == "1":
        return (f"attention.{int(i) + 1}.{head}", end) if end else (f"attention.{int(i) + 1}", head)
    if head == "conv_sc":
        return f"blocks.{i}.skip", end
    match = re.fullmatch(r"(conv|bn)([1-4])", head)
    if match is None or (not deep and match[2] in "34"):
        raise Malformed(f"a tensor that is not read: blocks.{i}.{j}.{rest[:60]}")
    kind = {"conv": "conv", "bn": "norm"}[match[1]]
    layer = f"blocks.{i}.{kind}{int(match[2]) - 1}"
    part, _, leaf = end.partition(".")
    if kind == "norm" and part in ("gain", "bias") and leaf:
        return f"{layer}.{'shift' if part == 'bias' else part}", leaf
    return layer, end


def _leaf(layer: str, rest: str, name: str) -> str:
    if rest in _STATISTICS:
        return _STATISTICS[rest]
    if layer == "norm" and rest in ("gain", "bias"):
        return {"gain": "gain", "bias": "shift"}[rest]
    if rest in ("weight", "bias", "gamma"):
        return rest
    raise Malformed(f"a tensor that is not read: {name[:80]}")


def _other_side(u: np.ndarray, weight: np.ndarray | None, name: str) -> np.ndarray:
    """v = u W, normalised: one half of the power iteration that their code makes in evaluation."""
    if weight is None or weight.ndim < 2 or u.shape != (1, len(weight)):
        raise Malformed(f"{name} is {list(u.shape)} beside a weight that does not fit")
    return _normal(u @ weight.reshape(len(weight), -1))


def _normal(v: np.ndarray) -> np.ndarray:
    flat: np.ndarray = v.reshape(-1).astype(np.float32)
    return flat / np.maximum(np.linalg.norm(flat), np.float32(1e-12))
