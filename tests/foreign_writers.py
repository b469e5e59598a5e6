"""Writes files as other projects' code does, for the readers' tests: no code of theirs is needed.

`nvidia` makes a persistent module stream, `python2` the dialects of Python 2's pickle.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from types import ModuleType
from typing import Any

import numpy as np
import torch

from gantools.io.inert import Global, Record


@contextlib.contextmanager
def pretended(*names: tuple[str, str]) -> Iterator[list[Any]]:
    """Classes under the given (module, name), which exist only while a stream is written."""
    before = dict(sys.modules)
    made = []
    for module, name in names:
        for i in range(module.count(".") + 1):
            part = ".".join(module.split(".")[: i + 1])
            sys.modules.setdefault(part, ModuleType(part))
        kind = type(name, (), {"__module__": module, "__qualname__": name})
        setattr(sys.modules[module], name, kind)
        made.append(kind)
    try:
        yield made
    finally:
        for module in set(sys.modules) - set(before):
            del sys.modules[module]


class Called:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.args


def nvidia(
    reconstruct: Callable[..., Any],
    tensors: Mapping[str, torch.Tensor],
    attributes: Mapping[str, Mapping[str, Any]],
    kind: str = "Generator",
) -> Called:
    """A persistent module of NVIDIA's with these tensors; attributes by the module's name."""

    def module(name: str, class_name: str) -> Called:
        head = f"{name}." if name else ""
        inside = [n[len(head) :] for n in tensors if n.startswith(head)]
        own = {n: tensors[head + n] for n in inside if "." not in n}
        children = dict.fromkeys(n.split(".")[0] for n in inside if "." in n)
        parameters = {n: torch.nn.Parameter(t) for n, t in own.items() if t.is_floating_point()}
        state = {
            "training": False,
            "_parameters": OrderedDict(parameters),
            "_buffers": OrderedDict(absent=None),
            "_non_persistent_buffers_set": set(),
            "_modules": OrderedDict((c, module(head + c, c.capitalize())) for c in children),
            **attributes.get(name, {}),
        }
        meta = {"type": "class", "version": 6, "module_src": "raise SystemExit('run!')"}
        return Called(reconstruct, {**meta, "class_name": class_name, "state": state})

    return module("", kind)


PERSISTENT = ("torch_utils.persistence", "_reconstruct_persistent_obj")


def stylegan2_attributes(tensors: Mapping[str, Any], clamp: float | None) -> dict[str, Any]:
    """What NVIDIA's layers store beside their tensors."""
    layers = {n.rpartition(".")[0] for n in tensors if n.endswith((".noise_const", "torgb.bias"))}
    found: dict[str, Any] = {name: {"conv_clamp": clamp} for name in layers}
    found["mapping.fc0"] = {"bias_gain": np.float64(0.01), "activation": "lrelu"}
    return found


# ----------------------------------------------------------------------------
# Python 2: str is text and bytes at once.


def python2(value: Any, *, text: bool) -> bytes:
    """A parsed pickle written again as Python 2 would: protocol 0 (text) or 2."""
    out = BytesIO()
    if not text:
        out.write(b"\x80\x02")
    _write(value, out, text)
    out.write(b".")
    return out.getvalue()


def _write(value: Any, out: BytesIO, text: bool) -> None:
    if value is None:
        out.write(b"N")
    elif isinstance(value, bool):
        out.write((b"I01\n" if value else b"I00\n") if text else (b"\x88" if value else b"\x89"))
    elif isinstance(value, int):
        out.write(b"I%d\n" % value if text else b"J" + value.to_bytes(4, "little", signed=True))
    elif isinstance(value, float):
        out.write(b"F%s\n" % repr(value).encode())
    elif isinstance(value, (str, bytes, memoryview)):
        _write_string(
            value.encode("latin-1") if isinstance(value, str) else bytes(value), out, text
        )
    elif isinstance(value, tuple):
        _write_all(value, out, text, b"t")
    elif isinstance(value, list):
        _write_all(value, out, text, b"l")
    elif isinstance(value, dict):
        _write_all([x for pair in value.items() for x in pair], out, text, b"d")
    elif isinstance(value, Global):
        out.write(b"c" + value.pair[0].encode() + b"\n" + value.pair[1].encode() + b"\n")
    else:
        _write_record(value, out, text)


def _write_string(raw: bytes, out: BytesIO, text: bool) -> None:
    if text:
        # Python 2's repr: printable bytes as they are, the rest escaped.
        escaped = "".join(
            chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in raw
        )
        out.write(b"S'" + escaped.encode() + b"'\n")
    elif len(raw) < 256:
        out.write(b"U" + bytes([len(raw)]) + raw)
    else:
        out.write(b"T" + len(raw).to_bytes(4, "little") + raw)


def _write_all(values: Any, out: BytesIO, text: bool, close: bytes) -> None:
    out.write(b"(")
    for value in values:
        _write(value, out, text)
    out.write(close)


def _write_record(record: Record, out: BytesIO, text: bool) -> None:
    _write(Global(record.pair), out, text)
    _write(record.args, out, text)
    out.write(b"R")
    if record.state is not None:
        _write(record.state, out, text)
        out.write(b"b")


def dumped(value: Any, protocol: int = 4) -> bytes:
    """pickle.dumps."""
    return pickle.dumps(value, protocol)
