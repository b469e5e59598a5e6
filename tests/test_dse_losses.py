"""Losses, areas and the optimiser of paper 004: rows S4.2-S4.7 and S4.11."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from gantools.inversion import cam
from gantools.inversion.cam import Cam, Classifier, heat, masks
from gantools.inversion.dse_loss import Weights, angle, centre, image_terms, kl, latent_terms
from gantools.inversion.dse_loss import weighted as total_of
from gantools.inversion.lreq_adam import LREQAdam
from gantools.inversion.perceptual import pyramid


@pytest.mark.parametrize("case", ["image", "image_tall264", "latent_w3d", "latent_w3d_batch1"])
def test_s4_2_s4_3_s4_4_fixture(fixtures: Path, case: str) -> None:
    """Every term, the released total and its gradient, in float64."""
    folder = fixtures / "numerics"
    told = json.loads((folder / "dse_loss_terms.json").read_text())["values"][case]
    tensors = load_file(folder / "dse_loss_terms.safetensors")
    a, b = (tensors[f"{case}.{name}"].double() for name in "ab")
    b.requires_grad_()
    conv = tensors["lpips_stub_conv"]

    def embed(x: Tensor) -> list[Tensor]:
        y = functional.leaky_relu(functional.conv2d(x, conv, padding=0), 0.2)
        return [y * y[0].numel() ** -0.5]

    weights = Weights()
    if case.startswith("image"):
        terms = image_terms(a, b, weights, embed, "batch")
        assert float(1 - terms["ssim"].detach()) == pytest.approx(
            1 - told["one_minus_ssim"], rel=1e-6
        )
    else:
        terms = latent_terms(a, b, weights, "batch")
    for name, wanted in {"mse": "mse", "cos": "one_minus_cos_batch", "perceptual": "lpips"}.items():
        if name in terms:
            assert float(terms[name].detach()) == pytest.approx(told[wanted], rel=1e-6), name
    whole = total_of(terms, weights)
    assert float(whole.detach()) == pytest.approx(told["total"], rel=1e-6)
    whole.backward()
    wanted_gradient = tensors[f"{case}.grad_b"].double()
    assert b.grad is not None
    off = (b.grad - wanted_gradient).abs().max() / wanted_gradient.abs().max()
    assert off < 1e-6
    found = float(angle(a, b.detach()))
    assert found == pytest.approx(told["one_minus_cos_per_sample_mean"], rel=1e-6)
    assert float(kl(a, b.detach())) == pytest.approx(told["kl_seed_mean"], rel=1e-6)


def test_s4_2_closed_forms_and_gradients() -> None:
    """0 at equality; the angle knows no scale, KL no constant; gradcheck in float64."""
    torch.manual_seed(0)
    w = torch.randn(2, 3, 4, dtype=torch.float64)
    said = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    every = Weights(kl=1.0)
    assert all(abs(float(t)) < 1e-12 for t in latent_terms(w, w, every).values())
    torch.testing.assert_close(angle(w, 3 * said), angle(w, said))
    torch.testing.assert_close(kl(w + 5, said - 2), kl(w, said))
    assert kl(w, said) > 0
    images = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    assert all(abs(float(t)) < 1e-9 for t in image_terms(images, images, every, pyramid).values())
    torch.autograd.gradcheck(lambda x: total_of(latent_terms(w, x, every), every), said)
    made = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda x: total_of(image_terms(images, x, every, pyramid), every), made
    )


def test_s4_3_rows_above_256_are_halved_for_ssim_and_the_distance_alone() -> None:
    """1024 rows: twice."""
    seen = []

    def embed(x: Tensor) -> list[Tensor]:
        seen.append(tuple(x.shape[2:]))
        return [x]

    a, b = torch.zeros(1, 1, 1024, 8), torch.zeros(1, 1, 1024, 8)
    b[:, :, ::2] = 1
    b[:, :, 1::2] = -1  # halved, nothing is left of it
    terms = image_terms(a, b, Weights(), embed)
    assert seen == [(256, 2)] * 2
    assert float(terms["mse"]) == 1
    assert abs(float(terms["ssim"])) < 1e-5 and float(terms["perceptual"]) == 0


def test_s4_6_centre_areas() -> None:
    """Sizes at 64 pixels; outside of at2 no gradient of it; --resize-crops gives whole sizes."""
    a, b = torch.zeros(1, 3, 64, 64), torch.randn(1, 3, 64, 64, requires_grad=True)
    found = {name: (x, y) for name, x, y in centre(a, b)}
    assert {n: tuple(x.shape[2:]) for n, (x, _) in found.items()} == {
        "at1": (64, 48), "at2": (44, 44),
    }  # fmt: skip
    found["at2"][1].square().sum().backward()
    assert b.grad is not None
    inner = torch.zeros(64, 64, dtype=torch.bool)
    inner[10:54, 10:54] = True
    assert not b.grad[..., ~inner].any() and b.grad[..., inner].all()
    whole = [tuple(y.shape[2:]) for _, _, y in centre(a, b, resized=True)]
    assert whole == [(64, 64)] * 2


class Tiny(nn.Module):
    """The classifier of the fixture."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.t = {n.removeprefix("weight."): v for n, v in tensors.items() if "weight." in n}
        self.relu = nn.ReLU()

    def trunk(self, x: Tensor) -> Tensor:
        """features.0, ReLU, pooling, features.3."""
        x = functional.conv2d(x, self.t["features.0.weight"], self.t["features.0.bias"], padding=1)
        x = functional.max_pool2d(functional.relu(x), 2)
        return functional.conv2d(
            x, self.t["features.3.weight"], self.t["features.3.bias"], padding=1
        )

    def forward(self, maps: Tensor) -> Tensor:
        """ReLU, mean, fc."""
        x = self.relu(maps).mean((2, 3))
        return functional.linear(x, self.t["fc.weight"], self.t["fc.bias"])


def test_s4_7_fixture(fixtures: Path) -> None:
    """Grad-CAM of each picture's own class, and the released variant of the batch's class."""
    folder = fixtures / "numerics"
    tensors = load_file(folder / "dse_cam.safetensors")
    net = Tiny(tensors)
    images = tensors["images"]
    torch.testing.assert_close(net.trunk(images), tensors["features_conv"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net(net.trunk(images)), tensors["logits"], rtol=1e-4, atol=1e-5)
    classifier = Classifier(net.trunk, net)
    for kind, name in {
        "gradcam": "gradcam.own_class",
        "dse": "gradcam_pp_as_released.batch_class",
    }.items():
        found = masks(heat(classifier, images, kind), (16, 16))  # type: ignore[arg-type]
        torch.testing.assert_close(found[:, 0].double(), tensors[name], rtol=0, atol=1e-4)


def test_s4_7_of_pooled_features_and_a_linear_layer() -> None:
    """Grad-CAM is then the class map Σ_k w_k A_k / Z of Zhou et al., exactly."""
    torch.manual_seed(0)
    fc = nn.Linear(6, 4)
    conv = nn.Conv2d(3, 6, 3, padding=1)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), fc)
    images = torch.randn(3, 3, 8, 8)
    maps = conv(images)
    own = fc.weight[head(maps).argmax(1)]
    wanted = functional.relu((own[:, :, None, None] * maps).sum(1) / 64)
    torch.testing.assert_close(heat(Classifier(conv, head), images), wanted)


@pytest.mark.parametrize("kind", ["gradcam", "gradcam++", "dse"])
def test_s4_7_areas(kind: cam.Kind) -> None:
    """Masks in [0, 1], of what is flat 0; a gradient to the picture, but not in the released."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 6, 3, padding=1)
    head = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    areas = Cam(Classifier(conv, head), kind)
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    found = {name: said for name, _, said in areas.areas(images.detach() / 2, images)}
    assert found["at1"].shape == (2, 1, 32, 32) and found["at2"].shape == (2, 3, 32, 32)
    for area in found.values():
        assert 0 <= float(area.detach().min()) and float(area.detach().max()) <= 1
    assert found["at1"].requires_grad == (kind != "dse")
    assert not masks(torch.ones(1, 4, 4), (8, 8)).any()
    assert cam.jet(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1)).flatten(1).tolist() == [
        [0, 0, 0.5], [0.5, 1, 0.5], [0.5, 0, 0],
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["gradcam", "dse"])
def test_s4_7_vgg16_has_maps_of_14_and_16(kind: cam.Kind) -> None:
    """512 maps of conv5_3 for 224 and 256 pixels; larger pictures are halved first."""
    from torchvision import models

    with torch.device("meta"):
        classifier = cam.cut(models.vgg16(weights=None).eval().requires_grad_(False))
        assert classifier.trunk(torch.zeros(1, 3, 224, 224)).shape == (1, 512, 14, 14)
        assert heat(classifier, torch.zeros(2, 3, 256, 256), kind).shape == (2, 16, 16)
        assert classifier.head(torch.zeros(2, 512, 16, 16)).shape == (2, 1000)
        seen = Cam(classifier, kind)._heat(torch.zeros(2, 3, 1024, 1024))
    assert seen.shape == (2, 16, 16)


@pytest.mark.parametrize(
    ("case", "lr", "beta2", "eps", "rate"),
    [
        ("plain", 0.0015, 0.99, 1e-8, 1.0),
        ("lr_coef", 0.01, 0.99, 1e-8, 0.1768),
        ("beta95_eps", 0.01, 0.95, 1e-4, 1.0),
    ],
)
def test_s4_11_fixture(
    fixtures: Path, case: str, lr: float, beta2: float, eps: float, rate: float
) -> None:
    tensors = load_file(fixtures / "numerics" / "lreq_adam.safetensors")
    x = nn.Parameter(tensors["param0"].clone())
    adam = LREQAdam([{"params": [x], "rate": rate}], lr, beta2, eps)
    for gradient, wanted in zip(tensors["grads"], tensors[f"{case}.trajectory"], strict=True):
        x.grad = gradient.clone()
        adam.step()
        torch.testing.assert_close(x.detach(), wanted, rtol=1e-10, atol=1e-12)


def test_s4_11_the_first_step_of_a_scalar_is_adams() -> None:
    """torch's Adam with β1 = 0, whose ε stands behind the bias correction: ε / √(1 − β2)."""
    one, other = (nn.Parameter(torch.tensor(0.3, dtype=torch.float64)) for _ in range(2))
    eps = 1e-3
    for x in (one, other):
        x.grad = torch.tensor(-0.07, dtype=torch.float64)
    LREQAdam([one], 0.0015, 0.99, eps).step()
    torch.optim.Adam([other], 0.0015, betas=(0.0, 0.99), eps=eps / 0.01**0.5).step()
    torch.testing.assert_close(one, other, rtol=1e-14, atol=0)
    closed = 0.3 + 0.0015 * 0.1 * 0.07 / (0.1 * 0.07 + eps)
    assert float(one.detach()) == pytest.approx(closed, rel=1e-12)


def test_s4_11_implicit_and_explicit_equalised_rates_agree() -> None:
    """A weight drawn with a deviation and its rate against one of N(0, 1), multiplied in use."""
    torch.manual_seed(0)
    rate, target, x = 0.1, torch.randn(8, 4), torch.randn(8, 5)
    raw = torch.randn(5, 4)
    implicit, explicit = nn.Parameter(raw * rate), nn.Parameter(raw.clone())
    one = LREQAdam([{"params": [implicit], "rate": rate}], 0.01)
    other = torch.optim.Adam([explicit], 0.01, betas=(0.0, 0.99))
    for _ in range(5):
        for adam, loss in (
            (one, (x @ implicit - target).square().mean()),
            (other, (x @ explicit * rate - target).square().mean()),
        ):
            adam.zero_grad()
            loss.backward()
            adam.step()
    torch.testing.assert_close(implicit.detach(), explicit.detach() * rate, rtol=1e-4, atol=1e-6)
