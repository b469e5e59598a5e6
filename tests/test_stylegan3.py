"""StyleGAN3 against the numbers that the reference computes (formats.md 2a), and its filters."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import FIXTURES
from safetensors.torch import load_file
from torch import Tensor

from gantools.io import network as files
from gantools.networks.network import Network, build
from gantools.networks.stylegan3 import Generator, GeneratorConfig, plan
from gantools.ops.filtered_lrelu import design_lowpass, downsample, filtered_lrelu, upsample

ATOL = 5e-5  # of the fixtures' README


@cache
def fixture() -> tuple[Network, dict[str, Tensor]]:
    expected = load_file(FIXTURES / "sg3t_r32.expected.safetensors")
    return build(files.load(FIXTURES / "sg3t_r32.pkl"), "sg3t_r32"), expected


def close(value: Tensor, wanted: Tensor) -> None:
    assert value.shape == wanted.shape
    error = (value - wanted).abs() - (ATOL + 1e-4 * wanted.abs())
    assert error.max() <= 0, f"exceeds the tolerance by {float(error.max()):.2e}"


@torch.no_grad()
def test_images_equal_the_reference() -> None:
    """S0.12 for StyleGAN3-T: w, truncation with cutoff, per-layer w."""
    network, expected = fixture()
    g, z = network.g, expected["z"]
    ws = g.mapping(z)
    close(ws, expected["w"])
    close(g.synthesis(ws), expected["image_psi1_const"])
    close(g.synthesis(g.mapping(z, psi=0.7, cutoff=4)), expected["image_psi07_cut4_const"])
    close(g.synthesis(g.mapping(z, psi=0.5)), expected["image_psi05_all_const"])
    close(g.synthesis(expected["w_mix"], noise="const"), expected["image_wmix_const"])


@torch.no_grad()
def test_a_user_transform_equals_the_reference() -> None:
    """Translation and rotation of the Fourier features (formats.md 2a: the inverse matrix)."""
    network, expected = fixture()
    moved = Generator(network.g.cfg)
    moved.load_state_dict(network.g.state_dict())
    moved.synthesis.input.transform.copy_(expected["user_transform"])
    close(moved.synthesis(expected["w"]), expected["image_psi1_transform"])


def test_gradient_with_respect_to_w_equals_the_reference() -> None:
    network, expected = fixture()
    ws = expected["w_mix"].clone().requires_grad_()
    image = network.g.synthesis(ws)
    (gradient,) = torch.autograd.grad((image * expected["grad_y"]).sum(), ws)
    close(gradient, expected["grad_wmix"])
    lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
    torch.testing.assert_close(lengths, expected["path_lengths"], rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_a_picture_does_not_depend_on_its_batch() -> None:
    network, expected = fixture()
    w = torch.cat([expected["w_mix"], expected["w"]])
    many = network.g.synthesis(w)
    for i in range(len(w)):
        assert torch.equal(many[i : i + 1], network.g.synthesis(w[i : i + 1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision_is_close_to_the_reference(dtype: torch.dtype) -> None:
    network, expected = fixture()
    wanted = expected["image_wmix_const"]
    error = (network.g.synthesis(expected["w_mix"], dtype=dtype) - wanted).abs()
    assert error.mean() <= (0.04 if dtype is torch.bfloat16 else 0.005) * wanted.std()


# ----------------------------------------------------------------------------
# The plan and the filters.


def test_own_filters_equal_the_stored_ones() -> None:
    """Kaiser filters of every layer of the fixture, made here, against those in its file."""
    stored = files.load(FIXTURES / "sg3t_r32.pkl").part("g_ema")
    network, _ = fixture()
    own = Generator(network.g.cfg).state_dict()
    filters = [name for name in stored if name.endswith("_filter")]
    assert len(filters) == 28
    for name in filters:
        np.testing.assert_allclose(own[name].numpy(), stored[name], rtol=0, atol=1e-7)


def test_filters_equal_scipy() -> None:
    signal = pytest.importorskip("scipy.signal")
    for taps, cutoff, width, rate in ((12, 4.0, 8.0, 64), (24, 4.0, 8.0, 128), (7, 3.0, 1.0, 16)):
        want = signal.firwin(taps, cutoff, width=width, fs=rate)
        got = design_lowpass(taps, cutoff, width, rate)
        assert got is not None
        np.testing.assert_allclose(got.numpy(), want, atol=1e-6)
    assert design_lowpass(1, 4.0, 8.0, 64) is None


@pytest.mark.parametrize("taps", [24, 25])
def test_radial_filters(taps: int) -> None:
    """Configuration R: unit sum, the square's eight symmetries, lowpass in every direction."""
    f = design_lowpass(taps, 4.0, 8.0, 64, radial=True)
    assert f is not None and f.shape == (taps, taps)
    assert f.sum() == pytest.approx(1, abs=1e-6)
    for twin in (f.T, f.flip(0), f.flip(1), f.rot90()):
        torch.testing.assert_close(twin, f, atol=1e-7, rtol=1e-5)
    n = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / 64
    grid = torch.stack(torch.meshgrid(n, n, indexing="ij"), dim=-1)

    def response(frequency: float, angle: float) -> float:
        k = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64) * frequency
        return float((f.double() * torch.cos(2 * math.pi * grid @ k)).sum())

    for frequency in (2.0, 4.0, 6.0):  # the same along an axis and along the diagonal
        assert response(frequency, 0) == pytest.approx(response(frequency, math.pi / 4), abs=0.02)
    assert response(1.0, 0.3) > 0.95 and abs(response(12.0, 0.3)) < 0.005


def test_plan_of_the_paper() -> None:
    """Layer names of the public 1024 px networks (T, and R with its doubled channels)."""
    t = [spec.name for spec in plan(GeneratorConfig(1024))]
    assert t[:4] == ["L0_36_512", "L1_36_512", "L2_52_512", "L3_52_512"]
    assert t[4:8] == ["L4_84_512", "L5_148_512", "L6_148_512", "L7_276_323"]
    assert t[8:12] == ["L8_276_203", "L9_532_128", "L10_1044_81", "L11_1044_51"]
    assert t[12:] == ["L12_1044_32", "L13_1024_32", "L14_1024_3"]
    r = plan(GeneratorConfig(1024, conv_kernel=1, channel_base=65536, channel_max=1024))
    assert [spec.name for spec in r][-2:] == ["L13_1024_64", "L14_1024_3"]
    assert r[0].name == "L0_36_1024"


def test_generator_r_has_radial_filters_where_not_critical() -> None:
    cfg = GeneratorConfig(
        32,
        z_dim=8,
        w_dim=8,
        channel_base=64,
        channel_max=8,
        conv_kernel=1,
        use_radial_filters=True,
        c_dim=3,
    )
    assert GeneratorConfig.from_dict(cfg.to_dict()) == cfg
    with pytest.raises(ValueError, match="unknown configuration entry 'frequency'"):
        GeneratorConfig.from_dict({**cfg.to_dict(), "frequency": 1})
    torch.manual_seed(1)
    g = Generator(cfg)
    state = g.state_dict()
    shapes = [state[f"synthesis.{s.name}.down_filter"].ndim for s in plan(cfg)[:14]]
    assert shapes == [2] * 12 + [1] * 2
    z, y = torch.randn(2, 8), torch.eye(3)[:2]
    image = g(z, y)
    assert image.shape == (2, 3, 32, 32) and image.isfinite().all()
    with pytest.raises(ValueError, match="label"):
        g(z)


@torch.no_grad()
def test_r_is_equivariant_to_rotation_by_a_quarter_turn() -> None:
    """1x1 convolutions and radial filters: turning the input turns the picture (Section 3)."""
    cfg = GeneratorConfig(
        32, z_dim=8, w_dim=8, channel_base=256, channel_max=16, conv_kernel=1,
        use_radial_filters=True, num_critical=0,
    )  # fmt: skip
    torch.manual_seed(2)
    g = Generator(cfg)
    ws = g.mapping(torch.randn(1, 8))
    straight = g.synthesis(ws)
    g.synthesis.input.transform.copy_(torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]))
    turned = g.synthesis(ws)
    assert (straight - turned).abs().mean() > 0.1 * straight.std()
    errors = [(straight.rot90(k, (2, 3)) - turned).abs().max() for k in (1, 3)]
    assert min(errors) <= 1e-3 * straight.std()


# ----------------------------------------------------------------------------
# Resampling against explicit zeros.


def explicit_up(x: Tensor, f: Tensor, up: int, pad: tuple[int, int]) -> Tensor:
    n, c, h, w = x.shape
    zeros = x.new_zeros(n, c, h * up, w * up)
    zeros[:, :, ::up, ::up] = x
    zeros = F.pad(zeros, (*pad, *pad))
    f = (torch.outer(f, f) * up**2).flip([0, 1])
    return F.conv2d(zeros, f[None, None].expand(c, 1, -1, -1), groups=c)


@pytest.mark.parametrize("pad", [(9, 8), (3, 2), (0, 0), (-6, -9), (40, 38)])
@pytest.mark.parametrize("up", [2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # float64 goes the way of bf16
def test_upsample_is_zeros_padding_and_filter(
    pad: tuple[int, int], up: int, dtype: torch.dtype
) -> None:
    g = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, 17, 15, generator=g, dtype=torch.float64)
    f = torch.randn(12, generator=g).double()  # not symmetric: a convolution, not a correlation
    got = upsample(x.to(dtype), f, up, pad, gain=1.5).double()
    tolerance = 1e-4 if dtype is torch.float32 else 1e-12
    want = explicit_up(x, f, up, pad) * 1.5
    torch.testing.assert_close(got, want, atol=tolerance, rtol=tolerance)


def test_downsample_is_filter_and_drop() -> None:
    x, f = torch.randn(2, 3, 30, 28).double(), torch.randn(6).double()
    kernel = torch.outer(f, f).flip([0, 1])[None, None].expand(3, 1, -1, -1)
    want = F.conv2d(x, kernel, stride=2, groups=3)
    torch.testing.assert_close(downsample(x, f, 2), want)
    torch.testing.assert_close(downsample(x, torch.outer(f, f), 2), want)


def test_a_constant_passes_the_filtered_lrelu() -> None:
    """Unit gain at frequency zero: away from the border a constant stays lrelu(c) sqrt(2)."""
    f = design_lowpass(12, 4.0, 8.0, 64)
    for value in (1.5, -1.5):
        x = torch.full((1, 1, 32, 32), value)
        y = filtered_lrelu(x, f, f, up=2, down=2, pad=(9, 8), clamp=256)
        want = math.sqrt(2) * (value if value > 0 else 0.2 * value)
        assert y.shape == (1, 1, 30, 30)
        assert float(y[0, 0, 15, 15]) == pytest.approx(want, rel=1e-2)
