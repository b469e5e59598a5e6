"""Filters as banded matrices are the convolutions that they stand for (S1.18, S4.4)."""

from __future__ import annotations

import pytest
import torch

from gantools.inversion import perceptual
from gantools.ops import bands, pyramid, similarity
from gantools.ops.bands import band, product

SIZES = [(16, 16), (13, 8), (33, 64)]


def pictures(size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("border", ["zeros", "reflect"])
@pytest.mark.parametrize("size", SIZES)
def test_a_band_is_the_convolution(size: tuple[int, int], border: bands.Border) -> None:
    taps, x = (0.1, -0.4, 2.0, 0.3, 0.7), pictures(size)
    found = product(x, *(band(taps, n, border, x) for n in size))
    mode = "constant" if border == "zeros" else border
    wide = torch.nn.functional.pad(x, (2, 2, 2, 2), mode)
    window = torch.outer(x.new_tensor(taps), x.new_tensor(taps)).expand(3, 1, 5, 5)
    torch.testing.assert_close(found, torch.nn.functional.conv2d(wide, window, groups=3))


@pytest.mark.parametrize("size", [*SIZES, (300, 20)])
def test_small_and_large_pictures_have_one_pyramid_s1_18(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = pictures(size).requires_grad_()
    found = []
    for largest in (1000, 1):  # matrices, convolutions
        monkeypatch.setattr(bands, "LARGEST", largest)
        levels = pyramid.laplacian(x, 3)
        seen = perceptual.pyramid(x)
        total = torch.cat([t.flatten() for t in seen]).square().sum()
        found.append([*levels, *seen, *torch.autograd.grad(total, x)])
    for small, large in zip(*found, strict=True):
        torch.testing.assert_close(small, large)


def test_small_and_large_pictures_have_one_ssim_s4_4(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pictures((40, 21)).requires_grad_(), pictures((40, 21), seed=1)
    found = []
    for largest in (1000, 1):
        monkeypatch.setattr(bands, "LARGEST", largest)
        value = similarity.ssim_gaussian(a, b)
        found.append([value, *torch.autograd.grad(value.sum(), a)])
    for small, large in zip(*found, strict=True):
        torch.testing.assert_close(small, large)


def test_a_band_that_was_made_without_gradients_carries_them() -> None:
    x = torch.randn(1, 1, 9, 9)
    with torch.inference_mode():
        pyramid.blurred(x)
    free = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(pyramid.blurred(free).sum(), free)
    torch.testing.assert_close(gradient.sum(), torch.tensor(81.0))
