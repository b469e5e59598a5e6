"""Spectral discriminators and their features, wavelets (S3.15-S3.21)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gantools.networks import spectral_discriminator as spectral
from gantools.ops.haar import dwt, iwt


def drawn(*shape: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=g, dtype=torch.float64) * 2 - 1


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_counts_s3_15_s3_16_s3_20() -> None:
    assert count(spectral.SpectralDiscriminator((64, 64), 10)) == 2632
    assert count(spectral.mlp([3 * 64 * 64, 28, 28, 28, 28, 10])) == 346_818
    assert count(spectral.SpectralDiscriminator((64, 64), form="jung")) == 46 + 1
    whole = spectral.FourierDiscriminator((64, 64), 10)
    assert count(whole) == 12_672 * 128 + 128 + 128 * 10 + 10


def test_sd_fixture_s3_16(fixtures: Path) -> None:
    t = load_file(fixtures / "numerics/sd_testbed_step.safetensors")
    sd = spectral.SpectralDiscriminator((32, 32), 6).double()
    sd.load_state_dict({n[3:]: v for n, v in t.items() if n.startswith("sd.")})
    for kind in ("real", "fake"):
        x = ((t[f"{kind}_images"].float() / 255 - 0.5) / 0.5).double()
        torch.testing.assert_close(spectral.log_spectrum(x), t[f"features_{kind}"])
        at_label = sd(x).gather(1, t["labels"][:, None])
        torch.testing.assert_close(at_label, t[f"logits_{kind}"][6:])


def test_sd_sees_no_shift_flip_or_turn_s3_16() -> None:
    sd = spectral.SpectralDiscriminator((16, 16), 3).double()
    x = drawn(2, 3, 16, 16)
    for other in (x.roll((3, 5), (2, 3)), x.flip(2), x.rot90(1, (2, 3)), x.transpose(2, 3), -x):
        torch.testing.assert_close(sd(other), sd(x))


@pytest.mark.parametrize("side", [32, 64])
def test_jung_fixture_s3_17(side: int, fixtures: Path) -> None:
    t = load_file(fixtures / "numerics/spectral_disc_features.safetensors")
    x = t[f"s{side}.images"].double() / 127.5 - 1
    made = spectral.jung_profile(x)
    torch.testing.assert_close(made, t[f"s{side}.profile"], atol=2e-4, rtol=0)


def test_jung_sees_no_contrast_s3_17() -> None:
    """Of [0, 1]: a factor shifts every logarithm alike; a weaker picture has the same profile."""
    x = (drawn(2, 3, 16, 16) + 1) / 2
    once, fainter = (spectral.jung_profile(a * x * 2 - 1) for a in (1, 0.37))
    torch.testing.assert_close(once, fainter, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(spectral.log_spectrum(x), spectral.log_spectrum(0.37 * x), atol=0.1)


@pytest.mark.parametrize(("side", "length"), [(32, 20), (48, 31), (64, 43), (128, 88)])
def test_phi_fixture_s3_18(side: int, length: int, fixtures: Path) -> None:
    t = load_file(fixtures / "numerics/ssdgan_phi.safetensors")
    made = spectral.ssd_profile(t[f"s{side}.images"].float() / 127.5 - 1)
    assert made.shape[1] == length
    torch.testing.assert_close(made, t[f"s{side}.phi"], atol=3e-4, rtol=0)


def test_mining_only_halves_the_gradient_s3_18() -> None:
    """d D_ssd/dx = 1/2 dD/dx exactly; C learns from its own loss alone."""
    x = drawn(2, 3, 16, 16).float().requires_grad_()
    score = spectral.SpectralScore((16, 16), 1)
    d = (x * torch.linspace(-1, 1, 16)).sum((1, 2, 3)).tanh()[:, None]
    (plain,) = torch.autograd.grad(d.sum(), x, retain_graph=True)
    both = spectral.combined(d, score(x))
    (mined,) = torch.autograd.grad(both.sum(), x)
    assert torch.equal(mined, plain / 2)
    assert all(p.requires_grad for p in score.parameters())
    assert score(x).requires_grad


def test_fourier_parts_are_an_isometry_s3_20() -> None:
    """The inner columns stand for two: with them doubled, Parseval; and nothing is lost."""
    x = drawn(2, 3, 8, 12)
    parts = spectral.fourier_parts(x).reshape(2, 3, 8, 7, 2)
    twice = torch.tensor([1.0, 2, 2, 2, 2, 2, 1], dtype=torch.float64)
    energy = (parts.square().sum(4) * twice).sum((1, 2, 3))
    torch.testing.assert_close(energy, x.square().sum((1, 2, 3)))
    back = torch.fft.irfft2(torch.view_as_complex(parts), s=(8, 12), norm="ortho")
    torch.testing.assert_close(back, x)


def test_fourier_map_has_dc_in_the_middle_s3_21() -> None:
    made = spectral.fourier_map(torch.ones(1, 3, 8, 8, dtype=torch.float64))
    assert made.shape == (1, 6, 8, 8)
    assert torch.equal(made[0, :3, 4, 4], torch.full((3,), 8.0, dtype=torch.float64))
    x = drawn(2, 3, 8, 8, seed=1)
    torch.testing.assert_close(
        spectral.fourier_map(x).square().sum(), x.square().sum(), msg="an isometry"
    )


def test_features_have_two_derivatives_s3_16_s3_17() -> None:
    """R1 differentiates them twice."""
    x = drawn(1, 3, 6, 6, seed=2).requires_grad_()
    for features in (spectral.log_spectrum, spectral.fourier_parts, spectral.fourier_map):
        assert gradcheck(features, x)
        assert gradgradcheck(features, x)


def test_haar_fixture_s3_19(fixtures: Path) -> None:
    """Up to the order and signs of bands, which differ from code to code; SWAGAN's is twice it."""
    t = load_file(fixtures / "numerics/haar_dwt.safetensors")
    made = dwt(t["x"])
    torch.testing.assert_close(made * 2, t["swagan_dwt"], atol=1e-5, rtol=0)
    signs = torch.tensor([1.0, -1, -1, 1]).repeat_interleave(3)[:, None, None]
    torch.testing.assert_close(made * signs, t["rosinality_haar"], atol=1e-5, rtol=0)


def test_haar_is_orthonormal_s3_19() -> None:
    x = drawn(2, 3, 8, 12)
    torch.testing.assert_close(iwt(dwt(x)), x)
    y = drawn(2, 12, 4, 6)
    torch.testing.assert_close(dwt(iwt(y)), y)
    torch.testing.assert_close(dwt(x).square().sum(), x.square().sum())
    flat = dwt(torch.full((1, 3, 4, 4), 0.5))
    assert torch.equal(flat[:, :3], torch.ones(1, 3, 2, 2))
    assert not flat[:, 3:].any()
