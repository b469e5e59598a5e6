"""The tar stream: round trips, stock tar both ways, `cat`, cuts, damage, what a tar may claim."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantools import report
from gantools.io.sample import clean_key, key_of_member, kind, tar_checksum_holds
from gantools.io.stream import BLOCK, LIMIT, DamagedStream, StreamWriter, read_stream

Members = list[tuple[str, bytes]]

names = (
    st.lists(
        st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map(
            lambda s: s.replace("/", "_")
        ),
        min_size=1,
        max_size=6,
    )
    .map("/".join)
    .filter(lambda s: s.strip("/."))
)
members = st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=4)


def write(items: Members, *, end: bool = True) -> bytes:
    out = io.BytesIO()
    writer = StreamWriter(out)
    for name, data in items:
        writer.write(name, data)
    if end:
        writer.close()
    else:
        writer.abort()
    return out.getvalue()


def read(data: bytes) -> Members:
    return list(read_stream(io.BytesIO(data), "x.tar"))


def read_until_damage(data: bytes) -> tuple[Members, str]:
    """What was good, and the line of DamagedStream (nothing if the stream is whole)."""
    found: Members = []
    try:
        for item in read_stream(io.BytesIO(data), "x.tar"):
            found.append(item)
    except DamagedStream as e:
        return found, str(e)
    return found, ""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    report.reset()


@given(members)
def test_round_trip(items: Members) -> None:
    assert read(write(items)) == items


@given(members)
def test_tarfile_reads_what_we_write(items: Members) -> None:
    with tarfile.open(fileobj=io.BytesIO(write(items))) as tar:
        files = [(m, tar.extractfile(m)) for m in tar]
        assert [(m.name, f.read() if f else None) for m, f in files] == [
            (name.rstrip("/"), data) for name, data in items
        ]
        assert all((m.mtime, m.uid, m.gid, m.mode) == (0, 0, 0, 0o644) for m, _ in files)


@given(members, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_we_read_what_tarfile_writes(items: Members, form: int) -> None:
    out = io.BytesIO()
    written: Members = []
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data in items:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            try:
                tar.addfile(info, io.BytesIO(data))
            except ValueError:  # ustar cannot hold the name
                continue
            written.append((name, data))
    assert read(out.getvalue()) == written


@given(members, members)
def test_cat_joins_streams(a: Members, b: Members) -> None:
    assert read(write(a) + write(b)) == a + b


@given(members, members)
def test_cat_joins_streams_padded_as_gnu_tar_pads(a: Members, b: Members) -> None:
    first = write(a)
    assert read(first + bytes(-len(first) % 10240) + write(b)) == a + b


@given(members.filter(bool), st.data())
def test_every_cut_is_noticed_and_loses_nothing_that_was_whole(
    items: Members, data: st.DataObject
) -> None:
    whole = write(items)
    at = data.draw(st.integers(1, len(whole) - 1))
    found, why = read_until_damage(whole[:at])
    ends = [len(write(items[: i + 1], end=False)) for i in range(len(items))]
    padding = [-len(content) % BLOCK for _, content in items]
    complete = sum(at >= end - pad for end, pad in zip(ends, padding, strict=True))
    assert found == items[:complete]
    assert "damaged stream" in why


@pytest.mark.parametrize("at", ["between", "in header", "in data", "in padding", "in end mark"])
def test_cut_at_every_kind_of_place(at: str) -> None:
    items = [("a.png", b"x" * 700), ("b.png", b"y" * 700)]
    one = len(write(items[:1], end=False))
    size = {
        "between": one,
        "in header": one + 100,
        "in data": one + BLOCK + 300,
        "in padding": one + BLOCK + 800,
        "in end mark": 2 * one + BLOCK,
    }[at]
    found, why = read_until_damage(write(items)[:size])
    assert found == items[: 2 if at in ("in padding", "in end mark") else 1]
    assert why.startswith("x.tar: damaged stream: ") and "\n" not in why


@given(members.filter(lambda m: len(m) > 1), st.data())
def test_a_damaged_header_never_drops_a_sample_in_silence(
    items: Members, data: st.DataObject
) -> None:
    whole = bytearray(write(items))
    victim = data.draw(st.integers(0, len(items) - 1))
    start = len(write(items[:victim], end=False))
    at = data.draw(st.integers(start, start + BLOCK - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    found, why = read_until_damage(bytes(whole))
    if why:
        assert found == items[:victim]
    else:  # the sum's own blanks may change; then nothing is lost
        assert [content for _, content in found] == [content for _, content in items]


@given(members.filter(lambda m: len(m) > 1), st.data())
def test_a_blanked_header_is_damage(items: Members, data: st.DataObject) -> None:
    items = [(name, b"x" + content) for name, content in items]  # no sample is empty, or zeros
    victim = data.draw(st.integers(0, len(items) - 1))
    whole = bytearray(write([(f"{i}.png", content) for i, (_, content) in enumerate(items)]))
    start = sum(BLOCK + len(c) + -len(c) % BLOCK for _, c in items[:victim])
    whole[start : start + BLOCK] = bytes(BLOCK)
    found, why = read_until_damage(bytes(whole))
    assert why and len(found) == victim


def test_garbage_behind_the_end_mark_is_damage() -> None:
    found, why = read_until_damage(write([("a", b"1")]) + b"garbage" * 100)
    assert found == [("a", b"1")] and "header" in why
    assert read_until_damage(write([("a", b"1")]) + bytes(100))[1] == ""


def test_the_bytes_repeat() -> None:
    items = [("a/é.png", b"1"), ("n" * 200, b"2"), ("d" * 120 + "/" + "f" * 90, b"3")]
    assert write(items) == write(items)
    assert len(write(items)) % BLOCK == 0


@pytest.mark.parametrize(
    "name",
    ["a" * 100, "a" * 101, "d" * 150 + "/" + "f" * 100, "d" * 156 + "/f", "é" * 60,
     "x/" * 300 + "y", os.fsdecode(b"latin-\xe9.png"),
     os.fsdecode(b"\xff" * 150), "日本/顔.png", "a b\tc"],
)  # fmt: skip
def test_unicode_and_very_long_names(name: str, tmp_path: Path) -> None:
    assert read(write([(name, b"x"), ("after", b"y")])) == [(name, b"x"), ("after", b"y")]


def test_stock_tar_reads_ours(tmp_path: Path) -> None:
    items = [
        ("a/1.png", b"one"),
        ("long/" + "n" * 180 + ".png", b"two"),
        ("é/日本.png", b"3" * 600),
    ]
    (tmp_path / "x.tar").write_bytes(write(items))
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    listed = subprocess.run(
        ["tar", "--quoting-style=literal", "-tf", "x.tar"],
        cwd=tmp_path, env=env, capture_output=True, check=True,
    )  # fmt: skip
    assert listed.stdout.decode().splitlines() == [name for name, _ in items]
    assert listed.stderr == b""
    subprocess.run(["tar", "xf", "x.tar"], cwd=tmp_path, env=env, check=True)
    assert [(tmp_path / name).read_bytes() for name, _ in items] == [data for _, data in items]


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "v7"])
def test_we_read_stock_tar(form: str, tmp_path: Path) -> None:
    long = "n" * (180 if form in ("gnu", "pax") else 80) + ".png"
    files = {"d/1.png": b"one", f"d/{long}": b"two" * 1000, "d/sub/é.png": b"", "d/z.txt": b"t"}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(data)
    made = subprocess.run(
        ["tar", f"--format={form}", "-cf", "-", "d"], cwd=tmp_path, capture_output=True, check=True
    )
    assert dict(read(made.stdout)) == files
    assert dict(read(made.stdout + made.stdout)) == files


def test_links_and_devices_are_never_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "d" / "a.png").write_bytes(b"a")
    (tmp_path / "d" / "soft.png").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "d" / "a.png", tmp_path / "d" / "hard.png")
    os.mkfifo(tmp_path / "d" / "fifo")
    order = ["d/a.png", "d/soft.png", "d/hard.png", "d/fifo"]
    made = subprocess.run(["tar", "cf", "-", *order], cwd=tmp_path, capture_output=True, check=True)
    assert read(made.stdout) == [("d/a.png", b"a")]
    told = capsys.readouterr().err
    assert "d/hard.png: a hard link" in told and report.failures() == 1
    assert "d/soft.png: a symbolic link, skipped" in told and "d/fifo: a named pipe" in told


def test_sparse_members_fail_and_the_rest_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "hole.png").open("wb") as f:
        for i in range(30):  # more holes than the first header holds
            f.seek(i * 200_000)
            f.write(b"x" * 5000)
    (tmp_path / "z.png").write_bytes(b"z")
    for form in ("gnu", "pax"):
        report.reset()
        made = subprocess.run(
            ["tar", f"--format={form}", "-S", "-cf", "-", "hole.png", "z.png"],
            cwd=tmp_path, capture_output=True, check=True,
        )  # fmt: skip
        assert [data for _, data in read(made.stdout)] == [b"z"]
        assert "a sparse file" in capsys.readouterr().err and report.failures() == 1


def header(size: bytes, name: bytes = b"bomb.png", flag: bytes = b"0") -> bytes:
    """A header with a right sum and any size field."""
    head = bytearray(write([("x", b"")], end=False)[:BLOCK])
    head[:100] = name.ljust(100, b"\0")
    head[124:136] = size.ljust(12, b"\0")
    head[156:157] = flag
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    assert tar_checksum_holds(bytes(head))
    return bytes(head)


@pytest.mark.parametrize(
    ("size", "flag"),
    [
        (b"77777777777", b"0"),  # 8 GiB, in octal
        (b"\x80\0\0\0\0\0\x10" + bytes(5), b"0"),  # 17 TB, in base 256
        (b"\xff" * 12, b"0"),  # negative
        (b"\x80" + b"\xff" * 11, b"0"),
        (b"-1", b"0"),
        (b"0x1000", b"0"),
        (b"77777777777", b"x"),
        (b"77777777777", b"L"),
    ],
)
def test_a_header_that_claims_terabytes_is_one_line(size: bytes, flag: bytes) -> None:
    bomb = write([("a.png", b"a")], end=False) + header(size, flag=flag) + b"data"
    found, why = read_until_damage(bomb)
    assert found == [("a.png", b"a")]
    assert "damaged stream" in why and "1 sample before it" in why
    assert report.failures() == 0


@pytest.mark.parametrize("size", [b"9" * 19, b"-5", b"1e3", b"9" * 40])
def test_a_pax_size_that_cannot_be_is_one_line(size: bytes) -> None:
    record = b" size=" + size + b"\n"
    record = b"%d%s" % (len(record) + 2, record)
    pax = header(b"%o" % len(record), flag=b"x") + record + bytes(-len(record) % BLOCK)
    found, why = read_until_damage(pax + header(b"5") + b"hello" + bytes(507))
    assert not found and "damaged stream" in why


@pytest.mark.parametrize(
    "record", [b"99 path=x\n", b"path=x\n", b"9 path=xy", b"0 a=b\n", b"7 path\n"]
)
def test_a_broken_pax_record_is_damage(record: bytes) -> None:
    pax = header(b"%o" % len(record), flag=b"x") + record + bytes(-len(record) % BLOCK)
    assert "pax" in read_until_damage(pax + header(b"0"))[1]


def test_a_member_over_the_limit_is_skipped_in_constant_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gantools.io.stream.LIMIT", 1000)
    assert read(write([("a", b"a"), ("big", bytes(1001)), ("z", b"z")])) == [
        ("a", b"a"),
        ("z", b"z"),
    ]
    assert "x.tar:big: 1001 bytes is more" in capsys.readouterr().err
    assert LIMIT == 1 << 30


def test_a_record_is_there_as_soon_as_its_bytes_are() -> None:
    """tarfile's buffer would hold a small record back until the next one."""
    r, w = os.pipe()
    got: list[tuple[str, bytes]] = []
    arrived = threading.Event()

    def consume(source: IO[bytes]) -> None:
        with source:
            for item in read_stream(source, "pipe"):
                got.append(item)
                arrived.set()

    reader = threading.Thread(target=consume, args=(os.fdopen(r, "rb"),))
    reader.start()
    with os.fdopen(w, "wb") as sink:
        writer = StreamWriter(sink)
        for i in range(3):
            writer.write(f"{i}.png", b"small")  # no flush here: the writer flushes
            assert arrived.wait(20) and len(got) == i + 1
            arrived.clear()
        writer.close()
    reader.join()


def test_memory_stays_at_one_sample() -> None:
    import tracemalloc

    one = write([("a.png", bytes(100_000))], end=False)

    class Endless(io.RawIOBase):
        def __init__(self, count: int) -> None:
            self.source = self.generate(count)
            self.rest = b""

        def generate(self, count: int) -> Iterator[bytes]:
            for _ in range(count):
                yield one
            yield bytes(2 * BLOCK)

        def read(self, size: int = -1) -> bytes:
            while len(self.rest) < size and (more := next(self.source, b"")):
                self.rest += more
            data, self.rest = self.rest[:size], self.rest[size:]
            return data

    peaks = []
    for count in (10, 1000):
        tracemalloc.start()
        assert sum(1 for _ in read_stream(Endless(count), "x")) == count  # type: ignore[arg-type]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


@given(st.text())
def test_a_clean_key_stays_below_its_folder(key: str) -> None:
    clean = clean_key(key)
    parts = clean.split("/")
    assert clean and all(part not in ("", ".", "..") for part in parts)
    assert not any(ord(c) < 32 or c == "\\" or ord(c) == 127 for c in clean)
    assert clean_key(clean) == clean


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/abs/7.jpg", "abs/7"),
        ("./d/7.png", "d/7"),
        ("a\\..\\b.png", "a/b"),
        ("..", "unnamed"),
        ("frame.0001", "frame.0001"),
        ("frame.0001.png", "frame.0001"),
        ("v1.2/x", "v1.2/x"),
        (".png", ".png"),
        ("a\x1b[31m\n.png", "a[31m"),
        ("x.safetensors", "x"),
    ],
)
def test_keys_of_members(name: str, key: str) -> None:
    assert key_of_member(name) == key


def test_kind_goes_by_bytes() -> None:
    assert kind(write([("a", b"")])) == "tar" == kind(bytes(10240))
    assert kind(b"\x89PNG\r\n\x1a\n...") == kind(b"\xff\xd8\xff\xe0") == "image"
    assert kind(b"PK\3\4") == "zip"
    assert kind(b"\0\0\x08\x03" + bytes(12)) == "idx"
    assert kind(b"") == kind(b"hello") == kind(b"Picture of a face") == "unknown"


def test_kind_tells_a_network_from_a_latent() -> None:
    import numpy as np
    from safetensors.numpy import save

    w = {"w": np.zeros((1, 4), np.float32)}
    assert kind(save(w, {"gantools": '{"history":[{"args":["-o","g.png","g_ema."]}]}'})) == "latent"
    assert kind(save({"g_ema.mapping.w_avg": w["w"]}, {})) == "network"


def test_the_reader_of_the_stream_needs_no_heavy_import() -> None:
    code = (
        "import sys, gantools.io.source, gantools.io.sink;"
        "sys.exit(bool({'torch', 'numpy', 'PIL', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
