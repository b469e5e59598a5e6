"""Files of attribute models: how features move along a direction (papers.md S2.9).

A safetensors file of kind `attribute`: for each name `m.<name>` [C+R, C+R], the 1x1 convolution on
features f (C channels) and the picture so far r (R, none before block 3), and `v.<name>`, the
direction of the styles that it was trained beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gantools.io import network as networks
from gantools.io import tensorfile
from gantools.io.direction import MOST_BYTES, Direction
from gantools.report import Usage

FORMAT = 1
KIND = "attribute"


@dataclass(frozen=True)
class AttributeModel:
    """What a strength of 1 along `direction` does to the features in front of block `first`.

    weight [C+R, C+R], float32: rows are channels of (df, dr), columns of (f, r); channels (C, R).
    direction: of the styles from block `first` on; its layers are all, rows of zeros stay.
    """

    direction: Direction
    first: int
    channels: tuple[int, int]
    weight: np.ndarray
    training: dict[str, Any] = field(default_factory=dict)

    def story(self) -> dict[str, Any]:
        """Its entry in the file's metadata."""
        told = {"first": self.first, "channels": list(self.channels), "training": self.training}
        return {**self.direction.story(), **told}


def is_one(path: Path) -> bool:
    """Whether the file's header says that it holds attribute models."""
    return networks.header(path).get("kind") == KIND


def write(path: Path, models: Mapping[str, AttributeModel], dtype: str = "float32") -> None:
    """Write models of one network atomically; dtype: float32 or float16, of all tensors."""
    story = {
        "format": FORMAT,
        "kind": KIND,
        "network": next(iter(models.values())).direction.network,
        "models": {name: model.story() for name, model in sorted(models.items())},
    }
    tensors = {f"m.{name}": model.weight.astype(dtype) for name, model in models.items()}
    tensors |= {f"v.{n}": model.direction.vector.astype(dtype) for n, model in models.items()}
    tensorfile.write(path, tensors, story)


def read(path: Path) -> dict[str, AttributeModel]:
    """Every model of a file by name; Usage where it is none, or damaged."""
    if path.stat().st_size > MOST_BYTES:
        raise Usage(f"{path.name}: {path.stat().st_size:,} bytes are too many for models")
    story, tensors = tensorfile.read(path)
    if story.get("kind") != KIND:
        raise Usage(f"{path.name}: a {story.get('kind', 'safetensors')} file, not attribute models")
    if story.get("format") != FORMAT:
        raise Usage(f"{path.name}: attribute model format {story.get('format')} is unknown here")
    try:
        network, entries = dict(story.get("network") or {}), dict(story["models"])
        found = {name: _model(name, entries[name], network, tensors) for name in sorted(entries)}
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise Usage(f"{path.name}: not a file of attribute models ({e})") from None
    if not found or len(tensors) != 2 * len(found):
        raise Usage(f"{path.name}: its tensors are not those of the models that it names")
    return found


def _model(
    name: str, entry: Any, network: dict[str, Any], tensors: Mapping[str, np.ndarray]
) -> AttributeModel:
    """One model, checked; ValueError where something does not fit."""
    weight, vector = (_numbers(f"{letter}.{name}", tensors) for letter in "mv")
    first, (c, r) = int(entry["first"]), map(int, entry["channels"])
    if first < 2 or c < 1 or (r > 0) != (first > 2):
        raise ValueError(f"{name}: channels {c} and {r} in front of block {first}")
    if weight.shape != (c + r, c + r):
        raise ValueError(f"m.{name} is {list(weight.shape)}, not {[c + r, c + r]}")
    if vector.ndim not in (1, 2) or not vector.any():
        raise ValueError(f"v.{name} is {list(vector.shape)}, or zero")
    direction = Direction(
        name,
        vector,
        space=entry.get("space"),
        unit=str(entry.get("unit", "raw")),
        sd_in_label_units=entry.get("sd_in_label_units"),
        default_strength=float(entry.get("default_strength", 1.0)),
        network=network,
        fit=dict(entry.get("fit") or {}),
    )
    return AttributeModel(direction, first, (c, r), weight, dict(entry.get("training") or {}))


def _numbers(name: str, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in tensors:
        raise ValueError(f"there is no tensor {name}")
    value = tensors[name]
    if value.dtype.kind != "f" or 0 in value.shape or not np.isfinite(value).all():
        raise ValueError(f"{name} is empty, or not finite floating point")
    return value.astype(np.float32)
