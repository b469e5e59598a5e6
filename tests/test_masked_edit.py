"""`gantools edit --mask`, and edits of real images in some layers (papers.md S2.8, S4.21)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Result
from PIL import Image
from test_attribute_model import load, random_model, save, step
from test_spatial_spaces import sample

from gantools.io import attribute_model as files
from gantools.io.latent import Latent
from gantools.io.space import scaled
from gantools.latents import spaces
from gantools.latents.compositing import Composition
from gantools.latents.directions import boundary
from gantools.latents.edit import Step, edit
from gantools.latents.masks import NAMES, Mask, resized
from gantools.latents.source import NetworkSource
from gantools.latents.spatial import size_of
from gantools.networks.network import Network, open_network
from gantools.report import SampleError

Run = Callable[..., Result]
L = 6  # of the tiny network, 16x16
SPACES = ("sw+", "nsw+", "fsw+3", "fnsw+3", "fsw+5", "fnsw+5", "fnsw+2")


@pytest.fixture(scope="module")
def network(tiny_network: Path) -> Network:
    return open_network(str(tiny_network))


def over(mask: Mask, smooth: tuple[float, float] = (0, 0)) -> Composition:
    return Composition([0.5], [mask], smooth)


def flat(value: float) -> Mask:
    return Mask("flat", np.full((4, 4), value))


def of(start: Latent, network: Network, strength: float, mask: Mask | None = None) -> Step:
    """A step along a direction with a row per layer; with a model where there are features."""
    model = random_model(network, start.first if start.first > 1 else 5)
    how = None if mask is None else over(mask)
    return replace(step(model, strength), model=model if start.first > 1 else None, over=how)


@pytest.mark.parametrize("space", SPACES)
def test_s2_8_ends_of_a_mask_are_exact(space: str, network: Network) -> None:
    """m = 0 leaves every tensor to the bit, m = 1 is the edit without a mask."""
    start = sample(space, network)
    wanted = edit(start, [of(start, network, 1.5)]).tensors
    none = edit(start, [of(start, network, 1.5, flat(0))]).tensors
    whole = edit(start, [of(start, network, 1.5, flat(1))]).tensors
    assert none.keys() == whole.keys() == start.tensors.keys()
    for name, value in start.tensors.items():
        assert np.array_equal(none[name], value), name
        assert np.array_equal(whole[name], wanted[name]), name
        assert name.startswith("n.") or not np.array_equal(whole[name], value)
        if name.startswith("n."):
            assert whole[name] is value


@pytest.mark.parametrize("space", SPACES)
def test_s2_8_a_mask_weighs_the_move(space: str, network: Network) -> None:
    """x + m c v, m in the size of each map; linear in c."""
    start, mask = sample(space, network), Mask("g", "gradient")
    picture = scaled(size_of(start), start.first, L)
    plain = edit(start, [of(start, network, 1.0)]).tensors
    once = edit(start, [of(start, network, 1.0, mask)]).tensors
    twice = edit(start, [of(start, network, 2.0, mask)]).tensors
    for name, value in start.tensors.items():
        m = resized(mask.at(picture, 0.5), (value.shape[1], value.shape[2]))
        moved = (plain[name] - value) * m
        np.testing.assert_allclose(once[name] - value, moved, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(twice[name] - value, 2 * (once[name] - value), atol=1e-5)


def test_s2_8_halves(network: Network) -> None:
    """Left of a half mask the map is that of the edit, right of it what it was, to the bit."""
    start = sample("fnsw+5", network)
    wanted = edit(start, [of(start, network, 1.0)]).tensors
    made = edit(start, [of(start, network, 1.0, Mask("left", "left"))]).tensors
    for name, value in made.items():
        half = value.shape[2] // 2
        assert np.array_equal(value[..., :half], wanted[name][..., :half]), name
        assert np.array_equal(value[..., half:], start.tensors[name][..., half:]), name


def test_s2_9_masked_edits_follow_shifts_by_two_cells(network: Network) -> None:
    """Latent and mask moved by two cells of f: the edit is the one before, moved."""
    start = sample("fsw+5", network, (8, 16))
    grey = np.zeros((16, 32))
    grey[4:12, 6:14] = np.random.default_rng(0).uniform(size=(8, 8))

    def rolled(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {n: np.roll(t, 2 * t.shape[2] // 16, 2) for n, t in tensors.items()}

    made = edit(start, [of(start, network, 1.0, Mask("x", grey))]).tensors
    moved = Mask("x", np.roll(grey, 4, 1))
    after = edit(replace(start, tensors=rolled(start.tensors)), [of(start, network, 1.0, moved)])
    for name, value in rolled(made).items():
        np.testing.assert_allclose(after.tensors[name], value, atol=1e-6, err_msg=name)


def test_s2_8_a_masked_edit_of_a_broadcast_is_the_broadcast_of_the_edit(network: Network) -> None:
    """SW of W: with a mask of one value c m takes the place of c."""
    flat_w = sample("nw+", network)
    flat_w = Latent("a", "w+", {"w": flat_w.tensors["w"]}, {})
    source = NetworkSource(network)
    maps = spaces.convert(flat_w, "sw+", source)
    v = random_model(network).direction.vector
    for m in (0.25, 1.0):
        made = edit(maps, [Step("d", v, 1.6, over=over(flat(m)))])
        wanted = spaces.convert(edit(flat_w, [Step("d", v, 1.6 * m)]), "sw+", source)
        for name, value in wanted.tensors.items():
            np.testing.assert_allclose(made.tensors[name], value, atol=1e-5)


def test_masks_need_maps(network: Network) -> None:
    for space in ("w+", "nw", "fnw+5"):
        start = sample(space, network)
        rows = random_model(network).direction.vector
        if space == "nw":
            rows = rows[0]
        with pytest.raises(SampleError, match="a mask needs style maps"):
            edit(start, [Step("d", rows, 1.0, over=over(flat(1)))])


# --- the command ---


def test_masks_on_the_command_line(
    gt: Run, network: Network, tiny_network: Path, tmp_path: Path
) -> None:
    """Vectors become style maps, which the history tells; a picture is a mask; one per --dir."""
    paths = save(tmp_path, network, "w", "nw+", "fnw+5", "fnz5", "sw+")
    model = random_model(network)
    files.write(tmp_path / "m.safetensors", {"age": model})
    np.save(tmp_path / "d.npy", model.direction.vector[0])
    grey = np.zeros((16, 16), np.uint8)
    grey[:, 8:] = 255
    Image.fromarray(grey).save(tmp_path / "grey.png")
    flags = ["--dir", tmp_path / "m.safetensors", "--net", tiny_network]
    wanted = ("sw+", "nsw+", "fnsw+5", "fnsw+5", "sw+")
    for path, space in zip(paths, wanted, strict=True):
        for mask in (*NAMES, tmp_path / "grey.png"):
            out = tmp_path / "out" / f"{space}.safetensors"
            out.parent.mkdir(exist_ok=True)
            done = gt("edit", path, *flags, "--mask", mask, "--smooth", "0.02,0.1", "-o", out)
            assert (done.code, done.err) == (0, ""), (space, mask)
            made = load(out)
            assert made.space == space
            args = made.header["history"][-1]["args"]
            assert args["mask"] == [Path(mask).name]
            assert args["smooth"] == [0.02, 0.1]
            assert args.get("became") == (None if path.stem == space else space)
    one, two = ("--dir", tmp_path / "d.npy"), ("--dir", tmp_path / "m.safetensors")
    both = [*one, "--mask", "left", *two, "--mask", "right", "--strength", "2"]
    assert gt("edit", paths[-1], *both, "--net", tiny_network, "-o", out).code == 0
    made, start = load(out), load(paths[-1])
    move = made.tensors["s.6"] - start.tensors["s.6"]
    rows = model.direction.vector
    np.testing.assert_allclose(move[:, :, 0], np.outer(2 * rows[0], np.ones(16)), atol=1e-5)
    np.testing.assert_allclose(move[:, :, -1], np.outer(2 * rows[5], np.ones(16)), atol=1e-5)
    png = tmp_path / "x.png"
    done = gt("edit", paths[2], *flags, "--mask", "ellipse", "-o", png)
    with Image.open(png) as shown:
        assert (done.code, shown.size) == (0, (20, 12))
    done = gt("edit", paths[0], *flags, "--mask", "top", "--frames", "3", "-o", f"{tmp_path}/f/")
    assert done.code == 0
    assert len(list((tmp_path / "f").rglob("*.safetensors"))) == 3


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dir", "d.npy", "--smooth", "0.1"], "it goes with --mask"),
        (["--mask", "left", "--equalize", "1"], "--mask is for directions"),
        (["--dir", "d.npy", "--mask", "nope"], "--mask nope: neither a file nor one of"),
        (["--dir", "d.npy", "--mask", "d.npy"], "--mask d.npy: "),
        (["--dir", "d.npy", "--mask", "left", "--mask", "top"], "--mask is given 2 times for 1"),
        (["--dir", "d.npy", "--mask", "left", "--smooth", "x"], "--smooth x: expected"),
        (["--list", "--mask", "left"], "does nothing with --list"),
    ],
)
def test_wrong_usage_is_one_line(
    gt: Run,
    network: Network,
    tiny_network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (path,) = save(tmp_path, network, "sw+")
    np.save("d.npy", np.ones(16))
    operands = [] if "--list" in flags else [path, "-o", "out.safetensors"]
    done = gt("edit", *operands, *flags, "--net", tiny_network)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert words in done.err
    assert not Path("out.safetensors").exists()


# --- S4.21 ---


@pytest.mark.parametrize("end", [2, 3])
def test_s4_21_edits_of_the_first_layers(gt: Run, tmp_path: Path, end: int) -> None:
    """w' = w + a d in layers 0..end, d a boundary of length 1; the others to the bit; a = 0: w."""
    rng = np.random.default_rng(0)
    d = rng.normal(size=(1, 16)).astype(np.float32)
    d /= np.linalg.norm(d)
    np.save(tmp_path / "smile.npy", d)
    w = rng.normal(size=(18, 16)).astype(np.float32)
    start = Latent("real", "w+", {"w": w}, {})
    (tmp_path / "real.safetensors").write_bytes(start.to_bytes())
    out = tmp_path / "out.safetensors"
    flags = ["--dir", tmp_path / "smile.npy", "--layers", f"0-{end}"]
    for strength in ("70", "-5", "0"):
        words = ["edit", tmp_path / "real.safetensors", *flags, "--strength", strength, "-o", out]
        assert gt(*words).code == 0
        made = load(out).tensors["w"]
        change = made[: end + 1].astype(np.float64) - w[: end + 1]
        np.testing.assert_allclose(change, np.tile(float(strength) * d, (end + 1, 1)), atol=1e-5)
        assert made[end + 1 :].tobytes() == w[end + 1 :].tobytes()
        if strength == "0":
            assert made.tobytes() == w.tobytes()


@pytest.mark.parametrize(
    ("norm", "rows", "moved"),
    [("fro", 1, 20.0), ("fro", 18, 20 / 18**0.5), ("row", 1, 20.0), ("row", 18, 20.0)],
)
def test_s2_7_strengths_as_distances(
    gt: Run, tmp_path: Path, norm: str, rows: int, moved: float
) -> None:
    """--strength-norm: what a layer moves by, of files with a row and with 18 equal ones."""
    rng = np.random.default_rng(0)
    d = np.tile(3.7 * rng.normal(size=(1, 16)), (rows, 1))
    np.save(tmp_path / "age.npy", d)
    w = rng.normal(size=(18, 16)).astype(np.float32)
    (tmp_path / "real.safetensors").write_bytes(Latent("real", "w+", {"w": w}, {}).to_bytes())
    out = tmp_path / "out.safetensors"
    words = ["edit", tmp_path / "real.safetensors", "--dir", tmp_path / "age.npy", "-o", out]
    done = gt(*words, "--strength", "20", "--strength-norm", norm)
    assert done.code == 0, done.err
    change = load(out).tensors["w"].astype(np.float64) - w
    np.testing.assert_allclose(np.linalg.norm(change, axis=1), moved, rtol=1e-4)
    assert load(out).header["history"][-1]["args"]["strength_norm"] == norm
    wrong = gt(*words, "--strength-norm", norm)
    assert wrong.code == 2 and "how far? Give --strength" in wrong.err


def test_s4_21_boundaries_have_length_1() -> None:
    """As InterFaceGAN's, so that a strength is a distance in w."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8))
    found = boundary(x, x @ np.arange(8.0), share=0.2, shuffle=rng.permutation)
    assert np.linalg.norm(found.normal) == pytest.approx(1, abs=1e-6)
    assert np.ravel(found.normal) @ np.arange(8.0) > 0
