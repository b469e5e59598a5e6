"""PSNR, SSIM, MSE and cosine against the golden numbers and closed forms (S3.6, S4.4, S4.19)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gantools.evaluation import reconstruction
from gantools.ops import similarity


def golden(fixtures: Path, name: str) -> tuple[dict, dict]:
    folder = fixtures / "numerics"
    values = json.loads((folder / f"{name}.json").read_text())["values"]
    return values, load_file(folder / f"{name}.safetensors")


def test_psnr_truncating_fixture_s3_6(fixtures: Path) -> None:
    """S3.6: both pictures are cut down to 8 bits by truncation."""
    values, t = golden(fixtures, "psnr_truncating")
    a, b = (similarity.levels(t[name], "truncate") for name in ("pred", "target"))
    np.testing.assert_allclose(similarity.psnr(a, b).numpy(), values["psnr"], atol=1e-3)
    assert torch.isinf(similarity.psnr(b, b)).all()
    measured = reconstruction.measure(t["target"], t["pred"])
    np.testing.assert_allclose(measured["psnr_trunc"].numpy(), values["psnr"], atol=1e-3)
    assert (measured["psnr"] - measured["psnr_trunc"]).abs().max() > 1e-3


def test_psnr_of_one_level_s3_6() -> None:
    """S3.6, X.3: an offset of one grey level is 48.1308 dB, at any size."""
    a = torch.randint(0, 255, (2, 3, 9, 8), dtype=torch.uint8)
    np.testing.assert_allclose(similarity.psnr(a, a + 1).numpy(), 48.1308036, atol=1e-6)


def test_rounding_and_truncation_differ_by_half_a_level() -> None:
    """The writer rounds half to even; truncation lies one level below from the half on."""
    x = torch.tensor([-2.0, -1, 0, 1, 2]).view(1, 1, 1, 5)
    assert similarity.levels(x).flatten().tolist() == [0, 0, 128, 255, 255]
    assert similarity.levels(x, "truncate").flatten().tolist() == [0, 0, 127, 255, 255]


def test_ssim_variants_fixture_s4_19(fixtures: Path) -> None:
    """S4.19: scikit-image's 7x7 SSIM, PSNR, MSE and cosine of uint8 pictures."""
    values, t = golden(fixtures, "ssim_variants")
    a, b = t["a"], t["b"]
    x, y = a.float() / 127.5 - 1, b.float() / 127.5 - 1
    measured = reconstruction.measure(x, y)
    for key, name in (
        ("ssim", "ssim_7x7_uniform_255"),
        ("psnr", "psnr_255"),
        ("mse", "mse_grey_levels"),
        ("cosine", "cosine_pm1"),
        ("ssim_gauss", "pytorch_ssim_pm1_per_image"),
    ):
        np.testing.assert_allclose(measured[key].numpy(), values[name], atol=1e-5, err_msg=key)
    channels = similarity.ssim(a.flatten(0, 1)[:, None], b.flatten(0, 1)[:, None])
    wanted = np.ravel(values["ssim_7x7_uniform_255_per_channel"])
    np.testing.assert_allclose(channels.numpy(), wanted, atol=1e-5)


def test_gaussian_ssim_and_its_gradient_fixture_s4_4(fixtures: Path) -> None:
    """S4.4: the loss form with a zero border; value in two ranges, gradient in float64."""
    values, t = golden(fixtures, "ssim_variants")
    a, b = t["a"].double(), t["b"].double()
    in_01 = similarity.ssim_gaussian(a / 255, b / 255).mean()
    assert in_01.item() == pytest.approx(values["pytorch_ssim_01_mean"], abs=1e-5)
    x = (a / 127.5 - 1).requires_grad_()
    (1 - similarity.ssim_gaussian(x, b / 127.5 - 1).mean()).backward()
    assert x.grad is not None
    largest = t["grad_1_minus_ssim"].abs().max().item()
    assert (x.grad - t["grad_1_minus_ssim"]).abs().max().item() < 1e-5 * largest


@pytest.mark.parametrize("measure", [similarity.ssim, similarity.ssim_gaussian])
def test_ssim_is_one_for_equal_symmetric_and_below_one(measure) -> None:
    """S4.4: SSIM(x, x) = 1; symmetric; at most 1."""
    a, b = torch.rand(2, 4, 3, 16, 21, dtype=torch.float64)
    np.testing.assert_allclose(measure(a, a).numpy(), 1, rtol=1e-12)
    np.testing.assert_allclose(measure(a, b).numpy(), measure(b, a).numpy(), rtol=1e-12)
    assert (measure(a, b) < 1).all()


def test_ssim_of_flat_pictures_closed_form() -> None:
    """Without variance only the luminance term is left: (2ab + C1) / (a² + b² + C1)."""
    a, b = torch.full((1, 1, 9, 9), 100.0), torch.full((1, 1, 9, 9), 150.0)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert similarity.ssim(a, b).item() == pytest.approx(expected, rel=1e-9)


def test_ssim_refuses_a_picture_below_its_window() -> None:
    """One clear error, not an empty mean."""
    small = torch.zeros(1, 3, 6, 20)
    with pytest.raises(ValueError, match="20x6"):
        similarity.ssim(small, small)


def test_mean_mse_is_at_least_what_mean_psnr_says_s4_19() -> None:
    """S4.19 (Jensen): mean MSE >= 255² · 10^(-mean PSNR / 10)."""
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(20, 3, 8, 8, generator=generator) * 2 - 1
    b = a + torch.rand(20, 1, 1, 1, generator=generator) * torch.randn(a.shape, generator=generator)
    m = reconstruction.measure(a, b)
    assert m["mse"].mean().item() >= 255**2 * math.pow(10, -m["psnr"].mean().item() / 10)
