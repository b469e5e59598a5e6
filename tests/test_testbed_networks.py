"""The networks of paper 003's testbeds: PGGAN with ways to double and to halve (S3.8-S3.14)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from gantools.networks import pggan, pggan_discriminator
from gantools.ops import resample
from gantools.ops.resample import DOWNSAMPLINGS, UPSAMPLINGS, Downsampling, Upsampling

THEIRS = {"nearest": "nearest", "bilinear": "bilinear", "zeros": "zeros", "reshape": "shuffle"}


def test_resampling_fixture_s3_9_s3_14(fixtures: Path) -> None:
    t = load_file(fixtures / "numerics/resampling_layers.safetensors")
    for how in UPSAMPLINGS:
        made = resample.up(t["x"], how)
        torch.testing.assert_close(made, t[f"up.{THEIRS[how]}"], atol=1e-5, rtol=0)
    for kind in DOWNSAMPLINGS:
        torch.testing.assert_close(
            resample.down(t["x"], kind), t[f"down.{kind}"], atol=1e-5, rtol=0
        )


N = 16


def circular(x: Tensor, how: Upsampling) -> Tensor:
    """A row, enlarged as if it were a period: [N] -> [2N]."""
    rows = torch.cat([x, x, x]).expand(1, 1, 4, 3 * N)
    return resample.up(rows, how)[0, 0, 2, 2 * N : 4 * N]


@pytest.mark.parametrize(("how", "power"), [("zeros", 0), ("nearest", 2), ("bilinear", 6)])
def test_spectrum_of_upsampled_rows_s3_9(how: Upsampling, power: int) -> None:
    """|Y|² = |X|² (repeated) times 1, 4 cos²(theta/2), 4 cos⁶(theta/2)."""
    x = torch.randn(N, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = 2 * math.pi * torch.arange(2 * N) / (2 * N)
    factor = 1 if how == "zeros" else 4 * (theta / 2).cos().double() ** power
    expected = torch.fft.fft(x).abs().square().repeat(2) * factor
    found = torch.fft.fft(circular(x, how)).abs().square()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_spectra_of_two_axes_multiply_s3_9() -> None:
    """Bilinear on both axes: each frequency is multiplied by both axes' factors."""
    g = torch.Generator().manual_seed(1)
    x = torch.randn(N, N, dtype=torch.float64, generator=g)
    y = resample.up(x.repeat(3, 3)[None, None], "bilinear")[0, 0, 2 * N : 4 * N, 2 * N : 4 * N]
    theta = math.pi * torch.arange(2 * N, dtype=torch.float64) / N
    factor = 4 * (theta / 2).cos() ** 6
    expected = torch.fft.fft2(x).abs().square().repeat(2, 2) * torch.outer(factor, factor)
    torch.testing.assert_close(torch.fft.fft2(y).abs().square(), expected)


def response(how: Downsampling, theta: Tensor) -> Tensor:
    """H of S3.14; avg's delay is that of its second sample."""
    mean = (1 + torch.exp(1j * theta)) / 2
    blur = (3 + 2 * theta.cos()) / 5
    return {"avg": mean, "blurpool": blur * mean, "stride": torch.ones_like(mean)}[how]


@pytest.mark.parametrize("how", DOWNSAMPLINGS)
def test_aliases_of_halved_rows_s3_14(how: Downsampling) -> None:
    """Y_down(u) = (Y(u) H(u) + Y(u + N) H(u + N)) / 2."""
    x = torch.randn(2 * N, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    rows = torch.cat([x, x, x]).expand(1, 1, 8, 6 * N)
    found = torch.fft.fft(resample.down(rows, how)[0, 0, 1, N : 2 * N])
    theta = math.pi * torch.arange(2 * N, dtype=torch.float64) / N
    shaped = torch.fft.fft(x) * response(how, theta)
    torch.testing.assert_close(found, (shaped[:N] + shaped[N:]) / 2)


def test_strided_layer_is_a_strided_convolution_s3_14() -> None:
    g = torch.Generator().manual_seed(3)
    x, weight = torch.randn(2, 3, 8, 8, generator=g), torch.randn(4, 3, 3, 3, generator=g)
    made = resample.down(F.conv2d(x, weight, padding=1), "stride")
    torch.testing.assert_close(made, F.conv2d(x, weight, padding=1, stride=2))


def test_blur_keeps_constants_to_the_border_s3_14() -> None:
    x = torch.full((1, 2, 6, 6), 0.7)
    torch.testing.assert_close(resample.down(x, "blurpool"), torch.full((1, 2, 3, 3), 0.7))


@pytest.mark.parametrize("how", ["nearest", "zeros", "bilinear"])
def test_fused_upsampling_is_upsampling_and_convolution_s3_9(how: Upsampling) -> None:
    """With its gradients, above and below the size from which it is fused."""
    g = torch.Generator().manual_seed(4)
    for side in (4, resample.FUSED_FROM):
        x = torch.randn(1, 3, side, side, generator=g, dtype=torch.float64).requires_grad_()
        weight = torch.randn(2, 3, 3, 3, generator=g, dtype=torch.float64).requires_grad_()
        made = resample.up_conv(x, weight, how)
        plain = F.conv2d(resample.up(x, how), weight, padding=1)
        torch.testing.assert_close(made, plain)
        for a, b in zip(
            torch.autograd.grad(made.square().sum(), (x, weight)),
            torch.autograd.grad(plain.square().sum(), (x, weight)),
            strict=True,
        ):
            torch.testing.assert_close(a, b)


def loaded(network: nn.Module, t: dict[str, Tensor], head: str) -> nn.Module:
    """A network with the fixture's weights, whose layers are counted in their order."""
    own = network.state_dict()
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in own))
    if "D" in head:  # modules are kept from the full resolution down; FromRGB comes first
        theirs = ["input0", *(f"layer{i}" for i in range(len(layers) - 1))]
    else:
        theirs = [*(f"layer{i}" for i in range(len(layers) - 1)), "output2"]
    for ours, name in zip(layers, theirs, strict=True):
        weight, bias = (t[f"{head}.weight.{name}.{kind}"] for kind in ("weight", "bias"))
        if ours == "b4.dense":  # a full 4x4 convolution of a 1x1 picture, as a matrix
            weight = weight.flip([2, 3]).permute(0, 2, 3, 1).flatten(0, 2)
        own[f"{ours}.weight"], own[f"{ours}.bias"] = weight, bias
    network.load_state_dict(own)
    return network


@pytest.mark.parametrize("how", UPSAMPLINGS)
def test_generator_fixture_s3_8_s3_9(how: Upsampling, fixtures: Path) -> None:
    t = load_file(fixtures / "numerics/testbed_networks.safetensors")
    width = 2 if how == "reshape" else 4
    cfg = pggan.GeneratorConfig(16, (width,) * 3, z_dim=10, growing=False, upsample=how)
    g = loaded(pggan.Generator(cfg), t, f"G.{THEIRS[how]}")
    torch.testing.assert_close(g(t["z"]), t[f"G.{THEIRS[how]}.out"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("how", DOWNSAMPLINGS)
def test_discriminator_fixture_s3_13_s3_14(how: Downsampling, fixtures: Path) -> None:
    t = load_file(fixtures / "numerics/testbed_networks.safetensors")
    cfg = pggan_discriminator.DiscriminatorConfig(
        16, (4,) * 3, c_dim=4, label_mode="logits", mbstd_group=16, growing=False, downsample=how
    )
    d = loaded(pggan_discriminator.Discriminator(cfg), t, f"D.{how}")
    made = d(t["images"], F.one_hot(t["labels"], 4).float())
    torch.testing.assert_close(made, t[f"D.{how}.logits_at_label"], atol=1e-4, rtol=1e-4)


def test_only_a_growing_network_has_levels_of_detail() -> None:
    cfg = pggan.GeneratorConfig(8, (4, 4), z_dim=4, growing=False)
    with pytest.raises(ValueError, match="levels of detail from 0 to 0"):
        pggan.Generator(cfg)(torch.zeros(1, 4), lod=1)


def test_mirrored_border_keeps_constants_s3_7() -> None:
    """A generator of equal pixels makes equal pixels up to the border."""
    cfg = pggan.GeneratorConfig(16, (4,) * 3, z_dim=4, growing=False, padding="reflect")
    g = pggan.Generator(cfg)
    with torch.no_grad():
        cells = g.b4.dense.weight.reshape(4, 16, 4)
        g.b4.dense.weight.copy_(cells[:, :1].repeat(1, 16, 1).flatten(0, 1))
    made = g(torch.randn(1, 4, generator=torch.Generator().manual_seed(5)))
    torch.testing.assert_close(made, made[:, :, :1, :1].expand_as(made))
