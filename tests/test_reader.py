"""Pictures of a run: where they are found, and that both readers give the same bits."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_distributed import lines, trained
from test_training import SMALL, numbers, picture

from gantools import report
from gantools.io import classes, image, places
from gantools.io.stream import StreamWriter
from gantools.report import SampleError, Usage
from gantools.training import data, reader, state
from gantools.training.distributed import Ranks
from gantools.training.order import Order
from gantools.training.reader import InMemory, Reader, Streaming

SIZE = (8, 8)


def everything(x: torch.Tensor) -> torch.Tensor:
    """The share of a process that is alone."""
    return x


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with path.open("wb") as file:
        writer = StreamWriter(file)
        for name, content in members.items():
            writer.write(name, content)
        writer.close()
    return path


@cache
def damaged(i: int) -> bytes:
    """A PNG whose head and end are good: only decoding finds the zeros in between."""
    out = io.BytesIO()
    noise = np.random.default_rng(i).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "PNG")
    content = bytearray(out.getvalue())
    content[17_000:18_000] = bytes(1000)
    return bytes(content)


@cache
def noisy(i: int) -> bytes:
    """A PNG of 80x80 that is larger than what is read of it before the run."""
    out = io.BytesIO()
    noise = np.random.default_rng(i).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder of 30 pictures, a folder for each of three classes; the 8th is damaged."""
    top = tmp_path / "faces"
    for i in range(30):
        folder = top / "abc"[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:03d}.png").write_bytes(damaged(i) if i == 8 else noisy(i))
    return top


def loaded(
    *operands: object, folder: Path, labels: str | None = None, **more: Any
) -> data.Pictures:
    names = [str(x) for x in operands]
    found = None if labels is None else classes.read(labels, None, names)
    return data.load(names, more.pop("size", SIZE), folder, classes=found, **more)


def opened(pictures: data.Pictures, folder: Path, *, stream: bool, workers: int = 2) -> Reader:
    return reader.opened(
        pictures, folder, seed=5, mirror=True, workers=workers, stream=stream, device="cpu"
    )


def shown(r: Reader, counts: list[int], mine: Callable[[torch.Tensor], torch.Tensor] = everything,
          position: int = 0) -> list[tuple[np.ndarray, list[int] | None]]:  # fmt: skip
    """Batches of these sizes, one after another."""
    found = []
    with closing(r):
        for count in counts:
            pixels, labels = r.batch(position, count, mine)
            found.append((pixels.numpy().copy(), None if labels is None else labels.tolist()))
            position += count
    return found


def same(a: list[tuple[np.ndarray, Any]], b: list[tuple[np.ndarray, Any]]) -> None:
    assert len(a) == len(b)
    for (left, labels), (right, others) in zip(a, b, strict=True):
        assert left.tobytes() == right.tobytes()
        assert labels == others


# ------------------------------------------------------------------------------------- the bits


def test_both_readers_give_the_same_bits(faces: Path, tmp_path: Path) -> None:
    """For any number of threads and any sizes of batches, over epochs, mirrored, with classes."""
    pictures = loaded(faces, folder=tmp_path, labels="folders")
    counts = [4, 4, 4, 16, 16, 1, 64, 64, 4]  # a wrong guess at each change
    wanted = shown(opened(pictures, tmp_path, stream=False), counts)
    for workers in (1, 2, 5):
        same(shown(opened(pictures, tmp_path, stream=True, workers=workers), counts), wanted)


def test_what_is_shown_is_what_the_order_says(faces: Path, tmp_path: Path) -> None:
    pictures = loaded(faces, folder=tmp_path, labels="folders")
    index, flipped = Order(30, 5, mirror=True).take(0, 60)
    for stream in (False, True):
        [(pixels, labels)] = shown(opened(pictures, tmp_path, stream=stream), [60])
        assert labels is not None
        for row, i, flip, label in zip(pixels, index, flipped, labels, strict=True):
            if pictures.train.name(i).endswith("008.png"):
                continue
            wanted = pictures.train.decode(i)
            assert (row == (wanted[..., ::-1] if flip else wanted)).all()
            assert label == pictures.labels[i]


def test_ranks_share_what_one_process_sees(faces: Path, tmp_path: Path) -> None:
    """Whole groups of the minibatch stddev, in their order; no process decodes another's share."""
    pictures = loaded(faces, folder=tmp_path, labels="folders")
    [whole] = shown(opened(pictures, tmp_path, stream=False), [16])
    for rank in (0, 1):
        ranks = Ranks(rank, 2)

        def mine(x: torch.Tensor, ranks: Ranks = ranks) -> torch.Tensor:
            return ranks.take(x, 4)

        [memory] = shown(opened(pictures, tmp_path, stream=False), [16], mine)
        [stream] = shown(opened(pictures, tmp_path, stream=True), [16], mine)
        same([memory], [stream])
        wanted = mine(torch.from_numpy(whole[0]))
        assert (memory[0] == wanted.numpy()).all()
        assert whole[1] is not None
        assert memory[1] == mine(torch.tensor(whole[1])).tolist()


def test_a_start_in_the_middle_is_the_same(faces: Path, tmp_path: Path) -> None:
    pictures = loaded(faces, folder=tmp_path)
    whole = shown(opened(pictures, tmp_path, stream=True), [8] * 10)
    same(shown(opened(pictures, tmp_path, stream=True), [8] * 4, position=48), whole[6:])


@pytest.mark.gpu
def test_a_gpu_gets_the_same_bits(faces: Path, tmp_path: Path) -> None:
    """From pinned memory, while the threads fill the next batches."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pictures = loaded(faces, folder=tmp_path, labels="folders")
    counts = [16] * 20
    wanted = shown(opened(pictures, tmp_path, stream=False), counts)
    for stream in (False, True):
        with closing(reader.opened(pictures, tmp_path, seed=5, mirror=True, device="cuda",
                                   stream=stream)) as r:  # fmt: skip
            batches = [r.batch(16 * i, 16, everything) for i in range(20)]
        found = [(x.cpu().numpy(), None if y is None else y.tolist()) for x, y in batches]
        same(found, wanted)


class Counted:
    """A set of any length whose pictures are their numbers; counts what is decoded."""

    shape, stride = (1, 64, 64), 1

    def __init__(self, n: int, seconds: float = 0.0) -> None:
        self.n, self.seconds = n, seconds
        self.decoded = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.n

    def name(self, i: int) -> str:
        return str(i)

    def decode(self, i: int) -> np.ndarray:
        with self._lock:
            self.decoded += 1
        time.sleep(self.seconds)
        return np.full(self.shape, i % 251, np.uint8)


def test_memory_does_not_grow_with_the_set() -> None:
    """A few batches are decoded, whatever N is: 20,000 pictures of 4 KB are 82 MB, and 4 come."""
    pictures = Counted(20_000)
    order = Order(len(pictures), 0, mirror=False)
    tracemalloc.start()
    with closing(Streaming(pictures, order, workers=2)) as r:
        for at in range(0, 400, 8):
            r.batch(at, 8, everything)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()
    assert 400 <= pictures.decoded <= 400 + reader.AHEAD + 8


def test_waiting_is_what_the_trainer_stands_still() -> None:
    """Slow pictures: nearly all of the time; pictures that are there: nearly nothing of it."""
    with closing(Streaming(Counted(64, 0.01), Order(64, 0, mirror=False), workers=1)) as r:
        start = time.monotonic()
        for at in range(0, 32, 8):
            r.batch(at, 8, everything)
        assert r.waited > 0.8 * (time.monotonic() - start)
    with closing(Streaming(Counted(64), Order(64, 0, mirror=False), workers=1)) as r:
        r.batch(0, 8, everything)
        before, start = r.waited, time.monotonic()
        for at in range(8, 32, 8):
            time.sleep(0.1)
            r.batch(at, 8, everything)
        assert r.waited - before < 0.3 * (time.monotonic() - start)


# ---------------------------------------------------------------------------- damaged pictures


def test_damage_that_only_decoding_finds(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told once, and the next picture and its class stand in its place, in both readers."""
    report.reset()
    pictures = loaded(faces, folder=tmp_path, labels="folders")
    at = next(i for i in range(30) if pictures.train.name(i).endswith("008.png"))
    assert len(pictures.train) == 30
    with pytest.raises(SampleError):
        pictures.train.decode(at)
    index, flipped = Order(30, 5, mirror=True).take(0, 120)
    for stream in (False, True):
        capsys.readouterr()
        before = report.failures()
        [(pixels, labels)] = shown(opened(pictures, tmp_path, stream=stream), [120])
        said = capsys.readouterr().err
        assert said.count("008.png") == 1
        assert "the next picture is shown in its place" in said
        assert report.failures() == before + 1
        wanted = pictures.train.decode(at + 1)
        assert labels is not None
        for k in np.flatnonzero(index == at):
            assert (pixels[k] == (wanted[..., ::-1] if flipped[k] else wanted)).all()
            assert labels[k] == pictures.labels[at + 1]
    assert at != 29 and pictures.train.pictures[at].key == "c/008"


def test_damage_of_another_process_is_told(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process that leaves remarks to the first one is the only one that sees its own share."""
    report.reset()
    pictures = loaded(faces, folder=tmp_path)
    report.hush()
    shown(opened(pictures, tmp_path, stream=True), [120])
    assert capsys.readouterr().err.count("008.png") == 1
    shown(opened(pictures, tmp_path, stream=False), [120])
    assert capsys.readouterr().err == ""


def test_nothing_but_damage_ends_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(damaged(i))
    pictures = loaded(folder, folder=tmp_path)
    for stream in (False, True):
        with pytest.raises(
            Usage, match=r"3 pictures in a row cannot be decoded; the last is .*png"
        ):
            shown(opened(pictures, tmp_path, stream=stream), [4])


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_cut_files_are_found_before_the_run(format: str, tmp_path: Path) -> None:
    """Of any length, in any format; whole ones are not left out."""
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, format)
    content = out.getvalue()
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "whole").write_bytes(content)
    (folder / "half").write_bytes(content[: len(content) // 2])
    (folder / "nearly").write_bytes(content[:-8])
    found = loaded(folder, folder=tmp_path)
    assert [x.key for x in found.train.pictures] == [
        x.name for x in sorted(folder.iterdir()) if decodes(x)
    ]
    assert "whole" in [x.key for x in found.train.pictures]
    if format != "GIF":  # Pillow fills up what is missing
        assert "half" not in [x.key for x in found.train.pictures]


def decodes(path: Path) -> bool:
    try:
        image.decode(path.read_bytes())
    except SampleError:
        return False
    return True


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_size_before_the_run_is_that_of_the_decoded(turn: int) -> None:
    """EXIF orientation counts; a header beyond the first bytes, and a cut file, say nothing."""
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(out, "JPEG", exif=exif)
    content = out.getvalue()
    size = image.size_of(content, content[-16:], len(content))
    assert size == image.decode(content).shape[:2]
    assert image.size_of(content[:30], content[-16:], len(content)) is None
    assert image.size_of(content, content[-18:-2], len(content)) is None


# -------------------------------------------------------------------------------- where they are


@pytest.fixture
def members() -> dict[str, bytes]:
    return {f"set/{i:03d}.png": noisy(i) for i in range(12)}


Made = Callable[[dict[str, bytes], Path], list[Path | str]]


def _folder(members: dict[str, bytes], top: Path) -> list[Path | str]:
    (top / "f" / "set").mkdir(parents=True)
    for name, content in members.items():
        (top / "f" / name).write_bytes(content)
    return [top / "f"]


def _zip(method: int) -> Made:
    def make(members: dict[str, bytes], top: Path) -> list[Path | str]:
        with zipfile.ZipFile(top / "x.zip", "w", method) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return [top / "x.zip"]

    return make


def _tar(members: dict[str, bytes], top: Path) -> list[Path | str]:
    return [tar_of(top / "x.tar", members)]


def _stock_tar(members: dict[str, bytes], top: Path) -> list[Path | str]:
    """With folders, long names, a note and other things that are no pictures."""
    with tarfile.open(top / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in {**members, "set/labels.csv": b"key,x\n"}.items():
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(content), {"comment": "ü" * 200}
            archive.addfile(info, io.BytesIO(content))
        folder = tarfile.TarInfo("set")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return [top / "x.tar"]


def _gz(members: dict[str, bytes], top: Path) -> list[Path | str]:
    plain = tar_of(top / "x.tar", members)
    (top / "x.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return [top / "x.tar.gz"]


def _shards(members: dict[str, bytes], top: Path) -> list[Path | str]:
    (top / "shards").mkdir()
    names = list(members)
    for i in range(3):
        part = {n: members[n] for n in names[4 * i : 4 * i + 4]}
        tar_of(top / "shards" / f"{i:05d}.tar", part)
    (top / "shards" / "README.txt").write_text("three shards")
    return [top / "shards"]


def _pattern(members: dict[str, bytes], top: Path) -> list[Path | str]:
    _shards(members, top)
    return [f"{top}/shards/*.tar"]


WAYS: dict[str, Made] = {
    "stored": _zip(zipfile.ZIP_STORED), "deflated": _zip(zipfile.ZIP_DEFLATED),
    "lzma": _zip(zipfile.ZIP_LZMA), "tar": _tar, "stock tar": _stock_tar, "tar.gz": _gz,
    "shards": _shards, "pattern": _pattern,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stream", [False, True])
def test_every_packing_is_the_same_set(
    way: str, stream: bool, members: dict[str, bytes], tmp_path: Path
) -> None:
    """The same digest, the same batches: a set may be packed anew between two starts."""
    plain = loaded(*_folder(members, tmp_path), folder=tmp_path)
    packed = loaded(*WAYS[way](members, tmp_path), folder=tmp_path)
    assert [x.key for x in packed.train.pictures] == [x.key for x in plain.train.pictures]
    assert packed.digest == plain.digest
    wanted = shown(opened(plain, tmp_path, stream=False), [8] * 4)
    same(shown(opened(packed, tmp_path, stream=stream), [8] * 4), wanted)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("tmp")]


def test_digest_knows_other_pictures(members: dict[str, bytes], tmp_path: Path) -> None:
    digests = set()
    first = next(iter(members))
    for number, change in enumerate([{}, {first: noisy(99)}, {"set/new.png": noisy(1)}]):
        digests.add(loaded(tar_of(tmp_path / f"{number}.tar", {**members, **change}),
                           folder=tmp_path).digest)  # fmt: skip
    assert len(digests) == 3


def test_a_tar_is_indexed_by_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No member is read while it is looked for; each can be read afterwards, in any order."""
    big = {f"{i}.bin": bytes([i]) * 3_000_000 for i in range(3)}
    path = tar_of(tmp_path / "x.tar", big)
    wanted = {name: len(content) for name, content in big.items()}
    read: list[int] = []
    pread = places.read_at
    monkeypatch.setattr(places, "read_at", lambda p, o, n: (read.append(n), pread(p, o, n))[1])
    found = dict(places.of_tar(path))
    assert {name: place.size for name, place in found.items()} == wanted
    assert not read
    for name in reversed(big):
        assert found[name]() == big[name]
        assert found[name].part(7, 2) == big[name][7:9]


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_cut_tar_is_refused(cut: float, members: dict[str, bytes], tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", members)
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(Usage, match=r"x\.tar: damaged stream: .*cut.* sample"):
        loaded(path, folder=tmp_path)


def test_damage_in_a_zip_is_told(members: dict[str, bytes], tmp_path: Path) -> None:
    """A stored member's sum is checked where all of it is read before the run, and later too."""
    path = tmp_path / "x.zip"
    small = {f"{i}.png": picture(i) for i in range(4)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**small, **members}.items():
            archive.writestr(name, content)
    content = bytearray(path.read_bytes())
    for name, at in (("2.png", 60), ("set/003.png", 17_500)):
        start = content.index(name.encode()) + len(name) + at
        content[start] ^= 0xFF
    path.write_bytes(content)
    report.reset()
    found = loaded(path, folder=tmp_path)
    assert report.failures() == 1
    assert len(found.train) == 15 and "2" not in [x.key for x in found.train.pictures]
    late = [x.key for x in found.train.pictures].index("set/003")
    with pytest.raises(SampleError, match="bad CRC-32"):
        found.train.decode(late)


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"\*\.tar: no such file, and nothing matches"):
        loaded(tmp_path / "*.tar", folder=tmp_path)


def test_tars_beside_pictures_are_left_alone(
    members: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report.reset()
    top = tmp_path / "mixed"
    top.mkdir()
    tar_of(top / "more.tar", members)
    (top / "0.png").write_bytes(noisy(0))
    assert len(loaded(top, folder=tmp_path).train) == 1
    assert "1 file left out" in capsys.readouterr().err


def test_labels_of_a_dataset_zip_come_with_both(tmp_path: Path) -> None:
    """NVIDIA's dataset.json, in the streaming reader as in memory."""
    path = tmp_path / "set.zip"
    pairs = [[f"00000/img{i:08d}.png", i % 3] for i in range(12)]
    with zipfile.ZipFile(path, "w") as archive:
        for (name, _), i in zip(pairs, range(12), strict=True):
            archive.writestr(name, picture(i))
        archive.writestr("dataset.json", json.dumps({"labels": pairs}))
    pictures = loaded(path, folder=tmp_path, labels="dataset")
    index, _ = Order(12, 5, mirror=True).take(0, 24)
    for stream in (False, True):
        r = opened(pictures, tmp_path, stream=stream)
        assert r.labels is not None and r.labels.tolist() == [i % 3 for i in range(12)]
        [(_, labels)] = shown(r, [24])
        assert labels == [int(i) % 3 for i in index]


def test_what_fits_is_decoded_before_the_run(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Half of the memory, shared by the machine's processes; a note says which."""
    pictures = loaded(faces, folder=tmp_path)
    need = 30 * 3 * 8 * 8

    def kind() -> type:
        with closing(reader.opened(pictures, tmp_path, seed=0, mirror=False)) as r:
            return type(r)

    assert kind() is InMemory
    assert "30 pictures, decoded before the run" in capsys.readouterr().err
    monkeypatch.setattr(reader, "_room", lambda _: need)
    assert kind() is InMemory
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert kind() is Streaming
    assert "30 pictures, decoded as the run needs them" in capsys.readouterr().err


# ----------------------------------------------------------------------------------- a whole run


def test_a_run_goes_on_in_either_reader(gt: Any, faces: Path, tmp_path: Path) -> None:
    """Memory, then streaming, then memory again, with one damaged picture and classes: the bits of
    a run in memory. log.jsonl and the report say how long it waited."""
    args = ("train", "stylegan2", faces, *SMALL, "--quiet", "--labels", "folders", "--mirror")
    straight, pieces = tmp_path / "straight", tmp_path / "pieces"
    result = gt(*args, "-o", straight, "--images", "960", "--snapshot", "2k", "--no-stream")
    assert result.code == 1
    assert result.err.count("\n") == result.err.count("008.png") == 1
    for images, how in (("320", "--no-stream"), ("640", "--stream"), ("960", "--no-stream")):
        more = ("--images", images, "--snapshot", "2k", how, "--workers", "3")
        assert gt(*args, "-o", pieces, *more).err.count("008.png") == 1
    left, right = numbers(straight / state.NAME), numbers(pieces / state.NAME)
    assert {n for n in left if left[n] != right.get(n)} <= {n for n in left if n[:5] == "sums."}
    waiting = [json.loads(x)["waiting"] for x in (pieces / "log.jsonl").read_text().splitlines()]
    assert len(waiting) == 3 and all(0 <= share <= 1 for share in waiting)
    assert "waiting" in (pieces / "report.html").read_text()


def test_other_pictures_are_noticed_by_their_first_bytes(
    gt: Any, faces: Path, tmp_path: Path
) -> None:
    args = ("train", "stylegan2", faces, *SMALL, "-o", tmp_path / "run", "--stream", "-q")
    assert gt(*args, "--images", "32").code == 1
    (faces / "a" / "000.png").write_bytes(noisy(77))
    result = gt(*args, "--images", "64")
    assert result.code == 2
    assert "not the pictures that the run was started with" in result.err


@pytest.mark.long
def test_two_processes_stream_what_one_holds_in_memory(faces: Path, tmp_path: Path) -> None:
    """Each decodes its own share; the damaged picture is told by the process that meets it."""
    args = ("stylegan2", faces, *SMALL, "--snapshot", "1k", "--images", "512")
    trained(*args, "-o", tmp_path / "one", "--no-stream", processes=1)
    said = trained(*args, "-o", tmp_path / "two", "--stream")
    assert 1 <= said.count("008.png") <= 2
    [one], [two] = lines(tmp_path / "one"), lines(tmp_path / "two")
    for name in ("loss_d", "loss_g", "score_real"):
        assert two[name] == pytest.approx(one[name], rel=0.02, abs=0.01), name
