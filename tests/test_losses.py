"""Losses and regularisers against the reference codes' numbers: S0.9, S1.9, S2.20, S3.1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from gantools.training import conditional, control, losses


def fixture(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    story = json.loads((folder / "numerics" / f"{name}.json").read_text())
    path = folder / "numerics" / f"{name}.safetensors"
    arrays = load_file(path) if path.exists() else {}
    return story, {n: torch.from_numpy(a) for n, a in arrays.items()}


class Tiny:
    """The fixture's generator and discriminator in float64, with their parameters."""

    def __init__(self, folder: Path) -> None:
        story, self.tensors = fixture(folder, "gan_losses")
        self.values = story["values"]["float64"]
        self.tf = story["values"]["tf_float32"]
        self.rtol = story["tolerance"]["f64_rtol"]
        self.tf_tolerance = {"rtol": story["tolerance"]["tf_rtol"], "atol": 1e-5}
        self.parameters = {
            n: t.double().requires_grad_() for n, t in self.tensors.items() if n[:2] in ("G.", "D.")
        }
        self.z, self.reals = self.tensors["z"].double(), self.tensors["reals"].double()

    def mapping(self, z: Tensor) -> Tensor:
        p = self.parameters
        w = torch.nn.functional.leaky_relu(z @ p["G.map_w"].t() + p["G.map_b"], 0.2)
        return w[:, None].repeat(1, 2, 1)

    def synthesis(self, ws: Tensor) -> Tensor:
        p = self.parameters
        x = (ws[:, 0] @ p["G.syn0"].t()) * (1 + 0.3 * (ws[:, 1] @ p["G.syn1"].t())) + p["G.syn_b"]
        return torch.tanh(x).reshape(-1, 3, 8, 8)

    def g(self) -> Tensor:
        return self.synthesis(self.mapping(self.z))

    def d(self, x: Tensor) -> Tensor:
        p = self.parameters
        return torch.tanh(x.flatten(1) @ p["D.w1"].t() + p["D.b1"]) @ p["D.w2"].t() + p["D.b2"]

    def classes(self, x: Tensor) -> Tensor:
        """AC-GAN's extra logits [N, 3]."""
        p = self.parameters
        return torch.tanh(x.flatten(1) @ p["D.w1"].t() + p["D.b1"]) @ p["D.w3"].t()

    def labelled(self, labels: Tensor) -> Tensor:
        """The pictures of G(z + labels G_label)."""
        z = self.z + labels.double() @ self.tensors["G_label"].double()
        return self.synthesis(self.mapping(z))

    def penalty(self, fakes: Tensor, **settings: float) -> Tensor:
        """WGAN-GP's term between the reals and these fakes."""
        mixed = losses.mixed_images(self.reals, fakes, self.tensors["mix"].double())
        return losses.gradient_penalty(self.d(mixed), mixed, **settings)

    def same(self, loss: Tensor, name: str, **tolerance: float) -> None:
        """The gradients of `loss` are those that the reference recorded under `name`."""
        wanted = {
            n.removeprefix(f"{name}."): t
            for n, t in self.tensors.items()
            if n.startswith(f"{name}.")
        }
        assert wanted, name
        loss.backward()
        for key, gradient in wanted.items():
            found = self.parameters[key].grad
            assert found is not None
            scale = float(gradient.abs().max())
            limit = tolerance or {"rtol": self.rtol, "atol": self.rtol * scale}
            np.testing.assert_allclose(found.numpy(), gradient.double().numpy(), **limit)


@pytest.fixture
def tiny(fixtures: Path) -> Tiny:
    return Tiny(fixtures)


def test_generator_loss_s0_9(tiny: Tiny) -> None:
    loss = losses.generator_loss(tiny.d(tiny.g()))
    assert loss.item() == pytest.approx(tiny.values["G_logistic_ns"], rel=tiny.rtol)
    assert loss.item() == pytest.approx(tiny.tf["sg2_G_pathreg"]["loss"], rel=1e-5)
    tiny.same(loss, "f64.G_logistic_ns.grad")


def test_discriminator_loss_s0_9(tiny: Tiny) -> None:
    loss = losses.discriminator_loss(tiny.d(tiny.reals), tiny.d(tiny.g().detach()))
    assert loss.item() == pytest.approx(tiny.values["D_logistic"], rel=tiny.rtol)
    assert loss.item() == pytest.approx(tiny.tf["sg2_D_logistic_r1"]["loss"], rel=1e-5)
    tiny.same(loss, "f64.D_logistic.grad")


def r1(tiny: Tiny, gamma: float) -> Tensor:
    reals = tiny.reals.clone().requires_grad_()
    return losses.r1_penalty(tiny.d(reals), reals, gamma)


def test_r1_s0_9(tiny: Tiny) -> None:
    penalty = r1(tiny, 10.0)
    assert penalty.item() == pytest.approx(tiny.values["R1_gamma10_half"], rel=tiny.rtol)
    assert penalty.item() == pytest.approx(tiny.tf["sg2_D_logistic_r1"]["reg"], rel=1e-5)
    tiny.same(penalty, "f64.R1_gamma10_half.grad")


def test_r1_without_half_is_twice_gamma_s3_1(tiny: Tiny) -> None:
    """lambda 10 of GAN_stability and of Schwarz et al. is gamma 20 here."""
    penalty = r1(tiny, 20.0)
    wanted = tiny.values["R1_lambda10_nohalf_GAN_stability"]
    assert penalty.item() == pytest.approx(wanted, rel=tiny.rtol)
    tiny.same(penalty, "f64.R1_lambda10_nohalf_GAN_stability.grad")


def test_r1_of_a_linear_discriminator_s3_1() -> None:
    """D(x) = a·x: (gamma/2) |a|^2 exactly, whatever the batch."""
    a = torch.randn(3, 4, 4, dtype=torch.float64)
    x = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = losses.r1_penalty((x * a).sum(dim=(1, 2, 3))[:, None], x, 3.0)
    assert penalty.item() == pytest.approx(1.5 * a.square().sum().item(), rel=1e-12)


@pytest.mark.parametrize("name", ["sg1_D_logistic_r1_10", "sg1_D_logistic_r1_10_r2_5"])
def test_r1_and_r2_of_stylegan_s0_9(tiny: Tiny, name: str) -> None:
    """R2 is the same function on fakes: gamma 10 on reals, 5 on fakes."""
    fakes = tiny.g().detach().requires_grad_()
    loss = losses.discriminator_loss(tiny.d(tiny.reals), tiny.d(fakes)) + r1(tiny, 10.0)
    if "r2" in name:
        loss = loss + losses.r1_penalty(tiny.d(fakes), fakes, 5.0)
    assert loss.item() == pytest.approx(tiny.tf[name]["loss"], rel=1e-5)
    tiny.same(loss, f"tf.{name}.grad", **tiny.tf_tolerance)


def test_r2_of_stylegan2_s0_9(tiny: Tiny) -> None:
    fakes = tiny.g().detach().requires_grad_()
    penalty = losses.r1_penalty(tiny.d(fakes), fakes, 10.0)
    assert penalty.item() == pytest.approx(tiny.tf["sg2_D_logistic_r2"]["reg"], rel=1e-5)
    tiny.same(penalty, "tf.sg2_D_logistic_r2.reg_grad", **tiny.tf_tolerance)


def test_phases_of_the_ada_code(tiny: Tiny) -> None:
    """Gmain, Dmain, Dreg and Dboth; path length is `test_path_length_of_the_ada_code`."""
    tiny.same(losses.generator_loss(tiny.d(tiny.g())), "f64.ada_Gmain.grad")
    for main, reg, name in ((1, 0, "ada_Dmain"), (0, 1, "ada_Dreg"), (1, 1, "ada_Dboth")):
        for parameter in tiny.parameters.values():
            parameter.grad = None
        fakes = tiny.g().detach()
        loss = main * losses.discriminator_loss(tiny.d(tiny.reals), tiny.d(fakes))
        tiny.same(loss + reg * r1(tiny, 10.0), f"f64.{name}.grad")


def test_gan_stability_s3_1(tiny: Tiny) -> None:
    """Its logistic losses are ours in parts, its centred penalties ours with weight 1."""
    real, fake = tiny.d(tiny.reals), tiny.d(tiny.g().detach())
    values = tiny.values
    both = values["GAN_stability_bce_real1"] + values["GAN_stability_bce_fake0"]
    assert losses.discriminator_loss(real, fake).item() == pytest.approx(both, rel=tiny.rtol)
    wanted = values["GAN_stability_bce_gen"]
    assert losses.generator_loss(fake).item() == pytest.approx(wanted, rel=tiny.rtol)
    one = tiny.penalty(tiny.g(), weight=1.0)
    wanted = values["wgan_gp_reg_center1_GAN_stability"]
    assert one.item() == pytest.approx(wanted, rel=tiny.rtol)
    tiny.same(one, "f64.wgan_gp_reg_center1_GAN_stability.grad")


def test_zero_centred_penalty_is_r1_between_them_s3_1(tiny: Tiny) -> None:
    mixed = losses.mixed_images(tiny.reals, tiny.g(), tiny.tensors["mix"].double())
    zero = losses.r1_penalty(tiny.d(mixed), mixed, 2.0)
    wanted = tiny.values["wgan_gp_reg_center0_GAN_stability"]
    assert zero.item() == pytest.approx(wanted, rel=tiny.rtol)
    tiny.same(zero, "f64.wgan_gp_reg_center0_GAN_stability.grad")


def test_saturating_generator_loss(tiny: Tiny) -> None:
    loss = losses.saturating_generator_loss(tiny.d(tiny.g()))
    assert loss.item() == pytest.approx(tiny.values["G_saturating"], rel=tiny.rtol)
    wanted = tiny.tf["sg1_G_logistic_saturating"]["loss"]
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    tiny.same(loss, "f64.G_saturating.grad")


def test_logistic_losses_of_stylegan_and_mimicry(tiny: Tiny) -> None:
    """StyleGAN's are ours; mimicry's has 1e-8 inside its logarithm."""
    loss = losses.generator_loss(tiny.d(tiny.g()))
    wanted = tiny.tf["sg1_G_logistic_nonsaturating"]["loss"]
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    assert loss.item() == pytest.approx(tiny.values["ns_G_mimicry"], rel=1e-6)
    tiny.same(loss, "f64.ns_G_mimicry.grad", rtol=1e-6, atol=1e-9)
    for parameter in tiny.parameters.values():
        parameter.grad = None
    loss = losses.discriminator_loss(tiny.d(tiny.reals), tiny.d(tiny.g().detach()))
    assert loss.item() == pytest.approx(tiny.tf["sg1_D_logistic"]["loss"], rel=1e-5)
    tiny.same(loss, "tf.sg1_D_logistic.grad", **tiny.tf_tolerance)


def test_wgan_s1_9(tiny: Tiny) -> None:
    """L_G = -D(G(z)); L_D = D(G(z)) - D(x), and the drift of reals alone."""
    loss = losses.wgan_generator_loss(tiny.d(tiny.g()))
    assert loss.item() == pytest.approx(tiny.tf["pggan_G_wgan"]["loss"], rel=1e-5)
    tiny.same(loss, "tf.pggan_G_wgan.grad", **tiny.tf_tolerance)
    real, fake = tiny.d(tiny.reals), tiny.d(tiny.g().detach())
    loss = losses.wgan_discriminator_loss(real, fake)
    assert loss.item() == pytest.approx(tiny.values["wgan_D"], rel=tiny.rtol)
    for parameter in tiny.parameters.values():
        parameter.grad = None
    tiny.same(loss, "f64.wgan_D.grad")


def test_drift_s1_9(tiny: Tiny) -> None:
    drift = losses.drift_penalty(tiny.d(tiny.reals))
    assert drift.item() == pytest.approx(tiny.values["drift_0.001"], rel=tiny.rtol)
    tiny.same(drift, "f64.drift_0.001.grad")


@pytest.mark.parametrize(
    ("name", "penalty", "target"),
    [
        ("sg1_D_wgan", False, 1.0),
        ("sg1_D_wgan_gp", True, 1.0),
        ("pggan_D_wgangp", True, 1.0),
        ("pggan_D_wgangp_gamma750", True, 750.0),
    ],
)
def test_wgan_gp_s1_9(tiny: Tiny, name: str, penalty: bool, target: float) -> None:
    """Weight 10 / target^2, drift 0.001; target 750 is CIFAR-10's."""
    fakes, real = tiny.g().detach(), tiny.d(tiny.reals)
    loss = losses.wgan_discriminator_loss(real, tiny.d(fakes)) + losses.drift_penalty(real)
    if penalty:
        loss = loss + tiny.penalty(fakes, target=target)
    assert loss.item() == pytest.approx(tiny.tf[name]["loss"], rel=1e-5)
    tiny.same(loss, f"tf.{name}.grad", **tiny.tf_tolerance)


@pytest.mark.parametrize("name", ["sg1_D_hinge", "sg1_D_hinge_gp"])
def test_hinge_discriminator_s3_25(tiny: Tiny, name: str) -> None:
    fakes = tiny.g().detach()
    loss = losses.hinge_discriminator_loss(tiny.d(tiny.reals), tiny.d(fakes))
    if name.endswith("gp"):
        loss = loss + tiny.penalty(fakes)
    assert loss.item() == pytest.approx(tiny.tf[name]["loss"], rel=1e-5)
    tiny.same(loss, f"tf.{name}.grad", **tiny.tf_tolerance)


def test_hinge_of_mimicry_s3_25(tiny: Tiny) -> None:
    loss = losses.hinge_discriminator_loss(tiny.d(tiny.reals), tiny.d(tiny.g().detach()))
    assert loss.item() == pytest.approx(tiny.values["hinge_D_mimicry"], rel=tiny.rtol)
    tiny.same(loss, "f64.hinge_D_mimicry.grad")
    loss = losses.wgan_generator_loss(tiny.d(tiny.g()))
    assert loss.item() == pytest.approx(tiny.values["hinge_G_mimicry"], rel=tiny.rtol)
    for parameter in tiny.parameters.values():
        parameter.grad = None
    tiny.same(loss, "f64.hinge_G_mimicry.grad")


def test_lsgan_s1_10(tiny: Tiny) -> None:
    """Real is 0, fake is 1 with weight 0.1."""
    loss = losses.lsgan_discriminator_loss(tiny.d(tiny.reals), tiny.d(tiny.g().detach()))
    assert loss.item() == pytest.approx(tiny.values["lsgan_D_pggan_theano"], rel=tiny.rtol)
    tiny.same(loss, "f64.lsgan_D_pggan_theano.grad")
    loss = losses.lsgan_generator_loss(tiny.d(tiny.g()))
    assert loss.item() == pytest.approx(tiny.values["lsgan_G_pggan_theano"], rel=tiny.rtol)
    for parameter in tiny.parameters.values():
        parameter.grad = None
    tiny.same(loss, "f64.lsgan_G_pggan_theano.grad")


def test_acgan_generator_s1_11(tiny: Tiny) -> None:
    """The fakes' own labels, weight 1."""
    labels = tiny.tensors["fake_labels"].double()
    fakes = tiny.labelled(labels)
    loss = losses.wgan_generator_loss(tiny.d(fakes))
    loss = loss + conditional.label_loss(tiny.classes(fakes), labels)
    assert loss.item() == pytest.approx(tiny.tf["pggan_G_acgan"]["loss"], rel=1e-5)
    tiny.same(loss, "tf.pggan_G_acgan.grad", **tiny.tf_tolerance)


def test_acgan_discriminator_s1_11(tiny: Tiny) -> None:
    """The labels of reals and fakes beside WGAN-GP."""
    labels = tiny.tensors["labels"].double()
    fakes, real = tiny.labelled(labels).detach(), tiny.d(tiny.reals)
    loss = losses.wgan_discriminator_loss(real, tiny.d(fakes)) + losses.drift_penalty(real)
    loss = loss + tiny.penalty(fakes)
    loss = loss + conditional.acgan_discriminator_loss(
        tiny.classes(tiny.reals), labels, tiny.classes(fakes), labels
    )
    assert loss.item() == pytest.approx(tiny.tf["pggan_D_acgan"]["loss"], rel=1e-5)
    tiny.same(loss, "tf.pggan_D_acgan.grad", **tiny.tf_tolerance)


def test_path_length_of_the_tf_code(tiny: Tiny) -> None:
    """New latents, running mean from 0, weight 2 (S2.20)."""
    ws = tiny.mapping(tiny.tensors["pl_z"].double())
    lengths = losses.path_lengths(tiny.synthesis(ws), ws, tiny.tensors["pl_noise"].double())
    penalty, _ = losses.path_length_penalty(lengths, torch.zeros([], dtype=torch.float64))
    assert (2 * penalty).item() == pytest.approx(tiny.tf["sg2_G_pathreg"]["reg"], rel=1e-4)
    tiny.same(2 * penalty, "tf.sg2_G_pathreg.reg_grad", **tiny.tf_tolerance)


def test_path_length_of_the_ada_code(tiny: Tiny) -> None:
    """Half the batch, running mean from 0.05, which moves with its gradient (S2.20)."""
    ws = tiny.mapping(tiny.z[:2])
    lengths = losses.path_lengths(tiny.synthesis(ws), ws, tiny.tensors["pl_noise"].double())
    before = torch.tensor(tiny.values["pl_mean_before"], dtype=torch.float64)
    penalty, after = losses.path_length_penalty(lengths, before)
    assert after.item() == pytest.approx(tiny.values["ada_pl_mean_after"], rel=tiny.rtol)
    assert not after.requires_grad
    wanted = tiny.values["pl_penalty_times_weight2"]
    assert (2 * penalty).item() == pytest.approx(wanted, rel=tiny.rtol)
    tiny.same(2 * penalty, "f64.ada_Greg.grad")


def test_path_length_of_a_linear_generator() -> None:
    """G(w) = A w: the length is |A^T y| for y = noise / sqrt(H W)."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(3 * 4 * 4, 6, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    ws = torch.randn(2, 1, 6, generator=generator, dtype=torch.float64).requires_grad_()
    lengths = losses.path_lengths((ws[:, 0] @ a.t()).reshape(2, 3, 4, 4), ws, noise)
    wanted = ((noise.flatten(1) / 4) @ a).norm(dim=1)
    torch.testing.assert_close(lengths, wanted)


def test_lazy_regularisation_corrects_adam(fixtures: Path) -> None:
    """lr c and beta^c with c = k/(k+1) (S2.20)."""
    rule = fixture(fixtures, "gan_losses")[0]["values"]["lazy_regularisation"]
    for name, interval in (
        ("G_interval4", control.G_INTERVAL),
        ("D_interval16", control.D_INTERVAL),
    ):
        lr, betas = control.lazy_adam(0.002, interval)
        assert lr == pytest.approx(rule[name]["lr_0.002"], rel=1e-12)
        assert list(betas) == pytest.approx(rule[name]["betas(0,.99)"], rel=1e-12)


def test_ema_beta_s0_9(fixtures: Path) -> None:
    story, _ = fixture(fixtures, "ema_beta")
    for ema_kimg, rampup, batch, images, beta in story["values"]["rows"]:
        found = control.ema_beta(ema_kimg, rampup, batch, images)
        assert found == pytest.approx(beta, rel=1e-9, abs=1e-300)
    for batch, beta in story["values"]["stylegan1_minibatch_beta_10kimg"]:
        assert control.ema_beta(10, None, batch, 0) == pytest.approx(beta, rel=1e-9)


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_ada_probability_s2_20(fixtures: Path, case: str) -> None:
    """The reference's trajectory, without an upper bound (case c goes beyond 10)."""
    story, tensors = fixture(fixtures, "ada_p")
    rule, p = story["values"][case], torch.zeros([])
    assert rule["ada_interval"] == control.ADA_INTERVAL
    for sign, wanted in zip(tensors[f"{case}.signs"], tensors[f"{case}.p"], strict=True):
        p = control.ada_step(p, sign, rule["target"], rule["batch_size"], rule["ada_kimg"])
        assert float(p) == pytest.approx(float(wanted), abs=story["tolerance"]["atol"])
    assert rule["max_p"] <= 1 or float(tensors[f"{case}.p"].max()) > 1


def test_style_mixing_s0_11() -> None:
    """S0.11: layers from the cutoff on come from the other w; cutoffs are uniform on 1..L-1."""
    ws, other = torch.zeros(3, 6, 2), torch.ones(3, 6, 2)
    mixed = losses.mix_styles(ws, other, torch.tensor([1, 4, 6]))
    assert mixed[:, :, 0].tolist() == [[0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1], [0] * 6]
    generator = torch.Generator().manual_seed(1)
    cutoffs = losses.draw_cutoffs(40_000, 6, 0.9, generator)
    counts = torch.bincount(cutoffs, minlength=7)[:7] / 40_000
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:6].numpy(), 0.18, atol=0.01)
    assert counts[6].item() == pytest.approx(0.1, abs=0.01)
    assert (losses.draw_cutoffs(100, 6, 0.0, generator) == 6).all()


def test_gradients_become_finite() -> None:
    """nan to 0, infinities to +-1e5, the rest as it is."""
    parameter = torch.nn.Parameter(torch.zeros(4))
    parameter.grad = torch.tensor([float("nan"), float("inf"), -float("inf"), 2.0])
    losses.finite_gradients([parameter, torch.nn.Parameter(torch.zeros(1))])
    assert parameter.grad.tolist() == [0.0, 1e5, -1e5, 2.0]


def test_best_snapshot_s0_15() -> None:
    """The smallest score; ties go to the earliest; nan never wins."""
    assert control.best_of([]) is None
    assert control.best_of([(1000, 9.0), (2000, 4.0), (3000, 4.0), (4000, 5.0)]) == 2000
    assert control.best_of([(2000, 4.0), (1000, 4.0)]) == 1000
    assert control.best_of([(1000, float("nan")), (2000, 7.0)]) == 2000


def test_average_moves_and_buffers_are_copied_s0_9() -> None:
    class Net(torch.nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full([2], value))
            self.register_buffer("w_avg", torch.full([2], value))

    average, now = Net(1.0), Net(3.0)
    control.move_average(average, now, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.w_avg.tolist() == [3.0, 3.0]
    assert average.weight.requires_grad
