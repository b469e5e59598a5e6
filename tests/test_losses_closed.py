"""Losses where their values are known without a reference: S1.9-S1.12, S1.28, S3.1."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gantools.ops.noise import multiplicative_noise
from gantools.training import conditional, control, losses


def linear(norm: float, n: int = 5) -> tuple[Tensor, Tensor]:
    """(logits [N,1], images [N,3,4,4]) of D(x) = a·x with |a| = norm."""
    torch.manual_seed(0)
    a = torch.randn(3, 4, 4, dtype=torch.float64)
    images = torch.randn(n, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    return (images * (a * norm / a.norm())).sum(dim=(1, 2, 3))[:, None], images


@pytest.mark.parametrize("norm", [0.3, 1.0, 4.0])
def test_penalties_of_a_linear_discriminator_s1_9_s3_1(norm: float) -> None:
    """WGAN-GP: 10 (|a|/t - 1)^2, so 0 where |a| is the target t = 1; R1: gamma/2 |a|^2."""
    logits, images = linear(norm)
    found = losses.gradient_penalty(logits, images).item()
    assert found == pytest.approx(10 * (norm - 1) ** 2, rel=1e-12, abs=1e-24)
    logits, images = linear(norm)
    found = losses.gradient_penalty(logits, images, weight=3.0, target=750.0).item()
    assert found == pytest.approx(3 * (norm / 750 - 1) ** 2, rel=1e-12)
    logits, images = linear(norm)
    found = losses.r1_penalty(logits, images, 3.0).item()
    assert found == pytest.approx(1.5 * norm**2, rel=1e-12)


class Small(nn.Module):
    """A discriminator of 8x8 pictures, smooth and curved."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, stride=2)
        self.out = nn.Linear(27, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.conv(x)).flatten(1))


@pytest.mark.parametrize("penalty", [losses.r1_penalty, losses.gradient_penalty])
def test_double_backward_s0_9_s1_9(penalty: object) -> None:
    """gradcheck of the penalties on an 8x8 net: in its weights and in the pictures."""
    torch.manual_seed(1)
    d = Small().double()
    images = torch.randn(2, 2, 8, 8, dtype=torch.float64)

    def value(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        weights = {"conv.weight": weight, "conv.bias": bias}
        logits = torch.func.functional_call(d, weights, x)
        assert callable(penalty)
        return penalty(logits, x, 10.0)

    weight, bias = (p.detach().requires_grad_() for p in d.conv.parameters())
    assert torch.autograd.gradcheck(value, (images.requires_grad_(), weight, bias), atol=1e-6)


def test_penalty_of_a_constant_discriminator_is_finite_s1_9() -> None:
    """The norm of a zero gradient has the derivative 0, not nan."""
    weight = torch.zeros(48, requires_grad=True)
    images = torch.randn(3, 3, 4, 4, requires_grad=True)
    penalty = losses.gradient_penalty(images.flatten(1) @ weight[:, None], images)
    penalty.backward()
    assert penalty.item() == 10
    assert weight.grad is not None
    assert weight.grad.tolist() == [0.0] * 48


def test_mixed_images_s1_9() -> None:
    """On the line from the real to the fake, and no gradient goes to either."""
    reals = torch.zeros(3, 1, 2, 2, requires_grad=True)
    fakes = torch.ones(3, 1, 2, 2, requires_grad=True)
    amount = torch.tensor([0.0, 0.25, 1.0])[:, None, None, None]
    mixed = losses.mixed_images(reals, fakes, amount)
    assert mixed.is_leaf
    assert mixed.requires_grad
    assert mixed[:, 0, 0, 0].tolist() == [0.0, 0.25, 1.0]


def test_only_reals_drift_s1_9() -> None:
    """0.001 D(x)^2."""
    assert losses.drift_penalty(torch.tensor([[2.0], [-4.0]])).item() == pytest.approx(0.01)


def test_hinge_stops_beyond_the_margin_s3_25() -> None:
    real, fake = torch.tensor([[1.0], [7.0]]), torch.tensor([[-1.0], [-3.0]])
    assert losses.hinge_discriminator_loss(real, fake).item() == 0
    assert losses.hinge_discriminator_loss(real * 0, fake * 0).item() == 2
    assert losses.hinge_discriminator_loss(fake, real).item() == pytest.approx(3 + 5)


def test_lsgan_is_best_at_real_0_and_fake_1_s1_10() -> None:
    zero, one = torch.zeros(4, 1), torch.ones(4, 1)
    assert losses.lsgan_discriminator_loss(zero, one).item() == 0
    assert losses.lsgan_discriminator_loss(one, zero).item() == pytest.approx(1.1)
    assert losses.lsgan_generator_loss(zero).item() == 0


def test_noise_strength_s1_10() -> None:
    """0 up to 0.5; 0.2 (d - 0.5)^2 above; d follows the clipped scores with 0.9."""
    assert [losses.gdrop_strength(d) for d in (0.0, 0.3, 0.5)] == [0, 0, 0]
    assert losses.gdrop_strength(0.75) == pytest.approx(0.0125)
    assert losses.gdrop_strength(1.0) == pytest.approx(0.05)
    average = 0.0
    for _ in range(20):
        average = losses.gdrop_average(average, 3.0)
    assert average == pytest.approx(1 - 0.9**20)
    assert losses.gdrop_average(0.5, -2.0) == pytest.approx(0.45)
    assert losses.gdrop_average(0.5, 0.25) == pytest.approx(0.475)


def test_multiplicative_noise_s1_10() -> None:
    """One factor per sample and channel, 1 + strength √C N(0, 1); none without strength."""
    noise = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    x = torch.rand(500, 16, 2, 3) + 1
    assert torch.equal(multiplicative_noise(x, 0.0, noise), x)
    factors = multiplicative_noise(x, 0.05, noise) / x
    torch.testing.assert_close(factors, factors[:, :, :1, :1].expand_as(factors))
    factors = factors[:, :, 0, 0]
    assert factors.mean().item() == pytest.approx(1, abs=0.01)
    assert factors.std().item() == pytest.approx(0.05 * 4, rel=0.03)
    flat = multiplicative_noise(torch.ones(500, 16), 0.05, noise)
    torch.testing.assert_close(flat, factors)


def test_labels_s1_11() -> None:
    """K equal logits cost ln K; the right one alone costs 0; no labels, no loss: S1.9 is left."""
    labels = torch.eye(4)[[0, 2, 3]]
    assert conditional.label_loss(torch.zeros(3, 4), labels).item() == pytest.approx(math.log(4))
    assert conditional.label_loss(labels * 100, labels).item() == pytest.approx(0, abs=1e-6)
    none = torch.zeros(3, 0)
    assert conditional.label_loss(none, none).item() == 0
    assert conditional.acgan_discriminator_loss(none, none, none, none).item() == 0
    logits = torch.randn(3, 4)
    both = conditional.acgan_discriminator_loss(logits, labels, logits, labels)
    target = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2, 3]))
    assert both.item() == pytest.approx(2 * target.item())


def test_gan_cls_s1_28() -> None:
    """-(log s_r + (log(1 - s_w) + log(1 - s_f)) / 2), and minimising it raises s_r."""
    torch.manual_seed(0)
    logits = [torch.randn(3, 1, requires_grad=True) for _ in range(3)]
    right, wrong, fake = (torch.sigmoid(x) for x in logits)
    wanted = -(right.log() + ((1 - wrong).log() + (1 - fake).log()) / 2).mean()
    loss = conditional.cls_discriminator_loss(*logits)
    assert loss.item() == pytest.approx(wanted.item())
    loss.backward()
    signs = [bool((x.grad > 0).all()) for x in logits if x.grad is not None]
    assert signs == [False, True, True]


def test_average_after_many_steps_s1_12() -> None:
    """From 0 towards a constant 1: 1 - beta^n after n steps."""
    average, now = nn.Linear(2, 2), nn.Linear(2, 2)
    for module, value in ((average, 0.0), (now, 1.0)):
        for parameter in module.parameters():
            nn.init.constant_(parameter, value)
    for _ in range(50):
        control.move_average(average, now, 0.999)
    assert average.weight[0, 0].item() == pytest.approx(1 - 0.999**50, rel=1e-5)


def test_dirac_gan_s3_1() -> None:
    """One number each: without R1 the players spiral outwards, with it they arrive at 0.

    With the saturating loss every step is a turn; the other one creeps in without R1 too.
    """
    ends = {}
    for gamma in (0.0, 2.0):
        theta, psi = (torch.tensor([[1.0]], requires_grad=True) for _ in range(2))
        for _ in range(800):
            real = torch.zeros(1, 1, 1, 1, requires_grad=True)
            score, fake = psi * real[0, 0], psi * theta
            d_loss = losses.discriminator_loss(score, fake) + losses.r1_penalty(score, real, gamma)
            (d_psi,) = torch.autograd.grad(d_loss, psi, retain_graph=True)
            (d_theta,) = torch.autograd.grad(losses.saturating_generator_loss(fake), theta)
            with torch.no_grad():
                psi -= 0.1 * d_psi
                theta -= 0.1 * d_theta
        ends[gamma] = math.hypot(theta.item(), psi.item())
    assert ends[0.0] > 1.5 * math.sqrt(2)
    assert ends[2.0] < 1e-3
