"""Perceptual distances and picture quality (papers.md S2.14, S4.19)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gantools.inversion import perceptual, quality
from gantools.io import weights
from gantools.report import Usage

NUMERICS = Path(__file__).parent / "fixtures" / "numerics"


def embedding_distance(embed: perceptual.Embed, a: Tensor, b: Tensor) -> Tensor:
    return perceptual.distance(embed(a), embed(b))


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(NUMERICS / "lpips_squeeze_random.safetensors")


@pytest.fixture(scope="module")
def squeeze(golden: dict[str, Tensor]) -> perceptual.Lpips:
    """LPIPS with the fixture's trunk: net.slice<k>.<i>.<rest> is torchvision's <i>.<rest>."""
    trunk = perceptual.build_trunk("squeeze")
    state = {n.split(".", 2)[2]: t.float() for n, t in golden.items() if n.startswith("net.slice")}
    trunk.load_state_dict(state, assign=True)
    heads = [golden[f"lin{i}"].float() for i in range(7)]
    return perceptual.Lpips(trunk, perceptual.TAPS["squeeze"], heads)


def test_lpips_equals_the_reference(golden: dict[str, Tensor], squeeze: perceptual.Lpips) -> None:
    """S2.14 against lpips 0.1.4: distances, layer by layer, and the gradient."""
    a, b = (golden[n].float() / 127.5 - 1 for n in "ab")
    b.requires_grad_(True)
    ours, theirs = squeeze(a), squeeze(b)
    layers = torch.stack([perceptual.distance([x], [y]) for x, y in zip(ours, theirs, strict=True)])
    torch.testing.assert_close(layers.T, golden["per_layer"], rtol=1e-4, atol=1e-7)
    d = perceptual.distance(ours, theirs)
    torch.testing.assert_close(d, golden["distance"], rtol=1e-4, atol=0)
    d.sum().backward()
    scale = golden["grad_b"].abs().max()
    assert (b.grad - golden["grad_b"]).abs().max() < 1e-4 * scale


def test_lpips_is_a_distance(golden: dict[str, Tensor], squeeze: perceptual.Lpips) -> None:
    """S2.14: d(x,x) = 0, symmetric, positive."""
    a, b = (golden[n].float() / 127.5 - 1 for n in "ab")
    assert embedding_distance(squeeze, a, a).tolist() == [0, 0]
    forth, back = embedding_distance(squeeze, a, b), embedding_distance(squeeze, b, a)
    torch.testing.assert_close(forth, back)
    assert (forth > 0).all()


def test_lpips_gradient_is_finite_where_all_channels_are_dead(squeeze: perceptual.Lpips) -> None:
    """sqrt of a sum has no gradient at 0; a location whose relus are all 0 must not give NaN."""
    x = torch.zeros(1, 8, 2, 2, requires_grad=True)
    perceptual.unit_channels(x).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("backbone", ["vgg", "alex", "squeeze"])
def test_taps_have_the_channels_of_the_published_heads(backbone: perceptual.Backbone) -> None:
    """S2.14: 64 128 256 512 512 for VGG16, 64 192 384 256 256 for AlexNet."""
    trunk = perceptual.build_trunk(backbone).to_empty(device="cpu")
    channels = {
        "vgg": [64, 128, 256, 512, 512],
        "alex": [64, 192, 384, 256, 256],
        "squeeze": [64, 128, 256, 384, 384, 512, 512],
    }[backbone]
    for p in trunk.parameters():
        torch.nn.init.constant_(p, 0.01)
    heads = [torch.ones(c) for c in channels]
    embedding = perceptual.Lpips(trunk, perceptual.TAPS[backbone], heads)(torch.zeros(1, 3, 64, 64))
    assert [e.shape[1] for e in embedding] == channels


def test_s4_5_lpips_looks_behind_each_blocks_last_convolution() -> None:
    """relu1_2, 2_2, 3_3, 4_3, 5_3 of VGG16: a ReLU, and what follows it is the pooling."""
    from torchvision import models

    with torch.device("meta"):
        features = models.vgg16(weights=None).features
    kinds = [type(module).__name__ for module in features]
    pools = [i for i, kind in enumerate(kinds) if kind == "MaxPool2d"]
    assert perceptual.TAPS["vgg"] == tuple(i - 1 for i in pools)
    assert all(kinds[i - 2 : i] == ["Conv2d", "ReLU"] for i in pools)


def test_pyramid_closed_forms() -> None:
    """A constant offset costs c² in the low-pass alone; sides are halved down to 4 to 7."""
    x = torch.randn(2, 3, 16, 20, dtype=torch.float64)
    d = embedding_distance(perceptual.pyramid, x, x + 0.3)
    torch.testing.assert_close(d, torch.full((2,), 0.09 / 3, dtype=torch.float64))
    assert [level.shape[2:] for level in perceptual.pyramid(x)] == [(16, 20), (8, 10), (4, 5)]
    assert [level.shape[2] for level in perceptual.pyramid(x[..., :13, :])] == [13, 7]
    assert torch.autograd.gradcheck(
        lambda x: torch.cat([level.flatten() for level in perceptual.pyramid(x)]),
        x[:1, :1, :8, :9].clone().requires_grad_(),
    )


def test_pyramid_masks_by_contrast() -> None:
    """The same error weighs less where there is texture; a squared error does not see that."""
    generator = torch.Generator().manual_seed(0)
    texture = torch.randn(1, 3, 32, 32, generator=generator)
    board = 0.1 * (-1.0) ** (torch.arange(32)[:, None] + torch.arange(32))
    flat = embedding_distance(perceptual.pyramid, 0 * texture, 0 * texture + board)
    rough = embedding_distance(perceptual.pyramid, texture, texture + board)
    assert rough < flat / 4
    # A lone checkerboard ±a is its own finest level: a / (0.34 + a), of four.
    torch.testing.assert_close(flat, torch.full((1,), (0.1 / 0.44) ** 2 / 4), rtol=1e-4, atol=0)


def test_pyramid_below_eight_pixels_is_plain_mse() -> None:
    x, y = torch.rand(1, 3, 9, 7), torch.rand(1, 3, 9, 7)
    expected = (x - y).square().mean((1, 2, 3))
    torch.testing.assert_close(embedding_distance(perceptual.pyramid, x, y), expected)


def test_discriminator_embedding_is_unit_normalised() -> None:
    """Opposite unit vectors are 4 apart at every location: the mean over layers is 4."""
    embed = perceptual.of_discriminator(lambda x: [x, 7 * x[..., ::2, ::2]])
    x = torch.rand(2, 3, 8, 8) + 0.1
    torch.testing.assert_close(embedding_distance(embed, x, -x), torch.full((2,), 4.0))
    assert embedding_distance(embed, x, 3 * x).abs().max() < 1e-10


def test_pictures_reach_a_photographs_network_at_64_to_256_pixels() -> None:
    """max(1, resolution/256) as every projector has it, and 64 at least; grey becomes RGB."""

    def seen(x: torch.Tensor, resolution: int) -> torch.Tensor:
        return perceptual.at_photograph_size(lambda x: [x], resolution)(x)[0]

    sides = (16, 64, 256, 1024)
    sizes = {side: seen(torch.zeros(1, 3, side, side), side).shape[2] for side in sides}
    assert sizes == {16: 64, 64: 64, 256: 256, 1024: 256}
    assert seen(torch.zeros(1, 1, 64, 64), 64).shape == (1, 3, 64, 64)
    x = torch.arange(512.0).expand(1, 3, 512, 512)
    assert seen(x, 512)[0, 0, 0, :2].tolist() == [0.5, 2.5]  # area, not every second pixel
    assert seen(x, 64).shape[2:] == (512, 512)  # a large picture by a small network (S2.15)


def test_vgg19_prefers_the_small_change() -> None:
    """Random weights: the distance is 0 to itself, grows with the change, and reads BGR."""
    rng = np.random.default_rng(0)
    sizes = {"1_1": (8, 3), "1_2": (8, 8), "2_1": (8, 8), "3_1": (8, 8)}
    arrays = {}
    for name, shape in sizes.items():
        arrays[f"conv{name}.weight"] = rng.normal(0, 0.1, (*shape, 3, 3)).astype(np.float16)
        arrays[f"conv{name}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float16)
    net = perceptual.Vgg19(arrays)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    n = torch.randn(1, 3, 32, 32)
    small, large = (float(embedding_distance(net, x, x + s * n)) for s in (0.02, 0.5))
    assert float(embedding_distance(net, x, x)) == 0 < small < large
    swapped = {**arrays, "conv1_1.weight": arrays["conv1_1.weight"][:, ::-1].copy()}
    other = perceptual.Vgg19(swapped)
    other.means, x_rgb = net.means.flip(1), x.flip(1)
    for a, b in zip(net(x), other(x_rgb), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.data
def test_vgg19_of_the_weights_pack(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A noisy copy is near, another face is far."""
    import io
    import zipfile

    from PIL import Image

    monkeypatch.setenv("GANTOOLS_WEIGHTS", str(shared / "data" / "weights"))
    with zipfile.ZipFile(shared / "data" / "faces-ffhq128" / "ffhq128_5k.zip") as archive:
        faces = [Image.open(io.BytesIO(archive.read(f"{i:05d}.jpg"))) for i in range(2)]
    x, other = (torch.tensor(np.array(f)).permute(2, 0, 1)[None] / 127.5 - 1 for f in faces)
    net = perceptual.vgg19()
    noisy = x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    near, far = (float(embedding_distance(net, x, y)) for y in (noisy, other))
    assert 0 < 5 * near < far


def test_missing_weights_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GANTOOLS_WEIGHTS", "XDG_DATA_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert not weights.present("vgg16")
    with pytest.raises(Usage, match=r"vgg16.*missing; .*put vgg16-397923af.pth \(sha256 3979"):
        weights.locate("vgg16")
    (tmp_path / "GANTOOLS_WEIGHTS").mkdir()
    (tmp_path / "GANTOOLS_WEIGHTS" / "vgg16-397923af.pth").write_bytes(b"not these")
    assert weights.present("vgg16")
    with pytest.raises(Usage, match=r"is another file; .*put"):
        weights.locate("vgg16")


def test_the_heads_inside_the_package_lpips_are_the_published_ones() -> None:
    for name in ("lpips-vgg", "lpips-alex", "lpips-squeeze"):
        assert weights.sha256(weights.locate(name)) == weights.KNOWN[name].sha256


def test_psnr_and_ssim_equal_scikit_image() -> None:
    """S4.19: the numbers of comparing-baseline, per picture."""
    golden = load_file(NUMERICS / "ssim_variants.safetensors")
    values = json.loads((NUMERICS / "ssim_variants.json").read_text())["values"]
    a, b = (golden[n].permute(0, 2, 3, 1).numpy() for n in "ab")
    for i in range(3):
        assert quality.psnr(a[i], b[i]) == pytest.approx(values["psnr_255"][i], abs=1e-5)
        expected = values["ssim_7x7_uniform_255"][i]
        assert quality.ssim(a[i], b[i]) == pytest.approx(expected, abs=1e-5)


def test_quality_of_extremes() -> None:
    x = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    assert quality.psnr(x, x) == math.inf and quality.ssim(x, x) == pytest.approx(1)
    assert quality.psnr(x, x + 1) == pytest.approx(48.1308, abs=1e-4)
    assert quality.ssim(x[:4, :4], x[:4, :4]) == pytest.approx(1)
