"""`metrics positions`: the probe for layouts that a generator has memorised (S2.25)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gantools.evaluation.positions import Layouts, compare, layout
from gantools.report import SampleError, Usage

GRID = 16


def blobs(generator: np.random.Generator, places: np.ndarray, size: int = 64) -> np.ndarray:
    """A picture [size, size, 3] of squares with random colours and sizes at these places."""
    picture = np.full((size, size, 3), 90.0) + generator.normal(0, 4, (size, size, 3))
    for y, x in places:  # around the borders, so that all places are alike
        rows, columns = ((at + np.arange(generator.integers(6, 10))) % size for at in (y, x))
        picture[np.ix_(rows, columns)] = generator.integers(0, 256, 3)
    return picture.clip(0, 255).astype(np.uint8)


def toys(count: int, *, same: bool, seed: int = 0) -> list[np.ndarray]:
    """Pictures whose squares lie where F_1 says: the same for all of them, or new each time."""
    generator = np.random.default_rng(seed)
    fixed = generator.integers(0, 64, (6, 2))
    return [
        blobs(generator, fixed if same else generator.integers(0, 64, (6, 2))) for _ in range(count)
    ]


def compared(pictures: list[np.ndarray], seed: int = 0) -> Layouts:
    return compare(np.stack([layout(p, GRID) for p in pictures]), seed)


def test_s2_25_identical_f_1_is_flagged_and_free_places_are_not() -> None:
    """The toy of the paper's row: one constant F_1 for all pictures, or a new one for each."""
    same, free = (compared(toys(64, same=s)).results() for s in (True, False))
    assert same["fixed"] is True and same["positions"] > 0.3 and same["duplicates"] > 0.2
    assert same["positions_p"] == pytest.approx(1 / 201)
    assert free["fixed"] is False and abs(float(free["positions"])) < 0.05
    assert float(free["duplicates"]) < 0.01


def test_s2_25_a_shared_frame_is_no_fixed_place() -> None:
    """Things that keep off the border are a little alike everywhere: measured, and not flagged."""
    generator = np.random.default_rng(4)
    inside = [blobs(generator, generator.integers(0, 55, (6, 2))) for _ in range(64)]
    found = compared(inside).results()
    assert 0 < float(found["positions"]) < 0.05 and found["fixed"] is False


def test_s2_25_the_mean_is_that_of_the_pairs() -> None:
    """From the sum of the maps, as from all pairs; 1 where all layouts are one."""
    found = compared(toys(20, same=True))
    assert found.pairs.shape == (190,)
    assert found.alike == pytest.approx(found.pairs.mean(), abs=1e-6)
    one = compared([toys(1, same=True)[0]] * 5)
    assert one.alike == pytest.approx(1) and one.results()["nearest"] == pytest.approx(1)
    np.testing.assert_allclose(one.common, layout(toys(1, same=True)[0], GRID))


def test_s2_25_shifts_forget_where_and_repeat_by_seed() -> None:
    """The chance values are about 0 for the very pictures that are alike."""
    pictures = toys(40, same=True)
    found = compared(pictures)
    assert abs(found.chance.mean()) < 0.01 and abs(found.shifted.mean()) < 0.03
    again, other = compared(pictures), compared(pictures, seed=1)
    np.testing.assert_array_equal(found.chance, again.chance)
    assert (found.chance != other.chance).any() and found.alike == other.alike


def test_s2_25_light_and_contrast_do_not_matter() -> None:
    """Layouts have mean 0 and standard deviation 1; a brighter, flatter picture has the same."""
    picture = toys(1, same=True)[0]
    made = layout(picture, GRID)
    assert made.shape == (GRID, GRID)
    assert (made.mean(), made.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    flatter = (picture // 2 + 60).astype(np.uint8)
    assert np.corrcoef(made.ravel(), layout(flatter, GRID).ravel())[0, 1] > 0.99
    grey = picture.mean(2, keepdims=True).astype(np.uint8)
    alpha = np.concatenate([picture, np.full((64, 64, 1), 7, np.uint8)], 2)
    assert np.corrcoef(made.ravel(), layout(grey, GRID).ravel())[0, 1] > 0.99
    np.testing.assert_array_equal(layout(alpha, GRID), made)


def test_s2_25_refusals() -> None:
    """Flat pictures, pictures smaller than the grid, too few of them."""
    with pytest.raises(SampleError, match="without edges"):
        layout(np.full((64, 64, 3), 5, np.uint8), GRID)
    with pytest.raises(SampleError, match="16x64 pixels are too few for --grid 16"):
        layout(np.zeros((64, 16, 3), np.uint8), GRID)
    with pytest.raises(Usage, match="of 3 to 4096 pictures, here are 2"):
        compare(np.zeros((2, 4, 4)))


def test_s2_25_the_command(gt: Callable, tmp_path: Path, tiny_network: Path) -> None:
    """Pictures, a network, latents in a stream; plots; what failed has its line."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, picture in enumerate(toys(12, same=True)):
        Image.fromarray(picture).save(folder / f"{i:02d}.png")
    Image.new("RGB", (64, 64)).save(folder / "flat.png")
    plot = tmp_path / "p.png"
    done = gt("metrics", "positions", folder, "--json", "-o", "-", "-o", plot)
    assert done.code == 1 and done.err.count("\n") == 1 and "flat.png: a picture" in done.err
    found = json.loads(done.text)
    assert found["fixed"] is True and plot.read_bytes().startswith(b"\x89PNG")
    assert found["protocol"]["count"] == 12 and found["protocol"]["source"] == "pictures"
    argv = ("metrics", "positions", "--net", tiny_network, "--grid", 8)
    drawn = [json.loads(gt(*argv, "--num", 9, "--batch", b, "--json").text) for b in (2, 9)]
    assert drawn[0]["positions"] == pytest.approx(drawn[1]["positions"], abs=1e-6)
    assert drawn[0]["protocol"]["seeds"] == "0-8"
    made = gt("generate", "--net", tiny_network, "--seeds", "0-4", "--space", "w")
    piped = gt(*argv, "-", "--json", stdin=made.out)
    assert json.loads(piped.text)["protocol"]["count"] == 5, piped.err
    for flags, why in (
        ((folder, "--num", 5), "leave PICTURES out"),
        ((tmp_path / "none",), "no such file or folder"),
        ((folder, "-o", "x.txt"), "x.json, x.tsv, x.png, x.svg, x.pdf or -"),
        (("--grid", 3), "3 is not in the range"),
        ((folder / "00.png",), "of 3 to 4096 pictures, here are 1"),
    ):
        done = gt("metrics", "positions", *flags)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err
