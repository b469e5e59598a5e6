"""Weights of TensorFlow Lite files (.tflite): the convolutions' kernels and biases, quantised.

The file is a FlatBuffer of TensorFlow Lite's schema, version 3: tables of fields at offsets, read
here as far as weights need it. Nothing in it is run.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gantools.report import Usage

MARK = b"TFL3"  # at byte 4
CONV, DEPTHWISE = 3, 4  # of the schema's BuiltinOperator
TYPES = {2: "<i4", 3: "u1"}  # of its TensorType: int32, uint8


@dataclass(frozen=True)
class Convolution:
    """A kernel uint8 [O, I, k, k] as (kernel - zero) · scale, and its bias float32 [O]."""

    kernel: np.ndarray
    scale: np.float32
    zero: int
    bias: np.ndarray


def looks_like(path: Path) -> bool:
    """Whether its bytes begin as a TensorFlow Lite file's do."""
    with path.open("rb") as file:
        return file.read(8)[4:] == MARK


def convolutions(path: Path) -> list[Convolution]:
    """Those of the first graph, in the order in which they run. Usage for a damaged file."""
    try:
        return [*_convolutions(_Table(path.read_bytes()))]
    except (struct.error, IndexError, ValueError, KeyError, TypeError):
        raise Usage(f"{path.name}: damaged, or no quantised network") from None


class _Table:
    """A FlatBuffer table: fields by the numbers that the schema gives them."""

    def __init__(self, data: bytes, at: int | None = None) -> None:
        self.data = data
        self.at = self._unsigned(0) if at is None else at

    def _unsigned(self, at: int) -> int:
        return int(struct.unpack_from("<I", self.data, at)[0])

    def _field(self, number: int) -> int | None:
        """Where a field is; None for one that has its default."""
        below = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        size = struct.unpack_from("<H", self.data, below)[0]
        if 4 + 2 * number >= size:
            return None
        offset = struct.unpack_from("<H", self.data, below + 4 + 2 * number)[0]
        return self.at + offset if offset else None

    def number(self, number: int, kind: str = "I") -> int:
        """A scalar, 0 by default."""
        at = self._field(number)
        return 0 if at is None else int(struct.unpack_from("<" + kind, self.data, at)[0])

    def table(self, number: int) -> _Table:
        """A table that has to be there."""
        at = self._field(number)
        if at is None:
            raise ValueError(number)
        return _Table(self.data, at + self._unsigned(at))

    def array(self, number: int, kind: str) -> np.ndarray:
        """A vector of scalars, empty by default."""
        start, count = self._vector(number)
        return np.frombuffer(self.data, kind, count, start)

    def tables(self, number: int) -> list[_Table]:
        """A vector of tables."""
        start, count = self._vector(number)
        places = range(start, start + 4 * count, 4)
        return [_Table(self.data, at + self._unsigned(at)) for at in places]

    def _vector(self, number: int) -> tuple[int, int]:
        at = self._field(number)
        if at is None:
            return 0, 0
        start = at + self._unsigned(at)
        return start + 4, self._unsigned(start)


# Model: 1 operator codes, 2 graphs, 4 buffers. Graph: 0 tensors, 3 operators. Operator: 0 code,
# 1 inputs. Tensor: 0 shape, 1 type, 2 buffer, 4 quantisation. Quantisation: 2 scale, 3 zero point.
def _convolutions(model: _Table) -> Iterator[Convolution]:
    codes = [code.number(0, "b") for code in model.tables(1)]
    graph, buffers = model.tables(2)[0], model.tables(4)
    tensors = graph.tables(0)

    def values(tensor: _Table) -> np.ndarray:
        stored = buffers[tensor.number(2)].array(0, "u1").tobytes()
        return np.frombuffer(stored, TYPES[tensor.number(1, "b")]).reshape(tensor.array(0, "<i4"))

    def scale(tensor: _Table) -> np.float32:
        (found,) = tensor.table(4).array(2, "<f4")
        return np.float32(found)

    for operator in graph.tables(3):
        code = codes[operator.number(0)]
        if code in (CONV, DEPTHWISE):
            kernel, bias = (tensors[i] for i in operator.array(1, "<i4")[1:])
            order = (0, 3, 1, 2) if code == CONV else (3, 0, 1, 2)  # [O,k,k,I]; [1,k,k,O]
            (zero,) = kernel.table(4).array(3, "<i8")
            summand = values(bias).astype(np.float32) * scale(bias)
            yield Convolution(values(kernel).transpose(order), scale(kernel), int(zero), summand)
