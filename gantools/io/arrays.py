"""Arrays out of a parsed pickle: numpy's and torch's records, every size checked before it is used.

torch itself enlarges a storage that is too small for the shape a file claims; here shape, stride
and offset must fit what is really there, so nothing is allocated on a file's word.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gantools.io.inert import Global, Malformed, Pair, Record

_PARAMETERS: frozenset[Pair] = frozenset(
    {("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_parameter_with_state")}
)
_TENSORS: frozenset[Pair] = frozenset(
    {("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")}
)
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_RECONSTRUCT: frozenset[Pair] = frozenset((m, "_reconstruct") for m in _NUMPY)
_SCALAR: frozenset[Pair] = frozenset((m, "scalar") for m in _NUMPY)
_FROM_BUFFER: frozenset[Pair] = frozenset(
    {("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer")}
)
_DTYPE: Pair = ("numpy", "dtype")
_ENCODE: Pair = ("_codecs", "encode")
_EMPTY: frozenset[Pair] = frozenset({("builtins", "bytes"), ("__builtin__", "bytes")})
_CODES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})

# The element type of each torch storage; bfloat16 is read as raw bits and widened.
BFLOAT16 = "bfloat16"
STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "UntypedStorage": "u1",
}
_MOST_DIMENSIONS = 16


@dataclass(slots=True)
class Storage:
    """The bytes behind some tensors: elements of `kind` (a numpy dtype, or bfloat16)."""

    kind: str
    data: memoryview

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("<u2" if self.kind == BFLOAT16 else self.kind)


def storage_kind(value: Any) -> str:
    """The element type that a storage's class name stands for."""
    if isinstance(value, Global):
        module, name = value.pair
        if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
            return STORAGES[name]
    raise Malformed("a tensor of a type that is not read")


class Arrays:
    """Makes arrays of the records in one file; views of its bytes wherever that is possible.

    `storage` gives the Storage that a tensor's record names. What all arrays claim together is
    limited, so that one storage cannot be sold thousands of times.
    """

    def __init__(self, size: int, storage: Callable[[Any], Storage]) -> None:
        self.storage = storage
        self.left = 4 * size + (1 << 20)

    def array(self, value: Any, what: str) -> np.ndarray:
        """The array of one record. `what` names it in the error; Malformed where it is none."""
        try:
            if isinstance(value, Record) and value.pair in _PARAMETERS:
                value = value.args[0]
            if isinstance(value, Record) and value.pair in _TENSORS:
                made = self._tensor(*value.args[:4])
            else:
                made = _numpy(value)
        except Malformed as why:
            raise Malformed(f"{what}: {why}") from None
        except (TypeError, ValueError, LookupError, OverflowError, AttributeError):
            raise Malformed(f"{what}: the tensor's description is damaged") from None
        self.left -= made.nbytes
        if self.left < 0:
            raise Malformed(f"{what}: the tensors claim more than the file holds")
        return made

    def _tensor(self, source: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
        storage = self.storage(source)
        width = storage.dtype.itemsize
        count = len(storage.data) // width
        shape, steps, start = _counts(size), _counts(stride), _counts((offset,))[0]
        if len(shape) != len(steps):
            raise Malformed("shape and stride differ in length")
        total = math.prod(shape)
        if total > count:
            raise Malformed(f"claims {total} elements over a storage of {count}")
        if total and start + sum((n - 1) * s for n, s in zip(shape, steps, strict=True)) >= count:
            raise Malformed("reaches beyond its storage")
        if total > 1 and any(n > 1 and s == 0 for n, s in zip(shape, steps, strict=True)):
            raise Malformed("repeats its elements (stride 0)")
        view: np.ndarray = np.ndarray(
            shape,
            storage.dtype,
            buffer=storage.data if total else b"",
            offset=start * width if total else 0,
            strides=[s * width for s in steps],
        )
        return _widened(view) if storage.kind == BFLOAT16 else view


def is_array(value: Any) -> bool:
    """Whether a record stands for an array or a tensor."""
    known = _PARAMETERS | _TENSORS | _RECONSTRUCT | _SCALAR | _FROM_BUFFER
    return isinstance(value, Record) and value.pair in known


def number(value: Any) -> Any:
    """A Python number where the value is a numpy scalar's record; everything else unchanged."""
    if isinstance(value, Record) and value.pair in _SCALAR:
        try:
            return _numpy(value).item()
        except (TypeError, ValueError, LookupError, AttributeError):
            raise Malformed("a number is damaged") from None
    return value


def _counts(values: Any) -> tuple[int, ...]:
    made = tuple(values)
    if len(made) > _MOST_DIMENSIONS:
        raise Malformed("has too many dimensions")
    for value in made:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 48:
            raise Malformed("has an impossible shape, stride or offset")
    return made


def _widened(bits: np.ndarray) -> np.ndarray:
    return (bits.astype("<u4") << 16).view("<f4")  # exact: bfloat16 is float32's upper half


def _numpy(value: Any) -> np.ndarray:
    if not isinstance(value, Record):
        raise Malformed("is no array")
    if value.pair in _SCALAR:
        return _filled(value.args[0], (), False, value.args[1])
    if value.pair in _FROM_BUFFER:
        data, dtype, shape, order = value.args
        return _filled(dtype, shape, order == "F", data)
    if value.pair in _RECONSTRUCT:
        shape, dtype, fortran, data = value.state[-4:]
        return _filled(dtype, shape, bool(fortran), data)
    raise Malformed("is no array")


def _filled(dtype: Any, shape: Any, fortran: bool, data: Any) -> np.ndarray:
    kind, sizes, raw = _dtype(dtype), _counts(shape), raw_bytes(data)
    if math.prod(sizes) * kind.itemsize != len(raw):
        raise Malformed("does not hold as many bytes as its shape needs")
    made = np.frombuffer(raw, kind).reshape(sizes, order="F" if fortran else "C")
    return made.astype(kind.newbyteorder("=")) if kind.byteorder == ">" else made


def _dtype(value: Any) -> np.dtype[Any]:
    if isinstance(value, Record) and value.pair == _DTYPE and _is_code(value.args[0]):
        order = value.state[1] if value.state else "="
        if order in ("<", ">", "|", "="):
            return np.dtype(value.args[0]).newbyteorder(order)
    raise Malformed("has an element type that is not read")


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and value in _CODES


def raw_bytes(value: Any) -> memoryview | bytes:
    """The bytes that a value stands for, in each protocol's own way; Malformed for others."""
    if isinstance(value, Record) and value.pair in _EMPTY and value.args == ():
        return b""
    if isinstance(value, Record) and value.pair == _ENCODE:  # protocol 2 from Python 3
        text, coding = value.args
        if coding != "latin1":
            raise Malformed("has bytes in an unknown coding")
        value = text
    if isinstance(value, str):  # Python 2
        return value.encode("latin-1")
    if isinstance(value, (memoryview, bytes)):
        return value
    raise Malformed("has no bytes")
