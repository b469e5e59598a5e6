"""PNG files that are written while their pictures are made (papers.md S2.22)."""

from __future__ import annotations

import errno
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Result, make_network
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gantools.io import atomic, image, png
from gantools.io.sink import open_sink
from gantools.networks import stylegan2_tiles
from gantools.report import Usage

Run = Callable[..., Result]
SIZE = ("--size", "64x150", "--tile", "32")  # two rows of five tiles, the last one narrower


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32x32, from block 5 on: a cell is 2x2 pixels."""
    path = tmp_path_factory.mktemp("strips") / "fnz5.safetensors"
    return make_network(path, resolution=32, fnz=5, noise_blur=2.0)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# ---------------------------------------------------------------------------------- the file format


@st.composite
def cut_pictures(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray]]:
    """A picture, smooth or noisy, and the same in strips."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 30))
    channels = draw(st.sampled_from([1, 3, 4]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(0, 256, (height, width, channels), np.uint8)
    if draw(st.booleans()):
        x = (np.arange(height)[:, None, None] * 3 + np.arange(width)[:, None] * 5 + x % 9) % 256
    cuts = sorted(draw(st.sets(st.integers(1, height), max_size=4)))
    return x.astype(np.uint8), np.split(x.astype(np.uint8), cuts)


@given(cut_pictures(), st.none() | st.dictionaries(st.text(max_size=5), st.integers()))
def test_strips_make_the_picture(
    given: tuple[np.ndarray, list[np.ndarray]], story: dict[str, int] | None
) -> None:
    """As another program reads it, wherever it is cut; with the story that `encode` writes."""
    x, strips = given
    data = b"".join(image.encode_strips(x.shape, strips, story))
    with Image.open(io.BytesIO(data)) as read:
        read.load()
        assert read.mode == {1: "L", 3: "RGB", 4: "RGBA"}[x.shape[2]]
        assert (np.asarray(read).reshape(x.shape) == x).all()
    assert image.story(data) == story == image.story(image.encode(x, "png", story))


def test_files_are_as_small_as_the_librarys() -> None:
    """A photograph-like picture: filters are chosen row by row."""
    y, x = np.mgrid[:256, :300] / 40
    smooth = np.stack([np.sin(x) * np.cos(y), np.sin(x + y), np.cos(x - y)], 2)
    noise = np.random.default_rng(0).normal(size=smooth.shape)
    picture = (127 + 90 * smooth + 3 * noise).clip(0, 255).astype(np.uint8)
    ours = sum(map(len, image.encode_strips(picture.shape, [picture])))
    assert ours < 1.02 * len(image.encode(picture))


def test_wide_files_come_in_parts() -> None:
    """No part is much larger than 64 KiB, however wide the picture."""
    x = np.random.default_rng(0).integers(0, 256, (40, 9000, 3), np.uint8)
    parts = list(image.encode_strips(x.shape, [x]))
    assert max(map(len, parts)) <= (1 << 16) + 12 and len(parts) > 15
    assert (image.decode(b"".join(parts)) == x).all()


def test_paeth_is_the_standards() -> None:
    """Against the pseudocode of 9.4, for all corners of a cube."""
    numbers = np.array([0, 1, 2, 100, 127, 128, 129, 254, 255], np.uint8)
    a, b, c = (x.ravel() for x in np.meshgrid(numbers, numbers, numbers))

    def predicted(a: int, b: int, c: int) -> int:
        p = a + b - c
        return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]

    made = png._paeth(a[None], b[None], c[None])[0]
    wanted = [predicted(*map(int, three)) for three in zip(a, b, c, strict=True)]
    assert made.tolist() == wanted


@pytest.mark.parametrize("rows", [9, 11])
def test_strips_that_are_not_the_picture_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match="rows of a picture"):
        list(png.written((10, 4, 3), [np.zeros((rows, 4, 3), np.uint8)]))
    with pytest.raises(ValueError, match="a strip of"):
        list(png.written((10, 4, 3), [np.zeros((10, 5, 3), np.uint8)]))
    with pytest.raises(ValueError, match="no PNG has this size"):
        png.header(1, 1 << 31, 3)


# ------------------------------------------------------------------------------------------ outputs


def test_which_outputs_take_strips(tmp_path: Path) -> None:
    """PNG files do; streams, tars, videos and other formats need the picture."""
    for name in ("x.png", "d/", "d/{}.png"):
        assert open_sink(f"{tmp_path}/{name}", own="image").takes_strips, name
    for name in ("x.jpg", "x.webp", "x.tar", "x.mp4", "d/{}.jpg"):
        assert not open_sink(f"{tmp_path}/{name}", own="image").takes_strips, name


def test_s2_22_strips_are_the_whole_picture(gt: Run, net: Path, tmp_path: Path) -> None:
    """The same pixels and story in a file, in a folder, on standard output and in a tar."""
    command = ("generate", "--net", net, "--seeds", "7", *SIZE)
    for name in ("one.png", "d/", "k/{}.png"):
        made = gt(*command, "-o", f"{tmp_path}/{name}")
        assert made.code == 0, made.err
    bare = gt(*command, "-o", ".png").out
    with tarfile.open(fileobj=io.BytesIO(gt(*command, "-o", "-").out)) as tar:
        (member,) = tar.getmembers()
        stream = tar.extractfile(member)
        assert stream is not None
        assert stream.read() == bare
    whole = image.decode(bare)
    assert whole.shape == (64, 150, 3) and whole.std() > 5
    assert files(tmp_path) == ["d/seed000007.png", "k/seed000007.png", "one.png"]
    for name in files(tmp_path):
        data = (tmp_path / name).read_bytes()
        assert (image.decode(data) == whole).all()
        assert image.story(data) == image.story(bare)
    story = image.story(bare) or {}
    assert story["space"] == "fnz5" and story["noise"] == {"mode": "own"}
    assert story["history"][-1]["args"] == {"seed": 0, "size": [64, 150]}


def test_s2_22_batch_shard_and_tile_change_nothing(gt: Run, net: Path, tmp_path: Path) -> None:
    """The picture of a seed is the same alone, among others and in other tiles."""
    ways = {
        "a": ("--seeds", "0-3", "--batch", "3", *SIZE),
        "b": ("--seeds", "0-3", "--shard", "1/2", *SIZE),
        "c": ("--seeds", "1,3", "--size", "64x150"),
    }
    for name, more in ways.items():
        made = gt("generate", "--net", net, *more, "-o", f"{tmp_path}/{name}/")
        assert made.code == 0, made.err
    for seed in (1, 3):
        a, b, c = (
            image.decode((tmp_path / name / f"seed{seed:06d}.png").read_bytes()).astype(int)
            for name in ways
        )
        assert (a == b).all()
        assert np.abs(a - c).max() <= 1 and (a != c).mean() < 1e-3


def test_small_pictures_between_large_ones_keep_their_order(
    gt: Run, net: Path, tmp_path: Path
) -> None:
    """Latents of both sizes in one run; a sheet is made of large ones as well."""
    for size, seed in ((("--size", "96x64"), 0), ((), 1), (("--size", "64x64"), 2)):
        made = gt("generate", "--net", net, "--seeds", seed, *size, "--space", "fnz",
                  "-o", f"{tmp_path}/l/")  # fmt: skip
        assert made.code == 0, made.err
    made = gt("generate", "--net", net, tmp_path / "l", "--tile", "32", "-o", f"{tmp_path}/p/")
    assert made.code == 0, made.err
    sizes = [image.decode(p.read_bytes()).shape[:2] for p in sorted((tmp_path / "p").iterdir())]
    assert sizes == [(96, 64), (32, 32), (64, 64)]
    made = gt("generate", "--net", net, "--seeds", "0,1", "--size", "96x64", "--tile", "32",
              "--grid", "1x2", "-o", tmp_path / "sheet.png")  # fmt: skip
    sheet = image.decode((tmp_path / "sheet.png").read_bytes())
    assert sheet.shape == (96, 128, 3)
    first = image.decode((tmp_path / "p/seed000000.png").read_bytes())
    assert np.abs(sheet[:, :64].astype(int) - first).max() <= 1


# ----------------------------------------------------------------------------------------- failures


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """The tile of this number is not made."""
    real, made = stylegan2_tiles.picture_from, iter(range(999))

    def picture_from(*args: object, **how: object) -> object:
        if next(made) == number:
            raise error
        return real(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(stylegan2_tiles, "picture_from", picture_from)


@pytest.mark.parametrize("name", ["x.png", "d/"])
@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (Usage("no more"), 2)])
def test_an_early_end_leaves_nothing(
    gt: Run, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, error: BaseException, code: int,
) -> None:  # fmt: skip
    """Ctrl-C in the second row of tiles: no half a picture, what was there stays."""
    old = tmp_path / (name if name == "x.png" else "d/seed000000.png")
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"old")
    stop_at(monkeypatch, 7, error)
    made = gt("generate", "--net", net, "--seeds", "0", *SIZE, "-o", f"{tmp_path}/{name}")
    assert made.code == code, made.err
    assert files(tmp_path) == [str(old.relative_to(tmp_path))] and old.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["x.png", "d/"])
def test_a_disk_that_fills_up_leaves_nothing(
    gt: Run, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One line, status 2."""

    class Full(io.FileIO):
        """Room for a few bytes."""

        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def create(self: atomic.AtomicFile, suffix: str) -> io.FileIO:
        real(self, suffix).close()
        return Full(self.temporary, "wb")

    real = atomic.AtomicFile._create
    monkeypatch.setattr(atomic.AtomicFile, "_create", create)
    made = gt("generate", "--net", net, "--seeds", "0", *SIZE, "-o", f"{tmp_path}/{name}")
    assert made.code == 2 and "No space left on device" in made.err
    assert made.err.count("\n") == 1 and files(tmp_path) == []


def test_one_file_takes_one_large_picture(gt: Run, net: Path, tmp_path: Path) -> None:
    """A second one: nothing is written, though the first was finished; --no-clobber makes none."""
    large = ("generate", "--net", net, *SIZE, "-o", tmp_path / "x.png")
    made = gt(*large, "--seeds", "0,1")
    assert made.code == 2 and "takes one sample" in made.err and files(tmp_path) == []
    (tmp_path / "x.png").write_bytes(b"old")
    assert gt(*large, "--seeds", "0", "--no-clobber").code == 0
    assert (tmp_path / "x.png").read_bytes() == b"old"


def test_strips_of_a_key_that_is_there_are_not_begun(tmp_path: Path) -> None:
    def strips() -> Iterator[np.ndarray]:
        yield np.zeros((2, 3, 3), np.uint8)

    with open_sink(f"{tmp_path}/d/", own="image") as sink:
        sink.put_strips("a", (2, 3, 3), strips())
        with pytest.raises(Exception, match="already written"):
            sink.put_strips("a", (2, 3, 3), strips())
    assert files(tmp_path) == ["d/a.png"]
