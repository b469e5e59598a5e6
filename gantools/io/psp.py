"""Checkpoints of pixel2style2pixel: an encoder and the StyleGAN2 that it is for (papers.md S4.18).

One state dictionary has both, the generator under the names of rosinality's repository.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gantools.io import rosinality
from gantools.io.arrays import Arrays, is_array
from gantools.io.encoder import EncoderFile
from gantools.io.inert import Malformed
from gantools.io.network import Checkpoint

KIND = "GradualStyleEncoder"  # what the repository calls the encoder of the paper
SEEN = 256  # pixels that it was made for
_DECODER, _ENCODER = "decoder.", "encoder."
_READ = re.compile(
    r"(?P<trunk>input_layer\.\d\.\w+|body\.\d{1,3}\.(shortcut_layer|res_layer)\.\d(\.fc\d)?\.\w+)"
    r"|styles\.\d{1,2}\.(convs\.\d{1,2}|linear)\.\w+|latlayer[12]\.\w+"
)


def is_checkpoint(value: Any) -> bool:
    """Whether a dictionary is one of these: {state_dict: {decoder.input.input: …}, …}."""
    state = value.get("state_dict") if isinstance(value, dict) else None
    return isinstance(state, dict) and _DECODER + "input.input" in state


def read(file: dict[Any, Any], arrays: Arrays) -> Checkpoint:
    """The generator; `left_out` in its story says where the encoder is of another kind."""
    mean = _mean(file, arrays)
    found = rosinality.read(
        {"g_ema": _part(file, _DECODER)}, arrays, None if mean is None else mean[0]
    )
    found.meta["origin"] = "pixel2style2pixel checkpoint"
    if why := _why_not(file, arrays, found.config["g"]):
        found.meta["left_out"] = [f"the encoder: {why}"]
    return found


def encoder(
    file: dict[Any, Any], arrays: Arrays, checkpoint: Checkpoint, name: str
) -> EncoderFile | None:
    """The encoder of the checkpoint that `read` gave, for a network file of that name.

    None where it is of another kind.
    """
    g = checkpoint.config["g"]
    if _why_not(file, arrays, g):
        return None
    tensors = dict(_renamed(_state(file, arrays)))
    layers = 2 * int(math.log2(g["resolution"])) - 2
    mean = _mean(file, arrays)
    if mean is None:  # what it was trained to give is w itself
        mean = np.zeros((1, g["w_dim"]), np.float32)
    tensors["mean"] = np.ascontiguousarray(np.broadcast_to(mean, (layers, mean.shape[1])))
    units = {n.split(".")[2] for n in tensors if n.startswith("trunk.body.")}
    config = {
        "size": [g["resolution"], g["resolution"]],
        "img_channels": int(tensors["trunk.input_layer.0.weight"].shape[1]),
        "num_ws": layers,
        "w_dim": g["w_dim"],
        "width": int(tensors["styles.0.linear.weight"].shape[1]),
        "depth": 2 * len(units) + 2,
    }
    story = {"name": name, "id": checkpoint.meta["id"]}
    origin = {n: checkpoint.meta[n] for n in ("origin", "sources")}
    return EncoderFile("psp", config, tensors, story, origin)


def _part(file: dict[Any, Any], head: str) -> dict[str, Any]:
    state = file["state_dict"]
    named = {n: v for n, v in state.items() if isinstance(n, str)}
    return {n.removeprefix(head): v for n, v in named.items() if n.startswith(head)}


def _mean(file: dict[Any, Any], arrays: Arrays) -> np.ndarray | None:
    """The mean w, [1 or layers, w_dim]; None where the encoder's w are not added to any."""
    stored = file.get("latent_avg")
    if not is_array(stored):
        return None
    mean = arrays.array(stored, "latent_avg")
    mean = mean.reshape(1, -1) if mean.ndim == 1 else mean
    if mean.ndim != 2 or not len(mean):
        raise Malformed(f"latent_avg of the impossible shape {list(mean.shape)}")
    return mean


def _state(file: dict[Any, Any], arrays: Arrays) -> dict[str, np.ndarray]:
    part = _part(file, _ENCODER)
    return {n: arrays.array(v, n[:80]) for n, v in part.items() if "num_batches" not in n}


def _renamed(state: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in state.items():
        match = _READ.fullmatch(name)
        if match is None:
            raise Malformed(f"encoder: a tensor that is not read: {name[:80]}")
        yield ("trunk." + name if match["trunk"] else name), value


def _why_not(file: dict[Any, Any], arrays: Arrays, g: Mapping[str, Any]) -> str:
    """Why its encoder is none that is read; "" where it is one."""
    options = file.get("opts")
    kind = options.get("encoder_type") if isinstance(options, dict) else None
    if kind != KIND:
        return f"of the kind {kind}, which is not read"
    state = _state(file, arrays)
    first, heads = "input_layer.0.weight", [n for n in state if n.startswith("styles.0.convs.")]
    if first not in state or "styles.0.linear.weight" not in state:
        raise Malformed(f"the encoder lacks {first} or its styles")
    channels = state[first].shape[1] if state[first].ndim == 4 else 0
    if channels != 3:
        return f"it reads pictures of {channels} channels, not photographs"
    seen = min(SEEN, int(g["resolution"]))
    if len(heads) // 2 != max(1, round(math.log2(seen / 16))):
        return f"it reads {SEEN}x{SEEN} pixels, and the network makes {seen}x{seen}"
    return ""
