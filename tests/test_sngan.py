"""SNGAN against mimicry's own code, and its spectral normalisation: S3.25."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from gantools.networks import network, sngan, sngan_discriminator
from gantools.networks.batch_norm import BatchNorm
from gantools.networks.sngan import GeneratorConfig, generator_config
from gantools.networks.sngan_discriminator import DiscriminatorConfig, discriminator_config
from gantools.networks.spectral_norm import Conv, Dense, SpectralNorm, power_step
from gantools.report import Usage


@pytest.fixture(scope="module")
def golden(fixtures: Path) -> dict[str, Tensor]:
    arrays = load_file(fixtures / "numerics" / "sngan_mimicry.safetensors")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


# Spectral normalisation.


def test_sigma_is_the_greatest_singular_value_s3_25() -> None:
    """After many passes in training: sigma by SVD, and a weight whose greatest is 1."""
    for shape in ([5, 7], [7, 5], [6, 3, 3, 3], [1, 9]):
        weight = torch.randn(shape, dtype=torch.float64)
        norm = SpectralNorm(shape[0]).double()
        for _ in range(2000):
            normal = norm(weight)
        values = torch.linalg.svdvals(weight.flatten(1))
        sigma = norm.eval().sigma(weight.flatten(1))
        assert sigma.item() == pytest.approx(values[0].item(), rel=1e-10)
        after = torch.linalg.svdvals(normal.flatten(1))
        torch.testing.assert_close(after, values / values[0])


def test_one_step_in_training_none_in_evaluation_s3_25() -> None:
    layer = Dense(4, 3)
    weight, u = layer.weight.detach(), layer.spectral_norm.u.clone()
    x = torch.randn(2, 4)
    layer(x)
    torch.testing.assert_close(layer.spectral_norm.u, power_step(weight, u))
    once = layer.spectral_norm.u.clone()
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    assert torch.equal(layer.spectral_norm.u, once)
    sigma = (weight.t() @ once).norm()
    torch.testing.assert_close(layer(x), x @ (weight / sigma).t() + layer.bias)


def test_sigma_never_exceeds_the_truth_and_grows_s3_25() -> None:
    """Power iteration approaches the singular value from below, step by step."""
    weight = torch.randn(8, 8, dtype=torch.float64)
    norm = SpectralNorm(8).double()
    found = [norm.sigma(weight).item() for _ in range(30)]
    assert found == sorted(found)
    assert found[0] < found[-1] <= torch.linalg.svdvals(weight)[0].item() * (1 + 1e-12)


def test_gradient_of_sigma_s3_25() -> None:
    """Finite differences with u given, and the gradient of SVD's own once u has arrived."""
    norm = SpectralNorm(4).double()
    weight = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    norm.eval()
    assert torch.autograd.gradcheck(norm, (weight,))
    assert torch.autograd.gradgradcheck(norm, (weight,))
    norm.train()
    for _ in range(3000):
        norm(weight)
    norm.eval()
    probe = torch.randn(4, 2, 3, dtype=torch.float64)
    (found,) = torch.autograd.grad((norm(weight) * probe).sum(), weight)
    truth = (weight / torch.linalg.svdvals(weight.flatten(1))[0] * probe).sum()
    (wanted,) = torch.autograd.grad(truth, weight)
    torch.testing.assert_close(found, wanted)


def test_scale_of_the_weights_does_not_matter_s3_25() -> None:
    layer = Conv(3, 4, 3).eval()
    x = torch.randn(2, 3, 5, 5)
    before = layer(x)
    with torch.no_grad():
        layer.weight *= 7
    torch.testing.assert_close(layer(x), before)


def test_two_passes_before_one_backward() -> None:
    """Reals and fakes: the second pass moves u, the first one's gradient stays its own."""
    layer = Dense(4, 3)
    x = torch.randn(2, 4)
    alone = torch.autograd.grad(layer(x).square().sum(), layer.weight)[0]
    layer.spectral_norm.u.copy_(torch.tensor([1.0, 0.0, 0.0]))
    first = layer(x).square().sum()
    moved = layer.spectral_norm.u.clone()
    layer(x)
    assert not torch.equal(layer.spectral_norm.u, moved)
    layer.spectral_norm.u.copy_(torch.tensor([1.0, 0.0, 0.0]))
    again = torch.autograd.grad(layer(x).square().sum(), layer.weight)[0]
    torch.testing.assert_close(torch.autograd.grad(first, layer.weight)[0], again)
    assert not torch.allclose(alone, again)
    # Also where the first pass was one of evaluation, by the stored u itself.
    before = layer.eval()(x).square().sum()
    layer.train()(x)
    assert torch.autograd.grad(before, layer.weight)[0].isfinite().all()


# The networks.


def test_parameters_s3_25(fixtures: Path) -> None:
    """As many numbers as mimicry's, at every resolution, with classes and without."""
    story = json.loads((fixtures / "numerics" / "sngan_mimicry.json").read_text())
    for c_dim, kind in ((0, "sngan"), (10, "cgan_pd_10_classes")):
        for resolution, wanted in story["values"]["parameters"][kind].items():
            with torch.device("meta"):
                g = sngan.Generator(generator_config(int(resolution), c_dim=c_dim))
                config = discriminator_config(int(resolution), c_dim=c_dim)
                d = sngan_discriminator.Discriminator(config)
            assert [sum(p.numel() for p in net.parameters()) for net in (g, d)] == wanted


BLOCK = {"c1": "conv0", "c2": "conv1", "c_sc": "skip", "b1": "norm0", "b2": "norm1"}
NORM = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "var"}


def translated(golden: dict[str, Tensor], case: str, part: str) -> dict[str, Tensor]:
    """mimicry's names as ours: block2.b1.bn.running_mean -> blocks.0.norm0.mean."""
    found: dict[str, Tensor] = {}
    first = 2 if part == "G" else 1
    for name, tensor in golden.items():
        if not name.startswith(f"{case}.{part}."):
            continue
        keys = name.split(".")[2:]
        entry = keys[-1].removesuffix("_orig").replace("weight_u", "spectral_norm.u")
        entry = entry.replace("sn_u", "spectral_norm.u")
        if match := re.fullmatch(r"block(\d)", keys[0]):
            layer = f"blocks.{int(match[1]) - first}.{BLOCK[keys[1]]}"
            kind = keys[1][0]
        else:
            last = "out" if part == "D" else "fc"
            plain = {"b": "norm", "c": "torgb", "l": last}
            layer, kind = "embed" if keys[0] == "l_y" else plain[keys[0][0]], keys[0][0]
        if keys[-2] == "embed":  # [classes, 2C]: scale, then shift
            found[f"{layer}.scale"], found[f"{layer}.shift"] = tensor.chunk(2, dim=1)
        else:
            found[f"{layer}.{NORM[entry] if kind == 'b' else entry}"] = tensor.squeeze()
    return found


def load(net: nn.Module, found: dict[str, Tensor]) -> None:
    """Fill a network; mimicry's embedding [classes, C] is the transpose of our weight."""
    own = net.state_dict()
    if "embed.weight" in found:
        found["embed.weight"] = found["embed.weight"].t()
        # u belongs to the other side now: v = W u, normalised
        u = found["embed.weight"] @ found["embed.spectral_norm.u"]
        found["embed.spectral_norm.u"] = u / u.norm()
    net.load_state_dict({n: t.reshape(own[n].shape) for n, t in found.items()})


CASES = {"s32": (32, 6, 0), "s48": (48, 16, 0), "s64": (64, 16, 0), "c32": (32, 6, 4)}


def generator(case: str, golden: dict[str, Tensor]) -> sngan.Generator:
    resolution, width, c_dim = CASES[case]
    config = generator_config(resolution, width=width, c_dim=c_dim)
    g = sngan.Generator(GeneratorConfig.from_dict({**config.to_dict(), "z_dim": 8}))
    load(g, translated(golden, case, "G"))
    return g


def discriminator(case: str, golden: dict[str, Tensor]) -> sngan_discriminator.Discriminator:
    resolution, width, c_dim = CASES[case]
    config = discriminator_config(resolution, width=width, c_dim=c_dim)
    d = sngan_discriminator.Discriminator(config)
    load(d, translated(golden, case, "D"))
    return d


def close(found: Tensor, wanted: Tensor) -> None:
    np.testing.assert_allclose(found.detach(), wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_generator_is_mimicrys_s3_25(golden: dict[str, Tensor], case: str) -> None:
    """In evaluation by running moments, one by one or as a batch; in training by the batch's."""
    g, z, label = generator(case, golden), golden[f"{case}.z"], golden.get(f"{case}.label")
    g.eval()
    close(g(z, label)[:2], golden[f"{case}.image"])
    with torch.no_grad():
        close(g(z, label)[:2], golden[f"{case}.image"])
        one = g(z[1:2], None if label is None else label[1:2])
        assert torch.equal(one, g(z, label)[1:2])
    g.train()
    close(g(z, label)[:2], golden[f"{case}.train_image"])


@pytest.mark.parametrize("case", CASES)
def test_discriminator_is_mimicrys_s3_25(golden: dict[str, Tensor], case: str) -> None:
    """Logits and their gradient with the u that 400 passes have left."""
    d, label = discriminator(case, golden).eval(), golden.get(f"{case}.label")
    x = golden[f"{case}.x"].clone().requires_grad_()
    logits = d(x, label)
    close(logits, golden[f"{case}.logits"])
    close(torch.autograd.grad(logits.sum(), x)[0][:2], golden[f"{case}.gradient"])


def test_running_moments_move_by_a_tenth() -> None:
    """mean <- 0.9 mean + 0.1 batch mean; the variance is the unbiased one."""
    norm = BatchNorm(3)
    x = torch.randn(5, 3, 4, 4) * 2 + 1
    y = norm(x)
    torch.testing.assert_close(norm.mean, 0.1 * x.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.var, 0.9 + 0.1 * x.var(dim=(0, 2, 3)))
    torch.testing.assert_close(y.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)


def tiny(c_dim: int = 0) -> tuple[sngan.Generator, sngan_discriminator.Discriminator]:
    g = GeneratorConfig(8, (6, 4), z_dim=5, c_dim=c_dim, img_channels=2)
    d = DiscriminatorConfig(8, (4, 6), halvings=1, c_dim=c_dim, img_channels=2)
    return sngan.Generator(g), sngan_discriminator.Discriminator(d)


def test_initial_weights_s3_25() -> None:
    """Xavier's uniform bounds: gain sqrt 2 inside a block, 1 elsewhere; embedded scales near 1."""
    g = sngan.Generator(generator_config(32, width=32, c_dim=3))
    block = g.blocks[0]
    for weight, gain in (
        (block.conv0.weight, 2**0.5), (block.conv1.weight, 2**0.5), (block.skip.weight, 1.0),
        (g.torgb.weight, 1.0), (g.fc.weight, 1.0),
    ):  # fmt: skip
        taps = weight[0, 0].numel()
        bound = gain * (6 / (taps * (weight.shape[0] + weight.shape[1]))) ** 0.5
        assert 0.97 * bound < weight.abs().max().item() <= bound
    assert block.norm0.scale.mean().item() == pytest.approx(1, abs=0.01)
    assert block.norm0.scale.std().item() == pytest.approx(0.02, rel=0.3)
    assert not block.norm0.shift.any()


def test_labels_count_only_where_there_are_classes_s3_25() -> None:
    g, d = tiny(c_dim=3)
    z, label = torch.randn(4, 5), torch.eye(3)[[0, 1, 2, 0]]
    with pytest.raises(ValueError, match="label"):
        g(z)
    images = g(z, label)
    with pytest.raises(ValueError, match="label"):
        d(images)
    d.eval()
    assert not torch.allclose(d(images, label), d(images, label.roll(1, dims=1)))
    # The projection: <embedding / sigma, sum of the features> beside the plain logit.
    features = d.features(images)[-1].relu().sum(dim=(2, 3))
    shift = d(images, label) - d.out(features)
    torch.testing.assert_close(shift, (features * d.embed(label)).sum(dim=1, keepdim=True))


def test_shapes_and_odd_channels() -> None:
    g, d = tiny()
    images = g(torch.randn(3, 5))
    assert images.shape == (3, 2, 8, 8)
    assert images.abs().max() < 1
    assert d(images).shape == (3, 1)
    assert [list(x.shape[1:]) for x in d.features(images)] == [[4, 4, 4], [6, 4, 4]]
    half = g(torch.randn(3, 5), dtype=torch.bfloat16)
    assert half.dtype == torch.float32
    logits, rough = d.eval()(images), d(images, dtype=torch.bfloat16)
    torch.testing.assert_close(rough, logits, atol=0.1, rtol=0.1)
    assert generator_config(48).bottom == (6, 6)
    with pytest.raises(Usage, match="256"):
        generator_config(256)
    with pytest.raises(Usage, match="256"):
        discriminator_config(256)
    with pytest.raises(ValueError, match="halved"):
        _ = GeneratorConfig(10, (4, 4, 4)).bottom


def test_configuration_and_numbers_come_back() -> None:
    """What a network file holds rebuilds both to the bit, u and running moments with them."""
    g, d = tiny(c_dim=3)
    z, label = torch.randn(4, 5), torch.eye(3)[[0, 1, 2, 0]]
    d(g(z, label), label)
    for net, config in ((g, GeneratorConfig), (d, DiscriminatorConfig)):
        stored = json.loads(json.dumps(net.cfg.to_dict()))
        again = type(net)(config.from_dict(stored))
        network.fill(again, network.numbers(net))
        inputs = z if net is g else torch.rand(4, 2, 8, 8)
        assert torch.equal(again.eval()(inputs, label), net.eval()(inputs, label))


def test_a_step_of_training_uses_every_weight() -> None:
    """Hinge losses of both players give every parameter a gradient that is finite and not all 0."""
    g, d = tiny(c_dim=2)
    label = torch.eye(2)[[0, 1, 0, 1]]
    fake = g(torch.randn(4, 5), label)
    real = torch.rand(4, 2, 8, 8)
    loss = (1 - d(real, label)).relu().mean() + (1 + d(fake, label)).relu().mean()
    (loss - d(fake, label).mean()).backward()
    unused = [
        name
        for net in (g, d)
        for name, p in net.named_parameters()
        if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    ]
    # A batch norm takes a constant shift away again, and a bias before it is one.
    assert all(re.fullmatch(r"blocks\.\d\.conv0\.bias", name) for name in unused)
