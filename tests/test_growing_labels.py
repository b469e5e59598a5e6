"""train pggan, stylegan and sngan with classes and in greyscale (papers.md S1.11, S3.25)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_distributed import lines, trained
from test_labels_training import COLOURS, painted
from test_training import numbers, picture, same_state

from gantools.io import network
from gantools.report import Usage
from gantools.training import (
    conditional,
    growing_config,
    growing_presets,
    losses,
    networks,
    snapshots,
    state,
)
from gantools.training.growing import GrowingTrainer
from gantools.training.reader import in_memory

FAMILIES = ("pggan", "stylegan", "sngan")
SIZE = {"pggan": 8, "stylegan": 8, "sngan": 32}
CLASSES = 3
SHOWN = np.array([(2, 0, 0, 1, 1, 1)[i % 6] for i in range(48)])


def config(family: Any, **more: Any) -> growing_config.GrowingConfig:
    given = {"channel_max": 4 if family == "sngan" else 8, "latent_dim": 8, "batch": 8}
    given |= {"d_steps": 1} if family == "sngan" else {"growing": False}
    given |= {"map_depth": 1} if family == "stylegan" else {}
    size = more.pop("resolution", SIZE[family])
    return growing_presets.resolve(family, "auto", size, {**given, **more})


def trainer(family: Any, labels: np.ndarray | None = SHOWN, **more: Any) -> GrowingTrainer:
    """Classes in shares of 1/2, 1/3 and 1/6, pictures of noise."""
    made = config(family, **({} if labels is None else {"labels": "folders"}), **more)
    size = made.resolution
    pixels = np.random.default_rng(0).integers(0, 256, (48, made.channels, size, size), np.uint8)
    nets = networks.new_networks(made, classes=0 if labels is None else CLASSES)
    return GrowingTrainer(made, nets, in_memory(made, pixels, labels))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """colours/blue/0.png, …: 8x8, 16 of each colour."""
    top = tmp_path_factory.mktemp("growing") / "colours"
    for i in range(48):
        name = sorted(COLOURS)[i % 3]
        (top / name).mkdir(parents=True, exist_ok=True)
        (top / name / f"{i}.png").write_bytes(painted(name, i))
    return top


# -------------------------------------------------------------------------------------- networks


def test_what_each_family_makes_of_classes() -> None:
    """S1.11: K logits beside the score; StyleGAN1: a score each; SNGAN: they project."""
    pggan, stylegan, sngan = (networks.new_networks(config(f), classes=3) for f in FAMILIES)
    assert pggan.g.b4.dense.weight.shape[1] == 8 + 3
    assert (pggan.d.cfg.label_mode, pggan.d.b4.out.weight.shape[0]) == ("acgan", 1 + 3)
    assert (stylegan.d.cfg.label_mode, stylegan.d.b4.out.weight.shape[0]) == ("logits", 3)
    assert stylegan.g.mapping.embed.weight.shape[1] == 3
    assert sngan.g.blocks[0].norm0.scale.shape == (3, 4)
    assert sngan.d.embed.weight.shape == (4, 3)
    row = growing_presets.resolve("pggan", "ablation-g", 8, {"channels": 1})
    g, d = row.network_configs(5)
    assert [x["c_dim"] for x in (g, d)] == [5, 5]
    assert [x["img_channels"] for x in (g, d)] == [1, 1]


# ------------------------------------------------------------------------------------- the steps


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("loss", growing_config.LOSSES)
def test_every_loss_takes_classes(family: str, loss: str) -> None:
    """Numbers are finite; what reads the label moves in both networks."""
    gamma = 0.0 if loss in ("wgan-gp", "lsgan") else 1.0
    made = trainer(family, loss=loss, gamma=gamma)
    acgan = family == "pggan" and loss != "gan-cls"

    def readers() -> list[torch.Tensor]:
        if family == "pggan":
            read = [made.d.b4.out.weight[1:]] if acgan else [made.d.b4.embed]
            read.append(made.g.b4.dense.weight[:, 8:])
        elif family == "stylegan":
            read = [made.g.mapping.embed.weight, made.d.b4.out.weight]
        else:
            read = [made.g.blocks[0].norm0.shift, made.d.embed.weight]
        return [x.detach().clone() for x in read]

    before = readers()
    for _ in range(2):
        made.step()
    told = made.sums.means(made.ranks)
    assert made.is_finite() and all(math.isfinite(v) for v in told.values())
    assert ("loss_d_classes" in told) == ("loss_g_classes" in told) == acgan
    assert not any(torch.equal(a, b) for a, b in zip(before, readers(), strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_fakes_have_the_classes_of_pictures(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """D's fakes those of its reals; G's come as often as there are pictures of them."""
    made = trainer(family, mixing=1.0) if family == "stylegan" else trainer(family)
    _, label = made._reals(made._shown(8))
    index, _ = made.reader.order.take(0, 8)
    assert label is not None
    assert label.argmax(dim=1).tolist() == SHOWN[index].tolist()
    made.generator.manual_seed(0)
    drawn = made._label(6000)
    assert drawn is not None and drawn.sum(dim=1).eq(1).all()
    # three standard deviations of a share of 6000
    wanted = torch.tensor([1 / 3, 1 / 2, 1 / 6])
    torch.testing.assert_close(drawn.mean(dim=0), wanted, atol=0.02, rtol=0)

    seen: list[torch.Tensor] = []
    reader = made.g.mapping if family == "stylegan" else made.g
    forward = reader.forward

    def watched(z: torch.Tensor, label: torch.Tensor, **more: Any) -> torch.Tensor:
        seen.append(label)
        return forward(z, label, **more)

    monkeypatch.setattr(reader, "forward", watched)
    made.step()
    times = len(seen) // 2  # with mixed styles twice for a batch, and the same
    assert times == (2 if family == "stylegan" else 1)
    assert all(torch.equal(x, label) for x in seen[:times])
    assert all(torch.equal(x, seen[times]) for x in seen[times:])
    assert not torch.equal(seen[0], seen[times])


@pytest.mark.parametrize("family", ["pggan", "stylegan"])
@pytest.mark.parametrize("mode", growing_config.LABEL_MODES)
def test_label_modes_shape_the_discriminator(family: str, mode: str) -> None:
    """S1.11 and projection (S3.25): one score and K logits, one score, or K scores."""
    made = trainer(family, label_mode=mode)
    assert made.d.b4.out.weight.shape[0] == {"acgan": 4, "projection": 1, "logits": 3}[mode]
    made.step()
    assert made.is_finite()
    with pytest.raises(Usage, match=f"--label-mode {mode}: of which classes"):
        config(family, label_mode=mode)


def test_gan_cls_shows_reals_with_another_class_s1_28(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer("stylegan", loss="gan-cls")
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    judge = made.d.forward

    def judged(images: torch.Tensor, label: torch.Tensor, *more: Any) -> torch.Tensor:
        seen.append((images.detach().clone(), label.argmax(dim=1)))
        return judge(images, label, *more)

    monkeypatch.setattr(made.d, "forward", judged)
    made.step()
    (reals, own), (_, of_fakes), (again, other), _ = seen
    assert torch.equal(reals, again) and torch.equal(own, of_fakes)
    assert (own != other).all()
    several = torch.cat([made._other_classes(torch.eye(3)[[0]].repeat(8, 1), 8) for _ in range(20)])
    assert set(several.argmax(dim=1).tolist()) == {1, 2}
    with pytest.raises(Usage, match="acgan's D does not see"):
        config("pggan", labels="folders", loss="gan-cls", label_mode="acgan")
    with pytest.raises(Usage, match="--loss gan-cls: of which classes"):
        config("pggan", loss="gan-cls")
    with pytest.raises(Usage, match="all of one class"):
        one = config("stylegan", labels="folders", loss="gan-cls")
        nets = networks.new_networks(one, classes=1)
        pixels = np.zeros((8, 3, 8, 8), np.uint8)
        GrowingTrainer(one, nets, in_memory(one, pixels, np.zeros(8, np.int64)))


def test_s1_11_cross_entropy_with_weight_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """On reals and fakes in D's loss, on fakes in G's: what is descended, term by term."""
    made = trainer("pggan", drift=0.0, gp_weight=0.0)
    heads: list[tuple[torch.Tensor, torch.Tensor]] = []
    judge = made.d.score_and_classes

    def judged(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        heads.append(judge(*args))
        return heads[-1]

    descended: list[float] = []
    learn = made._learn_at_once

    def learned(
        players: Any, n: int, losses: Callable[[], Sequence[torch.Tensor]], **given: Any
    ) -> None:
        def told() -> Sequence[torch.Tensor]:
            values = losses()
            descended.extend(value.item() for value in values)
            return values

        learn(players, n, told, **given)

    monkeypatch.setattr(made.d, "score_and_classes", judged)
    monkeypatch.setattr(made, "_learn_at_once", learned)
    _, label = made._reals(made._shown(8))
    labels: list[torch.Tensor] = []
    draw = made._label
    monkeypatch.setattr(made, "_label", lambda n: labels.append(draw(n)) or labels[-1])
    made.step()
    (real, real_k), (fake, fake_k), _, (later, later_k) = heads
    assert label is not None and real_k.shape == (8, 3)

    def entropy(logits: torch.Tensor, label: torch.Tensor) -> float:
        return torch.nn.functional.cross_entropy(logits, label.argmax(dim=1)).item()

    of_classes = entropy(real_k, label) + entropy(fake_k, label)
    scores = losses.wgan_discriminator_loss(real, fake).mean().item()
    assert descended[0] == pytest.approx(scores + of_classes, rel=1e-5)
    of_g = entropy(later_k, labels[0])
    assert descended[1] == pytest.approx(-later.mean().item() + of_g, rel=1e-5)
    told = made.sums.means(made.ranks)
    assert told["loss_d_classes"] == pytest.approx(of_classes, rel=1e-5)
    assert told["loss_g_classes"] == pytest.approx(of_g, rel=1e-5)
    assert told["loss_d"] == pytest.approx(scores, rel=1e-5)


def test_s1_11_without_classes_it_is_s1_9(monkeypatch: pytest.MonkeyPatch) -> None:
    """K = 0: the two heads and their terms change no bit of what is trained."""
    plain, none = trainer("pggan", None), trainer("pggan", None)
    none.labels, none.acgan = torch.zeros(48, dtype=torch.int64), True
    shown = none._shown
    monkeypatch.setattr(none, "_shown", lambda n: (shown(n)[0], torch.zeros(n)))
    monkeypatch.setattr(none, "_one_hot", lambda classes: torch.zeros(len(classes), 0))
    monkeypatch.setattr(none, "_label", lambda n: torch.zeros(n, 0))
    for t in (plain, none):
        for _ in range(3):
            t.step()
    terms = {n: none.sums.values.pop(n) for n in ("loss_d_classes", "loss_g_classes")}
    assert all(float(v[0]) == 0 for v in terms.values())
    same_state(plain, none)
    assert conditional.label_loss(torch.zeros(4, 0), torch.zeros(4, 0)).item() == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_state_restores_to_the_bit_with_classes(family: str, tmp_path: Path) -> None:
    a = trainer(family)
    for _ in range(3):
        a.step()
    state.save(tmp_path, a, state.Progress("digest"))
    saved = state.read(tmp_path)
    assert saved is not None and saved.networks["d"]["c_dim"] == CLASSES
    fresh = networks.new_networks(a.config, saved.networks)
    b = GrowingTrainer(a.config, fresh, in_memory(a.config, a.reader.pixels.numpy(), SHOWN))
    state.restore(b, saved)
    for t in (a, b):
        for _ in range(3):
            t.step()
    same_state(a, b)


@pytest.mark.parametrize(
    ("family", "steps", "more"),
    [
        ("pggan", 280, {"lr": 0.01}),
        ("stylegan", 180, {"lr": 0.005, "gamma": 0.5, "mixing": 0.0}),
        ("sngan", 110, {"lr": 0.004, "channel_max": 8}),
    ],
)
def test_the_generator_learns_which_class_is_which(
    family: Any, steps: int, more: dict[str, Any]
) -> None:
    """A toy: every class has its colour, and the trained generator paints it."""
    rng = np.random.default_rng(0)
    made = config(family, **{"batch": 16, "channel_max": 16, "ema_kimg": 0.2, "seed": 1, **more})
    labels = np.arange(120) % 3
    colours = np.array([COLOURS[name] for name in sorted(COLOURS)])
    pixels = colours[labels][:, :, None, None] + rng.normal(0, 15, (120, 3, 1, 1))
    pixels = pixels + rng.normal(0, 5, (120, 3, made.resolution, made.resolution))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    t = GrowingTrainer(
        made, networks.new_networks(made, classes=3), in_memory(made, pixels, labels)
    )
    for _ in range(steps):
        t.step()
    painted = np.concatenate(list(snapshots.sample(t.g_ema, 60, 0, "toy", None)))
    means = painted.mean(axis=(1, 2))
    nearest = np.abs(means[:, None] - colours).sum(axis=2).argmin(axis=1)
    assert (nearest == np.arange(60) % 3).mean() > 0.9


# -------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("family", ["pggan", "stylegan"])
def test_a_conditional_run(gt: Any, folders: Path, tmp_path: Path, family: str) -> None:
    """While it grows: resumed to the bit; the network knows its classes; --class takes them."""
    args = ("train", family, folders, "--resolution", "8", "--batch", "64", "--channel-max", "8",
            "--latent-dim", "8", "--stable", "512", "--fade", "512", "--snapshot", "1k", "--device",
            "cpu", "--labels", "folders")  # fmt: skip
    straight, pieces = tmp_path / "straight", tmp_path / "pieces"
    done = gt(*args, "-o", straight, "--images", "2k")
    assert done.code == 0, done.err
    assert "3 classes: 0: 16 blue, 1: 16 green, 2: 16 red" in done.err
    for images in ("700", "1k", "2k"):
        assert gt(*args, "-o", pieces, "--images", images).code == 0
    last = "network-000002.safetensors"
    assert (straight / last).read_bytes() == (pieces / last).read_bytes()
    assert numbers(straight / state.NAME) == numbers(pieces / state.NAME)
    story = network.header(straight / last)
    assert story["classes"] == ["blue", "green", "red"]
    page = (straight / "report.html").read_text()
    assert ("Cross-entropy of the classes" in page) == (family == "pggan")
    made = [
        gt("generate", "--net", straight / last, "--seeds", "1", "--class", c, "-o", ".png")
        for c in (0, 2)
    ]
    assert [x.code for x in made] == [0, 0], made[0].err
    assert made[0].out != made[1].out
    without = gt("generate", "--net", straight / last, "--seeds", "1", "-o", ".png")
    assert "give --class 0-2" in without.err
    child = gt(*args, "-o", tmp_path / "child", "--images", "1k", "--net", straight / last)
    assert child.code == 0, child.err
    other = gt(*args[:-2], "-o", pieces, "--images", "3k")
    assert (other.code, "--labels differs from the run in this folder" in other.err) == (2, True)
    column = gt(*args[:-2], "--label-column", "x", "-o", tmp_path / "none")
    assert (column.code, "a column of which file" in column.err) == (2, True)


@pytest.mark.parametrize("channels", [1, 3])
def test_sngan_by_a_table(gt: Any, tmp_path: Path, channels: int) -> None:
    """--labels FILE --label-column; in grey and in colour."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(24):
        (pictures / f"{i}.png").write_bytes(picture(i, 32))
    table = tmp_path / "classes.csv"
    rows = [f"{i},{i % 2},x" for i in range(24)]
    table.write_text("\n".join(["key,parity,other", *rows]))
    args = ("train", "sngan", pictures, "--resolution", "32", "--channel-max", "4", "--batch", "32",
            "--latent-dim", "4", "--d-steps", "2", "--snapshot", "1k", "--images", "1k", "--device",
            "cpu", "--channels", channels, "-o", tmp_path / "run", "--labels", table)  # fmt: skip
    missing = gt(*args)
    assert (missing.code, "--label-column is needed" in missing.err) == (2, True), missing.err
    done = gt(*args, "--label-column", "parity")
    assert done.code == 0, done.err
    net = tmp_path / "run" / "network-000001.safetensors"
    shapes = network.header(net)["config"]
    assert [(shapes[p]["c_dim"], shapes[p]["img_channels"]) for p in "gd"] == [(2, channels)] * 2
    shown = gt("generate", "--net", net, "--seeds", "1", "--class", 1, "-o", ".png")
    assert shown.code == 0, shown.err


@pytest.mark.parametrize("family", FAMILIES)
def test_a_grey_trainer_moves(family: str) -> None:
    made = trainer(family, channels=1)
    made.step()
    assert made.is_finite()
    assert made._reals(made._shown(8))[0].shape == (8, 1, made.config.resolution, SIZE[family])


@pytest.mark.long
@pytest.mark.parametrize("family", ["pggan", "stylegan"])
def test_two_processes_train_with_classes_as_one_does(
    folders: Path, tmp_path: Path, family: str
) -> None:
    args = (family, folders, "--resolution", "8", "--batch", "64", "--channel-max", "8",
            "--latent-dim", "8", "--stable", "256", "--fade", "256", "--snapshot", "1k", "--images",
            "1k", "--device", "cpu", "--labels", "folders")  # fmt: skip
    trained(*args, "-o", tmp_path / "one", processes=1)
    said = trained(*args, "-o", tmp_path / "two")
    one, two = lines(tmp_path / "one")[0], lines(tmp_path / "two")[0]
    names = [n for n in one if n.startswith(("loss_", "score_"))]
    assert ("loss_d_classes" in names) == (family == "pggan")
    for name in names:
        assert two[name] == pytest.approx(one[name], rel=0.02, abs=0.01), name
    assert said.count("3 classes: 0: 16 blue") == 1
