"""train biggan: rates, average, batches in parts, exact resume, what its files hold (5.4)."""

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
from gantools.networks.network import open_network
from gantools.report import Usage
from gantools.training import families, growing_presets, networks, state
from gantools.training.growing import GrowingTrainer
from gantools.training.reader import in_memory

SMALL = (
    "--resolution", "32", "--ch", "2", "--latent-dim", "9", "--batch", "128", "--embed-dim", "4",
    "--d-steps", "2", "--snapshot", "1k", "--device", "cpu", "--workers", "2", "-q", "--labels",
    "folders", "--accumulate", "2",
)  # fmt: skip


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 30 pictures of 32x32 in three folders."""
    folder = tmp_path_factory.mktemp("biggan")
    for i in range(30):
        (folder / "abc"[i % 3]).mkdir(exist_ok=True)
        (folder / "abc"[i % 3] / f"{i:05d}.png").write_bytes(picture(i, 32))
    return folder


@pytest.fixture(scope="module")
def run(things: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of 1,000 images."""
    from gantools import cli

    folder = tmp_path_factory.mktemp("run") / "run"
    argv = ("train", "biggan", things, *SMALL, "-o", folder, "--images", "1k")
    assert cli.run([str(a) for a in argv]) == 0
    return folder


def trainer(**more: Any) -> GrowingTrainer:
    given = {"ch": 2, "latent_dim": 9, "batch": 4, "embed_dim": 4, "labels": "folders", **more}
    config = growing_presets.resolve("biggan", "auto", 32, given)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), np.uint8)
    reader = in_memory(config, pixels, np.arange(20) % 3 if config.labels else None)
    made = networks.new_networks(config, classes=3 if config.labels else 0)
    return GrowingTrainer(config, made, reader)


def numbers(folder: Path) -> dict[str, bytes]:
    _, tensors = tensorfile.read(folder / state.NAME)
    return {n: t.tobytes() for n, t in tensors.items() if not n.startswith("sums.")}


# The steps.


@pytest.mark.parametrize(
    "more", [{}, {"deep": True, "ch": 4}, {"labels": None}, {"hier": False, "embed_dim": 0}]
)
def test_both_networks_move_5_4(more: dict[str, Any]) -> None:
    """Every weight, u and moment, of every form; rates and betas of Adam are each player's own."""
    made = trainer(d_steps=2, **more)
    for net in (made.g, made.d):  # from gamma 0 attention's weights have no gradient
        for name, p in net.named_parameters():
            if name.endswith("gamma"):
                torch.nn.init.constant_(p, 0.1)
    old = {part: {n: t.clone() for n, t in getattr(made, part).state_dict().items()}
           for part in "gd"}  # fmt: skip
    for _ in range(2):
        made.step()
    assert made.is_finite() and made.images == 2 * 2 * 4
    (g,), (d,) = made.g_opt.param_groups, made.d_opt.param_groups
    assert (g["lr"], d["lr"], g["betas"], d["betas"]) == (1e-4, 4e-4, (0.0, 0.999), (0.0, 0.999))
    same = [
        f"{part}.{name}"
        for part, before in old.items()
        for name, tensor in getattr(made, part).state_dict().items()
        if torch.equal(tensor, before[name])
    ]
    # A bias before a batch norm, or behind which all are taken away, may have no gradient.
    assert all(name.endswith(".bias") for name in same), same


def part_of(made: GrowingTrainer, which: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The gradients of the first step of one player; no optimiser moves anything."""
    seen: dict[str, list[torch.Tensor]] = {}
    for name in ("g", "d"):
        parameters = getattr(made, f"{name}_params")

        def step(name: str = name, parameters: Any = parameters) -> None:
            seen.setdefault(name, [p.grad.clone() for p in parameters])

        monkeypatch.setattr(getattr(made, f"{name}_opt"), "step", step)
    made.step()
    return seen[which]


def test_parts_of_a_batch_in_closed_form_5_4(monkeypatch: pytest.MonkeyPatch) -> None:
    """G's gradient of a batch in two parts is the mean of the parts', each with its own moments.

    Computed by hand: the same z and classes, cut in two, through G and D in training.
    """
    made = trainer(accumulate=2)
    hand = trainer(accumulate=2)
    found = part_of(made, "g", monkeypatch)
    # The numbers of the step: D's fakes first, then G's own classes and z.
    hand._begin()
    reals, label = hand._reals(hand._shown(4))
    z = torch.randn(4, 9 // 4 * 4, generator=hand.generator)
    for half in (slice(0, 2), slice(2, 4)):
        with torch.no_grad():
            fake = hand.g(z[half], label[half])
            hand.d(reals[half] / 127.5 - 1, label[half])
            hand.d(fake, label[half])
    label = hand._label(4)
    z = torch.randn(4, 9 // 4 * 4, generator=hand.generator)
    for half in (slice(0, 2), slice(2, 4)):
        (-hand.d(hand.g(z[half], label[half]), label[half]).mean() / 2).backward()
    for ours, p in zip(found, hand.g_params, strict=True):
        torch.testing.assert_close(ours, p.grad, atol=1e-6, rtol=1e-4)
    for name, moment in hand.g.state_dict().items():
        torch.testing.assert_close(made.g.state_dict()[name], moment, atol=1e-6, rtol=1e-4)
    # One part is another gradient: its moments are of all four.
    whole = part_of(trainer(), "g", monkeypatch)
    assert any(not torch.allclose(a, b, rtol=1e-2) for a, b in zip(found, whole, strict=True))


def test_average_begins_late_and_follows_in_closed_form_5_4() -> None:
    """Before --ema-start it is G; then 0.5^(images / half-life), of moments too; u is its own."""
    made = trainer(ema_kimg=0.004, ema_start_kimg=0.008)
    made.step()
    own, average = made.g.state_dict(), made.g_ema.state_dict()
    names = [n for n in own if not n.endswith("spectral_norm.u")]
    assert all(torch.equal(own[n], average[n]) for n in names)
    wanted = {n: own[n].clone() for n in names}
    made.step()  # the ninth picture begins it: beta is 1/2
    for name in names:
        wanted[name] = (wanted[name] + made.g.state_dict()[name]) / 2
        torch.testing.assert_close(made.g_ema.state_dict()[name], wanted[name])
    for module in made.g_ema.modules():
        if getattr(module, "spectral_norm", None) is not None:
            assert module.spectral_norm.u.norm().item() == pytest.approx(1, abs=1e-5)


def test_presets_5_4() -> None:
    """ajbrock's numbers: rates, steps, batches, parts, z; 4.3M numbers in CIFAR-10's G."""
    cifar = growing_presets.resolve("biggan", "cifar10", None, {"labels": "dataset"})
    assert (cifar.batch, cifar.d_steps, cifar.lr, cifar.d_lr) == (50, 4, 2e-4, 2e-4)
    assert growing_presets.total_images(cifar) == 25_000_000  # 500 epochs of 50,000
    g, d = cifar.network_configs(10)
    assert (g["widths"], g["hier"], g["embed_dim"], d["attention"]) == ((256,) * 4, False, 0, ())
    with torch.device("meta"):
        net = networks.new_generator("biggan", g)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(4.3, abs=0.05)
    big = growing_presets.resolve("biggan", "imagenet", None, {"labels": "folders"})
    assert (big.batch, big.accumulate, big.resolution, big.ch) == (2048, 8, 128, 96)
    assert (big.lr, big.d_lr, big.ema_start_kimg) == (1e-4, 4e-4, 40_960)
    assert 0.5 ** (2.048 / big.ema_kimg) == pytest.approx(0.9999)
    g, _ = big.network_configs(1000)
    assert (g["z_dim"], g["c_dim"], g["attention"]) == (120, 1000, (4,))
    assert growing_presets.resolve("biggan", "auto", 32, {}).attention == 16
    for given, why in (
        ({"hier": False}, "give --labels, or --hier"),
        ({"deep": True, "hier": False, "labels": "x"}, "read all of z"),
        ({"latent_dim": 3}, "4 layers read a part"),
        ({"ch": 1}, "attention takes 8 channels or more, and has 4"),
        ({"attention": 50}, "no stage has so many pixels"),
        ({"accumulate": 3}, "--batch 64 has no so many equal parts"),
        ({"deep": True, "ch": 1, "attention": 0, "resolution": 64}, "4 channels or more"),
    ):
        with pytest.raises(Usage, match=why):
            growing_presets.resolve("biggan", "auto", 32, given)
    with pytest.raises(Usage, match="no architecture for 16 pixels"):
        growing_presets.resolve("biggan", "auto", 16, {})


# The run folder.


def test_interrupted_runs_are_the_same_run_5_4(gt: Any, things: Path, run: Path,
                                                tmp_path: Path) -> None:  # fmt: skip
    """Killed in the middle of a step and begun again: the bits of a run that never stopped."""
    folder = tmp_path / "run"
    args = ("train", "biggan", things, *SMALL, "-o", folder, "--images")
    done = gt(*args, "500")
    assert done.code == 0, done.err
    step = GrowingTrainer._g_main

    def dies(self: Any, now: Any) -> Any:
        if self.images > 700:
            raise MemoryError("killed")
        return step(self, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GrowingTrainer, "_g_main", dies)
        assert gt(*args, "1k").code != 0
    done = gt(*args, "1k")
    assert done.code == 0, done.err
    assert numbers(folder) == numbers(run)
    ours, theirs = (p / "network-000001.safetensors" for p in (folder, run))
    assert network.header(ours)["id"] == network.header(theirs)["id"]


def test_network_file_makes_pictures(gt: Any, run: Path, things: Path, tmp_path: Path) -> None:
    """Classes by name, truncation; D comes along; another run starts from it."""
    made = run / "network-000001.safetensors"
    read = open_network(str(made), discriminator=True)
    assert (read.family, read.size, read.has_w) == ("biggan", (32, 32), False)
    assert read.d is not None
    done = gt("generate", "--net", made, "--seeds", "0-3", "--class", "b", "--psi", "0.5", "--grid",
              "2x2", "-o", ".png")  # fmt: skip
    assert done.code == 0, done.err
    assert image.decode(done.out).shape == (64, 64, 3)
    told = json.loads(gt("model", "info", made, "--json").out)
    assert told["parameters"]["d"] == sum(p.numel() for p in read.d.parameters())
    done = gt("train", "biggan", things, *SMALL, "-o", tmp_path / "run", "--images", "100", "--net",
              made)  # fmt: skip
    assert done.code == 0, done.err
    done = gt("metrics", "kid", things, "--net", made, "--num", "20", "--features",
              "discriminator", "--json")  # fmt: skip
    assert done.code == 0 and math.isfinite(json.loads(done.out)["kid"]), done.err


def test_networks_made_for_pictures_alone_are_not_trained(
    gt: Any, fixtures: Path, things: Path, tmp_path: Path
) -> None:
    done = gt("train", "biggan", things, *SMALL, "-o", tmp_path / "run", "--net",
              fixtures / "hf_biggan_r32")  # fmt: skip
    assert (done.code, "made for pictures alone" in done.err) == (2, True), done.err


def test_wrong_flags_are_refused_in_one_line(gt: Any, run: Path, things: Path) -> None:
    before = (run / state.NAME).read_bytes()
    args = ("train", "biggan", things, *SMALL, "-o", run, "--images", "2k")
    for more, why in (
        (("--accumulate", "4"), "--accumulate differs from the run"),
        (("--d-lr", "0.1", "--ch", "4"), "--d-lr, --ch differ from the run"),
        (("--ema-start", "1k"), "--ema-start differs from the run"),
        (("--preset", "cifar10"), "--preset differs from the run"),
        (("--accumulate", "3"), "no so many equal parts"),
        (("--resolution", "16"), "no architecture for 16 pixels"),
        (("--batch-gpu", "2"), "No such option"),
    ):
        done = gt(*args, *more)
        assert (done.code, why in done.err) == (2, True), (more, done.err)
        assert done.err.count("\n") == 1
    done = gt("train", "sngan", things, "-o", run, "--resolution", "32", "--images", "2k")
    assert (done.code, "trains biggan, not sngan" in done.err) == (2, True), done.err
    assert (run / state.NAME).read_bytes() == before


def test_report_and_families(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "Logits" in page
    saved = state.read(run)
    assert saved is not None and saved.config.family == "biggan"
    assert families.config_of(saved.config.to_dict()) == saved.config
