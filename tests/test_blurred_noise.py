"""Blurred normal noise (S2.21): its variance, its correlation, its borders."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gantools.ops.blurred_noise import blur_channels, blurred_noise, gaussians, radius


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def impulses(channels: int, sigma_max: float, *, as_printed: bool = False) -> Tensor:
    """What one 1 in every channel becomes: [C, 2k+1, 2k+1], the kernel with its factor."""
    k = radius(sigma_max)
    x = torch.zeros(1, channels, 4 * k + 1, 4 * k + 1, dtype=torch.float64)
    x[..., 2 * k, 2 * k] = 1
    return blur_channels(x, sigma_max, as_printed=as_printed)[0]


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.0, 4.0, 8.0])
def test_s2_21_unit_variance_exactly(sigma: float) -> None:
    """Theorem 2: the variance is the sum of the squares of what an impulse becomes, which is 1."""
    energy = impulses(7, sigma).square().sum((1, 2))
    torch.testing.assert_close(energy, torch.ones(7, dtype=torch.float64))


def test_s2_21_unit_variance_measured() -> None:
    """Per channel: standard deviation 1 within 2 %, mean 0."""
    noise = blurred_noise((2, 6, 768, 768), 4.0, generator())
    torch.testing.assert_close(noise.std((0, 2, 3)), torch.ones(6), rtol=0.02, atol=0)
    assert noise.mean((0, 2, 3)).abs().max() < 0.05


def test_s2_21_correlation_grows_with_the_channel() -> None:
    """Channel 0 is white; at lag 1 the rest follow exp(-1 / 4σ²), the Gaussian's own."""
    noise = blurred_noise((2, 6, 512, 512), 4.0, generator(1))
    for a, b in ((noise[..., 1:], noise[..., :-1]), (noise[..., 1:, :], noise[..., :-1, :])):
        lag = (a * b).mean((0, 2, 3))
        assert abs(lag[0]) < 0.01
        assert (lag.diff() > 0).all()
        sigma = torch.linspace(0, 4, 6)[1:]
        torch.testing.assert_close(lag[1:], torch.exp(-1 / (4 * sigma**2)), rtol=0, atol=0.04)


def test_s2_21_channel_0_is_the_white_noise_itself() -> None:
    """sigma 0 is the delta kernel: the drawn numbers, cut."""
    k = radius(2.5)
    drawn = torch.randn(2, 4, 9 + 2 * k, 7 + 2 * k, generator=generator())
    made = blur_channels(drawn, 2.5)
    assert made.shape == (2, 4, 9, 7)
    torch.testing.assert_close(made[:, 0], drawn[:, 0, k:-k, k:-k], rtol=0, atol=0)
    torch.testing.assert_close(blur_channels(drawn, 0.0), drawn, rtol=0, atol=0)
    one = torch.randn(1, 1, 9 + 2 * k, 9 + 2 * k, generator=generator())
    torch.testing.assert_close(blur_channels(one, 2.5), one[..., k:-k, k:-k], rtol=0, atol=0)


def test_s2_21_border_and_middle_are_alike() -> None:
    """Over many 8x8 maps: mean 0 and variance 1 at every cell, the corners included."""
    noise = blurred_noise((6000, 3, 8, 8), 2.0, generator(2))
    assert noise.mean(0).abs().max() < 5 / math.sqrt(6000)
    assert (noise.var(0) - 1).abs().max() < 5 * math.sqrt(2 / 6000)
    across = (noise[:, :, 0] * noise[:, :, 1]).mean(0)  # the upper border's rows
    inside = (noise[:, :, 4] * noise[:, :, 5]).mean(0)
    torch.testing.assert_close(across.mean(1), inside.mean(1), rtol=0, atol=0.03)


def test_s2_21_a_part_of_the_noise_is_that_of_the_part() -> None:
    """So maps of any size can be made in tiles, to the same numbers."""
    k = radius(4.0)
    drawn = torch.randn(1, 5, 20 + 2 * k, 30 + 2 * k, generator=generator(), dtype=torch.float64)
    whole = blur_channels(drawn, 4.0)
    tile = blur_channels(drawn[..., 4 : 12 + 2 * k, 11 : 21 + 2 * k], 4.0)
    torch.testing.assert_close(tile, whole[..., 4:12, 11:21])


def test_s2_21_is_the_dense_convolution() -> None:
    """The separable form against the (2k+1)² kernel of the paper, divided by sqrt(ΣK²)."""
    channels, sigma = 3, 1.5
    one = gaussians(channels, sigma)
    dense = torch.einsum("ci,cj->cij", one, one)
    dense = dense / dense.square().sum((1, 2), keepdim=True).sqrt()
    x = torch.randn(2, channels, 21, 17, generator=generator(), dtype=torch.float64)
    expected = torch.nn.functional.conv2d(x, dense[:, None], groups=channels)
    torch.testing.assert_close(blur_channels(x, sigma), expected)


def test_s2_21_fixture(fixtures: Path) -> None:
    """S2.21: the fixture's kernels, its output, and its autocorrelations."""
    folder = fixtures / "numerics"
    story = json.loads((folder / "blurred_noise.json").read_text())
    values, tolerance = story["values"], story["tolerance"]
    t = load_file(folder / "blurred_noise.safetensors")
    sigma, close = values["sigma_max"], {"atol": 1e-12, "rtol": tolerance["output_rtol"]}
    assert radius(sigma) == values["k"]
    one = gaussians(values["C"], sigma)
    kernels = torch.einsum("ci,cj->cij", one, one)
    torch.testing.assert_close(kernels, t["kernels"], **close)
    torch.testing.assert_close(blur_channels(t["noise_in"], sigma), t["blurred_out"], **close)
    printed = impulses(values["C"], sigma, as_printed=True).square().sum((1, 2)).sqrt()
    wrong = torch.tensor(values["wrong_std_if_multiplied"], dtype=torch.float64)
    torch.testing.assert_close(printed, wrong, **close)
    spread = impulses(values["C"], sigma)  # what lags share, exactly
    size = spread.shape[-1]
    for name, down in (("x", 0), ("diag", 1)):
        lags = [
            (spread[:, lag * down :, lag:] * spread[:, : size - lag * down, : size - lag])
            .sum((1, 2))
            .tolist()
            for lag in range(5)
        ]
        want = t[f"autocorr_target_{name}_lags0_4"]
        torch.testing.assert_close(torch.tensor(lags, dtype=want.dtype).T, want, atol=0.02, rtol=0)


def test_s2_21_the_formula_as_printed_is_not_normal() -> None:
    """Algorithm 5 multiplies: the standard deviation is ΣK², 1 / 4πσ² = 0.005 at sigma 4."""
    std = impulses(5, 4.0, as_printed=True).square().sum((1, 2)).sqrt()
    assert std[0] == pytest.approx(1)
    assert std[4] == pytest.approx(1 / (4 * math.pi * 16), rel=0.01)


def test_s2_21_repeats_and_refuses() -> None:
    """The same generator gives the same noise; a sigma that is no length is refused."""
    a, b, c = (blurred_noise((1, 3, 4, 6), 1.0, generator(seed)) for seed in (7, 7, 8))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert gaussians(4, 1.0).shape == (4, 7)
    for sigma in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="sigma_max"):
            gaussians(3, sigma)
