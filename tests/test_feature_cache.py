"""Features are computed once: by content, to the bit, beside other processes, damaged or not."""

from __future__ import annotations

import io
import json
import multiprocessing
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gantools import report
from gantools.evaluation import feature_cache, features
from gantools.evaluation.feature_cache import FeatureCache

PICTURES = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3), np.uint8)


class Counting:
    """A network that knows how many pictures it saw; thirds, which no rounding keeps by chance."""

    def __init__(self, factor: float = 3.0) -> None:
        self.seen, self.factor = 0, factor

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return images.float().mean((2, 3)) / self.factor


def extractor(network: Counting, **other: str) -> features.Extractor:
    parts = {"name": "test", "sha256": "0", "resize": "none", "device": "cpu", **other}
    return features.Extractor(dim=3, network=network, **parts)  # type: ignore[arg-type]


def run(network: Counting, pictures: np.ndarray = PICTURES, **other: str) -> np.ndarray:
    named = [(str(i), picture) for i, picture in enumerate(pictures)]
    found = features.of_pictures(named, extractor(network, **other), batch=4, cached=True)
    return np.concatenate([*found])


def test_a_second_run_does_not_call_the_extractor() -> None:
    """Bit-identical; in another order, batch and company too; only new pictures are computed."""
    first, second, third = Counting(), Counting(), Counting()
    found = run(first)
    assert first.seen == 7
    np.testing.assert_array_equal(run(second), found)
    assert second.seen == 0
    more = np.concatenate([PICTURES[:0:-1], 255 - PICTURES[:2]])
    np.testing.assert_array_equal(run(third, more)[:6], found[:0:-1])
    assert third.seen == 2
    uncached = features.of_pictures([("0", PICTURES[0])], extractor(third))
    np.testing.assert_array_equal(next(uncached)[0], found[0])
    assert third.seen == 3


def test_mirror_images_are_pictures_of_their_own() -> None:
    net = Counting()
    named = [("0", PICTURES[0])]
    for seen in (2, 2):
        rows = next(features.of_pictures(named, extractor(net), mirror=True, cached=True))
        assert rows.shape == (2, 3) and net.seen == seen
    run(net, PICTURES[:1, :, ::-1])
    assert net.seen == 2


@pytest.mark.parametrize("what", ["name", "sha256", "resize"])
def test_other_extractors_share_nothing(what: str) -> None:
    """Another network or resize filter computes anew."""
    run(Counting())
    other = Counting(7.0)
    run(other, **{what: "other"})
    assert other.seen == 7


def test_another_kind_of_device_shares_nothing() -> None:
    """A GPU rounds differently; which one it is does not matter."""
    run(Counting())
    seen: list[int] = []

    def compute(new: list[int]) -> np.ndarray:
        seen.extend(new)
        return np.ones((len(new), 3))

    protocol = extractor(Counting()).protocol()
    for device, count in (("cpu", 0), ("cuda", 7), ("cuda", 7)):
        FeatureCache({**protocol, "device": device}, 3).through([*PICTURES], compute)
        assert len(seen) == count


def _never(new: list[int]) -> np.ndarray:
    raise AssertionError(new)


def test_what_is_not_finite_is_not_kept() -> None:
    story = {"features": "test"}
    made = np.full((2, 3), np.nan)
    made[1] = 5
    calls: list[list[int]] = []

    def compute(new: list[int]) -> np.ndarray:
        calls.append(new)
        return made[new]

    for _ in range(2):
        FeatureCache(story, 3).through([*PICTURES[:2]], compute)
    assert calls == [[0, 1], [0]]


# ---------------------------------------------------------------------------- damage


@pytest.fixture(autouse=True)
def _forget() -> None:
    """What other tests' commands said or failed is not this one's."""
    report.reset()


def path() -> Path:
    return feature_cache.folder() / "features.sqlite"


@pytest.mark.parametrize("how", ["cut", "garbage", "overwritten", "row", "short row"])
def test_a_damaged_file_is_computed_again(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, the right features, and a file that works afterwards."""
    found = run(Counting())
    capsys.readouterr()
    data = path().read_bytes()
    if how == "cut":
        path().write_bytes(data[: len(data) // 2])
    elif how == "garbage":
        path().write_bytes(b"not a database, and long enough to be read as one" * 100)
    elif how == "overwritten":
        path().write_bytes(data[:100] + bytes(255 - b for b in data[100:]))
    else:
        with closing(sqlite3.connect(path())) as db, db:
            row = b"\0" * 12 if how == "row" else b""
            db.execute("UPDATE features SET row = ? WHERE id = 2", (row,))
    net = Counting()
    np.testing.assert_array_equal(run(net), found)
    assert net.seen == (1 if "row" in how else 7)
    assert capsys.readouterr().err.count("\n") == 1
    assert report.failures() == 0
    after = Counting()
    np.testing.assert_array_equal(run(after), found)
    assert after.seen == 0


def test_a_place_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        net = Counting()
        run(net)
        assert net.seen == 7
        assert capsys.readouterr().err.count("features are not kept") == 1


def test_old_features_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit the oldest quarter goes; the file stops growing."""
    monkeypatch.setattr(feature_cache, "LIMIT", 200_000)
    cache = FeatureCache({}, 64)
    pictures = np.random.default_rng(1).integers(0, 256, (3000, 2, 2, 3), np.uint8)
    sizes = []
    for start in range(0, 3000, 100):
        part = [*pictures[start : start + 100]]
        cache.through(part, lambda new: np.ones((len(new), 64), np.float32))
        sizes.append(path().stat().st_size)
    assert sizes[-1] < 300_000 and max(sizes) == pytest.approx(sizes[-1], rel=0.2)
    cache.through([*pictures[-50:]], _never)  # the newest are there
    with pytest.raises(AssertionError):
        cache.through([*pictures[:1]], _never)


def _fill(number: int, cache_home: str) -> None:
    import os

    os.environ["XDG_CACHE_HOME"] = cache_home
    rng = np.random.default_rng(number + 10)
    for _ in range(20):
        pictures = [*PICTURES, *rng.integers(0, 256, (3, 6, 5, 3), np.uint8)]

        def compute(new: list[int], pictures: list[np.ndarray] = pictures) -> np.ndarray:
            return np.array([pictures[i].mean((0, 1)) for i in new])

        found = FeatureCache({}, 3).through(pictures, compute)
        np.testing.assert_allclose(found, [p.mean((0, 1)) for p in pictures], rtol=1e-6)


def test_processes_share_one_file() -> None:
    """Three at once read and write; nothing is lost, nothing is mixed up."""
    home = str(feature_cache.folder().parent)
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=_fill, args=(i, home)) for i in range(3)]
    for process in running:
        process.start()
    for process in running:
        process.join(30)
        assert process.exitcode == 0
    with closing(sqlite3.connect(path())) as db:
        assert db.execute("SELECT count(*) FROM features").fetchone() == (7 + 3 * 20 * 3,)


# ---------------------------------------------------------------------------- the commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for i, pixels in enumerate(np.random.default_rng(2).integers(0, 256, (9, 16, 16, 3), np.uint8)):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "png")
        (tmp_path / "photos" / f"{i}.png").write_bytes(out.getvalue())
    return tmp_path / "photos"


@pytest.mark.parametrize("verb", ["fid", "kid", "pr"])
def test_commands_read_features_that_were_kept(
    gt: Callable, verb: str, folder: Path, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operand's features are computed once, a network's pictures always; --no-cache."""
    seen: list[int] = []
    call = features.Extractor.__call__

    def counted(self: features.Extractor, images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return call(self, images)

    monkeypatch.setattr(features.Extractor, "__call__", counted)
    argv = ("metrics", verb, folder, "--features", "discriminator", "--net", tiny_network)
    found = []
    for more, count in (((), 15), ((), 6), (("--no-cache",), 15)):
        seen.clear()
        done = gt(*argv, "--num", 6, "--json", *more)
        assert done.code == 0, done.err
        assert sum(seen) == count
        found.append(json.loads(done.text))
    assert found[0] == found[1] == found[2]


def test_stats_reads_what_fid_kept(
    gt: Callable, folder: Path, tiny_network: Path, tmp_path
) -> None:
    """One cache for all commands."""
    net = ("--features", "discriminator", "--net", tiny_network)
    assert gt("metrics", "fid", folder, folder, *net).code == 0
    with closing(sqlite3.connect(path())) as db:
        assert db.execute("SELECT count(*) FROM features").fetchone() == (9,)
        db.execute("UPDATE features SET id = id + 1000")
        db.commit()
    assert gt("metrics", "stats", folder, *net, "-o", tmp_path / "s.safetensors").code == 0
    with closing(sqlite3.connect(path())) as db:
        assert db.execute("SELECT min(id) FROM features").fetchone() == (1001,)


def test_nn_reads_what_was_kept(
    gt: Callable, folder: Path, tiny_network: Path, monkeypatch
) -> None:
    """The same neighbours at the same distances; another --crop is other pictures."""
    argv = ("metrics", "nn", folder, folder, "--features", tiny_network, "--json")
    first = gt(*argv)
    assert first.code == 0, first.err
    with closing(sqlite3.connect(path())) as db:
        assert db.execute("SELECT count(*) FROM features").fetchone() == (9,)
    with monkeypatch.context() as m:
        m.setattr(FeatureCache, "_write", lambda self, rows: _never([*rows]) if rows else None)
        assert gt(*argv).text == first.text
        assert gt(*argv, "--no-cache").text == first.text
    assert gt(*argv, "--crop", 0.5).text != first.text
    with closing(sqlite3.connect(path())) as db:
        assert db.execute("SELECT count(*) FROM features").fetchone() == (18,)
