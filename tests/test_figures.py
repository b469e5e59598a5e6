"""The latent walk (S1.25), sheets, and the layers of the paper's figures (S0.12, S0.13, S0.20)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantools.io.latent import Latent
from gantools.latents import figures
from gantools.latents.walk import walk
from gantools.report import Usage


def test_walk_has_unit_rms_and_its_loop_closes() -> None:
    """S1.25."""
    z = walk(240, 64, sigma=10, seed=1)
    assert z.shape == (240, 64) and z.dtype == np.float32
    assert np.sqrt(np.mean(z.astype(np.float64) ** 2)) == pytest.approx(1, abs=1e-6)
    steps = np.linalg.norm(np.diff(z, axis=0, append=z[:1]), axis=1)
    assert steps[-1] < 1.5 * np.median(steps)  # from the last frame to the first as elsewhere
    assert np.linalg.norm(z[120] - z[0]) > 10 * np.median(steps)


def test_walk_is_a_gaussian_filter_with_wrap() -> None:
    """S1.25, by the definition: circular convolution with a normal density of the given sigma."""
    frames, sigma = 60, 4.0
    z = np.random.RandomState(5).randn(frames, 8)
    offsets = np.arange(-200, 201)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    want = sum(k * np.roll(z, offset, axis=0) for k, offset in zip(kernel, offsets, strict=True))
    want /= np.sqrt(np.mean(want**2))
    np.testing.assert_allclose(walk(frames, 8, sigma, seed=5), want, atol=1e-5)


def test_walk_without_smoothing_is_white_and_follows_its_seed() -> None:
    z = walk(50, 32, sigma=0, seed=3)
    drawn = np.random.RandomState(3).randn(50, 32)
    np.testing.assert_allclose(z, drawn / np.sqrt(np.mean(drawn**2)), atol=1e-5)
    assert not np.allclose(z, walk(50, 32, sigma=0, seed=4))
    assert walk(1, 4, sigma=30, seed=0).shape == (1, 4)


def test_sheet_lays_pictures_row_by_row() -> None:
    """S0.14."""
    one, two = np.full((2, 3, 3), 10, np.uint8), np.full((2, 3, 3), 20, np.uint8)
    sheet = figures.sheet([one, two, None, two, one], columns=2)
    assert sheet.shape == (6, 6, 3)
    corners = [[int(sheet[2 * r, 3 * c, 0]) for c in range(2)] for r in range(3)]
    assert corners == [[10, 20], [255, 20], [10, 255]]


def test_grid_sizes() -> None:
    """S0.14, S1.25: rows x columns, or as many as fit on a screen."""
    assert figures.parse_grid("4x8", (64, 64)) == (4, 8)
    assert figures.parse_grid("1080p", (256, 256)) == (4, 7)
    assert figures.parse_grid("4k", (1024, 1024)) == (2, 3)
    assert figures.parse_grid("1080p", (4096, 4096)) == (1, 1)
    for wrong in ("0x3", "3x0", "4", "x", "4x", "-1x3", "4x8x2", "5k", "4.5x2"):
        with pytest.raises(Usage, match="--grid"):
            figures.parse_grid(wrong, (64, 64))


def test_style_ranges_of_the_paper() -> None:
    """S0.20: coarse [0,4), middle [4,8), fine [8,L); three, two and one of six rows."""
    assert figures.style_ranges(18) == (range(4), range(4, 8), range(8, 18))
    rows = figures.rows_styles(6, 18)
    assert rows == [range(4)] * 3 + [range(4, 8)] * 2 + [range(8, 18)]
    assert figures.rows_styles(3, 18) == [range(4), range(4, 8), range(8, 18)]


@given(st.integers(2, 40), st.integers(0, 40))
def test_style_ranges_share_out_all_layers(count: int, rows: int) -> None:
    coarse, middle, fine = figures.style_ranges(count)
    assert [*coarse, *middle, *fine] == list(range(count))
    assert len(figures.rows_styles(rows, count)) == rows


def test_mixing_all_layers_gives_the_source() -> None:
    """S0.20."""
    w = np.arange(20, dtype=np.float32).reshape(10, 2)
    row, column = Latent("r", "w+", {"w": w}), Latent("c", "w+", {"w": -w - 1})
    np.testing.assert_array_equal(figures.mixed(row, column, range(10)).tensors["w"], -w - 1)
    some = figures.mixed(row, column, range(4))
    np.testing.assert_array_equal(some.tensors["w"][:4], -w[:4] - 1)
    np.testing.assert_array_equal(some.tensors["w"][4:], w[4:])
    np.testing.assert_array_equal(row.tensors["w"], w)  # untouched
    assert some.key == "r"


def test_noise_columns_of_the_paper() -> None:
    """S0.13: all, none, fine (64x64 and up), coarse; the upper two sizes in small networks."""
    sizes = [4, *(4 * 2 ** (i // 2) for i in range(2, 18))]  # of 1024x1024
    shapes = [(s, s) for s in sizes]
    everything, none, fine, coarse = figures.noise_columns(shapes, None)
    assert list(everything) == list(range(17)) and list(none) == []
    assert list(fine) == list(range(7, 17)) and list(coarse) == list(range(7))
    assert figures.fine_noise_layers(shapes[:9]) == [5, 6, 7, 8]  # 64x64: 32x32 and 64x64
    assert [list(c) for c in figures.noise_columns(shapes[:3], [1])] == [[0, 1, 2], [], [1], [0, 2]]
