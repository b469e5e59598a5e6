"""BigGAN-deep of huggingface's pytorch-pretrained-BigGAN: weights and config.json (formats 2d)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from gantools.io import biggan, stylegan2
from gantools.io.inert import Malformed
from gantools.io.network import Checkpoint
from gantools.io.stylegan2 import Tensors

CONFIG = "config.json"
_MOST = 1 << 20  # bytes of a config.json
_ATTENTION = {"snconv1x1_theta": "theta", "snconv1x1_phi": "phi", "snconv1x1_g": "g",
              "snconv1x1_o_conv": "o"}  # fmt: skip


def is_state(names: Any) -> bool:
    """Whether a dictionary has the names of such a file."""
    return "generator.gen_z.bias" in names and "embeddings.weight" in names


def settings(path: Path) -> dict[str, Any]:
    """The config.json that stands beside the weights; Malformed without one."""
    try:
        with (path.parent / CONFIG).open("rb") as file:
            data = file.read(_MOST)
        found = json.loads(data)
        layers = [(bool(up), int(i), int(o)) for up, i, o in found["layers"]]
        attention = int(found["attention_layer_position"])
        eps, stats = float(found["eps"]), int(found["n_stats"])
    except OSError:
        raise Malformed(
            f"BigGAN-deep's weights without their {CONFIG}, which has to stand beside them"
        ) from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Malformed(f"its {CONFIG} is damaged, or of another project") from None
    if not layers or not 0 <= attention <= len(layers) or stats < 1 or not 0 < eps < 1:
        raise Malformed(f"its {CONFIG} describes no network")
    return {"layers": layers, "attention": attention, "eps": eps, "n_stats": stats}


def read(source: Tensors, known: dict[str, Any]) -> Checkpoint:
    """The generator, its spectral normalisation multiplied out: W / σ, σ = uᵀ W v as stored.

    known: of `settings`. There is no discriminator: it was never published.
    """
    layers, position = known["layers"], known["attention"]
    embed = biggan.need(source, "embeddings.weight", 2)
    folded = _folded(source)
    made = dict(_renamed(folded, position, len(layers)))
    made["shared.weight"] = embed
    widths = _widths(folded, len(layers), position)
    cells = biggan.need(folded, "generator.gen_z.weight", 2)
    made["fc.weight"] = _channels_first(cells, widths[0])
    made["fc.bias"] = _channels_first(biggan.need(folded, "generator.gen_z.bias", 1), widths[0])
    config = {
        "resolution": 4 << sum(up for up, _, _ in layers),
        "widths": widths,
        "doubles": [i for i, (up, _, _) in enumerate(layers) if up],
        "attention": [position] if position < len(layers) else [],
        "deep": True,
        "z_dim": cells.shape[1] - embed.shape[0],
        "c_dim": embed.shape[1],
        "embed_dim": embed.shape[0],
        "hier": True,
        "bn_eps": known["eps"],
        "out_eps": known["eps"],
        "n_stats": known["n_stats"],
        "peer_rows": False,
        "spectral_norm": False,
        "last": biggan.need(folded, "generator.conv_to_rgb.weight", 4).shape[0],
        "img_channels": 3,
        "first_block": [4, 4],
    }
    if config["z_dim"] < 1 or config["resolution"] > 4096 or config["last"] < 3:
        raise Malformed("its tensors do not fit its configuration")
    tensors = stylegan2.checked(made, biggan.generator_shapes(config), "the generator")
    meta = {"origin": "huggingface pytorch-pretrained-BigGAN", "spectral_norm": "multiplied out"}
    named = {f"g_ema.{name}": value for name, value in tensors.items()}
    return Checkpoint("biggan", {"g": config, "d": None}, named, meta)


def _folded(source: Tensors) -> Tensors:
    """The tensors with `weight_orig` / (uᵀ W v) in the place of weight_orig, _u and _v."""
    made: Tensors = {}
    for name, value in source.items():
        base, _, end = name.rpartition(".")
        if end in ("weight_u", "weight_v", "num_batches_tracked"):
            continue
        if end == "weight_orig":
            made[f"{base}.weight"] = _smoothed(source, base)
        else:
            made[name] = value
    return made


def _smoothed(source: Tensors, base: str) -> np.ndarray:
    """A weight over its sigma."""
    weight = source[f"{base}.weight_orig"]
    if weight.ndim < 2 or weight.dtype.kind != "f":
        raise Malformed(f"{base}.weight_orig is {list(weight.shape)}")
    matrix = weight.reshape(len(weight), -1).astype(np.float32)
    u = biggan.need(source, f"{base}.weight_u", 1)
    v = biggan.need(source, f"{base}.weight_v", 1)
    if (len(u), len(v)) != matrix.shape:
        raise Malformed(f"{base}: its u and v are of other sizes than its weight")
    sigma = np.float32(u @ (matrix @ v))
    if not np.isfinite(sigma) or sigma == 0:
        raise Malformed(f"{base}: its spectral normalisation is {sigma}")
    smoothed: np.ndarray = (matrix / sigma).reshape(weight.shape)
    return smoothed


def _renamed(source: Tensors, position: int, count: int) -> Any:
    for name, value in source.items():
        if match := re.fullmatch(r"generator\.layers\.(\d{1,3})\.(.+)", name):
            i, rest = int(match[1]), match[2]
            if i == position < count:
                yield f"attention.{i}.{_attention(rest, name)}", _scalar(rest, value)
            else:
                # The attention layer has a number of its own.
                yield f"blocks.{i - (i > position)}.{_block(rest, name)}", value
        elif match := re.fullmatch(r"generator\.conv_to_rgb\.(weight|bias)", name):
            yield f"torgb.{match[1]}", value
        elif match := re.fullmatch(r"generator\.bn\.(\w+)", name):
            ends = {"weight": "gain", "bias": "shift"} | _MOMENTS
            yield f"norm.{_known(ends, match[1], name)}", value
        elif name not in ("embeddings.weight", "generator.gen_z.weight", "generator.gen_z.bias"):
            raise Malformed(f"a tensor that is not read: {name[:80]}")


_MOMENTS = {"running_means": "mean", "running_vars": "var"}


def _block(rest: str, name: str) -> str:
    if match := re.fullmatch(r"conv_([0-3])\.(weight|bias)", rest):
        return f"conv{match[1]}.{match[2]}"
    match = re.fullmatch(r"bn_([0-3])\.(.+)", rest)
    ends = {"scale.weight": "gain.weight", "offset.weight": "shift.weight"} | _MOMENTS
    if match is None:
        raise Malformed(f"a tensor that is not read: {name[:80]}")
    return f"norm{match[1]}.{_known(ends, match[2], name)}"


def _attention(rest: str, name: str) -> str:
    if rest == "gamma":
        return rest
    layer, _, end = rest.partition(".")
    if end != "weight":
        raise Malformed(f"a tensor that is not read: {name[:80]}")
    return f"{_known(_ATTENTION, layer, name)}.weight"


def _scalar(rest: str, value: np.ndarray) -> np.ndarray:
    return value.reshape(()) if rest == "gamma" and value.size == 1 else value


def _known(table: dict[str, str], key: str, name: str) -> str:
    if key not in table:
        raise Malformed(f"a tensor that is not read: {name[:80]}")
    return table[key]


def _widths(source: Tensors, count: int, position: int) -> list[int]:
    """Channels at the bottom and behind every block, by the convolutions."""
    found: list[int] = []
    for i in range(count):
        layer = f"generator.layers.{i + (i >= position)}"
        if not found:
            found.append(biggan.need(source, f"{layer}.conv_0.weight", 4).shape[1])
        found.append(biggan.need(source, f"{layer}.conv_3.weight", 4).shape[0])
    return found


def _channels_first(rows: np.ndarray, channels: int) -> np.ndarray:
    """[4 · 4 · C, …] as TensorFlow orders a picture -> [C · 4 · 4, …]."""
    if len(rows) != 16 * channels:
        raise Malformed(f"the first layer gives {len(rows)} numbers, not 4x4 of {channels}")
    return np.moveaxis(rows.reshape(16, channels, *rows.shape[1:]), 1, 0).reshape(rows.shape)
