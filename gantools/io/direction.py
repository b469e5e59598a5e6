"""Direction files: ours (safetensors), raw .npy and torch tensors of other projects (S2.7).

No pickle is run: numpy refuses object arrays, and torch files go through io.torchfile.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from gantools.io import tensorfile
from gantools.io.latent import read_story
from gantools.report import Usage

FORMAT = 1
MOST_BYTES = 1 << 28
_NPY = b"\x93NUMPY"


@dataclass(frozen=True)
class Direction:
    """One direction: vector [dim] or [L, dim] and what is known of it.

    unit: "sd" (strength 1 is one standard deviation of the attribute over psi = 1 samples) or
    "raw" (strength 1 is the vector as its file has it). network: {name, id} of its fit, or {}.
    """

    name: str
    vector: np.ndarray
    space: str | None = None
    unit: str = "raw"
    sd_in_label_units: float | None = None
    layers: tuple[int, ...] | None = None
    default_strength: float = 1.0
    network: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)

    def story(self) -> dict[str, Any]:
        """Its entry in the file's metadata."""
        return {
            "space": self.space,
            "unit": self.unit,
            "sd_in_label_units": self.sd_in_label_units,
            "layers": None if self.layers is None else list(self.layers),
            "default_strength": self.default_strength,
            **({"fit": self.fit} if self.fit else {}),
        }


def write(path: Path, directions: Mapping[str, Direction]) -> None:
    """Write directions of one network atomically; equal directions give equal bytes."""
    network = next(iter(directions.values())).network
    story = {
        "format": FORMAT,
        "kind": "direction",
        "network": network,
        "directions": {name: d.story() for name, d in sorted(directions.items())},
    }
    tensors = {n: np.ascontiguousarray(d.vector, np.float32) for n, d in sorted(directions.items())}
    tensorfile.write(path, tensors, story)


def read(path: Path) -> dict[str, Direction]:
    """Every direction of a file by name, whatever its format; Usage where it is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Usage(f"{path.name}: {path.stat().st_size:,} bytes are too many for directions")
        data = path.read_bytes()
    except OSError as e:
        raise Usage(f"{path}: {(e.strerror or str(e)).lower()}") from None
    try:
        found = _parse(data, path.stem)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, EOFError) as e:
        raise Usage(f"{path.name}: not a direction file ({e})") from None
    for direction in found.values():
        _check(direction, path.name)
    if not found:
        raise Usage(f"{path.name}: holds no direction")
    return found


def _parse(data: bytes, stem: str) -> dict[str, Direction]:
    if data.startswith(_NPY):
        return {stem: Direction(stem, _shaped(_numpy(data)))}
    if data.startswith((b"PK\x03\x04", b"\x80\x02")):
        return _torch(data, stem)
    return _ours(data)


def _ours(data: bytes) -> dict[str, Direction]:
    story = read_story(data)
    if story.get("kind") != "direction":
        raise ValueError(tensorfile.called(story))
    if story.get("format") != FORMAT:
        raise ValueError(f"direction format {story.get('format')} is unknown here")
    network, entries = story.get("network") or {}, story["directions"]
    made = {}
    for name, vector in sorted(safetensors.numpy.load(data).items()):
        entry = entries[name]
        layers = entry.get("layers")
        made[name] = Direction(
            name,
            vector,
            space=entry.get("space"),
            unit=str(entry.get("unit", "raw")),
            sd_in_label_units=entry.get("sd_in_label_units"),
            layers=None if layers is None else tuple(int(layer) for layer in layers),
            default_strength=float(entry.get("default_strength", 1.0)),
            network=dict(network),
            fit=dict(entry.get("fit") or {}),
        )
    return made


def _numpy(data: bytes) -> np.ndarray:
    """A plain array of a .npy file; what its header claims has to be there."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"npy version {version} is unknown here")
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError(
            "a pickled array, which is never opened: save the boundary alone, as plain numbers"
        )
    if dtype.kind not in "fiu":
        raise ValueError(f"its numbers are of type {dtype}")
    count = int(np.prod(shape, dtype=object))
    at = stream.tell()
    if count * dtype.itemsize != len(data) - at:
        raise ValueError(f"its header claims {list(shape)}, which is not what the file holds")
    flat = np.frombuffer(data, dtype, count, at)
    return flat.reshape(shape, order="F" if fortran else "C")


# e4e's directions are bare tensors; its PCA files are dicts of mean, comp [K,1,dim] and std [K].
def _torch(data: bytes, stem: str) -> dict[str, Direction]:
    from gantools.io import torchfile
    from gantools.io.arrays import Arrays
    from gantools.io.inert import Budget

    view, budget = memoryview(data), Budget.of(len(data))
    opened = torchfile.archive if data.startswith(b"PK") else torchfile.legacy
    value, storages = opened(view, budget)
    arrays = Arrays(len(data), storages)
    if not isinstance(value, dict):
        return {stem: Direction(stem, _shaped(arrays.array(value, stem)))}
    if not {"comp", "std"} <= set(value):
        raise ValueError("a dictionary without the entries comp and std")
    comp, std = arrays.array(value["comp"], "comp"), arrays.array(value["std"], "std")
    if comp.ndim not in (2, 3) or std.shape != comp.shape[:1]:
        raise ValueError(f"comp is {list(comp.shape)} and std {list(std.shape)}")
    vectors = comp.reshape(len(comp), -1) * std[:, None]
    names = [f"{stem}{i + 1:02d}" for i in range(len(vectors))]
    return {n: Direction(n, v, space="w", unit="sd") for n, v in zip(names, vectors, strict=True)}


def _shaped(array: np.ndarray) -> np.ndarray:
    """(dim,), (1,dim), (L,dim) or (1,L,dim) as [dim] or [L,dim], float64."""
    vector = np.asarray(array, np.float64)
    if vector.ndim == 3 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim not in (1, 2):
        raise ValueError(
            f"its shape is {list(np.shape(array))}; (dim,), (1,dim) or (L,dim) is read"
        )
    return vector


def _check(direction: Direction, file: str) -> None:
    vector = direction.vector
    where = f"{file}: direction {direction.name}"
    if vector.ndim not in (1, 2) or vector.dtype.kind != "f" or 0 in vector.shape:
        raise Usage(f"{where} has shape {list(vector.shape)} and type {vector.dtype}")
    if not np.isfinite(vector).all():
        raise Usage(f"{where} holds values that are not finite")
    if not np.any(vector):
        raise Usage(f"{where} is zero")
