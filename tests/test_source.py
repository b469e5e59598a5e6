"""Operands to samples: every kind of input, keys, duplicates, shards, what is unreadable."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantools import report
from gantools.io import image
from gantools.io.sample import Sample
from gantools.io.source import known_keys, parse_shard, samples
from gantools.io.stream import DamagedStream, StreamWriter
from gantools.report import Usage

Stdin = Callable[[bytes], None]


def png(value: int) -> bytes:
    return image.encode(np.full((4, 4, 3), value, np.uint8))


def latent(value: float = 0) -> bytes:
    from safetensors.numpy import save

    return save({"w": np.full((1, 4), value, np.float32)}, {"gantools": '{"kind":"latent"}'})


def tar(items: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    writer = StreamWriter(out)
    for name, data in items.items():
        writer.write(name, data)
    writer.close()
    return out.getvalue()


def keys(*operands: object, **options: object) -> list[str]:
    return [s.key for s in samples([str(o) for o in operands], **options)]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    report.reset()


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Stdin:
    def put(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return put


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """photos/: pictures at two depths, one without a suffix, a text, a hidden file, a latent."""
    top = tmp_path / "photos"
    (top / "b").mkdir(parents=True)
    for i, name in enumerate(("b/2.jpg", "a.png", "b/10.PNG", "bare")):
        (top / name).write_bytes(png(i))
    (top / "README.txt").write_text("about these")
    (top / ".hidden.png").write_bytes(png(9))
    (top / "w.safetensors").write_bytes(latent())
    return top


def test_a_folder_is_read_sorted_and_below(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(samples([str(tree)], kinds=("image",)))
    assert [s.key for s in found] == ["a", "b/10", "b/2", "bare"]
    assert [s.name for s in found][2] == f"{tree}/b/2.jpg"
    assert found[0].data == png(1)
    assert capsys.readouterr().err == f"gantools: {tree}: 2 files left out, no image\n"
    assert keys(f"{tree}/", kinds=("latent",)) == ["w"]
    assert report.failures() == 0


def test_files_have_their_stem_and_are_known_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "picture.safetensors").write_bytes(png(1))
    (tmp_path / "latent.png").write_bytes(latent())
    found = list(samples([str(tmp_path / "latent.png"), str(tmp_path / "picture.safetensors")]))
    assert [(s.key, s.data[:4]) for s in found] == [
        ("latent", latent()[:4]),
        ("picture", b"\x89PNG"),
    ]


def test_every_archive_gives_the_same_samples(tmp_path: Path, stdin: Stdin) -> None:
    items = {f"d/{i}.png": png(i) for i in range(5)}
    plain = tar(items)
    files = {"x.tar": plain, "x.tgz": gzip.compress(plain), "x.xz": lzma.compress(plain)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in items.items():
            z.writestr(name, data)
    want = [(f"d/{i}", png(i)) for i in range(5)]
    for name in (*files, "x.zip"):
        renamed = tmp_path / "by_bytes"
        (tmp_path / name).rename(renamed)
        assert [(s.key, s.data) for s in samples([str(renamed)])] == want
    for data in files.values():
        stdin(data)
        assert [(s.key, s.data) for s in samples(None)] == want
        stdin(data)
        assert next(s.name for s in samples(["-"])) == "stdin:d/0.png"


def test_stock_tar_of_a_folder(tree: Path, stdin: Stdin) -> None:
    made = subprocess.run(
        ["tar", "cf", "-", "--sort=name", "--exclude=.*", "photos"],
        cwd=tree.parent, capture_output=True, check=True,
    )  # fmt: skip
    stdin(made.stdout)
    found = [s.key for s in samples(["-"])]
    assert found == [f"photos/{k}" for k in ("a", "b/10", "b/2", "bare", "w")]
    assert report.failures() == 0


def idx(shape: tuple[int, ...], data: bytes, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (12, 5, 7), np.uint8)
    (tmp_path / "t10k-images.gz").write_bytes(pack(idx(x.shape, x.tobytes())))
    found = list(samples([str(tmp_path / "t10k-images.gz")]))
    assert [s.key for s in found] == [f"t10k-images/{i:02d}" for i in range(12)]
    assert all((image.decode(s.data) == x[i][..., None]).all() for i, s in enumerate(found))


def test_idx_in_colour_and_what_is_no_picture(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    (tmp_path / "c").write_bytes(idx(x.shape, x.tobytes()))
    assert (image.decode(next(samples([str(tmp_path / "c")])).data) == x[0]).all()
    (tmp_path / "labels").write_bytes(idx((10,), bytes(10)))
    with pytest.raises(Usage, match="labels are no pictures"):
        keys(tmp_path / "labels")
    (tmp_path / "huge").write_bytes(idx((1, 2**31, 2**31), b""))
    with pytest.raises(Usage, match="huge"):
        keys(tmp_path / "huge")
    (tmp_path / "cut").write_bytes(idx(x.shape, x.tobytes()[:-1]))
    got = samples([str(tmp_path / "cut")])
    assert next(got).key == "cut/0"
    with pytest.raises(DamagedStream, match="1 of 2 pictures"):
        next(got)


@pytest.mark.data
def test_mnist(shared: Path) -> None:
    path = shared / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"
    found = [image.decode(s.data) for s in samples([str(path)], shard="0/1000")]
    assert len(found) == 10 and found[0].shape == (28, 28, 3)
    raw = np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8).reshape(-1, 28, 28, 1)
    assert all((x == raw[1000 * i]).all() for i, x in enumerate(found))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 3), (3, 6, 7), (3, 6, 7, 1), (3, 6, 7, 4)])
def test_zarr(shape: tuple[int, ...], dtype: type[np.uint8], version: int, tmp_path: Path) -> None:
    import zarr

    x = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    array = zarr.open(
        str(tmp_path / "a.zarr"), mode="w", shape=shape, chunks=shape, dtype=dtype,
        zarr_format=version,
    )  # fmt: skip
    array[...] = x
    found = list(samples([str(tmp_path / "a.zarr")]))
    one = len(shape) == 2 or shape[-1] == 3
    assert [s.key for s in found] == (["a"] if one else ["a/0", "a/1", "a/2"])
    wanted = x[None] if one else x
    wanted = wanted if wanted.ndim == 4 else wanted[..., None]
    if dtype is np.uint16:
        wanted = np.floor(wanted / 257 + 0.5)
    for s, want in zip(found, wanted, strict=True):
        rgb, alpha = image.decode_with_alpha(s.data)
        assert (rgb == want[..., :3]).all()
        assert alpha is None if want.shape[-1] < 4 else (alpha == want[..., 3]).all()


def test_zarr_that_holds_no_pictures(tmp_path: Path) -> None:
    import zarr

    zarr.open(str(tmp_path / "f"), mode="w", shape=(4, 4), dtype=np.float32)[...] = 1
    with pytest.raises(Usage, match="uint8 or uint16"):
        keys(tmp_path / "f")
    group = zarr.open_group(str(tmp_path / "g"), mode="w")
    group.create_array("scene", shape=(4, 4), dtype=np.uint8)
    with pytest.raises(Usage, match=r"one of its arrays \(scene\)"):
        keys(tmp_path / "g")
    assert keys(tmp_path / "g" / "scene") == ["scene"]


def test_bare_pictures_and_latents_on_stdin(stdin: Stdin) -> None:
    stdin(png(1))
    assert [(s.key, s.data) for s in samples(None)] == [("stdin", png(1))]
    for make in (png, latent):
        stdin(b"".join(make(i) for i in range(3)))
        found = list(samples(None))
        assert [s.key for s in found] == [f"stdin/{i:06d}" for i in range(3)]
        assert [s.data for s in found] == [make(i) for i in range(3)]
    stdin(png(1) + b"what some programs hang behind a PNG")
    assert len(list(samples(None))) == 1
    stdin(png(1) + png(2)[:40])
    assert [len(s.data) for s in samples(None)] == [len(png(1)), 40]  # its decoder says: cut


def test_example_portrait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = samples(["example:portrait"])
    assert (found.key, found.name) == ("portrait", "example:portrait")
    assert image.decode(found.data).shape == (600, 512, 3)
    with pytest.raises(Usage, match="there is example:portrait"):
        samples(["example:nobody"])
    Path("example:portrait").write_bytes(png(5))  # a file of that name wins
    assert [s.data for s in samples(["example:portrait"])] == [png(5)]


def test_duplicate_keys_known_before_work_name_both(tmp_path: Path) -> None:
    for name in ("a/7.jpg", "b/7.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(png(1))
    both = [str(tmp_path / "a/7.jpg"), str(tmp_path / "b/7.png")]
    for call in (samples, known_keys):
        with pytest.raises(Usage, match=r"key 7: .*a/7\.jpg and .*b/7\.png"):
            call(both)  # before any sample is asked for
    assert keys(tmp_path) == ["a/7", "b/7"]
    (tmp_path / "a" / "7.txt").write_text("a caption is no sample, so its key does not count")
    assert keys(tmp_path / "a") == ["7"]


def test_duplicate_keys_inside_a_stream_fail_that_sample(
    stdin: Stdin, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(tar({"a.png": png(1)}) + tar({"a.jpg": png(2), "b.png": png(3), "../b.png": png(4)}))
    assert [(s.key, s.data) for s in samples(None)] == [("a", png(1)), ("b", png(3))]
    assert report.failures() == 2
    assert "stdin:a.jpg: a sample with the key a came before" in capsys.readouterr().err


def test_keys_from_a_stream_are_cleaned(stdin: Stdin) -> None:
    stdin(tar({"../../etc/cron.d/x.png": png(1), "/abs/y.png": png(2), "a\\..\\z.png": png(3)}))
    assert [s.key for s in samples(None)] == ["etc/cron.d/x", "abs/y", "a/z"]


def test_known_keys(tree: Path, tmp_path: Path) -> None:
    images = ("image",)
    assert known_keys([str(tree)], kinds=images) == keys(tree, kinds=images)
    assert known_keys(["example:portrait"]) == ["portrait"]
    assert known_keys(None) is None and known_keys(["-"]) is None
    (tmp_path / "x.tar").write_bytes(tar({"a.png": png(1)}))
    assert known_keys([str(tree), str(tmp_path / "x.tar")], kinds=images) is None
    assert known_keys([str(tree)], kinds=images, shard="1/2") == ["b/10", "bare"]
    assert report.failures() == 0


@given(st.integers(0, 12), st.integers(1, 5))
def test_shards_partition_the_samples(count: int, shards: int) -> None:
    data = tar({f"{i}.png": png(i) for i in range(count)} | {"notes.txt": b"hello"})
    with pytest.MonkeyPatch.context() as m:

        def part(shard: str | None) -> list[str]:
            m.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
            return [s.key for s in samples(None, shard=shard)]

        whole = part(None)
        parts = [part(f"{i}/{shards}") for i in range(shards)]
    assert [keys[j // shards] for j in range(count) for keys in [parts[j % shards]]] == whole
    assert sum(map(len, parts)) == count == len(whole)


def test_shards_of_a_folder_count_its_broken_files(tree: Path) -> None:
    (tree / "a0.jpg").write_bytes(b"")
    assert [keys(tree, kinds=("image",), shard=f"{i}/2") for i in (0, 1)] == [
        ["a", "b/10", "bare"],
        ["b/2"],
    ]
    assert report.failures() == 1


@pytest.mark.parametrize("shard", ["", "1", "2/2", "-1/2", "1/0", "a/b", "1/2/3", "1.0/2", "²/3"])
def test_a_broken_shard_is_usage(shard: str, tree: Path) -> None:
    with pytest.raises(Usage, match="--shard"):
        samples([str(tree)], shard=shard)


def test_parse_shard() -> None:
    assert parse_shard(None) == (0, 1)
    assert parse_shard("3/16") == (3, 16)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty file (0 bytes)"),
        (b"just text", "not an image"),
        (latent(), "not an image, but a latent"),
        (tar({}), "not an image, but a tar"),
    ],
)
def test_a_broken_file_in_a_folder_fails_and_the_rest_is_read(
    content: bytes, why: str, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "aa.jpg").write_bytes(content)
    assert keys(tree, kinds=("image",)) == ["a", "b/10", "b/2", "bare"]
    assert f"{tree}/aa.jpg: {why}" in capsys.readouterr().err
    assert report.failures() == 1


def test_operands_that_cannot_be_read(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "text").write_text("no picture")
    assert keys(tree / "nope.jpg", tree / "text", tree / "a.png") == ["a"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("nope.jpg: No such file or directory")
    assert lines[1].endswith("text: not an image or a latent") and len(lines) == 2
    assert report.failures() == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "a.png").chmod(0)
    assert keys(tree, kinds=("image",)) == ["b/10", "b/2", "bare"]
    assert "a.png: Permission denied" in capsys.readouterr().err


def test_a_failing_device_is_one_line(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Path.open

    def fail(path: Path, *args: object, **options: object) -> object:
        if path.name == "a.png":
            raise OSError(5, "Input/output error")
        return real(path, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", fail)
    assert keys(tree, kinds=("image",)) == ["b/10", "b/2", "bare"]
    assert "a.png: Input/output error" in capsys.readouterr().err


def test_a_folder_without_samples_is_usage(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Usage, match="no images or latents in it"):
        samples([str(tmp_path / "empty")])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as z:
        z.writestr("README.txt", "nothing")
    with pytest.raises(Usage, match=r"x\.zip: no images"):
        samples([str(tmp_path / "x.zip")], kinds=("image",))
    (tmp_path / "zeros.jpg").write_bytes(bytes(10240))  # to tar, an archive of nothing
    assert keys(tmp_path / "zeros.jpg") == [] and report.failures() == 1


def test_loops_of_links_end(tree: Path) -> None:
    (tree / "b" / "up").symlink_to(tree)
    (tree / "c").symlink_to(tree / "b")
    found = keys(tree, kinds=("image",))
    assert {"a", "b/2", "c/2"} <= set(found) and len(found) < 40


def test_a_named_pipe_is_a_stream(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert known_keys([str(tmp_path / "pipe")]) is None  # without opening it
    (tmp_path / "x.tar").write_bytes(tar({"a.png": png(1)}))
    with subprocess.Popen(["cp", str(tmp_path / "x.tar"), str(tmp_path / "pipe")]):
        assert keys(tmp_path / "pipe") == ["a"]


def test_standard_input_that_is_not_there(
    stdin: Stdin, monkeypatch: pytest.MonkeyPatch, tree: Path
) -> None:
    stdin(b"")
    with pytest.raises(Usage, match="standard input is empty: nothing came"):
        list(samples(None))
    with pytest.raises(Usage, match="only once"):
        samples(["-", "-"])
    with pytest.raises(Usage, match="no input"):
        samples([], stdin_ok=False)
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as z:
        z.writestr("a.png", png(1))
    stdin(buffer.getvalue())
    with pytest.raises(Usage, match="zip cannot be read from a pipe"):
        list(samples(None))
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(Usage, match="closed"):
        samples(None)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(Usage, match="no input"):
        samples(None)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_a_cut_stream_gives_what_was_good(
    pack: Callable[[bytes], bytes], tmp_path: Path, stdin: Stdin
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    packed = pack(tar({f"{i}.png": image.encode(x) for i, x in enumerate(noise)}))
    stdin(packed[: len(packed) // 2])
    got: list[Sample] = []
    with pytest.raises(DamagedStream) as error:
        for found in samples(None):
            got.append(found)
    assert 2 <= len(got) <= 4 and "damaged" in str(error.value)
    assert all(image.decode(s.data).shape == (64, 64, 3) for s in got)


def test_damaged_zips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_STORED) as z:
        z.writestr("a.png", png(1))
        z.writestr("b.png", png(2))
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[data.index(b"IDAT") + 6] ^= 255  # in the first member
    (tmp_path / "x.zip").write_bytes(data)
    assert keys(tmp_path / "x.zip") == ["b"]
    assert "a.png: damaged in the zip" in capsys.readouterr().err
    (tmp_path / "x.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(Usage, match="the zip cannot be read"):
        samples([str(tmp_path / "x.zip")])


def test_a_zip_bomb_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gantools.io.archives.LIMIT", 1 << 20)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("zeros.png", bytes(1 << 26))
        z.writestr("head.png", png(0) + bytes(1 << 26))
        z.writestr("z.png", png(1))
    import tracemalloc

    tracemalloc.start()
    assert keys(tmp_path / "x.zip", kinds=("image",)) == ["z"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 23
    told = capsys.readouterr().err
    assert "zeros.png: not an image" in told and "head.png: more than" in told


def test_zstandard_says_what_to_do(stdin: Stdin) -> None:
    stdin(b"\x28\xb5\x2f\xfd" + bytes(100))
    with pytest.raises(Usage, match="zstd -dc"):
        list(samples(None))


def test_apple_doubles_and_texts_in_archives_are_left_out(
    stdin: Stdin, capsys: pytest.CaptureFixture[str]
) -> None:
    double = b"\0\5\x16\7" + bytes(200)
    stdin(tar({"._a.png": double, "a.png": png(1), "__MACOSX/._b.png": double, "x.csv": b"a,b"}))
    assert [s.key for s in samples(None)] == ["a"]
    assert report.failures() == 0
    assert "standard input: 3 files left out" in capsys.readouterr().err


def test_many_archives_do_not_keep_their_files_open(tmp_path: Path) -> None:
    for i in range(300):
        (tmp_path / f"{i:03d}.tar").write_bytes(tar({f"{i}.png": png(0)}))
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    stream = samples([str(p) for p in sorted(tmp_path.glob("*.tar"))])
    assert sum(1 for _ in stream) == 300
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before + 2


def test_a_wide_tar_header_member_is_skipped_as_a_link(stdin: Stdin) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        info = tarfile.TarInfo("evil.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        t.addfile(info)
    stdin(out.getvalue())
    assert list(samples(None)) == []


@pytest.mark.data
def test_the_broken_pictures_of_the_pack(shared: Path) -> None:
    """Each behaves as its row of expected.csv says: refused, or read at its size."""
    import csv

    folder = shared / "data" / "faces-wild"
    with (folder / "expected.csv").open() as f:
        rows = {r["file"]: r for r in csv.DictReader(f) if r["file"].startswith("broken/")}
    found = {s.key: s for s in samples([str(folder / "broken")], kinds=("image",))}
    assert report.failures() == 2  # empty.jpg and text.jpg: not even an image by their bytes
    for name, row in rows.items():
        key = Path(name).stem
        if row["size"] in ("OSError", "UnidentifiedImageError"):
            with pytest.raises((report.SampleError, KeyError)):
                image.decode(found[key].data)
            continue
        height, width, _ = image.decode(found[key].data).shape
        if "x" in row["size"]:  # ValueError: MTCNN's, the picture itself can be read
            assert f"{width}x{height}" == row["size"], name
    assert len(rows) == 13
