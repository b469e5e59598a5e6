"""`gantools mix` by masks, offsets and canvas (papers.md S2.4, S2.5, S2.6)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result
from PIL import Image
from scipy import ndimage
from test_spatial_spaces import sample

from gantools.io.latent import Latent
from gantools.io.space import split
from gantools.latents import spaces
from gantools.latents.compositing import Composition, compose, over
from gantools.latents.masks import NAMES, Mask, resized
from gantools.latents.render import images
from gantools.networks.network import Network, open_network
from gantools.report import SampleError

Run = Callable[..., Result]
L = 6  # of the tiny network, 16x16
SPATIAL = ("sw+", "nsw+", "fsw+1", "fnsw+2", "fsw+3", "fnsw+4", "fnsw+5", "fsw+6", "fnsw+6")
KEPT = ("fw+3", "fnw+1", "fnw+5")  # with style vectors


@pytest.fixture(scope="module")
def network(tiny_network: Path) -> Network:
    return open_network(str(tiny_network))


def pair(space: str, network: Network) -> list[Latent]:
    """Two latents of one space and size whose numbers are independent, N(0, 1)."""
    rng, a = np.random.default_rng(1), sample(space, network)
    b = {n: rng.normal(size=t.shape).astype(np.float32) for n, t in a.tensors.items()}
    return [a, replace(a, key="b", tensors=b)]


def flat(value: float) -> Mask:
    return Mask("flat", np.full((4, 4), value))


def masked(latents: list[Latent], *masks: Mask, **more: object) -> dict[str, np.ndarray]:
    return compose(latents, Composition([0.5] * len(masks), masks, **more))  # type: ignore[arg-type]


def save(folder: Path, *latents: Latent) -> list[Path]:
    paths = [folder / f"{one.key}.safetensors" for one in latents]
    for one, path in zip(latents, paths, strict=True):
        path.write_bytes(one.to_bytes())
    return paths


@pytest.mark.parametrize("space", [*SPATIAL, *KEPT])
def test_s2_4_ends_are_exact(space: str, network: Network) -> None:
    """m = 0 and m = 1 give the inputs to the bit, however they come to be."""
    latents = pair(space, network)
    for value, wanted in zip((0, 1), latents, strict=True):
        style = float(value)
        cases = [(flat(value), 0.5), *((Mask(name, name), style) for name in NAMES)]
        for mask, moved in cases:
            want = Composition([moved], [mask], (0.1, 0.3), style_share=style)
            made = compose(latents, want)
            assert made.keys() == wanted.tensors.keys()
            for name in made:
                assert np.array_equal(made[name], wanted.tensors[name]), (mask.name, name)
        made = compose(latents, Composition([1 - style, style]))
        assert all(np.array_equal(made[n], t) for n, t in wanted.tensors.items())


def test_s2_4_formula_and_linearity(network: Network) -> None:
    """v1 + m (v2 - v1), linear in both; m by area where maps are smaller."""
    a, b = pair("fnsw+3", network)
    mask = Mask("x", np.random.default_rng(0).uniform(size=(12, 20)))
    made = masked([a, b], mask)
    for name, cells in (("f", 1), ("r", 0.5), ("s.3", 1), ("s.5", 2)):
        size = (round(6 * cells), round(10 * cells))
        m = np.asarray(mask.shape).reshape(size[0], 12 // size[0], size[1], 20 // size[1])
        m = m.mean(axis=(1, 3))
        x, y = a.tensors[name], b.tensors[name]
        np.testing.assert_allclose(made[name], x + m * (y - x), atol=1e-6)
    doubled = [replace(x, tensors={n: 2 * t for n, t in x.tensors.items()}) for x in (a, b)]
    twice = masked(doubled, mask)
    assert all(np.allclose(twice[n], 2 * made[n], atol=1e-5) for n in made)
    m = np.asarray(mask.shape)
    x, y = a.tensors["n.4"], b.tensors["n.4"]
    np.testing.assert_allclose(
        made["n.4"], (x + m * (y - x)) / np.sqrt(2 * m * m - 2 * m + 1), atol=1e-5
    )


def test_s2_4_mixed_noise_has_the_variance_of_noise() -> None:
    """std 1 within 0.5 % where the maps are independent; what they share stays as it is."""
    rng = np.random.default_rng(0)

    def drawn() -> Latent:
        tensors = {"f": np.zeros((2, 600, 600)), "s.1": np.zeros((2, 600, 600))}
        tensors |= {"s.2": np.zeros((2, 600, 600)), "n.1": rng.standard_normal((1, 600, 600))}
        return Latent("x", "fnsw+1", {n: t.astype(np.float32) for n, t in tensors.items()})

    a, b, c = drawn(), drawn(), drawn()
    gradient = Mask("gradient", "gradient")
    assert masked([a, b], gradient)["n.1"].std() == pytest.approx(1, abs=0.005)
    assert masked([a, b, c], gradient, flat(0.4))["n.1"].std() == pytest.approx(1, abs=0.005)
    b.tensors["n.1"][:, 300:] = a.tensors["n.1"][:, 300:]
    made = masked([a, b], gradient)["n.1"]
    np.testing.assert_allclose(made[:, 300:], a.tensors["n.1"][:, 300:], rtol=1e-6)
    assert made[:, :300].std() == pytest.approx(1, abs=0.007)


def test_later_latents_lie_over_earlier_ones(network: Network) -> None:
    """Three at once are the third over the mix of two (S2.5)."""
    a, b = pair("fsw+5", network)
    c = replace(a, tensors={n: t[::-1].copy() for n, t in a.tensors.items()})
    one, two = Mask("ellipse", "ellipse"), Mask("gradient", "gradient")
    at_once = masked([a, b, c], one, two)
    in_turn = masked([replace(a, tensors=masked([a, b], one)), c], two)
    assert all(np.allclose(at_once[n], in_turn[n], atol=1e-5) for n in at_once)
    shares, cover = over([1.0, 0.25, 0.5])
    assert np.allclose(shares, [0.375, 0.125, 0.5])
    assert cover == 1


def test_masks_are_resized_and_blurred_as_others_do() -> None:
    """Area is the mean of blocks; bilinear is torch's; the Gaussian is scipy's."""
    m = np.random.default_rng(0).uniform(size=(12, 20))
    np.testing.assert_allclose(resized(m, (6, 5)), m.reshape(6, 2, 5, 4).mean((1, 3)), atol=1e-9)
    assert resized(m, (7, 9)).mean() == pytest.approx(m.mean())
    grown = torch.nn.functional.interpolate(
        torch.from_numpy(m)[None, None], (31, 50), mode="bilinear", align_corners=False
    )[0, 0]
    np.testing.assert_allclose(resized(m, (31, 50)), grown, atol=1e-9)
    sigma = 0.1 * np.sqrt(12 * 20)
    blurred = ndimage.gaussian_filter(m, sigma, mode="nearest")
    np.testing.assert_allclose(resized(m, (12, 20), 0.1), blurred, atol=2e-4)
    assert np.array_equal(resized(np.ones((5, 7)), (64, 3), 0.2), np.ones((64, 3)))


def test_s2_4_later_layers_are_blurred_more(network: Network) -> None:
    a, b = pair("fsw+5", network)
    zero, one = ({n: np.full_like(t, v) for n, t in a.tensors.items()} for v in (0, 1))
    made = masked(
        [replace(a, tensors=zero), replace(b, tensors=one)], Mask("left", "left"), smooth=(0, 0.2)
    )
    steepest = [np.abs(np.diff(made[name][0])).max() for name in ("s.5", "s.6")]
    assert steepest[0] > 1.2 * steepest[1]
    assert set(np.unique(masked([a, a], Mask("left", "left"))["s.5"] - a.tensors["s.5"])) == {0}


def test_named_masks_cover_what_they_say_and_move() -> None:
    for name, where in (("left", np.s_[:, :8]), ("right", np.s_[:, 8:]), ("top", np.s_[:4])):
        m = Mask(name, name).at((8, 16), 0.5)
        assert m[where].min() == 1
        assert m.sum() == 64
    inside = Mask("ellipse", "ellipse").at((64, 64), 0.5)
    assert inside[32, 32] == 1
    assert inside[0, 0] == 0
    assert inside.mean() == pytest.approx(np.pi * 0.46 * 0.36, abs=0.01)
    for name in NAMES:
        covered = [Mask(name, name).at((8, 16), t).mean() for t in np.linspace(0, 1, 9)]
        assert np.all(np.diff(covered) >= 0)
        assert (covered[0], covered[-1]) == (0, 1)


@pytest.mark.parametrize("space", ["fnsw+5", "fsw+6"])
def test_s2_4_halves_are_the_inputs_pictures(space: str, network: Network) -> None:
    """Away from the edge of the mask (the last blocks see 2 px) the picture is the input's own."""
    a, b = pair(space, network)
    mixed = Latent("m", space, masked([a, b], Mask("left", "left")))
    one, two, both = (images(network, [x], noise="none")[0] for x in (a, b, mixed))
    middle = both.shape[2] // 2
    scale = float(both.abs().max())
    assert torch.allclose(both[..., : middle - 3], two[..., : middle - 3], atol=1e-5 * scale)
    assert torch.allclose(both[..., middle + 3 :], one[..., middle + 3 :], atol=1e-5 * scale)
    assert not torch.allclose(both, one, atol=1e-2 * scale)


def test_keep_colour_and_layers(network: Network) -> None:
    a, b = pair("fnsw+3", network)
    made = masked([a, b], flat(1), keep_colour=True)
    for name in made:
        source = a if name in {"s.5", "s.6"} else b
        assert np.array_equal(made[name], source.tensors[name]), name
    made = masked([a, b], flat(1), layers=[2, 4])
    for name in made:
        source = b if name in {"s.3", "n.3", "s.5", "n.5"} else a
        assert np.array_equal(made[name], source.tensors[name]), name
    assert np.array_equal(masked([a, b], flat(1), layers=[0, 1])["f"], b.tensors["f"])
    with pytest.raises(SampleError, match="stand for the layers 0-1"):
        masked([a, b], flat(1), layers=[1])


# ---------------------------------------------------------------------------- places


def crop(latent: Latent, x: int, width: int) -> Latent:
    """Columns of f from x on, and what stands over them in the other maps."""
    whole = latent.tensors["f"].shape[2]

    def cut(t: np.ndarray) -> np.ndarray:
        n = t.shape[2]
        return t[:, :, x * n // whole : (x + width) * n // whole]

    return replace(latent, key=f"at{x}", tensors={n: cut(t) for n, t in latent.tensors.items()})


@pytest.mark.parametrize("space", ["fnsw+5", "fnsw+3", "fsw+2", "fnsw+6"])
def test_s2_5_overlapping_crops_make_the_whole_again(space: str, network: Network) -> None:
    """Seams blend what is equal into itself; shared noise is not divided."""
    whole = sample(space, network, (6, 20))
    parts = [crop(whole, x, 8) for x in (0, 6, 12)]
    made = compose(parts, Composition([], canvas=(20, 6)))
    for name, wanted in whole.tensors.items():
        np.testing.assert_allclose(made[name], wanted, rtol=1e-6, err_msg=name)
    Latent("x", space, made).check()


@pytest.mark.parametrize(("space", "cells"), [("fnsw+5", 2), ("fnsw+6", 2), ("fnsw+3", 2)])
def test_s2_5_moved_latents_give_moved_pictures(space: str, cells: int, network: Network) -> None:
    """A shift by k cells moves the picture by k px a cell, away from what the border reaches."""
    size = (6, 16) if split(space)[1] == 3 else (12, 32)
    a, b = sample(space, network, size), sample(space, network, size)
    rng = np.random.default_rng(3)
    a.tensors = {n: rng.normal(size=t.shape).astype(np.float32) for n, t in b.tensors.items()}
    made = masked([a, b], flat(1), places=[(0, 0), (cells, 0)])
    still, moved = (
        images(network, [Latent("x", space, t)], noise="none")[0] for t in (b.tensors, made)
    )
    px, edge = cells * still.shape[2] // size[1], 8
    wanted, found = still[..., edge : -edge - px], moved[..., edge + px : -edge]
    assert torch.allclose(found, wanted, atol=1e-5 * float(still.abs().max()))
    assert not torch.allclose(moved, still, atol=1e-2)


def test_s2_5_seams_have_no_step(network: Network) -> None:
    """Zeros beside ones: the share rises over the whole overlap, from nothing to everything."""
    a = sample("fsw+5", network, (12, 24))
    zero, one = (
        replace(a, tensors={n: np.full_like(t, v) for n, t in a.tensors.items()}) for v in (0, 1)
    )
    made = compose([zero, one], Composition([], canvas=(38, 12)))  # 10 cells in common
    for name in ("f", "r", "s.6"):
        row = made[name][0, 0]
        assert np.array_equal(np.broadcast_to(row, made[name].shape), made[name])
        cells = 10 * len(row) // 38
        assert np.diff(row).min() >= 0
        assert np.diff(row).max() < 3 / cells
        assert np.count_nonzero((row > 0) & (row < 1)) == cells


def test_places_that_cannot_be(network: Network) -> None:
    a, b = pair("fnsw+5", network)  # 12x20
    for more, words in (
        ({"places": [(0, 0), (3, 0)]}, "3 cells: from block 3 on"),
        ({"canvas": (44, 12)}, "44x12 cells has some that nothing covers"),
    ):
        with pytest.raises(SampleError, match=words):
            compose([a, b], Composition([], **more))  # type: ignore[arg-type]
    coarse = pair("fnsw+3", network)  # 6x10
    want = Composition(
        [23 / 24], [Mask("left", "left")], (0.1, 0.1), canvas=(12, 6), places=[(0, 0), (2, 0)]
    )
    with pytest.raises(SampleError, match="nothing covers"):  # half of the last cell
        compose(coarse, want)
    made = compose(coarse, replace(want, shares=[1.0]))
    assert all(np.isfinite(t).all() for t in made.values())
    small = sample("fnsw+5", network, (12, 12))
    with pytest.raises(SampleError, match="a --canvas takes them"):
        masked([a, small], flat(1))
    assert compose([a, small], Composition([], canvas=(28, 12)))["f"].shape[1:] == (12, 28)


# ---------------------------------------------------------------------------- spaces, the command


@pytest.mark.parametrize(
    ("starts", "needs", "wanted"),
    [
        (("w+",), "s", "sw+"),
        (("z",), "s", "sw+"),
        (("nw",), "s", "nsw+"),
        (("w+", "nw"), "", "nw+"),
        (("z", "w"), "", "w"),
        (("w+", "fw+5"), "", "fw+5"),
        (("nw+", "fw+5"), "", "fnw+5"),
        (("fw+2", "fsw+4"), "", "fsw+4"),
        (("fnz3", "fnz3"), "", "fnw+3"),
        (("fnw+5", "fnw+5"), "s", "fnsw+5"),
        (("nw+",), "f", "fnw+1"),
        (("w+",), "fs", "fsw+1"),
    ],
)
def test_the_smallest_space_in_which_latents_meet(
    starts: tuple[str, ...], needs: str, wanted: str
) -> None:
    assert spaces.meeting(starts, L, needs) == wanted


def test_masks_on_the_command_line(gt: Run, tmp_path: Path, tiny_network: Path) -> None:
    """Latents of w+ and of features meet; a grey picture is a mask; three need two masks."""
    net = ["--net", tiny_network]
    rng = np.random.default_rng(0)
    g = open_network(str(tiny_network)).g.cfg
    w = [Latent(key, "w+", {"w": rng.standard_normal((L, g.w_dim)).astype("f4")}) for key in "abc"]
    files = save(tmp_path, *w)
    out = tmp_path / "out.safetensors"
    grey = tmp_path / "grey.png"
    Image.fromarray(np.tile(np.linspace(0, 255, 16).astype(np.uint8), (16, 1))).save(grey)
    done = gt("mix", *files[:2], "--mask", grey, "--smooth", "0,0.1", *net, "-o", out)
    assert (done.code, done.err) == (0, "")
    made = Latent.from_bytes(out.read_bytes(), "x")
    assert made.space == "sw+"
    assert made.header["history"][-1]["args"]["mask"] == ["grey.png"]
    done = gt("mix", *files, "--mask", "left", *net, "-o", out)
    assert (done.code, "3 latents take 2: one for each" in done.err) == (2, True)
    done = gt("mix", *files, "--mask", "left", "--mask", "top", *net, "-o", tmp_path / "o.png")
    assert done.code == 0, done.err
    features = tmp_path / "f.safetensors"
    assert gt("project", files[0], "--space", "fnw+3", *net, "-o", features).code == 0
    done = gt("mix", features, files[1], "--mask", "top", "--style-share", "1", *net, "-o", out)
    assert done.code == 0, done.err
    assert Latent.from_bytes(out.read_bytes(), "x").space == "fnw+3"
    done = gt("mix", features, files[1], "--canvas", "14x8", *net, "-o", tmp_path / "wide.png")
    assert done.code == 0, done.err
    with Image.open(tmp_path / "wide.png") as wide:
        assert wide.size == (28, 16)
    done = gt("mix", *files[:2], "--mask", "ellipse", "--frames", "3", *net, "-o", f"{tmp_path}/m/")
    assert done.code == 0, done.err
    frames = [Latent.from_bytes(p.read_bytes(), "x") for p in sorted(tmp_path.glob("m/*/*"))]
    assert np.array_equal(frames[0].tensors["s.4"][:, 0, 0], w[0].tensors["w"][3])
    assert np.array_equal(frames[2].tensors["s.4"][:, 7, 7], w[1].tensors["w"][3])


def test_keep_colour_of_w(gt: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b = (Latent(k, "w+", {"w": rng.standard_normal((L, 8)).astype("f4")}) for k in "ab")
    out = tmp_path / "out.safetensors"
    done = gt("mix", *save(tmp_path, a, b), "--at", "1", "--keep-colour", "-o", out)
    assert done.code == 0, done.err
    made = Latent.from_bytes(out.read_bytes(), "x").tensors["w"]
    assert np.array_equal(made[:-2], b.tensors["w"][:-2])
    assert np.array_equal(made[-2:], a.tensors["w"][-2:])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--mask", "middle"], "neither a file nor one of left"),
        (["--smooth", "0.1"], "it goes with --mask"),
        (["--mask", "left", "--smooth", "x"], "one or two shares"),
        (["--mask", "left", "--at", "0.1,0.2"], "2 numbers for 1 masks"),
        (["--mask", "left", "--style-share", "0.5"], "has style maps"),
        (["--mask", "left", "--layers", "9"], "layers 0-5"),
        (["--slerp"], "mixed along lines"),
        (["--canvas", "3"], "expected WIDTHxHEIGHT"),
        (["--canvas", "90x12"], "nothing covers"),
        (["--offset", "1.5,0"], "whole cells"),
        (["--offset", "3,0"], "from block 3 on"),
        (["--offset", "2,0", "--at", "0.5"], "do not go with"),
        (["--canvas", "20x12", "--keep-colour"], "do not cover"),
    ],
)
def test_wrong_usage_is_one_line(
    gt: Run, tmp_path: Path, network: Network, args: list[str], words: str
) -> None:
    out = tmp_path / "out.safetensors"
    done = gt("mix", *save(tmp_path, *pair("fnsw+5", network)), *args, "-o", out)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert words in done.err
    assert not out.exists()


def test_no_torch_where_latents_meet_already(tmp_path: Path, network: Network) -> None:
    files = save(tmp_path, *pair("fnsw+5", network))
    args = ["mix", *map(str, files), "--mask", "left", "-o", str(tmp_path / "o.tar")]
    code = (
        "import sys; from gantools import cli; "
        f"code = cli.run({args!r}); "
        "assert code == 0, code; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("name", "columns"), [("masks", 5), ("moving", 5)])
def test_s2_6_figures(
    gt: Run, tmp_path: Path, network: Network, tiny_network: Path, name: str, columns: int
) -> None:
    """A row for each mask; the ends are the latents' own pictures, pixels are mixed as said."""
    a, b = pair("fnsw+5", network)  # 12x20
    net, out = ["--net", tiny_network], tmp_path / "figure.png"
    flags = ["--mask", "left", "--mask", "gradient", "--figure", name]
    done = gt("mix", *save(tmp_path, a, b), *flags, *net, "-o", out)
    assert (done.code, done.err) == (0, "")
    with Image.open(out) as picture:
        sheet = np.asarray(picture).reshape(2, 12, columns, 20, 3)
    one, two = (network.pixels(images(network, [x]))[0] for x in (a, b))
    ends = (0, 1) if name == "masks" else (0, 4)
    for row in sheet:
        assert np.array_equal(row[:, ends[0]], one)
        assert np.array_equal(row[:, ends[1]], two)
    if name == "masks":
        assert set(np.unique(sheet[0][:, 2])) == {0, 255}
        assert np.array_equal(sheet[0][:, 3, :10], two[:, :10])
        assert np.array_equal(sheet[0][:, 3, 10:], one[:, 10:])
    done = gt("mix", *save(tmp_path, a, b), *flags, *net, "-o", tmp_path / "x.safetensors")
    assert (done.code, "makes images" in done.err) == (2, True), done.err
    done = gt("mix", *save(tmp_path, a, b), *flags, "--at", "0.5", *net, "-o", out)
    assert (done.code, "has no place for" in done.err) == (2, True)
