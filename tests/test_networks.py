"""StyleGAN2 against the numbers that the reference implementations compute (S2.0, S0.12)."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import FIXTURES
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from gantools.io import network as files
from gantools.networks.network import build, generator, numbers
from gantools.networks.stylegan2 import Generator
from gantools.networks.stylegan2_config import GeneratorConfig, widths
from gantools.networks.stylegan2_discriminator import Discriminator, DiscriminatorConfig

# atol of the fixtures' README: max(5e-5, 8 x the references' own rounding differences)
ATOL = {
    "sg2ada_pt_r16_era.pkl": 5e-5,
    "sg2ada_pt_r32_skip.pkl": 6e-5,
    "sg3repo_sg2_r32.pkl": 9e-5,
    "sg2_tf_v4_configD_revised.pkl": 7e-5,
    "sg2_tf_v4_labelconcat.pkl": 5e-5,
    "sg2_tf_v4_skip.pkl": 5e-5,
    "sg2_tf_v5_ada_uncond.pkl": 5e-5,
    "rosinality_converted.pt": 6e-5,
    "rosinality_converted_gd.pt": 6e-5,
}


@cache
def fixture(name: str) -> tuple[files.Checkpoint, dict[str, Tensor], dict[str, str]]:
    """(checkpoint, expected tensors, metadata) of a fixture file."""
    expected = FIXTURES / f"{Path(name).stem}.expected.safetensors"
    with safe_open(expected, "pt") as file:
        metadata = file.metadata()
    return files.load(FIXTURES / name), load_file(expected), metadata


def close(value: Tensor, wanted: Tensor, name: str) -> None:
    assert value.shape == wanted.shape
    error = (value - wanted).abs() - (ATOL[name] + 1e-4 * wanted.abs())
    assert error.max() <= 0, f"exceeds the tolerance by {float(error.max()):.2e}"


@pytest.mark.parametrize("name", ATOL)
def test_images_equal_the_reference(name: str) -> None:
    """S2.0, S0.12: w, truncation with cutoff, noise modes, per-layer w, levels of detail."""
    ckpt, expected, metadata = fixture(name)
    network = build(ckpt, name)
    z, label = expected["z"], expected.get("label")
    w = network.g.mapping(z, label)
    close(w if expected["w"].ndim == 3 else w[:, 0], expected["w"], name)
    seen = 0
    for tensor, wanted in expected.items():
        found = re.fullmatch(r"image_psi(\d+)_?(cut(\d+)|all)?_?(const|none)", tensor)
        if found:
            psi = float(found[1][0] + "." + found[1][1:])
            ws = network.g.mapping(z, label, psi, int(found[3]) if found[3] else None)
            close(network.g.synthesis(ws, found[4]), wanted, name)
            seen += 1
    assert seen >= 3, metadata
    if "w_mix" in expected:
        close(network.g.synthesis(expected["w_mix"]), expected["image_wmix_const"], name)
    for tensor in expected:
        if lod := re.fullmatch(r"image_lod(\d+)p(\d+)_const", tensor):
            image = network.g.synthesis(w, lod=float(f"{lod[1]}.{lod[2]}"))
            close(image, expected[tensor], name)
    if "G_image_psi1_const" in expected and ckpt.part("g"):
        g = generator(ckpt.family, ckpt.config["g"], ckpt.part("g"))
        close(g(z, label).detach(), expected["G_image_psi1_const"], name)


@pytest.mark.parametrize("name", [n for n in ATOL if n.startswith(("sg2ada", "sg3repo"))])
def test_gradient_with_respect_to_w_equals_the_reference(name: str) -> None:
    """S2.0: d sum(image · y) / dw for per-layer w, and the path lengths it gives."""
    ckpt, expected, _ = fixture(name)
    network = build(ckpt, name)
    ws = expected["w_mix"].clone().requires_grad_()
    image = network.g.synthesis(ws)
    (gradient,) = torch.autograd.grad((image * expected["grad_y"]).sum(), ws)
    close(gradient, expected["grad_wmix"], name)
    lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
    torch.testing.assert_close(lengths, expected["path_lengths"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in ATOL if not n.startswith("rosinality_converted.")])
def test_logits_and_r1_equal_the_reference(name: str) -> None:
    """S2.0, S3.1: D's logits (batch and single, minibatch stddev), ‖∇D‖² per image."""
    ckpt, expected, _ = fixture(name)
    d = build(ckpt, name, discriminator=True).d
    assert d is not None
    if "image_in" not in expected and "image_in_u8" not in expected:
        pytest.skip("the fixture holds no images for D")
    image = expected.get("image_in")
    if image is None:
        image = expected["image_in_u8"].float() / 127.5 - 1
    label = expected.get("d_label")
    image = image.clone().requires_grad_()
    logits = d(image, label)
    close(logits.detach(), expected["logits"], name)
    if "logits_first1" in expected:
        first = d(image[:1], None if label is None else label[:1])
        close(first.detach(), expected["logits_first1"], name)
    for tensor in expected:
        if lod := re.fullmatch(r"logits_lod(\d+)p(\d+)", tensor):
            value = d(image, label, lod=float(f"{lod[1]}.{lod[2]}"))
            close(value.detach(), expected[tensor], name)
    if "r1_sqnorm" in expected:
        (gradient,) = torch.autograd.grad(logits.sum(), image)
        squares = gradient.square().sum(dim=[1, 2, 3])
        torch.testing.assert_close(squares, expected["r1_sqnorm"], rtol=1e-3, atol=0)
        torch.testing.assert_close(gradient[:1], expected["r1_grad_sample0"], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("resolution", [32, 64, 256, 1024])
def test_block_table_of_paper_002(resolution: int) -> None:
    """S2.0: L = 2 log2(res) - 2 styles, L - 1 noise maps; block i upsamples where i is even."""
    cfg = GeneratorConfig(resolution, (2,) * (int(np.log2(resolution)) - 1), z_dim=2, w_dim=2)
    g = Generator(cfg)
    count = 2 * int(np.log2(resolution)) - 2
    assert g.num_ws == count
    assert len(g.noise_shapes) == len(g.synthesis.layers()) == count - 1
    for i, layer in enumerate(g.synthesis.layers(), start=1):
        side = 4 if i == 1 else 4 * 2 ** (i // 2)
        assert g.noise_shapes[i - 1] == tuple(layer.noise_const.shape) == (side, side)
        assert layer.up == (i % 2 == 0)


def test_channels_of_config_f() -> None:
    """S2.0: 512 up to 64², 256, 128, 64, 32 at 1024²."""
    assert widths(1024) == (512, 512, 512, 512, 512, 256, 128, 64, 32)
    assert widths(64, 16384) == (512, 512, 512, 512, 256)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("c_dim", [0, 3])
def test_round_trip_through_a_file_is_bit_exact(
    architecture: str, c_dim: int, tmp_path: Path
) -> None:
    """Save and load: equal tensors, identity, images; every architecture, conditional or not."""
    torch.manual_seed(1)
    cfg = GeneratorConfig(
        16,
        (6, 4, 4),
        z_dim=5,
        w_dim=7,
        c_dim=c_dim,
        mapping_layers=2,
        architecture=architecture,
        conv_clamp=256,
    )
    d_cfg = DiscriminatorConfig(
        16, (6, 4, 4), c_dim=c_dim, cmap_dim=6 * bool(c_dim), architecture=architecture
    )
    g, d = Generator(cfg), Discriminator(d_cfg)
    tensors = {f"g_ema.{n}": t for n, t in numbers(g).items()}
    tensors |= {f"d.{n}": t for n, t in numbers(d).items()}
    config = {"g": cfg.to_dict(), "d": d_cfg.to_dict()}
    identity = files.save(
        tmp_path / "n.safetensors", files.Checkpoint("stylegan2", config, tensors)
    )
    again = files.load(tmp_path / "n.safetensors")
    assert again.meta["id"] == identity == files.identity(again.part("g_ema"))
    assert json.dumps(again.config, sort_keys=True) == json.dumps(config, sort_keys=True)
    network = build(again, "n", discriminator=True)
    z, label = torch.randn(3, 5), torch.eye(3)[:, :c_dim] if c_dim else None
    assert torch.equal(network.g(z, label), g(z, label))
    image = torch.randn(3, 3, 16, 16)
    assert network.d is not None
    assert torch.equal(network.d(image, label), d(image, label))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_fp32(dtype: torch.dtype) -> None:
    """Upper resolutions in bf16 or fp16: the image moves by rounding only."""
    torch.manual_seed(2)
    g = Generator(GeneratorConfig(32, (8,) * 4, z_dim=8, w_dim=8, mapping_layers=2, conv_clamp=256))
    ws = g.mapping(torch.randn(4, 8))
    with torch.no_grad():
        full, half = g.synthesis(ws), g.synthesis(ws, dtype=dtype)
    scale = full.std()
    limit = 0.05 if dtype is torch.bfloat16 else 0.01
    assert half.dtype is torch.float32
    assert 0 < (full - half).abs().max() < limit * 6 * scale


def test_truncation_is_linear_and_ends_in_w_avg() -> None:
    """S0.12: psi = 1 is the identity, psi = 0 gives w_avg, the map is linear in psi."""
    torch.manual_seed(3)
    g = Generator(GeneratorConfig(16, (4, 4, 4), z_dim=4, w_dim=4, mapping_layers=2))
    g.mapping.w_avg.normal_()
    z = torch.randn(2, 4)
    one, zero, half = (g.mapping(z, psi=psi) for psi in (1.0, 0.0, 0.5))
    assert torch.equal(one, g.mapping(z))
    torch.testing.assert_close(zero, g.mapping.w_avg.expand_as(zero))
    torch.testing.assert_close(half, (one + zero) / 2)
    cut = g.mapping(z, psi=0.0, cutoff=2)
    assert torch.equal(cut[:, 2:], one[:, 2:])
    torch.testing.assert_close(cut[:, :2], zero[:, :2])


def test_mapping_ignores_the_scale_of_z() -> None:
    """S0.6 (shared by StyleGAN2): f(cz) = f(z) for c > 0, up to the normalisation's eps."""
    torch.manual_seed(4)
    g = Generator(GeneratorConfig(16, (4, 4, 4), z_dim=16, w_dim=4, mapping_layers=2))
    z = torch.randn(2, 16)
    torch.testing.assert_close(g.mapping(z * 7), g.mapping(z), rtol=1e-5, atol=1e-6)


def test_minibatch_stddev() -> None:
    """S0.8, S1.6: the mean over the group of sqrt(var + 1e-8); 1e-4 for equal samples."""
    from gantools.networks.layers import minibatch_stddev

    same = torch.randn(1, 5, 4, 4).expand(4, -1, -1, -1)
    torch.testing.assert_close(minibatch_stddev(same, 4)[:, 5], torch.full((4, 4, 4), 1e-4))
    x = torch.randn(8, 5, 4, 4)
    groups = x.reshape(4, 2, 5, 4, 4)
    wanted = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=[1, 2, 3])
    torch.testing.assert_close(minibatch_stddev(x, 4)[:, 5, 0, 0], wanted.repeat(4))
    x = torch.randn(7, 6, 4, 4)  # any batch: here groups of 4 and 3, two features
    for first, size in ((0, 4), (1, 3)):
        spread = (x[first::2].var(dim=0, unbiased=False) + 1e-8).sqrt().reshape(2, -1).mean(dim=1)
        found = minibatch_stddev(x, 4, 2)[first::2, 6:, 0, 0]
        torch.testing.assert_close(found, spread.expand(size, 2))
    assert minibatch_stddev(x[:1], 4).shape == (1, 7, 4, 4)


def test_building_a_network_draws_nothing_from_the_global_generator(tiny_network: Path) -> None:
    """Random things take explicit generators: opening a file leaves torch's own where it was."""
    from gantools.networks.network import open_network

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    open_network(str(tiny_network), discriminator=True)
    assert torch.equal(before, torch.random.get_rng_state())
