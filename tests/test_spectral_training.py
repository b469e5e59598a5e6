"""Trainings that look at spectra: SD, F-mining, a regulariser (S3.16-S3.18, S3.24, S3.30)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_growing_training as growing
import test_sngan_training as sngan
import test_training as stylegan2
import torch
from safetensors.torch import load_file
from torch import Tensor

from gantools.io import network as files
from gantools.report import Usage
from gantools.training import growing_presets, losses, networks, snapshots, state, upconv
from gantools.training.distributed import Ranks
from gantools.training.reader import in_memory
from gantools.training.spectral import Critic

KINDS: dict[str, dict[str, Any]] = {
    "log1p": {"spectral_d": "log1p"},
    "jk": {"spectral_d": "jk"},
    "dropout": {"spectral_d": "jk-nonlinear", "spectral_dropout": 0.5},
    "mining": {"f_mining": True},
    "durall": {"spec_reg": "durall"},
}
PGGAN = {"growing": False, "loss": "logistic", "gamma": 1.0}
SMALL = (
    "--resolution", "16", "--channel-base", "64", "--channel-max", "8", "--latent-dim", "16",
    "--batch", "32", "--no-grow", "--loss", "logistic", "--gamma", "1", "--snapshot", "1k",
    "--device", "cpu", "--workers", "2", "-q",
)  # fmt: skip
faces = growing.faces


def pggan(**more: Any) -> Any:
    return growing.trainer("pggan", "auto", **{**PGGAN, **more})


def made(family: str, **more: Any) -> Any:
    if family == "sngan":
        return sngan.trainer(d_steps=1, **more)
    return pggan(**more) if family == "pggan" else stylegan2.trainer(**more)


def critic(**more: Any) -> Critic:
    return Critic(growing_presets.resolve("pggan", "auto", 16, {**PGGAN, **more}))


def seen(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures that require a gradient, and logits of them that are no linear function."""
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    x = (x / 3).requires_grad_()
    return x, (x * torch.linspace(-1, 1, 16)).sum((1, 2, 3)).tanh()[:, None]


# What is played for.


def test_s3_16_each_discriminator_weighs_one_half() -> None:
    both = critic(spectral_d="log1p")
    x, d = seen()
    s = both.scores(x)
    joined = both.joined(d, s)
    for loss in (losses.generator_loss, losses.wgan_generator_loss):
        torch.testing.assert_close(loss(joined), (loss(d) + loss(s)) / 2)


def test_s3_16_r1_is_of_the_sum() -> None:
    """gamma/2 |grad D + grad SD|^2 with its cross term, not halved."""
    both = critic(spectral_d="log1p")
    x, d = seen()
    s = both.scores(x)
    (a,), (b,) = (torch.autograd.grad(y.sum(), x, retain_graph=True) for y in (d, s))
    wanted = (a + b).square().sum((1, 2, 3)).mean() * 3
    torch.testing.assert_close(both.penalty(d, s, x, 6.0), wanted)
    assert abs((a * b).sum()) > 1e-6


def test_s3_17_r1_is_of_each_in_stylegan2() -> None:
    both = critic(spectral_d="jk")
    x, d = seen()
    s = both.scores(x)
    torch.testing.assert_close(both.penalty(d, s, x, 6.0), losses.r1_penalty(d, x, 6.0))
    both = stylegan2.trainer(spectral_d="jk").critic
    s = both.scores(x := x[..., :8, :8].detach().requires_grad_())
    d = x.square().sum((1, 2, 3))[:, None]
    wanted = losses.r1_penalty(d, x, 6.0) + losses.r1_penalty(s, x, 6.0)
    torch.testing.assert_close(both.penalty(d, s, x, 6.0), wanted)


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_s3_18_pictures_are_only_weighed(share: float) -> None:
    """d D_ssd/dx = 1/2 dD/dx to the bit; C has its own hinge loss, and learns from that alone."""
    mined = critic(f_mining=True)
    mined.share = share
    x, d = seen()
    s = mined.scores(x)
    joined = mined.joined(d, s)
    torch.testing.assert_close(joined, (d + share * s) / 2)
    (plain,) = torch.autograd.grad(d.sum(), x, retain_graph=True)
    (half,) = torch.autograd.grad(joined.sum(), x, retain_graph=True)
    assert torch.equal(half, plain / 2)
    mined.own_loss(s, s).backward()
    assert all(p.grad is not None for p in mined.params) and x.grad is None


def test_s3_18_c_is_scaled_in_stylegan_and_has_no_r1() -> None:
    assert critic(f_mining=True).share == 1
    run = stylegan2.trainer(f_mining=True)
    assert run.critic.share == 0.4
    run.step()  # with R1
    score, layer = run.critic.net.main.weight, run.d.b4.out.weight  # type: ignore[union-attr]
    assert int(run.critic_opt.state[score]["step"]) == 1
    assert int(run.d_opt.state[layer]["step"]) == 2


def test_s3_30_fixture(fixtures: Path) -> None:
    """UpConv's profile, its divergence and what it makes of G's loss."""
    t = load_file(fixtures / "numerics/upconv_profile.safetensors")
    told = json.loads((fixtures / "numerics/upconv_profile.json").read_text())["values"]
    x = t["images"].float() / 127.5 - 1
    torch.testing.assert_close(upconv.profile(x), t["profile"], atol=2e-5, rtol=0)
    term = upconv.divergence(x[:2], x[2:])
    assert float(term) == pytest.approx(told["bce_real_input_fake_target"], abs=1e-5)
    g_loss = upconv.regularised(torch.tensor(told["g_loss"]), term)
    assert float(g_loss) == pytest.approx(told["G_loss"], abs=1e-6)
    assert upconv.profile(torch.rand(1, 3, 128, 128)).shape == (1, 88)


def test_s3_30_has_no_gradient_of_its_own() -> None:
    x, d = seen()
    term = upconv.divergence(torch.rand(4, 3, 16, 16), x)
    loss = upconv.regularised(d.mean(), term)
    (found,), (plain,) = (torch.autograd.grad(y, x, retain_graph=True) for y in (loss, d.mean()))
    torch.testing.assert_close(found, plain * (1 + 1e-5 * term))


# What a run does with it.


@pytest.mark.parametrize("family", ["pggan", "stylegan2", "sngan"])
@pytest.mark.parametrize("kind", KINDS)
def test_s3_16_to_s3_30_all_learn_and_resume(family: str, kind: str) -> None:
    """Every network moves, and a state restored after a step goes on to the same bits."""
    a, b = made(family, **KINDS[kind]), made(family, **KINDS[kind])
    fresh = {name: t.tobytes() for name, t in state.tensors_of(a).items()}
    a.step()
    after = state.tensors_of(a)
    saved = state.Saved(a.config, {}, None, a.images, a.iteration, after)  # type: ignore[arg-type]
    state.restore(b, saved)
    a.step()
    b.step()
    left, right = state.tensors_of(a), state.tensors_of(b)
    assert left.keys() == right.keys()
    assert all(left[name].tobytes() == right[name].tobytes() for name in left)
    assert a.is_finite()
    told = a.sums.means(Ranks())
    if kind == "durall":
        assert told["spec_reg"] > 0 and a.critic.net is None
        return
    assert {"spectral_real", "spectral_fake"} <= set(told)
    assert ("loss_spectral" in told) == (kind == "mining")
    own = [name for name in left if name.startswith("spectral.")]
    assert own
    assert all(left[n].tobytes() != fresh[n] for n in own if n.endswith("weight"))
    assert any(n.startswith("spectral_opt.") and n.endswith("exp_avg") for n in left)
    assert a.critic.separate == (kind != "log1p") == (a.critic_opt is not a.d_opt)


@pytest.mark.parametrize("kind", ["log1p", "mining"])
def test_s3_18_only_sd_reaches_the_generator(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With D's logits a constant G gets a gradient from SD, and none from F-mining's score."""
    run = pggan(**KINDS[kind])

    def constant(images: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        return images.sum((1, 2, 3))[:, None] * 0, images.new_empty(len(images), 0)

    monkeypatch.setattr(run, "_logits", constant)
    run._begin()
    run._g_main(run.moment, run._shown(8)).backward()
    slopes = [float(p.grad.abs().sum()) for p in run.g_params if p.grad is not None]
    assert (sum(slopes) > 0) == (kind == "log1p")


@pytest.mark.parametrize("kind", ["log1p", "dropout"])
def test_parts_of_a_batch_sum_to_the_same_step_s3_16(kind: str) -> None:
    """--batch-gpu changes no more than rounding, in SD as in D."""
    given = {**PGGAN, **KINDS[kind], "channel_base": 64, "channel_max": 8, "latent_dim": 16}
    config = growing_presets.resolve("pggan", "auto", 16, {**given, "batch": 8, "mbstd_group": 4})
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), np.uint8)
    found = []
    for batch_gpu in (None, 4):
        nets = networks.new_networks(config)
        run = growing.GrowingTrainer(config, nets, in_memory(config, pixels), batch_gpu=batch_gpu)
        run._begin()
        run._d_step(run.moment)
        params = (*run.d_params, *run.critic.params)
        found.append([p.grad.clone() for p in params if p.grad is not None])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=2e-3)


def test_s3_17_forms_of_jung_and_keuper() -> None:
    """One layer, or two with leaky ReLU 0.2; dropout of what they see, before any layer."""
    plain, deep = critic(spectral_d="jk"), critic(spectral_d="jk-nonlinear")
    n = plain.inputs
    assert [sum(p.numel() for p in c.params) for c in (plain, deep)] == [n + 1, n * (n + 2) + 1]
    x, _ = seen()
    nothing = plain.scores(x, torch.zeros(4, n))
    torch.testing.assert_close(nothing, plain.net.main[0].bias.expand(4, 1))  # type: ignore[union-attr,index]
    some = (torch.arange(4 * n).reshape(4, n) % 3 == 0) * 3.0
    rest = 3 - some
    both = (plain.scores(x, some) + 2 * plain.scores(x, rest / 2)) / 3
    torch.testing.assert_close(both, plain.scores(x))  # of a linear one


def test_s3_17_dropout_is_drawn_anew_and_keeps_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    run = pggan(spectral_d="jk", spectral_dropout=0.25)
    drawn: list[Tensor] = []

    def noted(images: Tensor, seen: Tensor) -> Tensor:
        drawn.append(seen)
        return images.new_zeros(len(images), 1)

    monkeypatch.setattr(run.critic, "net", noted)
    run._begin()
    for _ in range(2):
        run._judged(torch.zeros(500, 3, 16, 16), 500)
    assert not torch.equal(*drawn)
    assert set(drawn[0].unique().tolist()) == {0, float(torch.tensor(4 / 3))}
    assert float(drawn[0].mean()) == pytest.approx(1, abs=0.03)


def test_s3_16_both_may_step_at_once() -> None:
    run = pggan(spectral_d="jk", simultaneous=True)
    before = {n: t.tobytes() for n, t in state.tensors_of(run).items()}
    run.step()
    after = state.tensors_of(run)
    assert after["spectral.main.0.weight"].tobytes() != before["spectral.main.0.weight"]
    assert after["g.b16.conv1.weight"].tobytes() != before["g.b16.conv1.weight"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"spectral_d": "log1p", "growing": True}, "--no-grow"),
        ({"spectral_d": "log1p", "loss": "wgan-gp", "gamma": 0.0}, "--loss logistic"),
        ({"spectral_d": "jk", "f_mining": True}, "one of them"),
        ({"spectral_d": "jk", "channels": 4}, "alpha"),
        ({"spectral_d": "jk-nonlinear", "channels": 4}, "alpha"),
        ({"spectral_dropout": 0.5}, "not given"),
        ({"f_mining": True, "spectral_dropout": 0.5}, "not given"),
        ({"spectral_d": "jk", "spectral_dropout": 1.0}, "below 1"),
        ({"spec_reg": "durall", "channels": 4}, "alpha"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(Usage, match=why):
        growing_presets.resolve("pggan", "auto", 16, {**PGGAN, **given})


def test_a_run_goes_on_and_is_fine_tuned_s3_16_s3_24(gt: Any, faces: Path, tmp_path: Path) -> None:
    """Two halves are one run, another SD is refused; then SD on a network trained without."""
    argv = ("train", "pggan", faces, *SMALL)
    spectral = (*argv, "--spectral-d", "jk")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert gt(*spectral, "-o", whole, "--images", "2k").code == 0
    for images in ("1k", "2k"):
        assert gt(*spectral, "-o", halves, "--images", images).code == 0
    assert growing.numbers(whole) == growing.numbers(halves)
    refused = gt(*argv, "--spectral-d", "log1p", "-o", halves, "--images", "3k")
    assert refused.code == 2 and "--spectral-d differs" in refused.err
    line = json.loads((whole / "log.jsonl").read_text().splitlines()[-1])
    assert {"spectral_real", "spectral_fake", "loss_d", "r1"} <= set(line)
    assert "spectral_real" in (whole / "report.html").read_text()

    start = whole / "network-000002.safetensors"
    tuned = tmp_path / "tuned"
    done = gt(*(flag for flag in argv if flag != "-q"), "--f-mining", "--net", start, "-o", tuned,
              "--images", "1k")  # fmt: skip
    assert done.code == 0, done.err
    assert "spectral discriminator is jk; f-mining starts fresh" in done.err
    assert gt("generate", "--net", tuned / "network-000001.safetensors", "--seeds", "1",
              "-o", tmp_path / "one.png").code == 0  # fmt: skip
    told = json.loads(gt("model", "info", "--json", start).text)
    assert told["parts"] == ["g_ema", "g", "d", "spectral"]
    assert told["parameters"]["spectral"] == critic(spectral_d="jk").inputs + 1


@pytest.mark.parametrize("kind", ["log1p", "dropout", "mining"])
def test_a_network_file_keeps_its_spectral_discriminator_s3_24(kind: str, tmp_path: Path) -> None:
    """--net goes on with what it has learned, singular vectors too; of another kind it is fresh."""
    run = pggan(**KINDS[kind])
    run.step()
    file = tmp_path / "network.safetensors"
    snapshots.save_network(file, run, {})
    made, _ = networks.from_checkpoint(files.load(file), run.config)
    again = growing.GrowingTrainer(run.config, made, run.reader)
    fresh = pggan(**KINDS[kind])
    for name, value in run.critic.net.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(again.critic.net.state_dict()[name], value)  # type: ignore[union-attr]
        if name.endswith("weight"):
            assert not torch.equal(fresh.critic.net.state_dict()[name], value)  # type: ignore[union-attr]
    other = pggan(**KINDS["jk"]).config
    assert networks.from_checkpoint(files.load(file), other)[0].spectral == {}
    damaged = files.load(file)
    damaged.tensors = {n: t for n, t in damaged.tensors.items() if n != "spectral.main.0.bias"}
    if kind != "mining":
        with pytest.raises(Usage, match="does not fit"):
            networks.from_checkpoint(damaged, run.config)
