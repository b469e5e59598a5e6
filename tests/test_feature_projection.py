"""Projection into spaces with features and style maps (papers.md S2.11, S2.15, S2.19, S2.26)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Result
from torch import Tensor

from gantools.faces.centre import mirrored
from gantools.faces.detect import Detector
from gantools.faces.find import find
from gantools.inversion import quality
from gantools.inversion.canvas import Canvas, unit
from gantools.inversion.encoder import Encoder, EncoderConfig
from gantools.inversion.encoder_files import to_file
from gantools.inversion.methods import METHODS, Method
from gantools.inversion.project import Projector
from gantools.inversion.start import Given
from gantools.inversion.usual import Usual
from gantools.io import encoder, image
from gantools.io import network as files
from gantools.io.latent import Latent
from gantools.io.network import Checkpoint
from gantools.io.space import with_noise, without_noise
from gantools.latents.render import images
from gantools.latents.source import NetworkSource
from gantools.latents.spaces import convert
from gantools.networks import stylegan2, stylegan2_config
from gantools.networks.network import Network, numbers, open_network
from gantools.ops.pixels import to_uint8
from gantools.ops.quantiles import Distribution
from gantools.report import SampleError, Usage

Run = Callable[..., Result]
STILL = Method(steps=40, lr=0.02, ramp_up=0, ramp_down=0.5, w_noise=0, mse=1)
SPACES = ["sw+", "nsw+", "fw+1", "fw+3", "fnw+3", "fnw+4", "fsw+3", "fnsw+3", "fnw+6"]


@pytest.fixture(scope="module")
def network(tiny_network: Path) -> Network:
    """16x16, six blocks, pictures inside [-1, 1]."""
    found = open_network(str(tiny_network), discriminator=True)
    with torch.no_grad():
        ws = found.g.mapping(torch.randn(4, 16, generator=torch.Generator().manual_seed(2)))
        largest = found.g.synthesis(ws).abs().max()
        for block in found.g.synthesis.blocks():
            block.torgb.weight /= largest
    return found


def truth(network: Network, space: str, seed: int = 2) -> Latent:
    """A latent of the network's own, with noise maps of its own where the space has them."""
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        w = network.g.mapping(z)[0].numpy()
    source = NetworkSource(network, noise_mode="random", seed=seed)
    start = Latent("a", "w+", {"w": w}, {"network": network.story()})
    if "n" in space:
        return convert(start, space, source)
    return convert(start, space, NetworkSource(network))


def picture(network: Network, latent: Latent) -> np.ndarray:
    return to_uint8(images(network, [latent]))[0]


def projector(network: Network, space: str, method: Method = STILL, **more: Any) -> Projector:
    return Projector(network, space, "quick", method, "discriminator", **more)


@pytest.mark.parametrize("space", SPACES)
def test_s2_11_projection_from_the_true_latent_stays(network: Network, space: str) -> None:
    """The picture of a latent, from that latent: a loss of about 0 from the start to the end."""
    own = truth(network, space)
    pixels = picture(network, own)
    losses: list[float] = []
    method = replace(STILL, lr=0.005, noise_reg=0)
    p = projector(network, space, method, init=Given("latent", lambda key, x, label: own))
    (found,) = p.run(["a"], [pixels], lambda step, t, x, loss: losses.append(loss.item()))
    from_the_mean = projector(network, space, replace(STILL, steps=1)).run(["a"], [pixels])[0]
    assert max(losses) < 0.02 * from_the_mean.header["projection"]["loss"]
    assert found.header["projection"]["psnr"] > 45 and found.space == space
    assert {n: t.shape for n, t in found.tensors.items()} == {
        n: t.shape for n, t in own.tensors.items()
    }
    found.check()
    network.check(found)


@pytest.mark.parametrize("space", ["nsw+", "fw+3", "fnw+3", "fnsw+3"])
def test_s2_11_it_finds_pictures_that_are_none_of_its_own(network: Network, space: str) -> None:
    """Better than styles alone; the header says what the file renders as; noise stays normal."""
    pixels = picture(network, truth(network, "w+"))[::-1].copy()
    method = replace(STILL, steps=80, lr=0.1, ramp_up=0.05, noise_reg=1.0)
    losses: list[float] = []
    (found,) = projector(network, space, method).run(
        ["a"], [pixels], lambda step, t, x, loss: losses.append(loss.item())
    )
    (styles,) = projector(network, "w+", method).run(["a"], [pixels])
    story = found.header["projection"]
    assert story["psnr"] > styles.header["projection"]["psnr"]
    assert np.mean(losses[-20:]) < np.mean(losses[15:40]) < np.mean(losses[:10])
    again = Latent.from_bytes(found.to_bytes(), "a")
    shown = picture(network, again)
    assert quality.psnr(shown, pixels) == pytest.approx(story["psnr"], abs=1e-3)
    for n in found.noise.values():
        assert n.mean() == pytest.approx(0, abs=1e-5) and n.std() == pytest.approx(1, abs=1e-4)


def test_batch_composition_changes_nothing(network: Network) -> None:
    pixels = [picture(network, truth(network, "w+", seed)) for seed in (2, 3, 4)]
    method = replace(STILL, steps=6, w_noise=0.05, noise_reg=10.0)
    p = projector(network, "fnsw+3", method, init="random")
    together = {x.key: x for x in p.run(["a", "b", "c"], pixels)}
    for key in "cab":
        (alone,) = p.run([key], [pixels["abc".index(key)]])
        for name, value in alone.tensors.items():
            np.testing.assert_allclose(value, together[key].tensors[name], atol=2e-3)


def test_s2_15_units_of_sizes(network: Network) -> None:
    """A cell of R, of F before block 3; the network's own size in spaces without features."""
    spaces = ("w+", "nsw+", "fw+1", "fw+2", "fnw+3", "fw+4", "fw+5", "fsw+6")
    sizes = [unit(network, space) for space in spaces]
    sides = [16, 16, 4, 4, 4, 4, 2, 2]
    assert sizes == [(n, n) for n in sides]
    with pytest.raises(Usage, match="blocks 1 to 6"):
        unit(network, "fw+7")
    for size in ((16, 18), (2, 16)):
        with pytest.raises(SampleError, match="multiples of 4x4, from 4x4 on"):
            Canvas(network, "fnw+3", size)
    with pytest.raises(SampleError, match="multiples of 16x16"):
        Canvas(network, "nw+", (32, 8))


@pytest.mark.parametrize("space", ["fw+3", "fnw+3", "fsw+4"])
def test_s2_15_pictures_of_any_size(network: Network, space: str) -> None:
    """A picture of 12x24 from the mean: maps of its own size, and better than where it began."""
    whole = picture(network, truth(network, "w+"))
    pixels = np.concatenate([whole, whole[:, ::-1]], axis=1)[:12, 4:28]
    first = projector(network, space, replace(STILL, steps=1)).run(["a"], [pixels])[0]
    (found,) = projector(network, space, replace(STILL, steps=80, lr=0.1)).run(["a"], [pixels])
    assert found.tensors["f"].shape[1:] == (6, 12)
    assert found.header["projection"]["psnr"] > first.header["projection"]["psnr"] + 3
    assert picture(network, found).shape == (12, 24, 3)


def test_s2_15_a_shifted_picture_has_a_shifted_latent(network: Network) -> None:
    """Features of a wide picture and those of its parts, each found from the shifted start.

    Inside, away from the borders, the pictures shift with their latents: what is found from the
    shifted start of the shifted picture is the shifted latent.
    """
    wide = projector(network, "fw+3").canvas((16, 48))
    nothing = np.zeros((16, 48, 3), np.uint8)
    big = projector(network, "fw+3", init="random").start(wide, "a", nothing)
    shown = picture(network, replace(big, header={"network": network.story()}))
    rng = np.random.default_rng(0)
    away = {n: t + rng.normal(0, 0.3, t.shape).astype(np.float32) for n, t in big.tensors.items()}
    away["w"] = big.tensors["w"]
    k = 4  # cells of F, 8 px

    def part(at: int) -> np.ndarray:
        f, r = away["f"][..., at : at + 20], away["r"][..., at // 2 : at // 2 + 10]
        start = Latent("a", "fw+3", {"f": f, "r": r, "w": away["w"]})
        p = projector(network, "fw+3", STILL, init=Given("latent", lambda key, x, label: start))
        pixels = shown[:, 2 * at : 2 * at + 40]
        return p.run(["a"], [pixels])[0].tensors["f"]

    before = away["f"][..., 10:14]  # one place of the wide picture, far from borders
    a, b = part(0)[..., 10:14] - before, part(k)[..., 10 - k : 14 - k] - before
    alike = float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
    assert alike > 0.8 and np.abs(a).mean() > 0.1


# ---------------------------------------------------------------------------- terms of the latent


def test_s2_19_each_part_against_its_own_numbers() -> None:
    """0 where every part has its targets in any order; styles of all blocks count together."""
    rng = np.random.default_rng(0)
    targets = {part: Distribution.of(rng.normal(i, 1 + i, 4096)) for i, part in enumerate("wfr")}
    term = Usual(Method(dist=2.0), targets=targets)

    def drawn(part: str, *shape: int) -> Tensor:
        found = targets[part].targets(int(np.prod(shape)))
        return torch.from_numpy(rng.permutation(found).reshape(1, *shape)).float()

    own = {"w": drawn("w", 4, 8), "f": drawn("f", 6, 4, 4), "r": drawn("r", 3, 2, 2)}
    assert term(own).item() == pytest.approx(0, abs=1e-8)
    moved = own | {"f": own["f"] + 0.5, "n.3": torch.ones(1, 1, 8, 8)}
    assert term(moved).item() == pytest.approx(2 * 0.25, rel=1e-4)
    maps = drawn("w", 2 * 8 * 16).view(1, 2, 8, 4, 4)
    assert term({"s.3": maps[:, 0], "s.4": maps[:, 1]}).item() == pytest.approx(0, abs=1e-8)


def test_s2_19_regularised_latents_are_nearer_to_the_networks_own(network: Network) -> None:
    pixels = picture(network, truth(network, "w+"))[::-1].copy()
    w1 = {}
    for weight in (0.0, 1.0):
        method = replace(STILL, steps=100, lr=0.1, dist=weight)
        p = projector(network, "fnw+3", method)
        (found,) = p.run(["a"], [pixels])
        assert found.header["projection"]["dist_weight"] == weight
        own = projector(network, "fnw+3", replace(method, dist=1.0)).usual
        t = {n: torch.from_numpy(v)[None] for n, v in found.tensors.items()}
        w1[weight] = own(t).item()
    assert w1[1.0] < 0.2 * w1[0.0]


def test_s2_26_smooth_style_maps() -> None:
    """A constant map costs nothing, a checkerboard all of its square; the blur is a share."""
    term = Usual(Method(style_smooth=3.0, style_radius=0.5))
    flat = torch.full((1, 2, 8, 8), 7.0)
    board = torch.from_numpy(np.indices((8, 8)).sum(0) % 2 * 2.0 - 1).float().expand(1, 2, 8, 8)
    assert term({"s.5": flat}).item() == pytest.approx(0, abs=1e-9)
    assert term({"s.5": board, "s.6": flat}).item() == pytest.approx(3 / 2, rel=0.01)
    assert term({"w": torch.ones(1, 2, 3)}).item() == 0

    def cost(n: int) -> float:
        wave = torch.sin(torch.arange(n) / n * 12).expand(1, 1, n, n)
        return float(Usual(Method(style_smooth=1.0, style_radius=0.05))({"s.3": wave}))

    assert cost(64) == pytest.approx(cost(256), rel=0.05)


def test_s2_26_few_cells_and_slower_late_blocks(network: Network) -> None:
    """Maps of 2x2 cells, enlarged in the file; with a falloff the late ones move less."""
    own = truth(network, "fsw+3")
    pixels = picture(network, own)[::-1].copy()
    method = replace(STILL, steps=20, lr=0.1, style_cells=2, style_falloff=0.1)
    p = projector(network, "fsw+3", method, init=Given("latent", lambda key, x, label: own))
    free = p.canvas((16, 16)).reduced(
        {"s.3": torch.zeros(1, 16, 8, 8), "s.5": torch.zeros(1, 16, 16, 16)}
    )
    assert {n: t.shape[2:] for n, t in free.items()} == {"s.3": (2, 2), "s.5": (2, 2)}
    (found,) = p.run(["a"], [pixels])
    assert found.tensors["s.6"].shape == (16, 16, 16)
    moved = [np.abs(found.tensors[f"s.{j}"] - own.tensors[f"s.{j}"]).max() for j in (3, 4, 5, 6)]
    assert moved[0] > 3 * moved[1] > 9 * moved[2] > 0
    assert found.header["projection"]["style_cells"] == 2


def test_methods_take_fewer_steps_with_features() -> None:
    """S2.11: 250 where S2.12 has 1000; what is asked for stands."""
    thesis = METHODS["thesis"]
    assert [thesis.for_space(s, {}).steps for s in ("nw+", "fnw+5", "fw+1")] == [1000, 250, 250]
    assert thesis.for_space("fnw+5", {"steps": 7}).steps == 7
    assert METHODS["quick"].for_space("fnw+5", {}).steps == 400


def test_names_with_and_without_noise() -> None:
    pairs = {"w": "nw", "w+": "nw+", "sw+": "nsw+", "fw+5": "fnw+5", "fsw+12": "fnsw+12"}
    for plain, noisy in pairs.items():
        assert with_noise(plain) == noisy == with_noise(noisy)
        assert without_noise(noisy) == plain == without_noise(plain)
    assert with_noise("fnz3") == "fnz3" == without_noise("fnz3")


# ---------------------------------------------------------------------------- the command


def test_mirrored_up_to_whole_cells() -> None:
    x = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    quad = np.array([[10, 20], [10, 23], [15, 23], [15, 20]], np.float64)
    made, place = mirrored(x, quad, (4, 4))
    assert made.shape == (4, 8, 3)
    np.testing.assert_array_equal(made[:3, 1:6], x)
    np.testing.assert_array_equal(made[3, 1:6], x[2])
    assert place.tolist() == [[9, 20], [9, 24], [17, 24], [17, 20]]
    same, there = mirrored(made, place, (4, 8))
    np.testing.assert_array_equal(same, made)
    np.testing.assert_array_equal(there, place)


@pytest.fixture(scope="module")
def photo(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of 30x21 pixels, wider than high."""
    whole = picture(network, truth(network, "w+"))
    pixels = np.concatenate([whole, whole[:, ::-1]], axis=1).repeat(2, axis=0)[:21, :30]
    path = tmp_path_factory.mktemp("photo") / "wide.png"
    path.write_bytes(image.encode(pixels))
    return path


def test_s2_15_own_size_on_the_command_line(
    gt: Run, tiny_network: Path, photo: Path, tmp_path: Path
) -> None:
    """Mirrored to 24x32, put back by --paste into the photograph's own 21x30."""
    quick = ("project", "--net", tiny_network, "--steps", 3, "--space", "fnw+3")
    done = gt(*quick, photo, "--size", "own", "-o", f"{tmp_path}/x.safetensors")
    assert (done.code, done.err) == (0, "")
    latent = Latent.from_bytes((tmp_path / "x.safetensors").read_bytes(), "x")
    assert latent.tensors["f"].shape[1:] == (12, 16) and latent.header["crop"]["size"] == [24, 32]
    assert latent.header["crop"]["quad"][0] == [-1, -1]
    done = gt(*quick, photo, "--size", "own", "--paste", "-o", f"{tmp_path}/back.png")
    assert done.code == 0 and image.decode((tmp_path / "back.png").read_bytes()).shape == (
        21,
        30,
        3,
    )
    done = gt(*quick, photo, "--size", "16x32", "-o", f"{tmp_path}/cut.png")
    assert done.code == 0 and image.decode((tmp_path / "cut.png").read_bytes()).shape == (16, 32, 3)


@pytest.mark.data
def test_s2_15_faces_as_large_as_the_networks(gt: Run, shared: Path, tmp_path: Path) -> None:
    """Fig 6.7: four people in one latent, each about as large as a training face."""
    wild = shared / "data/faces-wild"
    argv = ("project", "--size", "faces", "--space", "fnw+5", "--steps", 0, "-o", f"{tmp_path}/")
    done = gt(*argv, wild / "groups/ulfg_02.jpg", wild / "nonfaces/sk_grass.png")
    assert done.code == 1 and "sk_grass.png: no face found" in done.err
    latent = Latent.from_bytes((tmp_path / "ulfg_02.safetensors").read_bytes(), "x")
    height, width = latent.tensors["f"].shape[1:]
    assert width / height == pytest.approx(1024 / 484, rel=0.05)
    quad = np.array(latent.header["crop"]["quad"])
    scale = 4 * width / (quad[3, 0] - quad[0, 0])  # a cell of F_5 makes 4 px of 64
    found = find([image.decode((wild / "groups/ulfg_02.jpg").read_bytes())], Detector())[0]
    eyes = [np.linalg.norm(face.points[1] - face.points[0]) * scale for face in found]
    assert len(eyes) == 4 and np.median(eyes) == pytest.approx(64 * 0.333, rel=0.15)


def test_pictures_of_many_sizes_in_one_batch(
    gt: Run, tiny_network: Path, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    small = image.decode(photo.read_bytes())[:16, :16]
    for name, pixels in (("a", small), ("c", small[:, ::-1]), ("d", small[:2, :2])):
        (tmp_path / f"in/{name}.png").write_bytes(image.encode(np.ascontiguousarray(pixels)))
    (tmp_path / "in/b.png").write_bytes(photo.read_bytes())
    argv = ("project", "--net", tiny_network, "--steps", 3, "--space", "fw+5", "--size", "own")
    film = ("--progress-video", f"{tmp_path}/film.gif")
    done = gt(*argv, tmp_path / "in", "-o", f"{tmp_path}/out/", *film)
    assert done.code == 1 and "d.png: 2x2 px" in done.err and done.err.count("\n") == 1
    assert sorted(x.name for x in (tmp_path / "out").iterdir()) == [
        f"{key}.safetensors" for key in "abc"
    ]
    assert (tmp_path / "film.gif").stat().st_size > 100


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["--space", "fw+3", "--noise-reg", "1"], "no noise maps"),
        (["--space", "fnw+3", "--style-smooth", "1"], "no style maps"),
        (["--space", "w+", "--size", "own"], "--size is for spaces with features"),
        (["--space", "fw+3", "--size", "3by4"], "--size 3by4: expected"),
        (["--space", "fw+3", "--size", "own", "--align", "always"], "leave --align out"),
        (["--space", "fnw+3", "--tune", "x.safetensors"], "--tune is for w, w+, nw and nw+"),
        (["--space", "fw+9"], "blocks 1 to 6"),
        (["--space", "fnz3"], "not to z"),
    ],
)
def test_wrong_usage_is_one_line(
    gt: Run, tiny_network: Path, photo: Path, argv: list[str], why: str
) -> None:
    done = gt("project", "--net", tiny_network, photo, *argv)
    assert done.code == 2 and why in done.err and len(done.err.splitlines()) == 1
    assert done.out == b""


def test_s2_11_an_encoder_starts_it(
    gt: Run, tiny_network: Path, photo: Path, tmp_path: Path, network: Network
) -> None:
    """With 0 steps its own result, in later blocks and at other sizes too; never in w+."""
    made = Encoder(EncoderConfig.of(network, 3, "small", 8), network.story())
    with torch.no_grad():
        for p in made.parameters():
            p.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    encoder.write(tmp_path / "e.safetensors", to_file(made, {}))
    argv = ("project", "--net", tiny_network, photo, "--init", f"{tmp_path}/e.safetensors")
    for space, size, f in (
        ("fnw+3", "16", (8, 8)),
        ("fw+5", "16x32", (16, 32)),
        ("fsw+3", "own", (12, 16)),
    ):
        out = tmp_path / f"{space}.safetensors"
        done = gt(*argv, "--space", space, "--size", size, "--steps", 0, "-o", out)
        assert (done.code, done.err) == (0, "")
        latent = Latent.from_bytes(out.read_bytes(), "x")
        assert latent.tensors["f"].shape[1:] == f
        assert latent.header["projection"]["init"] == "encoder"
    done = gt(*argv, "--align", "never", "--space", "w+", "--steps", 0)
    assert done.code == 1 and "no start for w+: nothing converts fw+3 to w+" in done.err
    net = tmp_path / "tiny.safetensors"
    net.write_bytes(tiny_network.read_bytes())
    encoder.write(tmp_path / "tiny.encoder.safetensors", to_file(made, {}))
    for space, start in (
        ("fnw+4", "encoder"),
        ("fw+3", "encoder"),
        ("fw+2", "mean"),
        ("w+", "mean"),
    ):
        words = ("--net", net, "--align", "never", "--space", space, "--steps", 0)
        out = tmp_path / "kept.safetensors"
        assert gt("project", photo, *words, "-o", out).code == 0
        assert Latent.from_bytes(out.read_bytes(), "x").header["projection"]["init"] == start
    wrong = gt("project", photo, "--init", f"{tmp_path}/e.safetensors", "--space", "fw+5")
    assert wrong.code == 2 and "an encoder for tiny" in wrong.err


def test_starts_of_other_spaces(
    gt: Run, tiny_network: Path, photo: Path, tmp_path: Path, network: Network
) -> None:
    """A w+ with or without noise starts fnw+3; a later block, or another size, does not."""
    argv = ("project", "--net", tiny_network, "--steps", 2, "--align", "never", photo)
    for space in ("w+", "nw+", "fw+4", "fnw+3"):
        start = truth(network, space)
        start.header = {}
        (tmp_path / f"{space}.safetensors").write_bytes(start.to_bytes())
    for space, code in (("w+", 0), ("nw+", 0), ("fnw+3", 0), ("fw+4", 1)):
        out = f"{tmp_path}/out-{space}.safetensors"
        init = ("--init", f"{tmp_path}/{space}.safetensors", "--space", "fnw+3")
        done = gt(*argv, *init, "-o", out)
        assert done.code == code, done.err
        assert code == 0 or "no start for fnw+3: nothing converts fw+4 to fw+3" in done.err
    wide = ("--init", f"{tmp_path}/fnw+3.safetensors", "--space", "fnw+3", "--size", "16x32")
    assert gt(*argv, *wide, "-o", f"{tmp_path}/wide.safetensors").code == 0


# ---------------------------------------------------------------------------- FNZ


@pytest.fixture(scope="module")
def fnz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16x16 network that starts from sampled features at block 3."""
    torch.manual_seed(5)
    cfg = stylegan2_config.GeneratorConfig(
        16, (8, 8, 8), z_dim=8, w_dim=8, mapping_layers=2, fnz=3, noise_blur=2.0
    )
    tensors = {f"g_ema.{n}": t for n, t in numbers(stylegan2.Generator(cfg)).items()}
    ckpt = Checkpoint("stylegan2", {"g": cfg.to_dict(), "d": None}, tensors)
    path = tmp_path_factory.mktemp("fnz") / "fnz.safetensors"
    files.save(path, ckpt)
    return path


def test_s2_20_projection_on_networks_of_sampled_features(fnz: Path) -> None:
    """From features of 0 or new ones, into their block and later ones, at any size."""
    network = open_network(str(fnz))
    rng = np.random.default_rng(0)
    method = replace(STILL, steps=30, lr=0.1, dist=0.1)
    for space, init in (("fnw+3", "mean"), ("fw+4", "random"), ("fnsw+3", "random")):
        pixels = rng.integers(0, 255, (8, 24, 3)).astype(np.uint8)
        p = Projector(network, space, "quick", method, "pyramid", init=init)
        once = Projector(network, space, "quick", replace(method, steps=1), "pyramid", init=init)
        (found,), (first,) = p.run(["a"], [pixels]), once.run(["a"], [pixels])
        network.check(found)
        assert found.header["projection"]["psnr"] > first.header["projection"]["psnr"]
        assert picture(network, found).shape == (8, 24, 3)
    for space in ("w+", "nsw+", "fnw+2"):
        with pytest.raises(Usage, match=r"projected to fnw\+3 and the like"):
            Projector(network, space, "quick", method, "pyramid")
