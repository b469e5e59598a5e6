"""The reduced spectrum: golden numbers, closed forms, invariances, gradients (S3.2, S3.29)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from gantools.ops import spectrum

SIZES = [(64, 64), (31, 31), (33, 33), (16, 16), (32, 48), (48, 32), (17, 40), (45, 30), (1, 8)]


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("side", [31, 32, 64, 128])
def test_fixture_s3_2(side: int, fixtures: Path) -> None:
    """S3.2: what the paper's own routine gives, of odd sides too, alone and in a batch."""
    t = load_file(fixtures / "numerics/spectrum_reduced.safetensors")
    x = torch.from_numpy(t[f"s{side}.images"]).float() / 127.5 - 1
    wanted = t[f"s{side}.spec_raw"]
    assert spectrum.bins(side, side) == wanted.shape[1]
    found = spectrum.reduced(x).numpy()
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(found / side**2, t[f"s{side}.spec_ortho"], rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(spectrum.reduced(x[1:2]).numpy(), found[1:2], rtol=1e-6)


def test_fixture_of_each_channel_s3_2(fixtures: Path) -> None:
    """S3.2: channels alone; their mean is the picture's spectrum."""
    t = load_file(fixtures / "numerics/spectrum_reduced.safetensors")
    x = (torch.from_numpy(t["s64.images"]).float() / 127.5 - 1).double()
    each = spectrum.reduced(x.flatten(0, 1)[:, None]).unflatten(0, (len(x), 3))
    np.testing.assert_allclose(each.numpy(), t["s64.spec_per_channel_raw"], rtol=2e-4, atol=1e-6)
    torch.testing.assert_close(each.mean(1), spectrum.reduced(x))


def naive(picture: np.ndarray) -> np.ndarray:
    """S by definition: all frequencies, both ends of an even axis, rings in cycles per pixel."""
    height, width = picture.shape
    power = np.abs(np.fft.fft2(picture)) ** 2
    short = min(height, width)
    total: dict[int, list[float]] = {}
    for u in range(-(height // 2), height // 2 + 1):
        for v in range(-(width // 2), width // 2 + 1):
            exact = (u * short * width) ** 2 + (v * short * height) ** 2
            ring = int(np.floor(np.sqrt(exact / (height * width) ** 2 * (1 + 1e-14))))
            total.setdefault(ring, []).append(power[u % height, v % width])
    return np.array([np.mean(total[ring]) for ring in range(len(total))])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_any_size_is_the_definition_s3_2(height: int, width: int) -> None:
    """S3.2: any size, square or not: no empty bin, the mean over each ring of frequencies."""
    x = noise(1, 1, height, width)
    wanted = naive(x[0, 0].numpy())
    assert spectrum.bins(height, width) == len(wanted)
    np.testing.assert_allclose(spectrum.reduced(x)[0].numpy(), wanted, rtol=1e-12)
    assert (spectrum.counts(height, width) >= 1).all()
    across = spectrum.reduced(x.transpose(2, 3))
    torch.testing.assert_close(spectrum.reduced(x), across, rtol=1e-13, atol=0)


def test_counts_s3_2() -> None:
    """S3.2: 46 bins for 64x64, their counts, and where f / f_nyq is 1."""
    counts = spectrum.counts(64, 64)
    assert counts[:6].tolist() == [1, 8, 16, 20, 24, 40] and counts[-4:].tolist() == [20, 28, 8, 4]
    assert counts.sum() == 65**2
    assert [spectrum.bins(n, n) for n in (31, 33, 64, 128, 1024)] == [22, 23, 46, 91, 725]
    assert spectrum.frequencies(64, 64)[32] == pytest.approx(1 / np.sqrt(2))
    assert len(spectrum.frequencies(32, 64)) == 23  # as many as 32x32 has


def test_invariances_s3_2() -> None:
    """S3.2: shift, sign, flips, transposition and turns leave S as it is, to 1e-14 per bin."""
    x = noise(2, 3, 48, 48)
    wanted = spectrum.reduced(x)
    for other in (x.roll((5, -7), (2, 3)), -x, x.flip(2), x.flip(3), x.mT, x.rot90(1, (2, 3))):
        torch.testing.assert_close(spectrum.reduced(other), wanted, rtol=2e-14, atol=0)


def test_closed_forms_s3_2() -> None:
    """S3.2: impulse, constant, a cosine of 5 periods, the checkerboard."""
    n = 64
    impulse = torch.zeros(1, 1, n, n, dtype=torch.float64)
    impulse[0, 0, 3, 9] = 3
    np.testing.assert_allclose(spectrum.reduced(impulse)[0].numpy(), 9, rtol=1e-13)
    flat = spectrum.reduced(torch.full((1, 3, n, n), 0.5, dtype=torch.float64))[0]
    assert flat[0] == pytest.approx((0.5 * n * n) ** 2) and flat[1:].max() < 1e-18
    i = torch.arange(n, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * 5 * i / n).expand(1, 1, n, n)
    found = spectrum.reduced(wave)[0]
    assert found.argmax() == 5 and found[5].item() == pytest.approx(209715.2)
    board = ((-1.0) ** (i[:, None] + i)).expand(1, 1, n, n)
    found = spectrum.reduced(board)[0]
    assert found.argmax() == 45 and found[45].item() == pytest.approx(n**4)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_parseval_s3_29(height: int, width: int) -> None:
    """S3.29: the energies of all bins are the mean square, so those of a difference its MSE."""
    x, y = noise(2, 2, 3, height, width)
    shares = spectrum.energy(x - y)
    torch.testing.assert_close(shares.sum(1), (x - y).square().mean((1, 2, 3)), rtol=1e-12, atol=0)


def test_large_pictures_are_measured_by_channels_s3_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another gives what all at once give."""
    x = noise(3, 3, 20, 24)
    wanted, energies = spectrum.reduced(x), spectrum.energy(x)
    monkeypatch.setattr(spectrum, "LARGE", 1)
    torch.testing.assert_close(spectrum.reduced(x), wanted, rtol=1e-13, atol=0)
    torch.testing.assert_close(spectrum.energy(x), energies, rtol=1e-13, atol=0)


def test_gradients_s3_2() -> None:
    """S3.2: gradcheck and gradgradcheck in float64, a square and an odd oblong."""
    for shape in ((1, 2, 6, 6), (1, 1, 5, 8)):
        x = noise(*shape).requires_grad_()
        assert torch.autograd.gradcheck(spectrum.reduced, x)
        assert torch.autograd.gradgradcheck(spectrum.reduced, x)
    with torch.inference_mode():
        spectrum.reduced(torch.randn(1, 1, 7, 7))
    y = torch.randn(1, 1, 7, 7, requires_grad=True)  # after inference: what is kept can be used
    spectrum.reduced(y).sum().backward()
    assert y.grad is not None and spectrum.reduced(y.half()).dtype == torch.float32
