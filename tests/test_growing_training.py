"""train pggan, train stylegan: growing, losses, presets, exact resume (S0.9-S0.11, S1.7-S1.14)."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training import picture

from gantools.io import image, network, seeds, tensorfile
from gantools.networks.batch_norm import BatchNorm
from gantools.networks.network import open_network
from gantools.report import Usage
from gantools.training import families, growing_presets, networks, state
from gantools.training.growing import GrowingTrainer
from gantools.training.reader import in_memory

SMALL = (
    "--resolution", "16", "--channel-base", "64", "--channel-max", "8", "--latent-dim", "16",
    "--batch", "32", "--device", "cpu", "--workers", "2", "-q",
)  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 30 pictures of 16x16."""
    folder = tmp_path_factory.mktemp("growing")
    for i in range(30):
        (folder / f"{i:05d}.png").write_bytes(picture(i, 16))
    return folder


def trainer(family: Any = "pggan", preset: str = "auto", **more: Any) -> GrowingTrainer:
    given = {
        "channel_base": 64, "channel_max": 8, "latent_dim": 16, "batch": 8, "stable_kimg": 0.064,
        "fade_kimg": 0.064, **({"map_depth": 2} if family == "stylegan" else {}),
    }  # fmt: skip
    resolution = more.pop("resolution", 16)
    config = growing_presets.resolve(family, preset, resolution, {**given, **more})
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, resolution, resolution), np.uint8)
    return GrowingTrainer(config, networks.new_networks(config), in_memory(config, pixels))


def numbers(folder: Path) -> dict[str, bytes]:
    _, tensors = tensorfile.read(folder / state.NAME)
    return {n: t.tobytes() for n, t in tensors.items() if not n.startswith("sums.")}


def test_growth_follows_the_schedule_s1_7() -> None:
    """lod goes down with the images shown; unseen resolutions stay as they were drawn."""
    made = trainer()
    top = made.g.b16.conv1.weight.detach().clone()
    lods = []
    while made.lod > 0:
        before = made.lod
        made.step()
        lods.append(made.lod)
        assert made.lod <= before
        if made.lod >= 1:
            assert torch.equal(made.g.b16.conv1.weight, top)
    assert lods[0] == 2 and any(x % 1 for x in lods) and any(x == 1 for x in lods)
    assert not torch.equal(made.g.b16.conv1.weight, top)
    assert made.images == 8 * made.iteration


def test_adam_is_reset_where_a_resolution_comes_in_s0_9() -> None:
    """Its step counts start again when fading starts and when it ends."""
    made = trainer()
    fewest, before = [], made.lod
    for _ in range(40):
        made.step()
        steps = int(made.d_opt.state[made.d.b4.out.weight]["step"])
        if (math.ceil(made.lod), math.floor(made.lod)) != (math.ceil(before), math.floor(before)):
            fewest.append(steps)
        before = made.lod
    assert fewest == [1, 1, 1, 1]


def test_reals_fade_as_the_fakes_do_s1_8() -> None:
    """A real picture at lod 1.5: 8x8, half of it from 4x4."""
    made = trainer()
    made.looked_at.fill_(64 + 32)
    now = made.moment
    assert (now.lod, now.resolution) == (1.5, 8)
    index, flipped = made.reader.order.take(0, now.batch)
    assert not flipped.any()
    full = made.reader.pixels[torch.from_numpy(index)].float() / 127.5 - 1
    small = torch.nn.functional.avg_pool2d(full, 2)
    coarse = torch.nn.functional.avg_pool2d(full, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(made._faded(made._shown(now.batch), now)[0], (small + coarse) / 2)


@pytest.mark.parametrize("family", ["pggan", "stylegan"])
@pytest.mark.parametrize("loss", [x for x in growing_presets.LOSSES if x != "gan-cls"])
def test_every_loss_moves_both_networks(family: str, loss: str) -> None:
    """S1.9, S1.10, S0.9, S3.25: finite numbers, both networks change, their terms are told."""
    gamma = {"gamma": 1.0} if loss in ("logistic", "hinge") else {"gamma": 0.0}
    made = trainer(family, loss=loss, growing=False, **gamma)
    before = [p.detach().clone() for p in (made.g.b4 if family == "pggan" else made.g.synthesis.b4)
              .parameters()]  # fmt: skip
    made.gdrop.fill_(0.9)
    critic = made.d.b4.out.weight.detach().clone()
    for _ in range(3):
        made.step()
    told = made.sums.means(made.ranks)
    assert all(math.isfinite(v) for v in told.values()) and made.is_finite()
    assert ("gradient_penalty" in told) == (loss == "wgan-gp")
    assert ("r1" in told) == ("gamma" in gamma and gamma["gamma"] > 0)
    after = (made.g.b4 if family == "pggan" else made.g.synthesis.b4).parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not torch.equal(critic, made.d.b4.out.weight)
    assert (float(made.gdrop) != 0.9) == (loss == "lsgan")


def test_r1_is_lazy_where_it_is_asked_to_be_s0_9(tmp_path: Path) -> None:
    """Every third step it is three times as strong, and in the others it is not there."""
    made = {
        (gamma, every): trainer(loss="logistic", growing=False, gamma=gamma, r1_interval=every)
        for gamma, every in ((1.0, 3), (3.0, 1), (0.0, 1))
    }
    lazy, strong, bare = made[1.0, 3], made[3.0, 1], made[0.0, 1]
    for t in (lazy, strong):
        t.step()
    assert torch.equal(lazy.d.b4.out.weight, strong.d.b4.out.weight)
    assert 3 * lazy.sums.means(lazy.ranks)["r1"] == pytest.approx(
        strong.sums.means(strong.ranks)["r1"]
    )
    state.save(tmp_path, lazy, state.Progress(""))
    saved = state.read(tmp_path)
    assert saved is not None
    state.restore(bare, saved)
    for _ in range(2):
        lazy.step()
        bare.step()
    assert torch.equal(lazy.d.b4.out.weight, bare.d.b4.out.weight)
    assert "r1" not in lazy.sums.means(lazy.ranks)
    lazy.step()
    assert "r1" in lazy.sums.means(lazy.ranks)
    with pytest.raises(Usage, match="--r1-interval 3: without --gamma"):
        growing_presets.resolve("pggan", "auto", 8, {"r1_interval": 3})


@pytest.mark.parametrize("row", "abcdefg")
def test_s1_14_every_ablation_steps(row: str) -> None:
    """Each preset builds and steps at 8x8; D is shown d_steps batches for one of G."""
    made = trainer(preset=f"ablation-{row}", resolution=8, batch=4)
    made.step()
    assert made.is_finite()
    assert made.images == 4 * (5 if row in "abc" else 1)
    assert made.config.growing == (row != "a")


def test_presets_are_the_papers() -> None:
    """S1.21, S0.9, S0.10."""
    cifar = growing_presets.resolve("pggan", "cifar10", None, {})
    assert (cifar.resolution, cifar.gp_target, cifar.latent_dim) == (32, 750.0, 128)
    assert growing_presets.total_images(cifar) == 20_000_000
    assert cifar.schedule().stable_kimg == 400
    assert cifar.network_configs()[0]["widths"] == (128, 128, 128, 128)
    ffhq = growing_presets.resolve("stylegan", "ffhq", 1024, {})
    assert (ffhq.loss, ffhq.gamma, ffhq.mixing, ffhq.mirror) == ("logistic", 10.0, 0.9, True)
    assert growing_presets.total_images(ffhq) == 25_000_000
    g, d = ffhq.network_configs()
    assert (g["widths"][-1], g["mapping_layers"], d["resample_filter"]) == (16, 8, (1, 2, 1))
    with pytest.raises(Usage, match="--gamma is R1's weight"):
        growing_presets.resolve("pggan", "auto", 16, {"gamma": 1.0})
    with pytest.raises(Usage, match="power of two"):
        growing_presets.resolve("pggan", "auto", 24, {})


@pytest.mark.parametrize("family", ["pggan", "stylegan"])
def test_interrupted_runs_are_the_same_run(
    gt: Any, faces: Path, tmp_path: Path, family: str
) -> None:
    """Ending and resuming at several places in the growth changes no bit of the state."""
    args = ("train", family, faces, *SMALL, "--stable", "1k", "--fade", "1k", "--snapshot", "1k",
            "--lr", "0.003")  # fmt: skip
    if family == "stylegan":
        args += ("--map-depth", "2")
    for folder, stops in (("straight", ["5k"]), ("broken", ["1k", "1500", "3k", "5k"])):
        for images in stops:
            done = gt(*args, "-o", tmp_path / folder, "--images", images)
            assert done.code == 0, done.err
    assert numbers(tmp_path / "straight") == numbers(tmp_path / "broken")
    lines = [json.loads(x) for x in (tmp_path / "straight" / "log.jsonl").read_text().splitlines()]
    assert [x["resolution"] for x in lines][:2] == ([8, 16] if family == "stylegan" else [4, 8])
    page = (tmp_path / "straight" / "report.html").read_text()
    assert "Images per second by resolution" in page and "Level of detail" in page
    saved = state.read(tmp_path / "straight")
    assert saved is not None and saved.config.family == family


def test_a_network_saved_while_growing_is_rendered_at_its_size(
    gt: Any, faces: Path, tmp_path: Path
) -> None:
    """lod stands in the file; the grid of samples is enlarged to full size."""
    args = ("train", "stylegan", faces, *SMALL, "--stable", "1k", "--fade", "1k", "--snapshot",
            "1k", "--map-depth", "2")  # fmt: skip
    assert gt(*args, "-o", tmp_path / "run", "--images", "1k").code == 0
    made = tmp_path / "run" / "network-000001.safetensors"
    assert network.header(made)["config"]["g"]["lod"] == 1.0
    assert open_network(str(made)).size == (8, 8)
    done = gt("generate", "--net", made, "--seeds", "0", "-o", tmp_path / "x.png")
    assert done.code == 0, done.err
    assert image.decode((tmp_path / "x.png").read_bytes()).shape == (8, 8, 3)
    grid = image.decode((tmp_path / "run" / "samples" / "000001.png").read_bytes())
    assert grid.shape == (128, 128, 3)
    again = gt(*args, "-o", tmp_path / "more", "--net", made, "--images", "1k")
    assert again.code == 0, again.err
    assert network.header(tmp_path / "more" / "network-000001.safetensors")["derived_from"]


def test_other_flags_and_families_are_refused(gt: Any, faces: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    args = ("train", "pggan", faces, *SMALL, "-o", run, "--snapshot", "1k", "--images", "1k")
    assert gt(*args).code == 0
    done = gt(*args, "--lr", "0.01", "--mirror")
    assert (done.code, "--mirror, --lr differ" in done.err) == (2, True), done.err
    done = gt(*args, "--stable", "2k", "--no-grow")
    assert (done.code, "--grow, --stable differ" in done.err) == (2, True), done.err
    done = gt("train", "stylegan", faces, *SMALL, "-o", run, "--snapshot", "1k", "--images", "2k")
    assert (done.code, "trains pggan, not stylegan" in done.err) == (2, True), done.err
    done = gt("train", "stylegan2", faces, "-o", run, "--resolution", "16", "--images", "2k")
    assert (done.code, "trains pggan, not stylegan2" in done.err) == (2, True), done.err


def test_families_of_states_are_told_apart() -> None:
    made = growing_presets.resolve("pggan", "auto", 16, {})
    assert families.config_of(made.to_dict()) == made
    with pytest.raises(Usage, match="unknown setting colour"):
        families.config_of({**made.to_dict(), "colour": 1})


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def test_s1_21_both_step_from_the_same_weights() -> None:
    """A step as written by hand: one batch of fakes, both gradients at the old weights.

    Alternating moves D alike, from the same first batch, and G otherwise.
    """
    made, other = (
        trainer(growing=False, stable_kimg=None, fade_kimg=None, lr=0.01, simultaneous=x)
        for x in (True, False)
    )
    g, d = copy.deepcopy(made.g), copy.deepcopy(made.d)
    other.step()
    made.step()
    made.generator.manual_seed(seeds.derive(0, "0", "iteration"))
    reals = made.reader.pixels[torch.from_numpy(made.reader.order.take(0, 8)[0])] / 127.5 - 1
    fakes = g(torch.randn(8, 16, generator=made.generator), None, lod=0)
    amount = torch.rand(8, 1, 1, 1, generator=made.generator)
    mixed = (reals + amount * (fakes.detach() - reals)).requires_grad_()
    slope = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)[0]
    penalty = 10 * (slope.square().sum(dim=(1, 2, 3)).sqrt() - 1).square().mean()
    real_scores = d(reals)
    d_loss = d(fakes).mean() - real_scores.mean() + 0.001 * real_scores.square().mean() + penalty
    wanted = {}
    for player, loss in ((d, d_loss), (g, -d(fakes).mean())):
        own = list(player.parameters())
        found = torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)
        for parameter, gradient in zip(own, found, strict=True):
            parameter.grad = gradient
        wanted[player] = torch.optim.Adam(own, lr=0.01, betas=(0.0, 0.99), eps=1e-8)
    for adam in wanted.values():
        adam.step()
    for ours, by_hand in ((made.g, g), (made.d, d), (other.d, d)):
        torch.testing.assert_close(weights(ours), weights(by_hand), atol=1e-4, rtol=1e-4)
    apart = [float((a - b).abs().max()) for a, b in zip(weights(other.g), weights(g), strict=True)]
    assert max(apart) > 0.005


def test_s1_21_together_in_parts_and_with_every_loss() -> None:
    """--batch-gpu sums both players' gradients; each counts its own batch once."""
    more = {"simultaneous": True, "mbstd_group": 2, "lr": 0.01}
    for loss in ("wgan-gp", "lsgan"):
        whole, parts = (trainer(loss=loss, **more) for _ in range(2))
        parts.batch_gpu = 2
        for made in (whole, parts):
            made.gdrop.fill_(0.9)
            made.step()
            assert (made.images, made.iteration) == (8, 1)
        assert float(whole.gdrop) == pytest.approx(float(parts.gdrop), rel=1e-5)
        for a, b in ((whole.g, parts.g), (whole.d, parts.d)):
            torch.testing.assert_close(weights(a), weights(b), atol=1e-3, rtol=1e-3)
    with pytest.raises(Usage, match="5 steps for one of the generator's"):
        growing_presets.resolve("pggan", "mnist-rgb", None, {"simultaneous": True})


def test_s1_21_interrupted_simultaneous_runs_are_the_same_run(
    gt: Any, faces: Path, tmp_path: Path
) -> None:
    """The cifar10 preset steps both at once; exact resume; another way of stepping is refused."""
    assert growing_presets.resolve("pggan", "cifar10", None, {}).simultaneous
    assert not growing_presets.resolve("pggan", "auto", 32, {}).simultaneous
    args = ("train", "pggan", faces, *SMALL, "--stable", "1k", "--fade", "1k", "--snapshot", "1k",
            "--simultaneous")  # fmt: skip
    for folder, stops in (("straight", ["3k"]), ("broken", ["1500", "3k"])):
        for images in stops:
            done = gt(*args, "-o", tmp_path / folder, "--images", images)
            assert done.code == 0, done.err
    assert numbers(tmp_path / "straight") == numbers(tmp_path / "broken")
    done = gt(*args, "--alternating", "-o", tmp_path / "broken", "--images", "4k")
    assert (done.code, "--simultaneous differs" in done.err) == (2, True), done.err


@pytest.mark.parametrize("row", ["wgan-gp", "norm", "stddev"])
def test_s1_22_crippled_discriminators_step(row: str) -> None:
    """Each variant trains with a D of a quarter of G's channels; five batches of D for one of G."""
    made = trainer(
        preset=f"mnist-rgb-{row}", resolution=8, batch=4, channel_max=64, d_channel_base=16
    )
    assert made.d.cfg.widths == tuple(w // 4 for w in made.g.cfg.widths)
    before = [weights(made.g), weights(made.d)]
    made.step()
    assert made.is_finite() and made.images == 20
    for old, player in zip(before, (made.g, made.d), strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(old, weights(player), strict=True))
    batch_norm = any(isinstance(m, BatchNorm) for m in made.d.modules())
    assert batch_norm == (row == "wgan-gp")


def test_s1_22_a_crippled_run_resumes(gt: Any, faces: Path, tmp_path: Path) -> None:
    """Batch norm's moments are in the state; D's width stays, also where --net has no D."""
    small = ("--resolution", "16", "--channel-base", "64", "--d-channel-base", "32", "--batch",
             "16", "--device", "cpu", "--workers", "2", "--snapshot", "1k", "-q")  # fmt: skip
    args = ("train", "pggan", faces, "--preset", "mnist-rgb-wgan-gp", *small)
    for folder, stops in (("straight", ["1k"]), ("broken", ["400", "1k"])):
        for images in stops:
            done = gt(*args, "-o", tmp_path / folder, "--images", images)
            assert done.code == 0, done.err
    assert numbers(tmp_path / "straight") == numbers(tmp_path / "broken")
    saved = state.read(tmp_path / "straight")
    assert saved is not None
    assert saved.networks["d"]["widths"] == [8, 4, 2]
    done = gt(*args, "--d-channel-base", "16", "-o", tmp_path / "broken", "--images", "2k")
    assert (done.code, "--d-channel-base differs" in done.err) == (2, True), done.err
