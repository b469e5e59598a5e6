"""`metrics swd`: pyramids, descriptors and the sliced Wasserstein distance (S1.18)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from scipy import ndimage, stats

from gantools.evaluation import sliced
from gantools.ops import pyramid
from gantools.report import SampleError, Usage


@pytest.fixture
def golden(fixtures: Path) -> tuple[dict, dict]:
    """What the published code gave, with the centres and the directions that it drew."""
    values = json.loads((fixtures / "numerics/swd.json").read_text())["values"]
    return values, load_file(fixtures / "numerics/swd.safetensors")


def recorded(t: dict, which: int) -> list[sliced.Level]:
    """The levels of a set of the fixture with its recorded patch centres."""
    images = t[("real", "fake")[which]]
    levels = sliced.laplacian(torch.from_numpy(images))
    found = []
    for number, maps in enumerate(levels):
        level = sliced.Level()
        x, y = (t[f"patch_{axis}"][which, number].reshape(len(images), -1) for axis in "xy")
        for i in range(len(images)):
            level.add(sliced.descriptors(maps[i], x[i].astype(int), y[i].astype(int)))
        found.append(level)
    return found


def test_pyramid_fixture_s1_18(golden) -> None:
    """S1.18: every level of the published pyramid; enlarged and added they are the picture."""
    _, t = golden
    levels = sliced.laplacian(torch.from_numpy(t["real"]))
    for i, level in enumerate(levels):
        wanted = t[f"pyramid_real0_level{i}"]
        np.testing.assert_allclose(level[0].numpy(), wanted, atol=2e-4)
    x = levels[-1]
    for level in reversed(levels[:-1]):
        x = level + pyramid.enlarged(x, level)
    np.testing.assert_allclose(x.numpy(), t["real"], atol=1e-4)


def test_distance_fixture_s1_18(golden) -> None:
    """S1.18: normalised descriptors and every level's distance, with the recorded draws."""
    values, t = golden
    real, fake = recorded(t, 0), recorded(t, 1)
    mean, std = (np.repeat(x, 49) for x in real[0].moments())
    first = next(real[0]._rows())[:8]
    wanted = t["descriptors_real_level0_first8"].reshape(8, -1)
    np.testing.assert_allclose((first - mean) / std, wanted, atol=1e-4)
    drawn = np.concatenate(list(t["directions"].transpose(1, 0, 2, 3)), axis=2)
    for a, b, p, expected in zip(real, fake, drawn, values["swd_x1e3_per_level"], strict=True):
        assert 1000 * sliced.distances(a, b, p).mean() == pytest.approx(expected, rel=1e-4)
        assert not sliced.distances(a, a, p).any()
        np.testing.assert_array_equal(sliced.distances(b, a, p), sliced.distances(a, b, p))


def test_down_is_scipys_binomial_s1_18() -> None:
    """S1.18: 5x5 binomial with mirrored borders, every second pixel."""
    x = torch.rand(1, 3, 32, 48) * 255
    row = np.array([1, 4, 6, 4, 1]) / 16
    for channel, small in zip(x[0].numpy(), pyramid.laplacian(x, 2)[1][0].numpy(), strict=True):
        wanted = ndimage.convolve(channel, np.outer(row, row), mode="mirror")[::2, ::2]
        np.testing.assert_allclose(small, wanted, atol=1e-4)


def test_one_direction_is_scipys_wasserstein_s1_18() -> None:
    """S1.18: along one direction it is the 1-D distance of the normalised projections."""
    generator = np.random.default_rng(0)
    sets = []
    for shift in (0.0, 3.0):
        level = sliced.Level()
        for _ in range(3):
            level.add(generator.gamma(2 + shift, 1, (70, sliced.DIM)))
        sets.append(level)
    p = sliced.directions(0, "16")[:, :1]
    np.testing.assert_allclose(np.linalg.norm(p), 1)
    along = []
    for level in sets:
        mean, std = (np.repeat(x, 49) for x in level.moments())
        along.append(((next(level._rows()) - mean) / std) @ p[:, 0])
        np.testing.assert_allclose(np.sort(along[-1]), level.projected(p)[0], atol=1e-4)
    expected = stats.wasserstein_distance(*along)
    assert sliced.distances(*sets, p).mean() == pytest.approx(expected, rel=1e-4)


def test_sets_that_do_not_compare() -> None:
    """Other counts, sizes, flat sets, sizes without a pyramid: one clear error each."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    a, b, flat = (sliced.Patches(0) for _ in range(3))
    a.add("0", noise)
    a.add("1", noise[::-1])
    b.add("0", noise)
    with pytest.raises(Usage, match="--num 1"):
        sliced.compare(a, b, 0)
    with pytest.raises(SampleError, match="16x32 pixels, the pictures before it 32x32"):
        a.add("2", noise[:, :16])
    flat.add("0", np.full((32, 32, 3), 7, np.uint8))
    with pytest.raises(Usage, match="does not vary"):
        sliced.compare(b, flat, 0)
    for shape, why in (((15, 40), "below 16"), ((66, 66), "cannot be halved")):
        with pytest.raises(SampleError, match=why):
            sliced.laplacian(torch.zeros(1, 3, *shape))
    assert [tuple(x.shape[2:]) for x in sliced.laplacian(torch.zeros(1, 3, 40, 64))] == [
        (40, 64), (20, 32)
    ]  # fmt: skip


def test_the_command_s1_18(gt: Callable, tmp_path: Path, tiny_network: Path) -> None:
    """0 from itself, whatever the order and the form; a network makes as many; plots; --num."""
    generator = np.random.default_rng(0)
    folder, other = tmp_path / "a", tmp_path / "b"
    folder.mkdir(), other.mkdir()
    for i in range(4):
        pixels = generator.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
        pixels[1] //= 3
        Image.fromarray(pixels[0]).save(folder / f"{i}.png")
        Image.fromarray(pixels[1]).save(other / f"{i}.png")
    same = json.loads(gt("metrics", "swd", folder, folder, "--json").text)
    assert {k: v for k, v in same.items() if k != "protocol"} == {
        "swd": 0, "swd_32": 0, "swd_16": 0,
        "swd_ci": [0, 0], "swd_32_ci": [0, 0], "swd_16_ci": [0, 0],
    }  # fmt: skip
    plot = tmp_path / "x.png"
    done = gt("metrics", "swd", folder, other, "--json", "-o", "-", "-o", plot)
    assert done.code == 0, done.err
    found = json.loads(done.text)
    assert found["swd"] == pytest.approx((found["swd_32"] + found["swd_16"]) / 2)
    for name in ("swd", "swd_32", "swd_16"):
        low, high = found[f"{name}_ci"]
        assert 0 < low < found[name] < high < 2 * found[name]
    assert "directions" in found["protocol"]["interval"]
    assert found["swd"] > 0 and plot.read_bytes().startswith(b"\x89PNG")
    back = json.loads(gt("metrics", "swd", other, folder, "--json").text)
    assert back["swd"] == pytest.approx(found["swd"], rel=1e-6)
    assert found["protocol"]["real"] == {"source": "a", "size": "32x32", "count": 4}
    (other / "3.png").unlink()
    few = json.loads(gt("metrics", "swd", folder, other, "--num", 3, "--json").text)
    assert few["protocol"]["real"]["count"] == few["protocol"]["fake"]["count"] == 3
    net = ("--net", tiny_network, "--json")
    small = tmp_path / "c"
    assert gt("generate", *net[:2], "--seeds", "0-4", "-o", f"{small}/{{}}.png").code == 0
    runs = [json.loads(gt("metrics", "swd", small, *net, "--batch", b).text) for b in (1, 5)]
    assert runs[0]["swd_16"] == pytest.approx(runs[1]["swd_16"], rel=0.01)
    assert runs[0]["protocol"]["fake"]["seeds"] == "0-4"
    for argv, why in (
        ((folder, other), "--num 3 takes the first 3"),
        ((folder, *net), "REAL has pictures of 32x32 pixels, FAKE of 16x16"),
        ((folder, other, "--psi", 0.5), "leave FAKE out"),
        (("-", "-"), "one of the two sets"),
        ((folder, tmp_path / "none"), "no such file"),
    ):
        done = gt("metrics", "swd", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err
