"""Projection by optimisation: schedules, noise, the published runs (papers.md S2.11 to S2.13)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from gantools.inversion import noise, optimise, quality, schedule, start, tune
from gantools.inversion.distances import default_perceptual
from gantools.inversion.methods import METHODS, Method
from gantools.inversion.perceptual import Embed
from gantools.inversion.prior import Prior
from gantools.inversion.project import Projector, to_tensor
from gantools.io.latent import Latent
from gantools.latents.render import images as latent_images
from gantools.networks.network import Network, open_network
from gantools.ops.pixels import to_uint8
from gantools.report import SampleError

NUMERICS = Path(__file__).parent / "fixtures" / "numerics"


def test_schedule_equals_the_reference() -> None:
    """S2.12: learning rate and w noise at each of 200 steps."""
    golden = load_file(NUMERICS / "projector_schedule.safetensors")
    rates = [schedule.learning_rate(t, 200, 0.1) for t in range(200)]
    assert rates == pytest.approx(golden["lr"].tolist(), rel=1e-12)
    scales = [schedule.w_noise(t, 200) for t in range(200)]
    assert scales == pytest.approx(golden["w_noise_scale"].tolist(), rel=1e-12)


def test_schedule_without_ramps_is_flat() -> None:
    assert {schedule.learning_rate(t, 10, 0.3, 0, 0) for t in range(10)} == {0.3}


@pytest.mark.parametrize("rule", ["official", "thesis"])
@pytest.mark.parametrize("size", [4, 8, 16, 32, 64])
def test_noise_regularisation_equals_the_references(size: int, rule: noise.Rule) -> None:
    """S2.13: value and gradient per map, in both conventions, float64."""
    golden = load_file(NUMERICS / "noise_regularisation.safetensors")
    values = json.loads((NUMERICS / "noise_regularisation.json").read_text())["values"]
    row = {"official": "official_per_map", "thesis": "seed_rule_per_map"}[rule]
    n = golden[f"map{size}"][None, None].requires_grad_(True)
    value = noise.regularisation([n], rule)
    assert value.item() == pytest.approx(values[row][str(size)], rel=1e-9)
    if value.requires_grad:
        value.sum().backward()
        prefix = {"official": "grad_official", "thesis": "grad_seed"}[rule]
        expected = golden[f"{prefix}{size}"]
        torch.testing.assert_close(n.grad[0, 0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("rule", "levels"), [("official", 4), ("thesis", 3)])
def test_noise_rules_differ_on_48(rule: noise.Rule, levels: int) -> None:
    """S2.13: 48, 24, 12, 6 in the official code, 48, 24, 12 in Algorithm 1; constants: 2c⁴."""
    value = noise.regularisation([torch.full((1, 1, 48, 48), 0.7, dtype=torch.float64)], rule)
    assert value.item() == pytest.approx(levels * 2 * 0.7**4, rel=1e-9)


def test_noise_regularisation_closed_forms() -> None:
    """S2.13: constant maps cost 2c⁴ per level, non-square too; white noise O(1/n); per sample."""
    maps = [torch.stack([torch.full((1, 32, 64), c) for c in (0.5, 1.0)])]
    assert noise.regularisation(maps).tolist() == pytest.approx([3 * 2 * 0.5**4, 3 * 2.0])
    g = torch.Generator().manual_seed(0)
    white = {n: torch.randn(64, 1, n, n, generator=g) for n in (8, 64)}
    means = {n: noise.regularisation([x[..., :n, :n]]).mean().item() for n, x in white.items()}
    # One level of an 8² map: 2/n² expected; the pyramid of 64²: 2·(1/64² + (4/…)…), far below.
    assert means[8] == pytest.approx(2 / 64, rel=0.5)
    top = (white[64] * white[64].roll(1, 3)).mean((1, 2, 3)).square().mean().item()
    assert top == pytest.approx(1 / 64**2, rel=0.5)
    assert noise.regularisation([]).item() == 0


def test_noise_regularisation_gradcheck() -> None:
    g = torch.Generator().manual_seed(1)
    maps = [
        torch.randn(2, 1, *s, generator=g, dtype=torch.float64, requires_grad=True)
        for s in ((4, 4), (8, 8), (8, 12))
    ]
    assert torch.autograd.gradcheck(lambda *m: noise.regularisation(m), maps)


def test_normalisation_equals_the_reference() -> None:
    golden = load_file(NUMERICS / "noise_regularisation.safetensors")
    for size in (4, 8, 16):
        n = golden[f"map{size}"][None, None].clone()
        noise.normalise([n])
        torch.testing.assert_close(n[0, 0], golden[f"normalised{size}"], rtol=1e-9, atol=1e-12)


# S2.12: the official projector on a tiny generator, with the numbers that it drew.


@pytest.fixture(scope="module")
def run() -> dict[str, Tensor]:
    return load_file(NUMERICS / "projector_run.safetensors")


@pytest.fixture(scope="module")
def run_values() -> dict[str, Any]:
    values: dict[str, Any] = json.loads((NUMERICS / "projector_run.json").read_text())["values"]
    return values


def tiny_synthesis(run: dict[str, Tensor]) -> optimise.Render:
    def synthesis(tensors: optimise.Tensors) -> Tensor:
        ws = tensors["w"].expand(-1, 2, -1)
        x = torch.einsum("nld,lod->no", ws, run["G.syn"]) + run["G.syn_b"]
        noise4 = functional.interpolate(run["G.n4"] * tensors["n.1"], scale_factor=2)
        noise8 = run["G.n8"].view(1, 3, 1, 1) * tensors["n.2"]
        return torch.tanh(x.view(-1, 3, 8, 8) + noise4 + noise8)

    return synthesis


def tiny_features(run: dict[str, Tensor]) -> Embed:
    def embed(images: Tensor) -> list[Tensor]:
        x = functional.conv2d((images + 1) * 127.5, run["dist_conv"])
        return [functional.leaky_relu(x, 0.2)]

    return embed


def test_official_projector_step_by_step(
    run: dict[str, Tensor], run_values: dict[str, Any]
) -> None:
    """S2.12: w after each of 30 steps, the distances it printed and its learning rates."""
    steps = len(run["w_out"])
    method = replace(METHODS["stylegan2"], steps=steps, noise_reg=1000.0)
    loss = optimise.objective(tiny_features(run), run["target"][None] / 127.5 - 1, method)
    seen: list[Tensor] = []
    distances: list[float] = []

    def watch(step: int, tensors: optimise.Tensors, images: Tensor, losses: Tensor) -> None:
        seen.append(tensors["w"][0, 0].clone())
        distances.append(loss(images).item())

    def jitter(step: int, tensors: optimise.Tensors, strength: float) -> optimise.Tensors:
        noise = run["w_noise_draws"][step] * (run_values["w_std"] * strength)
        return tensors | {"w": tensors["w"] + noise}

    starts = {
        "w": run["w_avg"].view(1, 1, -1),
        "n.1": run["noise_init_4"][None, None],
        "n.2": run["noise_init_8"][None, None],
    }
    optimise.optimise(starts, tiny_synthesis(run), loss, method, jitter=jitter, watch=watch)
    torch.testing.assert_close(torch.stack(seen), run["w_out"], rtol=0, atol=2e-4)
    assert distances == pytest.approx(run_values["dist_printed"], rel=1e-3)
    rates = [schedule.learning_rate(t, steps, method.lr) for t in range(steps)]
    assert rates == pytest.approx(run["lr"].tolist(), rel=1e-9)


def test_w_statistics_equal_the_reference(
    run: dict[str, Tensor], run_values: dict[str, Any]
) -> None:
    """S2.12: mean and deviation of w over z of RandomState(123)."""

    def mapping(z: Tensor, label: Tensor | None) -> Tensor:
        w = functional.leaky_relu(z @ run["G.map_w"].T + run["G.map_b"], 0.2)
        return w[:, None].repeat(1, 2, 1)

    mean, deviation = start.statistics(start.own_w(mapping, 6, count=500))
    torch.testing.assert_close(mean, run["w_avg"], rtol=0, atol=1e-5)
    assert deviation == pytest.approx(run_values["w_std"], rel=1e-5)


def test_prior_is_a_whitened_square() -> None:
    """1 on average over the network's own w, 0 at their mean, growing as a square from there."""
    g = torch.Generator().manual_seed(3)
    p = torch.randn(4000, 5, generator=g) @ torch.randn(5, 5, generator=g) + torch.arange(5.0)
    own = functional.leaky_relu(p, 0.2)
    prior = Prior.of(own)
    assert prior(own[:, None]).mean().item() == pytest.approx(1, rel=1e-4)

    def at(distance: float) -> float:
        away = p.mean(0) + distance * torch.ones(5)
        return float(prior(functional.leaky_relu(away, 0.2).view(1, 1, 5)))

    assert at(0) == pytest.approx(0, abs=1e-9)
    assert at(4) == pytest.approx(4 * at(2), rel=1e-3)
    rows = own[:6].view(2, 3, 5)  # a mean over the rows, one number for each sample
    each = prior(own[:6, None])
    torch.testing.assert_close(prior(rows), each.view(2, 3).mean(1))


def test_prior_bounds_flat_directions() -> None:
    """A dimension that the network never uses costs much, but is no division by zero."""
    w = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).abs()
    w[:, 2] = 1
    away = w[:1, None] + torch.tensor([0, 0, 0.1])
    prior = Prior.of(w)
    assert 10 < float(prior(away)) < 1e4


# The whole projector on a tiny network.

STILL = Method(steps=30, lr=0.02, ramp_up=0, ramp_down=0.5, w_noise=0, mse=1)


@pytest.fixture(scope="module")
def network(tiny_network: Path) -> Network:
    found = open_network(str(tiny_network), discriminator=True)
    with torch.no_grad():  # pictures of random weights inside [-1,1]: 8 bits then lose nothing
        ws, _ = pictures_of(found, 4)
        largest = found.g.synthesis(ws).abs().max()
        for block in found.g.synthesis.blocks():
            block.torgb.weight /= largest
    return found


def projector(network: Network, space: str, method: Method = STILL, **more: Any) -> Projector:
    return Projector(network, space, "quick", method, "discriminator", **more)


def pictures_of(network: Network, count: int, seed: int = 2) -> tuple[Tensor, list[np.ndarray]]:
    """(ws, pictures of the network's own)."""
    z = torch.randn(count, network.g.cfg.z_dim, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        ws = network.g.mapping(z)
        return ws, list(to_uint8(network.g.synthesis(ws)))


def test_projection_from_the_true_latent_stays(network: Network) -> None:
    """S2.11: self-projection of a generated picture starts and stays at a loss of about 0."""
    ws, pixels = pictures_of(network, 1)
    truth = Latent("a", "w", {"w": ws[0, :1].numpy()})
    losses: list[float] = []
    (found,) = projector(
        network, "w", init=start.Given("latent", lambda key, picture, label: truth)
    ).run(["a"], pixels, lambda step, w, x, loss: losses.append(loss.item()))
    mean = projector(network, "w", replace(STILL, steps=1)).run(["a"], pixels)[0]
    assert max(losses) < 0.02 * mean.header["projection"]["loss"]
    assert found.header["projection"]["psnr"] > 45
    np.testing.assert_allclose(found.tensors["w"], truth.tensors["w"], atol=0.05)


@pytest.mark.parametrize("space", ["w", "w+", "nw", "nw+"])
def test_projection_recovers_the_networks_own_picture(network: Network, space: str) -> None:
    """S4.15 on a toy generator: PSNR above 35 dB where w and noise are the generator's own."""
    _, pixels = pictures_of(network, 4)
    method = replace(STILL, steps=200, lr=0.1, ramp_up=0.05, noise_reg=0.1)
    latents = projector(network, space, method).run(list("abcd"), pixels)
    values = [x.header["projection"]["psnr"] for x in latents]
    assert np.median(values) > 35
    found, story = latents[0], latents[0].header["projection"]
    assert story["ssim"] > 0.95
    assert story["perceptual"] == "discriminator" and story["distance"] < 0.01
    assert found.tensors["w"].shape == (6 if space.endswith("+") else 1, 16)
    assert sorted(found.noise) == ([1, 2, 3, 4, 5] if space.startswith("n") else [])
    # What the header claims is what the latent renders as.
    again = latent_images(network, [found])
    assert quality.psnr(to_uint8(again)[0], pixels[0]) == pytest.approx(story["psnr"], abs=1e-3)


def test_batch_composition_changes_nothing(network: Network) -> None:
    """Each picture its own result: alone, or among others in another order."""
    _, pixels = pictures_of(network, 3)
    method = replace(STILL, steps=8, w_noise=0.05, noise_reg=10.0, ramp_up=0.25)
    p = projector(network, "nw+", method, init="random")
    together = p.run(["a", "b", "c"], pixels)
    alone = [p.run([key], [pixels["abc".index(key)]])[0] for key in "cab"]
    for one in alone:
        other = next(x for x in together if x.key == one.key)
        for name, value in one.tensors.items():
            np.testing.assert_allclose(value, other.tensors[name], atol=2e-3)
    a, b = together[0].tensors["w"], together[1].tensors["w"]
    assert np.abs(a - b).max() > 0.1


def test_noise_maps_are_normal_after_each_step(network: Network) -> None:
    """S2.11: mean 0, deviation 1 in every map of every sample."""
    _, pixels = pictures_of(network, 2)
    p = projector(network, "nw", replace(STILL, steps=3, noise_reg=10.0))
    for latent in p.run(["a", "b"], pixels):
        for n in latent.noise.values():
            assert n.mean() == pytest.approx(0, abs=1e-6)
            assert n.std() == pytest.approx(1, abs=1e-5)


def test_another_seed_is_another_start_and_the_same_seed_the_same(network: Network) -> None:
    _, pixels = pictures_of(network, 1)
    method = replace(STILL, steps=2)
    w = [
        projector(network, "w", method, init="random", seed=s).run(["a"], pixels)[0].tensors["w"]
        for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(w[0], w[1])
    assert np.abs(w[0] - w[2]).max() > 0.1


def test_prior_keeps_strange_pictures_near_the_networks_own_w(network: Network) -> None:
    pixels = [pictures_of(network, 1)[1][0][::-1].copy()]  # upside down: out of the domain
    method = replace(STILL, lr=0.1, steps=100)
    own = Prior.of(start.own_w(network.g.mapping, network.g.cfg.z_dim))
    strayed, psnr = {}, {}
    for weight in (0.0, 0.1):
        p = projector(network, "w+", replace(method, prior=weight))
        (latent,) = p.run(["a"], pixels)
        strayed[weight] = float(own(torch.from_numpy(latent.tensors["w"])[None]))
        psnr[weight] = latent.header["projection"]["psnr"]
        assert latent.header["projection"]["prior_weight"] == weight
    assert strayed[0.1] < 0.2 * strayed[0.0]
    assert psnr[0.1] < psnr[0.0]


def test_pivotal_tuning_moves_the_network_to_the_picture(network: Network) -> None:
    """PTI: the picture is nearer, mapping and w_avg are untouched, far latents hardly move."""
    pixels = [pictures_of(network, 1)[1][0][::-1].copy()]  # upside down: out of the domain
    p = projector(network, "w", replace(STILL, steps=10))
    (pivot,) = p.run(["a"], pixels)
    target = to_tensor(pixels, network)
    ws = torch.from_numpy(pivot.tensors["w"])[None].expand(-1, network.g.num_ws, -1)

    def tuned(locality: float) -> Any:
        settings = tune.Tuning(steps=60, lr=1e-2, locality=locality)
        return tune.tune(network.g, ws, [], target, p.embed, settings, w_std=p.w_std)

    def moved(g: Any) -> float:
        far, _ = pictures_of(network, 16, seed=5)
        with torch.no_grad():
            return float((g.synthesis(far) - network.g.synthesis(far)).square().mean())

    free, held = tuned(0.0), tuned(10.0)
    error = [(g.synthesis(ws) - target).square().mean().item() for g in (network.g, free)]
    assert error[1] < 0.5 * error[0]
    assert 0 < moved(held) < moved(free)
    for name, value in network.g.mapping.state_dict().items():
        torch.testing.assert_close(free.mapping.state_dict()[name], value, rtol=0, atol=0)


def test_spaces_with_noise_need_noise_maps(network: Network) -> None:
    with pytest.raises(SampleError, match="no start for w"):
        rows = Latent("a", "w+", {"w": np.zeros((6, 16), np.float32)})
        projector(network, "w", init=start.Given("latent", lambda key, picture, label: rows)).run(
            ["a"], pictures_of(network, 1)[1]
        )


def test_perceptual_default_prefers_lpips_then_the_discriminator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    assert default_perceptual(True) == "discriminator"
    assert default_perceptual(False) == "pyramid"
    monkeypatch.setenv("GANTOOLS_WEIGHTS", str(tmp_path))
    (tmp_path / "squeezenet1_1-b8a52dc0.pth").touch()
    assert default_perceptual(True) == "lpips-squeeze"
    (tmp_path / "vgg16-397923af.pth").touch()
    assert default_perceptual(True) == "lpips-vgg"
