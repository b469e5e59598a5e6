"""What a network file says about itself, as plain values, for `gantools model info`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gantools.io.network import Checkpoint, identity
from gantools.io.weights import sha256
from gantools.report import Usage

# Buffers: kept in the file, never trained.
_BUFFERS = re.compile(
    r"(w_avg|noise_const|transform|freqs|phases|magnitude_ema|up_filter|down_filter"
    r"|running_mean|running_var|num_batches_tracked|\.mean|\.var|\.u)$"
)


def network(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything known about one network, JSON values only. Usage where its parts do not fit."""
    try:
        return _network(path, checkpoint)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise Usage(f"{path.name}: its tensors do not fit its configuration") from None


def _network(path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    meta, config = checkpoint.meta, checkpoint.config
    parts = [name for name in ("g_ema", "g", "d", "spectral") if checkpoint.part(name)]
    if size(config["g"]) is None:
        raise ValueError("no size")
    known: dict[str, Any] = {
        "file": path.name,
        "family": checkpoint.family,
        "resolution": config["g"].get("resolution"),
        "size": size(config["g"]),
        "parts": parts,
        "parameters": {name: parameters(checkpoint.part(name)) for name in parts},
        "id": meta.get("id") or identity(checkpoint.part("g_ema")),
        "sha256": sha256(path) if path.is_file() else None,
    }
    told = ("trained_on", "images_shown", "licence", "crop", "alpha", "sources", "derived_from")
    known |= {name: meta.get(name) for name in told}
    known |= {name: value for name, value in meta.items() if name not in known}
    known["config"] = config
    known["layers"] = layers(checkpoint)
    return known


def size(config: Mapping[str, Any]) -> list[int] | None:
    """[height, width] of a generator's pictures, by its configuration; None where it has none."""
    resolution, block = config.get("resolution"), config.get("first_block", [4, 4])
    if not isinstance(resolution, int) or not isinstance(block, list) or len(block) != 2:
        return None
    if not all(type(n) is int and 4 <= n <= 16 for n in block):  # as networks.sizes has it
        return None
    return [resolution * n // 4 for n in block]


def parameters(tensors: Mapping[str, Any]) -> int:
    """How many numbers are trained: without noise maps, averages and filters."""
    return sum(math.prod(t.shape) for name, t in tensors.items() if not _BUFFERS.search(name))


def layers(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """One entry per row of w+: its 0-based layer (--layers) and 1-based block (S2.1)."""
    rows = _ROWS[checkpoint.family](checkpoint.part("g_ema"))
    config = checkpoint.config["g"]
    first = config.get("fnz", 0) or 1  # the block at which it starts
    return [
        {
            "layer": block - 1,
            "block": block,
            **row,
            "size": size({**config, "resolution": row["resolution"]}),
        }
        for block, row in enumerate(rows, first)
    ]


def _stylegan2(g_ema: Mapping[str, Any]) -> list[dict[str, Any]]:
    ends = (".conv1.weight", ".torgb.weight")
    sizes = sorted({int(n.split(".")[1][1:]) for n in g_ema if n.endswith(ends)})
    rows = []
    for size in sizes:
        for name in (f"b{size}.conv0", f"b{size}.conv1"):
            if f"synthesis.{name}.weight" in g_ema:
                rows.append(_row(g_ema, name, size))
                # A ToRGB shares its w with the next resolution's conv0.
                if name.endswith("0") and f"synthesis.b{size // 2}.torgb.weight" in g_ema:
                    rows[-1]["modules"] += f" b{size // 2}.torgb"
    return [*rows, _row(g_ema, f"b{sizes[-1]}.torgb", sizes[-1])]


def _stylegan(g_ema: Mapping[str, Any]) -> list[dict[str, Any]]:
    sizes = sorted(int(n.split(".")[1][1:]) for n in g_ema if n.endswith(".conv1.weight"))
    rows = [_row(g_ema, f"b{size}.{name}", size) for size in sizes for name in ("conv0", "conv1")]
    for i, size in enumerate(sizes):  # its ToRGB has no style of its own
        rows[2 * i + 1]["modules"] += f" b{size}.torgb"
    rows[0]["modules"] = "b4.const " + rows[0]["modules"]
    return rows


def _stylegan3(g_ema: Mapping[str, Any]) -> list[dict[str, Any]]:
    named = (re.fullmatch(r"synthesis\.(L(\d+)_(\d+)_\d+)\.weight", name) for name in g_ema)
    found = sorted((int(m[2]), m[1], int(m[3])) for m in named if m)
    first = {"resolution": found[0][2], "modules": "input"}
    first["channels"] = g_ema["synthesis.input.weight"].shape[0]
    return [first, *(_row(g_ema, name, size) for _, name, size in found)]


def _row(g_ema: Mapping[str, Any], name: str, size: int) -> dict[str, Any]:
    channels = g_ema[f"synthesis.{name}.bias"].shape[0]
    return {"resolution": size, "modules": name, "channels": channels}


def _none(g_ema: Mapping[str, Any]) -> list[dict[str, Any]]:
    return []


_ROWS = {
    "biggan": _none,
    "pggan": _none,
    "sngan": _none,
    "stylegan": _stylegan,
    "stylegan2": _stylegan2,
    "stylegan3": _stylegan3,
}
