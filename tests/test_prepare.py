"""Data sets as the papers prepare them: MNIST, MNIST-RGB, CelebA, LSUN, CIFAR-10 (S1.15)."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gantools.faces import crop
from gantools.faces.stack import Planes, draw
from gantools.io import cifar, image, labels
from gantools.io.source import samples
from gantools.io.stream import DamagedStream
from gantools.networks.network import open_network
from gantools.report import SampleError, Usage

DIGITS = 40


def idx(shape: tuple[int, ...], data: bytes) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """uint8 [N, 28, 28] in place of digits."""
    return np.random.default_rng(0).integers(0, 256, (DIGITS, 28, 28), np.uint8)


@pytest.fixture
def mnist(tmp_path: Path, digits: np.ndarray) -> Path:
    """train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz; the labels are i % 10."""
    place = tmp_path / "mnist"
    place.mkdir()
    numbers = bytes(i % 10 for i in range(DIGITS))
    for name, data in (
        ("images-idx3", idx(digits.shape, digits.tobytes())),
        ("labels-idx1", idx((DIGITS,), numbers)),
    ):
        (place / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(data))
    return place


def padded(digits: np.ndarray) -> np.ndarray:
    return np.pad(digits, [(0, 0), (2, 2), (2, 2)])


def pictures(folder: Path) -> dict[str, np.ndarray]:
    files = sorted(p for p in folder.rglob("*.png"))
    return {str(p.relative_to(folder))[:-4]: image.decode(p.read_bytes()) for p in files}


# ------------------------------------------------------------------------------- index arithmetic


@pytest.mark.parametrize(
    ("height", "width", "size", "box"),
    [(28, 28, 32, (-2, -2, 30, 30)), (27, 30, 32, (-1, -2, 31, 30)), (8, 8, 8, (0, 0, 8, 8))],
)
def test_padding_s1_15(height: int, width: int, size: int, box: tuple[int, ...]) -> None:
    """All of the picture, unchanged, in the middle of black; the odd pixel right and below."""
    photo = np.random.default_rng(1).integers(1, 256, (height, width, 3), np.uint8)
    assert crop.padded_box(photo, size) == box
    made = crop.box_crop(photo, crop.padded_box(photo, size), size)
    left, top = -box[0], -box[1]
    assert (made[top : top + height, left : left + width] == photo).all()
    assert made.astype(int).sum() == photo.astype(int).sum()


def test_padding_makes_nothing_smaller_s1_15() -> None:
    with pytest.raises(SampleError, match="28x28 px is larger than --size 16"):
        crop.padded_box(np.zeros((28, 28, 3), np.uint8), 16)


def test_celeba_and_lsun_s1_15(gt: Callable, tmp_path: Path) -> None:
    """CelebA: rows 57:185, columns 25:153. LSUN: the square in the middle, Lanczos to 256."""
    photo = np.random.default_rng(2).integers(0, 256, (218, 178, 3), np.uint8)
    wide = np.random.default_rng(3).integers(0, 256, (300, 411, 3), np.uint8)
    for name, pixels in (("celeba", photo), ("wide", wide)):
        (tmp_path / f"{name}.png").write_bytes(image.encode(pixels))
    one, two = tmp_path / "128.png", tmp_path / "256.png"
    assert gt("prefilter", tmp_path / "celeba.png", "--crop", "celeba", "-o", one).code == 0
    assert (image.decode(one.read_bytes()) == photo[57:185, 25:153]).all()
    assert gt("prefilter", tmp_path / "wide.png", "--crop", "square", "-o", two).code == 0
    square = Image.fromarray(wide[:, 55:355])
    wanted = np.asarray(square.resize((256, 256), Image.Resampling.LANCZOS))
    assert (image.decode(two.read_bytes()) == wanted).all()


def test_the_first_pictures_s1_15(gt: Callable, tmp_path: Path) -> None:
    """--first counts what cannot be read too; shards have theirs of them; a pipe is not read on."""
    place, made = tmp_path / "lsun", tmp_path / "made"
    place.mkdir()
    for i in range(9):
        pixels = np.full((12, 10 + i, 3), 20 * i, np.uint8)
        data = image.encode(pixels) if i != 2 else b"none"
        (place / f"{i}.png").write_bytes(data)
    what = ("--crop", "square", "--size", 8, "--first", 5)
    done = gt("prefilter", place, *what, "-o", f"{made}/")
    assert (done.code, "4 accepted, 0 rejected, 1 unreadable" in done.err) == (1, True)
    assert list(pictures(made)) == ["0", "1", "3", "4"]
    shards = [(*what, "--shard", f"{i}/2", "-o", f"{tmp_path}/p/") for i in range(2)]
    assert [gt("prefilter", place, *words).code for words in shards] == [1, 0]
    assert list(pictures(tmp_path / "p")) == ["0", "1", "3", "4"]
    cut = b"".join((place / f"{i}.png").read_bytes() for i in (0, 1)) + b"\x89PNG"
    done = gt("prefilter", *what[:-1], 1, "-o", f"{tmp_path}/q/", stdin=cut)
    assert done.code == 0 and len(pictures(tmp_path / "q")) == 1


# ------------------------------------------------------------------------------------------ MNIST


def test_mnist_becomes_a_data_set_that_trains_s1_15(
    gt: Callable, mnist: Path, digits: np.ndarray, tmp_path: Path
) -> None:
    """One line makes the zip with its labels, one line trains on it, by classes and in grey."""
    pack = tmp_path / "mnist.zip"
    made = gt("prefilter", mnist / "train-images-idx3-ubyte.gz", "--crop", "pad", "--pack", "zip",
              "--labels", mnist / "train-labels-idx1-ubyte.gz", "-o", pack)  # fmt: skip
    assert (made.code, made.err.count("\n")) == (0, 1), made.err
    with zipfile.ZipFile(pack) as archive:
        pairs = json.loads(archive.read("dataset.json"))["labels"]
        found = np.stack([image.decode(archive.read(name)) for name, _ in pairs])
    assert [label for _, label in pairs] == [i % 10 for i in range(DIGITS)]
    assert (found == padded(digits)[..., None]).all()
    run = tmp_path / "run"
    done = gt("train", "pggan", pack, "--channels", 1, "--labels", "dataset", "-o", run,
              "--images", "1k", "--snapshot", "1k", "--channel-max", 4, "--latent-dim", 8,
              "--batch", 64, "--quiet")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    config = json.loads((run / "config.json").read_text())
    assert (config["resolution"], config["channels"], config["labels"]) == (32, 1, "dataset")


def test_labels_of_an_idx_file(mnist: Path) -> None:
    table = labels.read(mnist / "train-labels-idx1-ubyte.gz")
    assert table.columns == ["label"]
    keys = [s.key for s in samples([str(mnist / "train-images-idx3-ubyte.gz")])]
    assert list(table.rows) == keys
    assert [table.rows[key] for key in keys] == [[str(i % 10)] for i in range(DIGITS)]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("train-labels-idx1-ubyte", idx((9,), bytes(8)), "cut: 8 of 9 labels"),
        ("train-labels-idx1-ubyte", idx((1, 2, 2), bytes(4)), r"labels are bytes \[N\]"),
        ("train-labels-idx1-ubyte", idx((2**31,), b""), r"labels are bytes \[N\]"),
        ("train-labels-idx1-ubyte", gzip.compress(idx((9,), bytes(9)))[:-9], "damaged or cut"),
        ("train-labels-idx1-ubyte", gzip.compress(b"a,b\n1,2\n"), "neither a CSV nor an IDX"),
        ("train-labels-idx1-ubyte", idx((9,), bytes(10)), "more than 9 labels"),
        ("numbers", idx((9,), bytes(9)), "of which pictures"),
    ],
    ids=["cut", "pictures", "huge", "cut-gzip", "csv", "more", "name"],
)
def test_labels_that_are_none(name: str, data: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Usage, match=why):
        labels.read(tmp_path / name)


def test_more_than_the_header_says(mnist: Path) -> None:
    """A picture too many, and a gzip file without its last byte: told after the last picture."""
    path = mnist / "train-images-idx3-ubyte.gz"
    data = path.read_bytes()
    for damaged, why in ((gzip.compress(gzip.decompress(data) + b"x"), "more is there"),
                         (data[:-1], "damaged or cut")):  # fmt: skip
        path.write_bytes(damaged)
        got = samples([str(path)])
        assert [next(got).key[-2:] for _ in range(DIGITS)][-1] == "39"
        with pytest.raises(DamagedStream, match=why):
            next(got)


@pytest.mark.parametrize("more", [[], ["--stack-rgb", 4]])
def test_a_cut_idx_file_is_one_line(
    gt: Callable, mnist: Path, tmp_path: Path, more: list[Any]
) -> None:
    """What came whole is there, save where pictures would be drawn from a part of them."""
    path = mnist / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.decompress(path.read_bytes())[: -10 * 28 * 28 - 1])
    out = tmp_path / "out"
    made = gt("prefilter", path, "--crop", "pad", *more, "-o", f"{out}/")
    assert (made.code, made.err.count("\n")) == (2, 1)
    assert "cut: 29 of 40 pictures are there" in made.err
    assert len(pictures(out)) == (0 if more else 29)


# -------------------------------------------------------------------------------------- MNIST-RGB


def test_the_draw_is_the_data_sets_s1_15() -> None:
    """RandomState(123), three numbers for each picture, whatever is drawn at once."""
    random = np.random.RandomState(123)
    wanted = [random.randint(60_000, size=3) for _ in range(5000)]
    assert (np.stack(list(draw(60_000, 5000, 123))) == wanted).all()
    assert wanted[0].tolist() == [52734, 15725, 28030]


def test_stacked_pictures_hold_digits_of_the_set_s1_15(
    gt: Callable, mnist: Path, digits: np.ndarray, tmp_path: Path
) -> None:
    """Each plane is a padded digit, the one that the picture's story names; shards make them too.

    Seed and number alone decide.
    """
    what = ("prefilter", mnist / "train-images-idx3-ubyte.gz", "--crop", "pad", "--stack-rgb", 12,
            "--seed", 123)  # fmt: skip
    whole, parts, short = (tmp_path / name for name in ("whole", "parts", "short"))
    assert gt(*what, "-o", f"{whole}/").code == 0
    found = pictures(whole)
    assert list(found) == [f"rgb/{i:02d}" for i in range(12)]
    numbers = np.stack(list(draw(DIGITS, 12, 123)))
    for i, (key, pixels) in enumerate(found.items()):
        assert (pixels == padded(digits)[numbers[i]].transpose(1, 2, 0)).all()
        story = image.story((whole / f"{key}.png").read_bytes())
        assert story is not None
        wanted = [f"train-images-idx3-ubyte/{n:02d}" for n in numbers[i]]
        assert story["planes"] == wanted
    for shard in ("0/2", "1/2"):
        assert gt(*what, "--shard", shard, "-o", f"{parts}/").code == 0
    assert {p.name: p.read_bytes() for p in parts.rglob("*.png")} == {
        p.name: p.read_bytes() for p in whole.rglob("*.png")
    }
    lost = parts / "rgb" / "07.png"
    lost.unlink()
    assert gt(*what, "--no-clobber", "-o", f"{parts}/").code == 0
    assert lost.read_bytes() == (whole / "rgb" / "07.png").read_bytes()
    assert gt(*what[:-3], 3, "--seed", 123, "-o", f"{short}/").code == 0
    assert [*pictures(short).values()][2].tolist() == found["rgb/02"].tolist()


def test_stacked_pictures_are_reported_and_packed(
    gt: Callable, mnist: Path, digits: np.ndarray, tmp_path: Path
) -> None:
    """The report is of what was read; a data set of any kind is of what was drawn."""
    file = tmp_path / "report.jsonl"
    what = ("prefilter", mnist / "train-images-idx3-ubyte.gz", "--crop", "pad", "--stack-rgb", 5)
    assert gt(*what, "--dry-run", "--report", file).code == 0
    assert len(file.read_text().splitlines()) == DIGITS
    for pack, output in (("zip", "x.zip"), ("tar", "tars"), ("tfrecord", "records")):
        assert gt(*what, "--pack", pack, "-o", tmp_path / output).code == 0
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert sorted(archive.namelist()) == ["dataset.json", *(f"rgb/{i}.png" for i in range(5))]
    members = [s.key for s in samples([str(tmp_path / "tars" / "00000.tar")])]
    assert sorted(members) == [f"rgb/{i}" for i in range(5)]
    assert (tmp_path / "records" / "records-r05.tfrecords").stat().st_size > 5 * 3 * 32 * 32


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--keep", 3], "--keep is of single crops"),
        (["--labels", "x.csv", "--pack", "zip"], "--labels is of single crops"),
        (["--seed", -1], "--seed"),
        (["--size", 16], "no picture to stack"),
    ],
)
def test_what_cannot_be_stacked(
    gt: Callable, mnist: Path, tmp_path: Path, more: list[Any], why: str
) -> None:
    path = mnist / "train-images-idx3-ubyte.gz"
    out = tmp_path / "o.tar"
    made = gt("prefilter", path, "--crop", "pad", "--stack-rgb", 5, *more, "-o", out)
    assert made.code == 2 and why in made.err
    assert not out.exists()


def test_stacking_takes_no_memory_for_what_it_makes(digits: np.ndarray) -> None:
    with Planes(28) as planes:
        for i, digit in enumerate(digits):
            planes.add(str(i), np.repeat(digit[..., None], 3, 2))
        tracemalloc.start()
        for _ in planes.stacked(20_000, 0):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1_000_000  # the pictures have 47 MB


@pytest.mark.data
def test_mnist_rgb_of_the_real_digits_s1_15(shared: Path) -> None:
    """The paper's set: its first picture holds the training digits 52734, 15725 and 28030."""
    path = shared / "data" / "mnist" / "train-images-idx3-ubyte.gz"
    raw = np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8).reshape(-1, 28, 28)
    with Planes(32) as planes:
        for i, digit in enumerate(padded(raw)):
            planes.add(str(i), np.repeat(digit[..., None], 3, 2))
        number, keys, pixels = next(planes.stacked(1_000_000, 123))
    assert (number, keys) == (0, ["52734", "15725", "28030"])
    assert (pixels == padded(raw[[52734, 15725, 28030]]).transpose(1, 2, 0)).all()


# --------------------------------------------------------------------------------------- CIFAR-10


@pytest.fixture(scope="module")
def batch() -> tuple[bytes, np.ndarray, list[int]]:
    """A file of CIFAR-10's binary version: its bytes, pictures [6, 32, 32, 3] and labels."""
    planes = np.random.default_rng(4).integers(0, 256, (6, 3, 32, 32), np.uint8)
    numbers = [6, 9, 9, 4, 1, 0]
    records = [bytes([n]) + x.tobytes() for n, x in zip(numbers, planes, strict=True)]
    return b"".join(records), planes.transpose(0, 2, 3, 1), numbers


def test_cifars_binary_version(
    batch: tuple[bytes, np.ndarray, list[int]], gt: Callable, tmp_path: Path
) -> None:
    """By name, by pipe and in the archive as it comes; the class is the first folder of the key."""
    data, pixels, numbers = batch
    path, archive = tmp_path / "data_batch_1.bin", tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(data)
    with tarfile.open(archive, "w:gz") as tar:
        for name, inside in (("batches.meta.txt", b"airplane\n"), ("data_batch_1.bin", data)):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(inside)
            tar.addfile(info, io.BytesIO(inside))
    found = list(samples([str(path)]))
    assert [s.key for s in found] == [f"{n}/data_batch_1/{i}" for i, n in enumerate(numbers)]
    assert all((image.decode(s.data) == x).all() for s, x in zip(found, pixels, strict=True))
    inside = list(samples([str(archive)]))
    assert [s.key for s in inside] == [
        f"{n}/cifar-10-batches-bin/data_batch_1/{i}" for i, n in enumerate(numbers)
    ]
    assert [s.data for s in inside] == [s.data for s in found]
    made = gt("prefilter", "--crop", "square", "--size", 32, "-o", f"{tmp_path}/o/", stdin=data)
    assert made.code == 0
    assert {k.partition("/")[0] for k in pictures(tmp_path / "o")} == set(map(str, numbers))


def test_cifar_trains_by_its_classes(
    batch: tuple[bytes, np.ndarray, list[int]], gt: Callable, tmp_path: Path
) -> None:
    path, run = tmp_path / "data_batch_1.bin", tmp_path / "run"
    path.write_bytes(batch[0])
    done = gt("train", "sngan", path, "--labels", "folders", "-o", run, "--images", "1k",
              "--snapshot", "1k", "--channel-max", 4, "--d-steps", 1, "--batch", 64)  # fmt: skip
    assert done.code == 0, done.err
    assert "5 classes" in done.err
    assert open_network(str(run / "network-000001.safetensors")).meta["classes"] == list("01469")


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: b"\x0a" + d[1:]])
def test_what_is_no_batch_of_cifar(
    change: Callable[[bytes], bytes], batch: tuple[bytes, np.ndarray, list[int]], gt: Callable,
    tmp_path: Path,
) -> None:  # fmt: skip
    """A byte less, a label of 10: no picture, one line."""
    data = change(batch[0])
    assert not cifar.is_batch(data)
    (tmp_path / "data.bin").write_bytes(data)
    made = gt("prefilter", tmp_path / "data.bin", "--crop", "square", "-o", f"{tmp_path}/o/")
    assert made.code == 1 and "data.bin: not an image" in made.err
