"""S2.23: crops of huge rasters in Zarr stores, every place equally probable."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chi2
from test_reader import everything
from test_training import SMALL, numbers

from gantools import report
from gantools.io import network, rasters
from gantools.report import SampleError, Usage
from gantools.training import crops, reader, state
from gantools.training.crops import Places
from gantools.training.order import Drawn
from gantools.training.reader import Streaming


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def pictures() -> dict[str, np.ndarray]:
    """Two chunks and more each way, one smaller than any crop of 8."""
    return {
        "a/10": noise(0, 600, 20, 3), "a/11": noise(1, 9, 13, 3), "small": noise(2, 30, 7, 3),
        "grey": noise(3, 12, 12, 1), "alpha": noise(4, 8, 9, 4),
    }  # fmt: skip


@pytest.fixture
def store(pictures: dict[str, np.ndarray], tmp_path: Path) -> Path:
    with rasters.Writer(tmp_path / "x.zarr") as writer:
        for key, pixels in pictures.items():
            writer.put(key, pixels)
    return tmp_path / "x.zarr"


def loaded(path: Path, folder: Path, size: tuple[int, int] = (8, 8), **more: Any) -> crops.Crops:
    return crops.load([str(path)], size, folder, **more)


# ------------------------------------------------------------------------------- what is drawn


def p_value(counts: np.ndarray) -> float:
    """Of the chi-squared test that all are equally probable."""
    expected = counts.sum() / counts.size
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), counts.size - 1))


def toy(tmp_path: Path, *sizes: tuple[int, int]) -> Places:
    with rasters.Writer(tmp_path / "toy.zarr") as writer:
        for i, size in enumerate(sizes):
            writer.put(f"{i}", np.zeros((*size, 3), np.uint8))
    return Places(rasters.read([str(tmp_path / "toy.zarr")]), (4, 4), 3)


def test_s2_23_every_place_is_equally_probable(tmp_path: Path) -> None:
    """Chi-squared over all valid positions of all rasters together: (H-3)(W-3) of each."""
    places = toy(tmp_path, (4, 4), (6, 9), (10, 5), (3, 50), (50, 4))
    assert len(places) == 1 + 3 * 6 + 7 * 2 + 47 * 1
    index, flipped = Drawn(len(places), 0, mirror=True).take(0, 40_000)
    counts = np.bincount(index, minlength=len(places))
    assert p_value(counts) > 1e-3
    both = np.bincount(index + len(places) * flipped, minlength=2 * len(places))
    assert p_value(both) > 1e-3
    pairs = np.bincount(index[:-1] % 8 * 8 + index[1:] % 8, minlength=64)  # of 80 places
    assert p_value(pairs) > 1e-3
    # The weight by area would be another one, and the test would tell.
    area = np.array([16, 54, 50, 200]) / 320
    where = np.searchsorted(places.ends, index, side="right")
    shares = np.bincount(where, minlength=4) / len(index)
    assert np.abs(shares - np.array([1, 18, 14, 47]) / 80).max() < 0.01
    assert np.abs(shares - area).max() > 0.03


def test_every_place_has_one_number(tmp_path: Path) -> None:
    places = toy(tmp_path, (4, 4), (6, 9), (10, 5))
    found = [(r.key, y, x) for r, y, x in map(places.at, range(len(places)))]
    assert len(set(found)) == len(found) == 33
    for raster in places.rasters:
        mine = [(y, x) for key, y, x in found if key == raster.key]
        wanted = [(y, x) for y in range(raster.height - 3) for x in range(raster.width - 3)]
        assert mine == wanted


def test_crop_k_depends_on_the_seed_and_k_alone() -> None:
    """Any cut into batches, and a start in the middle, gives the same crops."""
    n = 10**11  # more places than any permutation could hold
    whole = Drawn(n, 3, mirror=True).take(0, 100)
    order = Drawn(n, 3, mirror=True)
    for at, count in ((0, 7), (64, 36), (7, 20), (99, 1)):
        index, flipped = order.take(at, count)
        assert index.tolist() == whole[0][at : at + count].tolist()
        assert flipped.tolist() == whole[1][at : at + count].tolist()
    assert whole[0].max() < n and 30 < whole[1].sum() < 70
    assert Drawn(n, 4, mirror=True).take(0, 100)[0].tolist() != whole[0].tolist()
    assert not Drawn(n, 3, mirror=False).take(0, 100)[1].any()


def test_a_crop_is_the_slice(store: Path, pictures: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Bit-equal to numpy's, over the chunks' borders; grey is repeated, alpha laid on white."""
    found = loaded(store, tmp_path).train
    assert [r.key for r in found.rasters] == ["a/10", "a/11", "alpha", "grey"]
    for i in range(0, len(found), 61):
        raster, y, x = found.at(i)
        wanted = pictures[raster.key][y : y + 8, x : x + 8]
        assert (raster.crop(y, x, 8, 8) == wanted).all()
        if raster.key == "alpha":
            a = wanted[..., 3:].astype(np.float64) / 255
            wanted = np.floor(wanted[..., :3] * a + 255 * (1 - a) + 0.5 - 1e-9).astype(np.uint8)
        assert (found.decode(i) == np.broadcast_to(wanted, (8, 8, 3)).transpose(2, 0, 1)).all()


@pytest.mark.parametrize(("channels", "size"), [(1, (8, 8)), (4, (8, 8)), (3, (8, 12))])
def test_channels_and_shapes(store: Path, tmp_path: Path, channels: int, size: Any) -> None:
    found = loaded(store, tmp_path, size, channels=channels).train
    assert found.decode(0).shape == (channels, *size)
    if channels == 4:
        first = next(i for i in range(len(found)) if found.at(i)[0].key == "grey")
        assert (found.decode(first)[3] == 255).all()


def test_smaller_rasters_are_left_out(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report.reset()
    assert loaded(store, tmp_path).told() == "8x8 crops of 4 rasters"
    assert "smaller than a crop of 8, left out: 1" in capsys.readouterr().err
    assert loaded(store, tmp_path, (12, 12)).told() == "12x12 crops of 2 rasters"
    with pytest.raises(Usage, match=r"no raster left to take crops of 32 from \(5 found, 5 small"):
        loaded(store, tmp_path, (32, 32))


def test_rasters_are_held_out_by_number(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their crops, always the same, are what --metric measures against; no run sees them."""
    monkeypatch.setattr(crops, "HELD", 100)
    found = loaded(store, tmp_path, hold_out=10, keep_held=True)
    assert [r.key for r in found.train.rasters] == ["a/11", "alpha", "grey"]
    assert found.held.shape == (crops.HELD, 3, 8, 8)
    again = loaded(store, tmp_path, hold_out=10, keep_held=True)
    assert again.held.tobytes() == found.held.tobytes()
    assert len({pixels.tobytes() for pixels in found.held}) > 0.8 * crops.HELD
    assert not len(loaded(store, tmp_path, hold_out=10).held)
    assert found.digest != loaded(store, tmp_path).digest


def test_crops_in_batches(store: Path, tmp_path: Path) -> None:
    found = loaded(store, tmp_path)
    index, flipped = found.order(7, mirror=True).take(24, 16)
    with closing(reader.opened(found, tmp_path, seed=7, mirror=True)) as r:
        assert isinstance(r, Streaming)
        pixels, labels = r.batch(24, 16, everything)
    assert labels is None
    for row, i, flip in zip(pixels.numpy(), index, flipped, strict=True):
        wanted = found.train.decode(int(i))
        assert (row == (wanted[..., ::-1] if flip else wanted)).all()
    with pytest.raises(Usage, match="--no-stream: crops of rasters are read as the run needs"):
        reader.opened(found, tmp_path, seed=7, mirror=True, stream=False)


def test_a_damaged_chunk_is_told_and_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a place far from it, the same at every start."""
    report.reset()
    with rasters.Writer(tmp_path / "d.zarr") as writer:
        writer.put("0", noise(0, 256, 256, 3))
        writer.put("1", noise(1, 256, 256, 3))
    chunk = tmp_path / "d.zarr" / "0" / "c" / "0" / "0" / "0"
    found = loaded(tmp_path / "d.zarr", tmp_path)
    chunk.write_bytes(chunk.read_bytes()[:1000])
    with pytest.raises(SampleError, match="cannot be read"):
        found.train.decode(0)
    shown = []
    for _ in range(2):
        with closing(reader.opened(found, tmp_path, seed=0, mirror=False)) as r:
            shown.append(r.batch(0, 8, everything)[0].numpy().tobytes())
    assert shown[0] == shown[1]
    assert "0 at (" in capsys.readouterr().err
    with pytest.raises(Usage, match=r"d\.zarr: 0: cannot be read"):
        loaded(tmp_path / "d.zarr", tmp_path)


# -------------------------------------------------------------------------------------- stores


def test_a_store_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    with pytest.raises(KeyboardInterrupt), rasters.Writer(path) as writer:
        writer.put("a", noise(0, 8, 8, 3))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with rasters.Writer(path) as writer:
        writer.put("a", noise(0, 8, 8, 3))
        with pytest.raises(SampleError):
            writer.put("a", noise(0, 8, 8, 3))
        with pytest.raises(SampleError):
            writer.put("a/b", noise(0, 8, 8, 3))
    assert [r.key for r in rasters.read([str(path)])] == ["a"]
    with pytest.raises(Usage, match=r"x\.zarr is there: remove it"):
        rasters.Writer(path)


def test_what_is_a_store(store: Path, tmp_path: Path) -> None:
    """A group, or one array of a picture; an array of pictures is a set as before."""
    import zarr

    assert rasters.is_store(str(store)) and rasters.is_store(str(store / "a" / "10"))
    assert [r.key for r in rasters.read([str(store / "a" / "10")])] == ["10"]
    zarr.open(str(tmp_path / "n.zarr"), mode="w", shape=(5, 8, 8, 3), dtype=np.uint8)[...] = 0
    assert not rasters.is_store(str(tmp_path / "n.zarr"))
    assert not rasters.is_store(str(tmp_path)) and not rasters.is_store("nowhere")
    with pytest.raises(Usage, match=r"two rasters have the key a/10"):
        rasters.read([str(store), str(store)])
    other = zarr.open_group(str(tmp_path / "f.zarr"), mode="w")
    other.create_array("heights", shape=(8, 8), chunks=(8, 8), dtype="float32")[...] = 1
    with pytest.raises(Usage, match=r"heights: an array of float32 \[8, 8\]; rasters are uint8"):
        rasters.read([str(tmp_path / "f.zarr")])
    (store / "zarr.json").write_text("{")
    with pytest.raises(Usage, match=r"x\.zarr: the Zarr array cannot be read"):
        rasters.is_store(str(store))


def test_prefilter_makes_a_store(gt: Any, tmp_path: Path) -> None:
    """Whole pictures, upright, no face looked for; a damaged one is told, the others are there."""
    top = tmp_path / "maps"
    (top / "old").mkdir(parents=True)
    pixels = noise(0, 40, 70, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(top / "old" / "7.png", exif=exif)
    Image.fromarray(pixels).save(top / "8.png")
    (top / "9.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    line = ("prefilter", top, "--zarr", "-o", tmp_path / "x.zarr")
    result = gt(*line, "--report", tmp_path / "r.jsonl")
    assert result.code == 1
    assert "9.png" in result.err and "2 accepted, 0 rejected, 1 unreadable, 3 in all" in result.err
    found = {r.key: r for r in rasters.read([str(tmp_path / "x.zarr")])}
    assert (found["8"].crop(0, 0, 40, 70) == pixels).all()
    assert (found["old/7"].crop(0, 0, 70, 40) == np.rot90(pixels, -1)).all()
    lines = [json.loads(x) for x in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(x["key"], x["accepted"], x["size"]) for x in lines] == [
        ("8", True, [70, 40]), ("9", False, None), ("old/7", True, [40, 70])
    ]  # fmt: skip
    assert gt(*line).code == 2
    assert gt("prefilter", top, "--zarr", "--dry-run").code == 1


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ((), "--zarr needs a name: -o STORE.zarr"),
        (("-o", "x.zarr", "--size", "64"), "without --size"),
        (("-o", "x.zarr", "--crop", "square"), "without --crop, --select"),
        (("-o", "x.zarr", "--pack", "zip"), "without --pack"),
        (("-o", "x.zarr", "--no-clobber"), "without --no-clobber"),
        (("-o", "nowhere/x.zarr"), "the folder nowhere does not exist"),
    ],
)
def test_prefilter_names_what_does_not_go_together(
    gt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(noise(0, 8, 8, 3)).save("0.png")
    result = gt("prefilter", "0.png", "--zarr", *more)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert why in result.err
    assert sorted(x.name for x in tmp_path.iterdir()) == ["0.png"]


# --------------------------------------------------------------------------------- a whole run


def test_a_run_on_crops_resumes_to_the_bit(gt: Any, store: Path, tmp_path: Path) -> None:
    args = ("train", "stylegan2", store, *SMALL, "--mirror")
    straight, pieces = tmp_path / "straight", tmp_path / "pieces"
    result = gt(*args, "-o", straight, "--images", "512", "--snapshot", "1k")
    assert result.code == 0, result.err
    assert "8x8 crops of 4 rasters, read as the run needs them" in result.err
    story = network.header(straight / "network-000000.safetensors")
    assert story["trained_on"] == "x.zarr: 8x8 crops of 4 rasters, mirrored too"
    for images in ("200", "512"):
        assert gt(*args, "-o", pieces, "--images", images, "--snapshot", "1k", "-q").code == 0
    left, right = numbers(straight / state.NAME), numbers(pieces / state.NAME)
    assert {n for n in left if left[n] != right.get(n)} <= {n for n in left if n[:5] == "sums."}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--labels", "folders"), "--labels: a run on crops"),
        (("--no-stream",), "--no-stream: crops of rasters"),
        (("--metric", "kid"), "0 pictures are held out, 100 are needed"),
        (("--resolution", "128"), "no raster left to take crops of 128 from"),
    ],
)
def test_what_crops_do_not_have(
    gt: Any, store: Path, tmp_path: Path, more: tuple[str, ...], why: str
) -> None:
    result = gt("train", "stylegan2", store, *SMALL, "-o", tmp_path / "run", "-q", *more)
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert why in result.err


def test_the_size_of_crops_has_to_be_said(gt: Any, store: Path, tmp_path: Path) -> None:
    result = gt("train", "stylegan2", store, *SMALL[2:], "-o", tmp_path / "run")
    assert result.code == 2
    assert "--resolution is needed with rasters: the size of the crops" in result.err
    (tmp_path / "0.png").write_bytes(b"")
    result = gt("train", "stylegan2", store, tmp_path / "0.png", *SMALL, "-o", tmp_path / "run")
    assert result.code == 2
    assert "0.png: a run on crops of Zarr rasters has no other pictures" in result.err
