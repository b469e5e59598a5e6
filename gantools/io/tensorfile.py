"""Safetensors files: checked before any byte is believed, mapped, and written tensor by tensor.

The library's own reader wants every tensor in memory to write a file; a network of gigabytes
should cost one tensor. The format is a length, a JSON header and the bytes, so it is done here.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gantools.io.atomic import AtomicFile, real_target
from gantools.report import Usage

_KINDS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {np.dtype(kind): name for name, kind in _KINDS.items() if name != "BF16"}
_LONGEST_HEADER = 100_000_000
_PIECE = 1 << 24


class _Bad(ValueError):
    """What is wrong with a file, as the end of a line."""


def looks_like(path: Path) -> bool:
    """Whether the bytes begin as safetensors do: a length below 2^40, then a JSON object."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as e:
        raise Usage(f"{path}: {(e.strerror or str(e)).lower()}") from None
    return len(head) == 9 and head[5:8] == b"\0\0\0" and head[8:] == b"{"


def called(story: Mapping[str, Any]) -> str:
    """What a header says that its file is: `a latent file`, `an encoder file`, …"""
    kind = str(story.get("kind", "safetensors"))
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind} file"


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """gantools' own metadata ({} without) and the tensors, as views of the privately mapped file.

    bfloat16 is widened to float32. Raises Usage for a damaged file: header longer than the file,
    offsets beyond it, tensors that overlap, leave holes, or do not fit their shapes.
    """
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        header, start = _header(data)
        story = _story(header.pop("__metadata__", {}))
        return story, _tensors(header, data[start:])
    except _Bad as why:
        raise Usage(f"{path.name}: damaged safetensors: {why}") from None
    except ValueError:
        raise Usage(f"{path.name}: an empty file") from None
    except OSError as e:
        raise Usage(f"{path}: {(e.strerror or str(e)).lower()}") from None


def write(path: Path, tensors: Mapping[str, np.ndarray], story: Mapping[str, Any]) -> None:
    """Write atomically, one tensor after another; the same tensors give the same bytes.

    Raises Usage where the disk does not take it, TypeError for an element type without a name.
    """
    # Wide elements first, so that each tensor is aligned to its element.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"gantools": json.dumps(story)}}
    at = 0
    for name in order:
        value = tensors[name]
        kind = _NAMES.get(value.dtype.newbyteorder("="))
        if kind is None:
            raise TypeError(f"{name}: elements of {value.dtype} have no place in safetensors")
        header[name] = {
            "dtype": kind,
            "shape": list(value.shape),
            "data_offsets": [at, at + value.nbytes],
        }
        at += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with AtomicFile(real_target(path)) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            _write_one(file, tensors[name])
        file.sync()


def _write_one(file: AtomicFile, value: np.ndarray) -> None:
    whole = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    raw = whole.reshape(-1).view(np.uint8).data if whole.size else b""
    for at in range(0, len(raw), _PIECE):
        file.write(raw[at : at + _PIECE])


def _header(data: memoryview) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _LONGEST_HEADER):
        raise _Bad(f"the header of {length} bytes is longer than the file")
    try:
        header = json.loads(bytes(data[8 : 8 + length]), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _Bad("the header is no JSON, or names a tensor twice") from None
    if not isinstance(header, dict):
        raise _Bad("the header is no JSON object")
    return header, 8 + length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Bad("the header names a tensor twice")
    return made


def _story(metadata: Any) -> dict[str, Any]:
    if not isinstance(metadata, dict):
        raise _Bad("the metadata is no JSON object")
    story: Any = {}
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        story = json.loads(metadata.get("gantools", "{}"))
    return story if isinstance(story, dict) else {}


def _tensors(header: dict[str, Any], data: memoryview) -> dict[str, np.ndarray]:
    spans = []
    tensors = {}
    for name, entry in header.items():
        kind, shape, start, end = _entry(name, entry)
        if end > len(data):
            raise _Bad(f"{name[:80]} reaches beyond the end of the file")
        dtype = np.dtype(_KINDS[kind])
        if math.prod(shape) * dtype.itemsize != end - start:
            raise _Bad(f"{name[:80]} has not as many bytes as its shape needs")
        spans.append((start, end, name))
        value = np.frombuffer(data[start:end], dtype).reshape(shape)
        tensors[name] = (value.astype("<u4") << 16).view("<f4") if kind == "BF16" else value
    spans.sort()
    for first, second in itertools.pairwise(spans):
        if first[1] > second[0]:
            raise _Bad(f"{first[2][:80]} and {second[2][:80]} overlap")
    if sum(end - start for start, end, _ in spans) != len(data):
        raise _Bad("the tensors leave bytes of the file unused")
    return tensors


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    try:
        kind, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise _Bad(f"{name[:80]} is not described") from None
    sizes = [start, end, *shape] if isinstance(shape, list) and len(shape) <= 32 else [-1]
    if any(isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 1 << 48 for n in sizes):
        raise _Bad(f"{name[:80]} has an impossible shape or offset")
    if not isinstance(kind, str) or kind not in _KINDS or start > end:
        raise _Bad(f"{name[:80]} has an element type or offset that is not read")
    return kind, tuple(shape), start, end
