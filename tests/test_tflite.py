"""TensorFlow Lite files: kernels and biases as they were written, and MobileNetV2's."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from gantools.evaluation import features, mobilenet
from gantools.io import tflite, weights
from gantools.report import Usage

Table = dict[int, object]
"""Fields by number: (format, value) for scalars, arrays, tables, lists of tables."""


def written(root: Table) -> bytes:
    """A FlatBuffer: each table's list of fields before it, what it points at behind it."""
    out = bytearray(struct.pack("<I4s", 0, tflite.MARK))
    struct.pack_into("<I", out, 0, _table(out, root))
    return bytes(out)


def _table(out: bytearray, fields: Table) -> int:
    count = max(fields, default=-1) + 1
    out += b"\0" * (-len(out) % 8)
    below = len(out)
    offsets = [4 + 8 * i if i in fields else 0 for i in range(count)]
    out += struct.pack(f"<HH{count}H", 4 + 2 * count, 4 + 8 * count, *offsets)
    out += b"\0" * (-len(out) % 8)
    at = len(out)
    out += struct.pack("<i", at - below) + b"\0" * (8 * count)
    for i, value in fields.items():
        place = at + 4 + 8 * i
        if isinstance(value, tuple):
            struct.pack_into("<" + value[0], out, place, value[1])
        else:
            struct.pack_into("<I", out, place, _pointed(out, value) - place)
    return at


def _pointed(out: bytearray, value: object) -> int:
    if isinstance(value, dict):
        return _table(out, value)
    at = len(out)
    if isinstance(value, np.ndarray):
        out += struct.pack("<I", value.size) + value.tobytes()
        return at
    assert isinstance(value, list)
    out += struct.pack("<I", len(value)) + b"\0" * (4 * len(value))
    for i, each in enumerate(value):
        place = at + 4 + 4 * i
        struct.pack_into("<I", out, place, _table(out, each) - place)
    return at


def graph(layers: list[tuple[int, tflite.Convolution]]) -> bytes:
    """A file of convolutions (kind, layer); biases as whole numbers of scale 1/1024."""
    tensors: list[Table] = [{}]
    buffers: list[Table] = [{}]
    operators: list[Table] = [{0: ("I", 2), 1: np.array([0], "<i4")}]  # something else first
    for kind, layer in layers:
        order = (0, 2, 3, 1) if kind == tflite.CONV else (1, 2, 3, 0)
        kernel = np.ascontiguousarray(layer.kernel.transpose(order))
        bias = np.round(layer.bias * 1024).astype("<i4")
        quantised = ((kernel, 3, layer.scale, layer.zero), (bias, 2, 1 / 1024, 0))
        inputs = [0]
        for values, number, scale, zero in quantised:
            inputs.append(len(tensors))
            buffers.append({0: np.frombuffer(values.tobytes(), "u1")})
            about = {2: np.array([scale], "<f4"), 3: np.array([zero], "<i8")}
            shape = np.array(values.shape, "<i4")
            tensors.append({0: shape, 1: ("b", number), 2: ("I", len(buffers) - 1), 4: about})
        operators.append({0: ("I", kind - tflite.CONV), 1: np.array(inputs, "<i4")})
    codes: list[Table] = [{0: ("b", code)} for code in (tflite.CONV, tflite.DEPTHWISE, 25)]
    return written({0: ("I", 3), 1: codes, 2: [{0: tensors, 3: operators}], 4: buffers})


def layer(generator: np.random.Generator, *shape: int) -> tflite.Convolution:
    return tflite.Convolution(
        generator.integers(0, 256, shape, np.uint8),
        np.float32(0.25 + generator.random()),
        int(generator.integers(0, 256)),
        (generator.integers(-9999, 9999, shape[0]) / 1024).astype(np.float32),
    )


def same(a: tflite.Convolution, b: tflite.Convolution) -> bool:
    arrays = np.array_equal(a.kernel, b.kernel) and np.array_equal(a.bias, b.bias)
    return arrays and a.scale == b.scale and a.zero == b.zero


def test_layers_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Both kinds, in their order, to the bit; other operators are passed over."""
    draws = np.random.default_rng(0)
    kinds = (tflite.CONV, tflite.DEPTHWISE, tflite.CONV)
    layers = [layer(draws, *s) for s in ((4, 3, 3, 3), (4, 1, 3, 3), (7, 4, 1, 1))]
    path = tmp_path / "x.tflite"
    path.write_bytes(graph([*zip(kinds, layers, strict=True)]))
    assert tflite.looks_like(path)
    found = tflite.convolutions(path)
    assert len(found) == 3 and all(map(same, found, layers))
    data = path.read_bytes()
    for cut in range(0, len(data) - 64, 29):  # one line at most, wherever it ends
        path.write_bytes(data[:cut])
        with pytest.raises(Usage, match="damaged, or no quantised network"):
            tflite.convolutions(path)


def test_mobilenet_of_either_file_is_one_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published file and the arrays made of it: the same weights, the same protocol."""
    draws = np.random.default_rng(1)
    net = mobilenet.MobileNetV2()
    layers, arrays = [], {}
    for i, conv in enumerate([*net.convolutions(), net.head]):
        shape = (*conv.weight.shape, *(1,) * (4 - conv.weight.ndim))
        deep = isinstance(conv, mobilenet.Conv) and conv.groups > 1
        kind = tflite.DEPTHWISE if deep else tflite.CONV
        layers.append((kind, layer(draws, *shape)))
        made = layers[-1][1]
        arrays |= {f"c{i:02d}.w": made.kernel, f"c{i:02d}.scale": made.scale}
        arrays |= {f"c{i:02d}.zp": np.float32(made.zero), f"c{i:02d}.b": made.bias}
    path = tmp_path / weights.KNOWN["mobilenet-tflite"].file
    path.write_bytes(graph(layers))
    np.savez(tmp_path / "x.npz", **arrays)
    one, other = mobilenet.load(path), mobilenet.load(tmp_path / "x.npz")
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    monkeypatch.setenv("GANTOOLS_WEIGHTS", str(tmp_path))
    known = weights.Weights(path.name, weights.sha256(path), "a test's")
    monkeypatch.setitem(weights.KNOWN, "mobilenet-tflite", known)
    assert features.weights_of("mobilenet") == path
    told = features.extractor("mobilenet").protocol()
    assert told["features_sha256"] == weights.KNOWN["mobilenet"].sha256
