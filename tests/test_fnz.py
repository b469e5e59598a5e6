"""Networks that start from sampled features, FNZ_i: their pictures and their latents (S2.20-22)."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result, make_network
from PIL import Image

from gantools.io.latent import Latent
from gantools.io.network import load
from gantools.latents import pictures, sampled, spaces
from gantools.latents.source import NetworkSource
from gantools.networks import stylegan2_blocks as blocks
from gantools.networks.network import Network, open_network
from gantools.networks.stylegan2 import Generator
from gantools.networks.stylegan2_config import GeneratorConfig
from gantools.report import SampleError, Usage

Run = Callable[..., Result]
L = 8  # of 32x32


@pytest.fixture(scope="module")
def fnz3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32x32, block 3 on, blurred features of 8x8 cells: a cell is 4x4 pixels."""
    path = tmp_path_factory.mktemp("fnz") / "fnz3.safetensors"
    return make_network(path, resolution=32, fnz=3, noise_blur=1.5)


@pytest.fixture(scope="module")
def network(fnz3: Path) -> Network:
    return open_network(str(fnz3))


def vanilla() -> Generator:
    torch.manual_seed(1)
    cfg = GeneratorConfig(32, (12, 10, 8, 6), z_dim=16, w_dim=16, mapping_layers=2)
    made = Generator(cfg).eval().requires_grad_(False)
    for layer in made.synthesis.layers():
        layer.noise_strength.fill_(0.2)
    return made


def later(whole: Generator, first: int) -> Generator:
    """The same network from block `first` on."""
    cfg = GeneratorConfig.from_dict({**whole.cfg.to_dict(), "fnz": first})
    made = Generator(cfg).eval().requires_grad_(False)
    own = made.state_dict()
    made.load_state_dict({n: t for n, t in whole.state_dict().items() if n in own})
    return made


def shown(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


# ------------------------------------------------------------------------------ the network itself


@pytest.mark.parametrize("first", range(1, L + 1))
def test_s2_20_from_the_converted_constant_it_is_the_vanilla_network(first: int) -> None:
    """Blocks 1 .. i-1 of the vanilla network run before give f_i and r_i."""
    whole = vanilla()
    part = later(whole, first)
    ws = whole.mapping(torch.randn(2, 16))
    noise = [torch.randn(2, 1, *shape) for shape in whole.noise_shapes]
    styles = list(ws.unbind(1))
    before = blocks.advance(
        whole.synthesis, blocks.first(whole.synthesis, 2), styles[: first - 1], noise
    )
    rest = (styles[first - 1 :], noise[first - 1 :])
    made = blocks.picture_from(part.synthesis, before, *rest)
    torch.testing.assert_close(made, whole.synthesis(ws, noise), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("first", range(1, L + 1))
def test_s2_20_zero_r_is_no_skip_input(first: int) -> None:
    """f_i as drawn and r_i = 0: what training renders is what the blocks give, in both forms."""
    part = later(vanilla(), first)
    f = part.sampled(2, torch.Generator().manual_seed(0))
    assert f.shape == (2, *part.cfg.features)
    ws = part.mapping(torch.randn(2, 16))
    noise = [torch.randn(2, 1, *shape) for shape in part.noise_shapes]
    whole = part.synthesis(ws, noise, f=f)
    rest = (list(ws.unbind(1))[first - 1 :], noise[first - 1 :])
    without = blocks.picture_from(part.synthesis, blocks.State(first, f, None), *rest)
    torch.testing.assert_close(whole, without, rtol=1e-5, atol=1e-5)
    if first > 2:
        zeros = torch.zeros(2, 3, f.shape[2] // 2, f.shape[3] // 2)
        with_zeros = blocks.picture_from(part.synthesis, blocks.State(first, f, zeros), *rest)
        torch.testing.assert_close(with_zeros, without, rtol=0, atol=0)


def test_s2_20_the_blocks_before_are_not_there() -> None:
    part = later(vanilla(), 5)
    names = {n.split(".")[1] for n in part.state_dict() if n.startswith("synthesis.b")}
    assert names == {"b16", "b32"}
    assert not hasattr(part.synthesis.b16, "conv0") and not hasattr(part.synthesis.b16, "const")
    assert later(vanilla(), 6).cfg.features == (8, 16, 16)
    assert not hasattr(later(vanilla(), 6).synthesis.b16, "conv1")
    with pytest.raises(ValueError, match="it has no constant"):
        blocks.first(part.synthesis)
    with pytest.raises(Usage, match="styles alone have none"):
        part.synthesis(torch.randn(1, L, 16))


@pytest.mark.parametrize(
    "bad", [{"fnz": 9}, {"fnz": -1}, {"fnz": 3, "architecture": "resnet"}, {"noise_blur": -1.0},
            {"noise_blur": 1e9}, {"noise_blur": float("nan")}],
)  # fmt: skip
def test_impossible_configurations_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"fnz is|noise_blur is"):
        GeneratorConfig.from_dict({**vanilla().cfg.to_dict(), **bad})


# ------------------------------------------------------------------------------------ its latents


def test_fnz_latents_give_the_picture_of_their_seed(gt: Run, fnz3: Path, tmp_path: Path) -> None:
    """`generate --space fnz` holds f, r, z and the noise; a picture of it is that of the seed."""
    net = ("--net", fnz3)
    direct = gt("generate", *net, "--seeds", "0-2", "--batch", "2", "-o", f"{tmp_path}/a/")
    assert direct.code == 0, direct.err
    stream = gt("generate", *net, "--seeds", "0-2", "--space", "fnz")
    assert stream.code == 0, stream.err
    again = gt("generate", *net, "-o", f"{tmp_path}/b/", stdin=stream.out)
    assert again.code == 0, again.err
    for i in range(3):
        one, other = (shown((tmp_path / x / f"seed{i:06d}.png").read_bytes()) for x in "ab")
        assert one.shape == (32, 32, 3) and one.std() > 1
        assert (one == other).all()
    assert not (
        shown((tmp_path / "a/seed000000.png").read_bytes())
        == shown((tmp_path / "a/seed000001.png").read_bytes())
    ).all()


def test_fnz_latents_are_those_of_s2_1(gt: Run, fnz3: Path, network: Network) -> None:
    made = gt("generate", "--net", fnz3, "--seeds", "5", "--space", "fnz", "-o", ".safetensors")
    latent = Latent.from_bytes(made.out, "x")
    assert latent.space == "fnz3" and latent.first == 3
    shapes = {name: t.shape for name, t in latent.tensors.items()}
    sizes = {3: 8, 4: 16, 5: 16, 6: 32, 7: 32}
    assert shapes == {
        "f": (8, 8, 8), "r": (3, 4, 4), "z": (16,),
        **{f"n.{j}": (1, n, n) for j, n in sizes.items()},
    }  # fmt: skip
    assert not latent.tensors["r"].any()
    network.check(latent)
    # The legal chains keep the picture: a block run, z mapped.
    whole = picture(network, latent)
    for space in ("fnw+3", "fnsw+3", "fnz4", "fnw+5"):
        other = spaces.convert(latent, space, NetworkSource(network))
        np.testing.assert_allclose(picture(network, other), whole, atol=1)
    with pytest.raises(SampleError, match="nothing converts fnz3 to fnw"):
        spaces.convert(latent, "fnw+2", NetworkSource(network))


def picture(network: Network, latent: Latent) -> np.ndarray:
    cell = pictures.Cell(latent, pictures.Look())
    (made,) = pictures.rendered(network, [pictures.Picture("x", [cell])], 1)
    pixels = made.pixels()
    assert pixels is not None
    return pixels.astype(int)


def test_features_follow_from_seed_and_key(network: Network) -> None:
    z = Latent("k", "z", {"z": np.zeros(16, np.float32)})
    one, same = (sampled.completed(network, z) for _ in range(2))
    assert one.to_bytes() == same.to_bytes()
    for other in (sampled.completed(network, z, seed=1), sampled.completed(network, z, key="l")):
        assert other.key == "k"
        for name in ("f", "n.3", "n.7"):
            assert np.abs(other.tensors[name] - one.tensors[name]).max() > 0.1
    silent = sampled.completed(network, z, noise="none")
    assert (silent.tensors["f"] == one.tensors["f"]).all() and not silent.tensors["n.5"].any()
    stored = sampled.completed(network, z, noise="const").tensors["n.5"]
    layer = network.g.synthesis.layers()[2]
    assert (stored[0] == layer.noise_const.numpy()).all()


def test_a_walk_keeps_its_features(gt: Run, fnz3: Path) -> None:
    """Neighbouring frames are alike, as no two seeds are."""
    walk = ("--video", "--seconds", "0.5", "--fps", "20", "-o", ".png", "--net", fnz3)
    frames = gt("generate", *walk).out.split(b"\x89PNG")[1:]
    first, second = (shown(b"\x89PNG" + frame) for frame in frames[:2])
    seeds = gt("generate", "--seeds", "0,1", "-o", ".png", "--net", fnz3).out.split(b"\x89PNG")[1:]
    one, other = (shown(b"\x89PNG" + frame) for frame in seeds)
    assert np.abs(first - second).mean() < 0.25 * np.abs(one - other).mean()


def test_metrics_and_sheets_take_it(gt: Run, fnz3: Path, tmp_path: Path) -> None:
    made = gt(
        "generate", "--net", fnz3, "--seeds", "0-3", "--grid", "2x2", "-o", tmp_path / "s.png"
    )
    assert made.code == 0, made.err
    assert shown((tmp_path / "s.png").read_bytes()).shape == (64, 64, 3)
    made = gt(
        "generate", "--net", fnz3, "--seeds", "0", "--figure", "noise", "-o", tmp_path / "n.png"
    )
    assert made.code == 0, made.err
    made = gt("metrics", "kid", tmp_path / "s.png", "--net", fnz3, "--num", "3", "--features",
              "discriminator", "--subsets", "0", "--json")  # fmt: skip
    assert made.code in (0, 2) and "Traceback" not in made.err


def test_model_info_tells_the_blocks(gt: Run, fnz3: Path) -> None:
    said = gt("model", "info", fnz3).text
    assert "block 3, 8x8, 8 channels, b8.conv1" in said
    assert "block 8, 32x32, 3 channels, b32.torgb" in said
    assert "block 2" not in said
    assert load(fnz3).config["g"]["fnz"] == 3


# -------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (("--seeds", "0", "--space", "w"), "--space fnz gives"),
        (("--seeds", "0", "--size", "30x32"), "multiples of 4; the nearest is 32x32"),
        (("--seeds", "0", "--size", "1x9"), "the nearest is 4x8"),
        (("--seeds", "0", "--size", "12x16", "--space", "fnz"), "even number of cells"),
        (("--seeds", "0", "--size", "12x"), "HEIGHTxWIDTH"),
        (("--seeds", "0", "--size", "0x8"), "HEIGHTxWIDTH"),
        (("--seeds", "0", "--size", "9999999x9999999"), "HEIGHTxWIDTH"),
        (("--seeds", "0", "--size", "60000x60000"), "pixels are not meant"),
        (("--seeds", "0", "--size", "32x32", "--space", "z"), "only latents in --space fnz have"),
        (("--seeds", "0", "--space", "fnz", "--tile", "64"), "--tile is for pictures"),
    ],
)
def test_wrong_usage(gt: Run, fnz3: Path, argv: tuple[str, ...], why: str) -> None:
    result = gt("generate", "--net", fnz3, *argv, "-o", "-" if "--space" in argv else ".png")
    assert result.code in (1, 2) and why in result.err, result.err
    assert result.err.count("\n") == 1


def test_networks_with_a_constant_have_one_size(gt: Run, tiny_network: Path) -> None:
    net = ("--net", tiny_network, "--seeds", "0")
    result = gt("generate", *net, "--size", "32x64", "-o", ".png")
    assert result.code == 2
    assert "starts from a constant" in result.err and "train stylegan2 --fnz" in result.err
    assert "project --space fnzI" in gt("generate", *net, "--space", "fnz", "-o", "-").err


def test_latents_without_features_are_refused(gt: Run, fnz3: Path, tmp_path: Path) -> None:
    w = Latent("w", "w", {"w": np.zeros((1, 16), np.float32)}).to_bytes()
    (tmp_path / "w.safetensors").write_bytes(w)
    result = gt("generate", "--net", fnz3, tmp_path / "w.safetensors", "-o", ".png")
    assert result.code == 1 and "it takes latents in fnz3" in result.err
    f = {"f": np.zeros((8, 4, 4), np.float32), "w": np.zeros((8, 16), np.float32)}
    (tmp_path / "f.safetensors").write_bytes(Latent("f", "fw+1", f).to_bytes())
    result = gt("generate", "--net", fnz3, tmp_path / "f.safetensors", "-o", ".png")
    assert result.code == 1 and "starts at block 3 (FNZ)" in result.err
    result = gt("generate", "--net", fnz3, "--seeds", "0", "--space", "fnz", "-o", f"{tmp_path}/l/")
    assert result.code == 0
    result = gt("generate", "--net", fnz3, tmp_path / "l", "--size", "64x64", "-o", ".png")
    assert result.code == 1 and "has its size" in result.err


def test_project_refuses_in_one_line(gt: Run, fnz3: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (90, 30, 10)).save(tmp_path / "a.png")
    result = gt("project", "--net", fnz3, tmp_path / "a.png", "--align", "never", "--steps", "1",
                "--perceptual", "pyramid", "-o", "-")  # fmt: skip
    assert result.code == 2 and "sampled features" in result.err
    assert result.err.count("\n") == 1
