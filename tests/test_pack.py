"""prefilter --pack: zip, tar shards, TFRecords (papers.md S0.5)."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from gantools.io import packs, tfrecord
from gantools.io.image import decode, encode
from gantools.io.labels import Labels
from gantools.report import SampleError, Usage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven pictures, 40x32 px, `--crop square` takes them all; and labels for them."""
    rng = np.random.default_rng(0)
    place = tmp_path / "in"
    (place / "sub").mkdir(parents=True)
    for i in range(7):
        x = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        (place / ("sub" if i > 3 else ".") / f"p{i}.png").write_bytes(encode(x))
    return place


KEYS = ["p0", "p1", "p2", "p3", "sub/p4", "sub/p5", "sub/p6"]
SQUARE = ["--crop", "square", "--size", 32]


def crops(folder: Path) -> list[np.ndarray]:
    return [decode((folder / f"{key}.png").read_bytes())[:, 4:36] for key in KEYS]


def table(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


# ---------------------------------------------------------------------------------------- zip


def test_a_zip_as_nvidias_tools_read_it(gt: Callable, folder: Path, tmp_path: Path) -> None:
    """Stored PNGs of one square size, dataset.json with labels by name; the same bytes again."""
    labels = table(
        tmp_path / "l.csv", ["key,class", *(f"{k}.png,{i % 3}" for i, k in enumerate(KEYS))]
    )
    out = tmp_path / "x.zip"
    run = ["prefilter", folder, *SQUARE, "--pack", "zip", "-o", out, "--labels", labels]
    assert gt(*run).code == 0
    with zipfile.ZipFile(out) as z:
        names = z.namelist()
        assert all(info.compress_type == zipfile.ZIP_STORED for info in z.infolist())
        assert names == [f"{key}.png" for key in KEYS] + ["dataset.json"]
        told = dict(json.loads(z.read("dataset.json"))["labels"])
        assert [told[f"{key}.png"] for key in KEYS] == [i % 3 for i in range(7)]
        for key, expected in zip(KEYS, crops(folder), strict=True):
            assert (decode(z.read(f"{key}.png")) == expected).all()
    first = out.read_bytes()
    assert gt(*run, "--batch", 2).code == 0 and out.read_bytes() == first
    # Every command here reads it too.
    done = gt("prefilter", out, *SQUARE, "-o", f"{tmp_path}/again/")
    assert done.code == 0 and (tmp_path / "again" / "sub" / "p6.png").exists()


def test_labels_of_a_zip(gt: Callable, folder: Path, tmp_path: Path) -> None:
    """Vectors, none, and pictures without a label, which are told and left out."""
    out = tmp_path / "x.zip"
    run = ["prefilter", folder, *SQUARE, "--pack", "zip", "-o", out]
    assert gt(*run).code == 0
    with zipfile.ZipFile(out) as z:
        assert json.loads(z.read("dataset.json")) == {"labels": None}
    labels = table(
        tmp_path / "l.csv", ["key,a,b", *(f"{k},{i},0.5" for i, k in enumerate(KEYS[:6]))]
    )
    done = gt(*run, "--labels", labels)
    assert done.code == 1 and "no label in l.csv" in done.err
    with zipfile.ZipFile(out) as z:
        told = json.loads(z.read("dataset.json"))["labels"]
        assert told == [[f"{k}.png", [i, 0.5]] for i, k in enumerate(KEYS[:6])]
        assert len(z.namelist()) == 7


def test_nothing_is_left_of_a_pack_that_ends_early(
    gt: Callable, folder: Path, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder, "d")
    cut = buffer.getvalue()[:6000]
    for kind, name in (("zip", "x.zip"), ("tar", "t/"), ("tfrecord", "r/")):
        done = gt("prefilter", *SQUARE, "--pack", kind, "-o", tmp_path / name, stdin=cut)
        assert done.code == 2 and done.err.count("\n") <= 2
    assert not (tmp_path / "x.zip").exists()
    assert not list((tmp_path / "t").iterdir()) and not list((tmp_path / "r").iterdir())
    assert not list(tmp_path.glob(".gantools*"))
    assert gt("prefilter", folder, *SQUARE, "--dry-run", "--pack", "zip", "-o", "x.zip").code == 0
    assert not Path("x.zip").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--pack", "zip"],
        ["--pack", "zip", "-o", "x.tar"],
        ["--pack", "tar", "-o", "-"],
        ["--pack", "lmdb", "-o", "x"],
        ["--pack", "tfrecord", "-o", "x", "--size", "48"],
        ["--pack", "zip", "-o", "x.zip", "--no-clobber"],
        ["--pack", "tar", "-o", "x", "--labels", "l.csv"],
        ["--labels", "l.csv", "-o", "x/"],
        ["--pack", "zip", "-o", "x.zip", "--labels", "missing.csv"],
    ],
)
def test_wrong_usage(
    flags: list[str], gt: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = gt("prefilter", folder, "--crop", "square", *flags)
    assert done.code == 2 and done.out == b"" and done.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


# --------------------------------------------------------------------------------- tar shards


def test_shards_hold_everything_once_in_pggans_order(
    gt: Callable, folder: Path, tmp_path: Path, fixtures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0.5: shuffled by RandomState(123); all crops, in shards of at most so many."""
    monkeypatch.setattr(packs, "SHARD", 3)
    place = tmp_path / "t"
    assert gt("prefilter", folder, *SQUARE, "--pack", "tar", "-o", f"{place}/").code == 0
    shards = sorted(place.iterdir())
    assert [p.name for p in shards] == ["00000.tar", "00001.tar", "00002.tar"]
    found: list[str] = []
    for path in shards:
        with tarfile.open(path) as tar:
            found += tar.getnames()
    said = json.loads((fixtures / "numerics" / "dataset_pyramid.json").read_text())["values"]
    assert found == [f"{KEYS[i]}.png" for i in said["shuffled_order"]["7"]]
    again = gt("prefilter", folder, *SQUARE, "--pack", "tar", "-o", f"{place}/")
    assert again.code == 2 and "remove them" in again.err
    through = gt("prefilter", *shards, *SQUARE, "-o", f"{tmp_path}/o/")
    assert through.code == 0 and len(list((tmp_path / "o").rglob("*.png"))) == 7


# ----------------------------------------------------------------------------------- TFRecord


def slow_crc(data: bytes) -> int:
    """CRC-32C bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (tfrecord.POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@given(st.one_of(st.binary(min_size=4, max_size=60), st.binary(min_size=1000, max_size=2100)))
def test_the_checksum(data: bytes) -> None:
    assert tfrecord.crc32c(data) == slow_crc(data)
    assert tfrecord.crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, content) of a protobuf message of length-delimited fields."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        assert tag & 7 == 2
        size = varint()
        yield tag >> 3, data[at : at + size]
        at += size


def examples(path: Path) -> Iterator[np.ndarray]:
    """Pictures of a TFRecord file, its checksums checked."""
    data = path.read_bytes()
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        body = data[at + 12 : at + 12 + size]
        for part, where in ((data[at : at + 8], at + 8), (body, at + 12 + size)):
            (masked,) = struct.unpack_from("<I", data, where)
            rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
            assert (rotated << 15 | rotated >> 17) & 0xFFFFFFFF == tfrecord.crc32c(part)
        ((_, features),) = fields(body)
        entries = {}
        for _, entry in fields(features):
            (_, name), (_, value) = fields(entry)
            ((kind, content),) = fields(value)
            ((_, values),) = fields(content)
            entries[name] = kind, values
        assert entries[b"shape"][0] == 3 and entries[b"data"][0] == 1
        shape = list(entries[b"shape"][1])  # each below 128: a byte
        yield np.frombuffer(entries[b"data"][1], np.uint8).reshape(shape)
        at += size + 16


def test_the_pyramid_is_the_exporters(fixtures: Path) -> None:
    """S0.5, X.6: 2x2 means of unrounded levels, rounded half to even where stored; exact."""
    data = load_file(fixtures / "numerics" / "dataset_pyramid.safetensors")
    for i, picture in enumerate(data["r05"]):
        levels = tfrecord.pyramid(picture)
        assert len(levels) == 4
        for level, found in zip((5, 4, 3, 2), levels, strict=True):
            assert (found == data[f"r{level:02d}"][i]).all()


def test_tfrecords(gt: Callable, folder: Path, tmp_path: Path) -> None:
    """S0.5: a file per level, the same shuffled order in each, labels in that order."""
    labels = table(tmp_path / "l.csv", ["key,class", *(f"{k},{i % 3}" for i, k in enumerate(KEYS))])
    run = ["prefilter", folder, *SQUARE, "--pack", "tfrecord", "--labels", labels]
    assert gt(*run, "-o", f"{tmp_path}/faces/").code == 0
    place = tmp_path / "faces"
    names = [f"faces-r0{level}.tfrecords" for level in (2, 3, 4, 5)]
    assert sorted(p.name for p in place.iterdir()) == [*names, "faces-rxx.labels"]
    order = np.arange(7)
    np.random.RandomState(123).shuffle(order)
    expected = [tfrecord.pyramid(crops(folder)[i].transpose(2, 0, 1)) for i in order]
    for level, name in zip((3, 2, 1, 0), names, strict=True):
        found = list(examples(place / name))
        assert len(found) == 7
        for picture, levels in zip(found, expected, strict=True):
            assert (picture == levels[level]).all()
    one_hot = np.load(place / "faces-rxx.labels")
    assert one_hot.dtype == np.float32 and one_hot.shape == (7, 3)
    assert (one_hot.argmax(1) == order % 3).all() and (one_hot.sum(1) == 1).all()


# ------------------------------------------------------------------------------------- pieces


def test_labels_of_faces_are_their_pictures(tmp_path: Path) -> None:
    labels = Labels(["age"], {"a": ["3.5"], "b/1": ["1"], "b": ["2"], "c": [""]}, "l.csv")
    with packs.open_pack("zip", str(tmp_path / "x.zip"), 4, labels) as pack:
        for key in ("a/0", "b/0", "b/1"):
            pack.put_frame(key, np.zeros((4, 4, 3), np.uint8))
        for key in ("c", "d/0"):
            with pytest.raises(SampleError, match="no label"):
                pack.put_frame(key, np.zeros((4, 4, 3), np.uint8))
        with pytest.raises(SampleError, match="already"):
            pack.put_frame("a/0", np.zeros((4, 4, 3), np.uint8))
        with pytest.raises(SampleError, match="UTF-8"):
            pack.put_frame("a/\udcff", np.zeros((4, 4, 3), np.uint8))
    with zipfile.ZipFile(tmp_path / "x.zip") as z:
        told = json.loads(z.read("dataset.json"))["labels"]
    assert told == [["a/0.png", [3.5]], ["b/0.png", [2.0]], ["b/1.png", [1.0]]]


@pytest.mark.parametrize("size", [1, 2, 3, 12, 100])
def test_tfrecords_need_a_power_of_two(size: int, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="is not 4, 8"):
        packs.open_pack("tfrecord", str(tmp_path / "x"), size, None)
