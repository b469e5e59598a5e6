"""train sngan: hinge losses, falling learning rate, exact resume, what its files hold (S3.25)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training import picture

from gantools.io import image, network, tensorfile
from gantools.io.latent import Latent
from gantools.networks import sngan
from gantools.networks.network import numbers as numpy_of
from gantools.networks.network import open_network
from gantools.report import Usage
from gantools.training import families, growing_presets, losses, networks, state
from gantools.training.growing import GrowingTrainer
from gantools.training.reader import in_memory

SMALL = (
    "--resolution", "32", "--channel-max", "4", "--latent-dim", "8", "--batch", "32", "--d-steps",
    "2", "--decay", "4k", "--snapshot", "1k", "--device", "cpu", "--workers", "2", "-q",
)  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 30 pictures of 32x32."""
    folder = tmp_path_factory.mktemp("sngan")
    for i in range(30):
        (folder / f"{i:05d}.png").write_bytes(picture(i, 32))
    return folder


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of 1,000 images."""
    from gantools import cli

    folder = tmp_path_factory.mktemp("run") / "run"
    argv = ("train", "sngan", faces, *SMALL, "-o", folder, "--images", "1k")
    assert cli.run([str(a) for a in argv]) == 0
    return folder


def trainer(**more: Any) -> GrowingTrainer:
    given = {"channel_max": 4, "latent_dim": 8, "batch": 4, **more}
    config = growing_presets.resolve("sngan", "auto", 32, given)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), np.uint8)
    return GrowingTrainer(config, networks.new_networks(config), in_memory(config, pixels))


def numbers(folder: Path) -> dict[str, bytes]:
    _, tensors = tensorfile.read(folder / state.NAME)
    return {n: t.tobytes() for n, t in tensors.items() if not n.startswith("sums.")}


# The steps.


def test_s3_25_both_networks_move_and_d_is_shown_five_batches() -> None:
    made = trainer()
    old = {part: {n: t.clone() for n, t in getattr(made, part).state_dict().items()}
           for part in "gd"}  # fmt: skip
    for _ in range(3):
        made.step()
    assert made.is_finite() and made.images == 3 * 5 * 4
    told = made.sums.means(made.ranks)
    assert set(told) == {"loss_d", "loss_g", "score_real", "score_fake"}
    assert all(math.isfinite(v) for v in told.values()) and told["loss_d"] >= 0
    # Weights, u and running moments alike. Left as they were: a bias before a batch norm has no
    # gradient, and a u of one number is 1.
    same = [
        f"{part}.{name}"
        for part in "gd"
        for name, tensor in getattr(made, part).state_dict().items()
        if torch.equal(tensor, old[part][name])
    ]
    biases = {f"g.blocks.{i}.conv0.bias" for i in range(3)}
    assert set(same) <= {"d.out.spectral_norm.u", *biases}


def test_s3_25_d_loss_is_the_hinge_of_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """relu(1 - real) + relu(1 + fake); G: -fake; reals and fakes are judged apart."""
    made, seen = trainer(d_steps=1), []
    judge = made.d.forward

    def forward(images: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(judge(images, *rest))
        return seen[-1]

    monkeypatch.setattr(made.d, "forward", forward)
    made.step()
    real, fake, later = (x.detach() for x in seen)
    told = made.sums.means(made.ranks)
    wanted = (1 - real).relu().mean() + (1 + fake).relu().mean()
    assert told["loss_d"] == pytest.approx(wanted.item())
    assert told["loss_g"] == pytest.approx(-later.mean().item())
    assert losses.hinge_discriminator_loss(real, fake).mean().item() == pytest.approx(wanted.item())


def test_s3_25_learning_rate_in_closed_form() -> None:
    """2e-4 (1 - images / length) in every iteration, of both players; Adam (0, 0.9)."""
    made = trainer(d_steps=2, decay_kimg=0.048)
    for i in range(7):
        made.step()
        groups = [*made.g_opt.param_groups, *made.d_opt.param_groups]
        wanted = pytest.approx(2e-4 * max(1 - i * 8 / 48, 0), abs=1e-18)
        assert all(group["lr"] == wanted and group["betas"] == (0.0, 0.9) for group in groups)
        assert made.told()["lr"] == wanted
    # At a rate of 0 nothing moves any more.
    before = made.g.fc.weight.detach().clone()
    made.step()
    assert torch.equal(before, made.g.fc.weight)


def test_s3_25_presets() -> None:
    """100,000 steps of G with 64 pictures; 5 steps of D, in SSD-GAN's LSUN setting 2."""
    cifar = growing_presets.resolve("sngan", "cifar10", None, {})
    assert (cifar.resolution, cifar.loss, cifar.d_steps, cifar.ema_kimg) == (32, "hinge", 5, 0.0)
    now = cifar.schedule().at(0)
    assert (now.lr, now.batch, now.lod, now.resolution) == (2e-4, 64, 0.0, 32)
    assert growing_presets.total_images(cifar) == 100_000 * 5 * 64
    assert cifar.schedule().at(8_000_000).lr == pytest.approx(1.5e-4)
    g, d = cifar.network_configs()
    assert (g["widths"], d["widths"], g["z_dim"]) == ((256,) * 4, (128,) * 4, 128)
    lsun = growing_presets.resolve("sngan", "lsun", None, {})
    assert (lsun.resolution, lsun.d_steps) == (128, 2)
    assert growing_presets.total_images(lsun) == 100_000 * 2 * 64
    small = growing_presets.resolve("sngan", "auto", 48, {"channel_max": 100, "batch": 32})
    assert growing_presets.total_images(small) == 100_000 * 5 * 32
    assert small.network_configs()[0]["widths"] == (100, 100, 100, 64)
    assert growing_presets.has_resolution("sngan", "lsun")
    for size in (16, 40, 256):
        with pytest.raises(Usage, match=f"no architecture for {size} pixels"):
            growing_presets.resolve("sngan", "auto", size, {})


def test_without_an_average_g_ema_is_g_and_with_one_it_lags() -> None:
    """--ema-kimg: 0.5^(20 images / half-life), for weights and the running moments that fit."""
    made, lazy = trainer(), trainer(ema_kimg=0.02)
    wanted = {n: t.clone() for n, t in made.g.state_dict().items()}
    for _ in range(2):
        made.step()
        lazy.step()
        wanted = {n: (wanted[n] + t) / 2 for n, t in made.g.state_dict().items()}
    own, average = made.g.state_dict(), made.g_ema.state_dict()
    assert all(torch.equal(own[n], average[n]) for n in own)
    assert all(torch.equal(own[n], t) for n, t in lazy.g.state_dict().items())
    torch.testing.assert_close(dict(lazy.g_ema.state_dict()), wanted)


def test_moments_that_are_not_finite_are_noticed() -> None:
    """A running mean never recovers, though no weight has taken harm."""
    made = trainer()
    made.step()
    assert made.is_finite()
    made.g.norm.mean[0] = math.nan
    assert not made.is_finite()


# The run folder.


def test_interrupted_runs_are_the_same_run(gt: Any, faces: Path, tmp_path: Path) -> None:
    """Ending and resuming at several places changes no bit of state, networks and samples."""
    args = ("train", "sngan", faces, *SMALL)
    for folder, stops in (("straight", ["2k"]), ("broken", ["1k", "1300", "2k"])):
        for images in stops:
            done = gt(*args, "-o", tmp_path / folder, "--images", images)
            assert done.code == 0, done.err
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert numbers(straight) == numbers(broken)
    for name in ("network-000002.safetensors", "samples/000002.png"):
        assert (straight / name).read_bytes() == (broken / name).read_bytes()
    lines = [json.loads(x) for x in (straight / "log.jsonl").read_text().splitlines()]
    assert [x["images"] for x in lines] == [1024, 2048]
    assert all(x["batch"] == 32 and "lod" not in x for x in lines)
    for line in lines:  # of the last iteration, which began 64 images before
        assert line["lr"] == pytest.approx(2e-4 * (1 - (line["images"] - 64) / 4000))


def test_state_has_u_and_the_running_moments(run: Path) -> None:
    """All that a step changes: without them a resumed run would be another."""
    _, tensors = tensorfile.read(run / state.NAME)
    made = trainer()
    u = {f"d.{n}" for n, _ in made.d.named_buffers()}
    moments = {f"{part}.{n}" for part in ("g", "g_ema") for n, _ in made.g.named_buffers()}
    assert len(u) == 11 and all(n.endswith("spectral_norm.u") for n in u)
    assert len(moments) == 2 * 2 * 7
    assert u | moments <= set(tensors)
    for name in u:
        assert np.linalg.norm(tensors[name]) == pytest.approx(1, abs=1e-5)
    assert tensors["g.norm.mean"].any() and (tensors["g.norm.var"] != 1).all()


def test_network_file_is_the_state_to_the_bit(gt: Any, run: Path) -> None:
    """g_ema, g and d, read back as they were; `model info` counts what is trained."""
    _, tensors = tensorfile.read(run / state.NAME)
    made = run / "network-000001.safetensors"
    read = open_network(str(made), discriminator=True)
    assert (read.family, read.size, read.has_w) == ("sngan", (32, 32), False)
    assert read.d is not None
    for part, module in (("g_ema", read.g), ("d", read.d)):
        for name, tensor in module.state_dict().items():
            assert np.array_equal(tensor.numpy(), tensors[f"{part}.{name}"]), name
    told = json.loads(gt("model", "info", made, "--json").out)
    assert told["parameters"]["g_ema"] == sum(p.numel() for p in read.g.parameters())
    assert told["parameters"]["d"] == sum(p.numel() for p in read.d.parameters())
    assert (told["family"], told["images_shown"], told["layers"]) == ("sngan", 1024, [])


def test_generate_mix_and_edit_from_the_saved_file(gt: Any, run: Path, tmp_path: Path) -> None:
    net = ("--net", run / "network-000001.safetensors")
    done = gt("generate", *net, "--seeds", "0-1", "--space", "z", "-o", f"{tmp_path}/z/")
    assert done.code == 0, done.err
    latents = [tmp_path / "z" / f"seed00000{i}.safetensors" for i in (0, 1)]
    z = torch.from_numpy(Latent.from_bytes(latents[0].read_bytes(), "a").tensors["z"])
    shown = image.decode(gt("generate", *net, latents[0], "-o", ".png").out)
    g = open_network(str(net[1])).g
    pixels = ((g(z[None])[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255)
    assert shown.shape == (32, 32, 3)
    assert np.abs(pixels.numpy() - shown).max() <= 1
    seeded = gt("generate", *net, "--seeds", "0", "-o", ".png")
    assert np.array_equal(image.decode(seeded.out), shown)
    mixed = gt("mix", *net, *latents, "--at", "0", "-o", ".png")
    assert (mixed.code, mixed.err) == (0, "")
    assert np.array_equal(image.decode(mixed.out), shown)
    np.save(tmp_path / "up.npy", np.ones((1, 8), np.float32))
    edited = gt("edit", *net, latents[0], "--dir", tmp_path / "up.npy", "--strength", "0.5",
                "-o", ".safetensors")  # fmt: skip
    assert edited.code == 0, edited.err
    moved = Latent.from_bytes(edited.out, "a").tensors["z"]
    assert np.allclose(moved, z.numpy() + 0.5)
    refused = gt("generate", *net, "--seeds", "0", "--psi", "0.7", "-o", ".png")
    assert (refused.code, "a sngan network, which has z and no w" in refused.err) == (2, True)


def test_metrics_of_the_saved_network(gt: Any, run: Path, faces: Path) -> None:
    """Its own pictures against the training's, by the features of its own discriminator."""
    done = gt("metrics", "kid", faces, "--net", run / "network-000001.safetensors", "--num", "20",
              "--features", "discriminator", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert math.isfinite(json.loads(done.out)["kid"])


def test_another_run_starts_from_it(gt: Any, run: Path, faces: Path, tmp_path: Path) -> None:
    """--net: weights, u and running moments of the start, and whose child it is."""
    made = run / "network-000001.safetensors"
    done = gt("train", "sngan", faces, *SMALL, "-o", tmp_path / "run", "--images", "1k", "--net",
              made)  # fmt: skip
    assert done.code == 0, done.err
    story = network.header(tmp_path / "run" / "network-000001.safetensors")
    assert story["derived_from"] == [network.header(made)["id"]]
    done = gt("train", "pggan", faces, "--resolution", "32", "-o", tmp_path / "p", "--net", made)
    assert (done.code, "a sngan network, not pggan" in done.err) == (2, True), done.err


def test_a_fresh_discriminator_has_widths_of_its_own() -> None:
    """Beside a generator from a file without one: not G's, which run the other way."""
    config = growing_presets.resolve("sngan", "auto", 64, {"channel_max": 80, "latent_dim": 4})
    made = networks.new_networks(config)
    tensors = {f"g_ema.{n}": t for n, t in numpy_of(made.g).items()}
    alone = network.Checkpoint("sngan", {"g": made.g.cfg.to_dict(), "d": None}, tensors)
    again, _ = networks.from_checkpoint(alone, config)
    assert made.g.cfg.widths == again.g.cfg.widths == (80, 80, 80, 80, 64)
    assert made.d.cfg.widths == again.d.cfg.widths == (64, 80, 80, 80, 80)


def test_report_shows_the_curves(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "Logits" in page and "Learning rate" in page
    assert "Level of detail" not in page


def test_wrong_flags_and_other_families_are_refused(gt: Any, run: Path, faces: Path) -> None:
    """One line, nothing written: other settings, other families, sizes it has no network for."""
    before = (run / state.NAME).read_bytes()
    args = ("train", "sngan", faces, *SMALL, "-o", run, "--images", "2k")
    for more, why in (
        (("--d-steps", "5"), "--d-steps differs from the run"),
        (("--decay", "8k", "--lr", "0.01"), "--decay, --lr differ from the run"),
        (("--preset", "cifar10"), "--preset differs from the run"),
        (("--images", "5k"), "the learning rate is 0 from 4,000 pictures on"),
        (("--decay", "0"), "--decay 0: expected an amount above 0"),
        (("--resolution", "16"), "no architecture for 16 pixels"),
        (("--d-steps", "0"), "--d-steps"),
        (("--loss", "hinge"), "No such option"),
        (("--preset", "ffhq"), "--preset"),
    ):
        done = gt(*args, *more)
        assert (done.code, why in done.err) == (2, True), (more, done.err)
        assert done.err.count("\n") == 1
    for family in ("pggan", "stylegan", "stylegan2"):
        done = gt("train", family, faces, "-o", run, "--resolution", "32", "--images", "2k")
        assert (done.code, f"trains sngan, not {family}" in done.err) == (2, True), done.err
    assert (run / state.NAME).read_bytes() == before


def test_families_of_states_are_told_apart(run: Path) -> None:
    saved = state.read(run)
    assert saved is not None and saved.config.family == "sngan"
    assert families.config_of(saved.config.to_dict()) == saved.config
    assert sngan.GeneratorConfig.from_dict(saved.networks["g"]).widths == (4, 4, 4, 4)
