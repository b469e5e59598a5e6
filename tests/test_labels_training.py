"""train stylegan2 with classes, NVIDIA's dataset zips, frozen layers of D, and in greyscale."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network
from PIL import Image
from test_distributed import lines, trained
from test_training import config, numbers, same_state

from gantools import report
from gantools.io import classes, network
from gantools.report import Usage
from gantools.training import augment, data, measure, networks, snapshots, state
from gantools.training.loop import Trainer
from gantools.training.reader import in_memory

# 8x8 pictures, few channels and few steps: eight to a snapshot.
QUICK = (
    "--resolution", "8", "--batch", "128", "--channel-max", "8", "--map-depth", "1",
    "--gamma", "0.05", "--device", "cpu", "--workers", "2",
)  # fmt: skip
COLOURS = {"blue": (50, 60, 220), "green": (40, 200, 60), "red": (220, 40, 40)}


def painted(name: str, i: int) -> bytes:
    """A picture of 8x8 in about the colour of its class."""
    rng = np.random.default_rng(i)
    pixels = np.clip(COLOURS[name] + rng.normal(0, 20, (8, 8, 3)), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def name_of(i: int) -> str:
    """Every sixth is red, two of six are blue, three green."""
    return ("red", "blue", "blue", "green", "green", "green")[i % 6]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """colours/red/0.png, colours/blue/1.png, …: 48 pictures; and one beside the folders."""
    top = tmp_path_factory.mktemp("classes") / "colours"
    for i in range(48):
        (top / name_of(i)).mkdir(parents=True, exist_ok=True)
        (top / name_of(i) / f"{i}.png").write_bytes(painted(name_of(i), i))
    (top / "odd.png").write_bytes(painted("red", 1))
    return top


Pack = Callable[..., Path]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """A dataset zip: pictures 00000/img00000000.png, …, and the labels for them."""

    def make(labels: Any, name: str = "set.zip", count: int = 48) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for i in range(count):
                archive.writestr(f"00000/img{i:08d}.png", painted(name_of(i), i))
            text = labels if isinstance(labels, str) else json.dumps({"labels": labels})
            archive.writestr("dataset.json", text)
            archive.writestr("LICENSE.txt", "as you like")
        return tmp_path / name

    return make


def listed(label: Callable[[int], Any], count: int = 48) -> list[list[Any]]:
    """dataset.json's pairs, not in the order of the pictures."""
    return [[f"00000/img{i:08d}.png", label(i)] for i in reversed(range(count))]


def loaded(source: Path, wanted: str, tmp_path: Path, **more: Any) -> data.Pictures:
    column = more.pop("column", None)
    found = classes.read(wanted, column, [str(source)])
    return data.load([str(source)], (8, 8), tmp_path, classes=found, **more)


def pixels_of(found: data.Pictures) -> list[np.ndarray]:
    return [found.train.decode(i) for i in range(len(found.train))]


def conditional(**more: Any) -> Trainer:
    """A trainer of three classes in shares of 1/2, 1/3 and 1/6."""
    made = config(**more)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (48, made.channels, 8, 8), dtype=np.uint8)
    labels = np.array([(2, 0, 0, 1, 1, 1)[i % 6] for i in range(48)])
    return Trainer(made, networks.new_networks(made, classes=3), in_memory(made, pixels, labels))


# ------------------------------------------------------------------------------ where they stand


def test_first_folder_is_the_class(folders: Path, tmp_path: Path) -> None:
    found = loaded(folders, "folders", tmp_path)
    assert found.classes == ["blue", "green", "red"]
    assert np.bincount(found.labels).tolist() == [16, 24, 8]
    assert len(found.train) == 48  # the picture without a folder is left out
    for pixels, label in zip(pixels_of(found), found.labels, strict=True):
        assert pixels.mean((1, 2)).argmax() == (2, 1, 0)[label]  # RGB: blue is the last
    assert classes.first_folder("cats/old/7") == "cats"
    assert classes.first_folder("7") is None


def test_held_out_pictures_keep_their_class(folders: Path, tmp_path: Path) -> None:
    found = loaded(folders, "folders", tmp_path, hold_out=5, keep_held=True)
    assert len(found.labels) == len(found.train)
    assert len(found.held_labels) == len(found.held) == 10
    for pixels, label in zip(found.held, found.held_labels, strict=True):
        assert pixels.mean((1, 2)).argmax() == (2, 1, 0)[label]
    assert not len(loaded(folders, "folders", tmp_path, hold_out=5).held_labels)


def test_classes_of_a_table(folders: Path, tmp_path: Path) -> None:
    """A column by its name, or the only one; numbers are sorted as numbers; empty: no class."""
    rows = [f"{name_of(i)}/{i}.png,{'' if i < 6 else 9 + i % 2},{i % 3}" for i in range(40)]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["key,parity,third", *rows]))
    found = loaded(folders, str(table), tmp_path, column="parity")
    assert found.classes == ["9", "10"]
    assert len(found.labels) == 34
    with pytest.raises(Usage, match="--label-column is needed, one of parity, third"):
        loaded(folders, str(table), tmp_path)
    with pytest.raises(Usage, match="no column colour"):
        loaded(folders, str(table), tmp_path, column="colour")
    with pytest.raises(Usage, match=r"to train on that has a class \(--labels labels\.csv\)"):
        table.write_text("key,third\nnobody,1\nnobody else,2\n")
        loaded(folders, str(table), tmp_path)
    table.write_text("\n".join(["key,third", *(f"{name_of(i)}/{i},{i % 3}" for i in range(48))]))
    assert loaded(folders, str(table), tmp_path).classes == ["0", "1", "2"]


@pytest.mark.parametrize("one_hot", [False, True])
def test_labels_of_a_dataset_zip(pack: Pack, tmp_path: Path, one_hot: bool) -> None:
    """Numbers, or vectors with one 1; the number is the class, also where some have no picture."""
    order = ["red", "none", "green", "blue"]

    def label(i: int) -> Any:
        number = order.index(name_of(i))
        return [float(j == number) for j in range(4)] if one_hot else number

    found = loaded(pack(listed(label)), "dataset", tmp_path)
    assert found.classes == ["0", "1", "2", "3"]
    assert np.bincount(found.labels).tolist() == [8, 0, 24, 16]
    for pixels, number in zip(pixels_of(found), found.labels, strict=True):
        assert pixels.mean((1, 2)).argmax() == {0: 0, 2: 1, 3: 2}[int(number)]


def test_labels_of_an_unpacked_dataset(pack: Pack, tmp_path: Path) -> None:
    packed = pack(listed(lambda i: i % 2))
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "unpacked")
    one = loaded(packed, "dataset", tmp_path)
    other = loaded(tmp_path / "unpacked", "dataset", tmp_path)
    assert one.digest == other.digest
    assert one.labels.tolist() == other.labels.tolist()


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ('{"labels": null}', "has no labels"),
        ("[1, 2", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ([["a.png", 1.5]], "the label of a.png is no class number"),
        ([["a.png", True]], "no class number"),
        ([["a.png", -1]], "no class number"),
        ([["a.png", 10**9]], "no class number"),
        ([["a.png", [0.5, 0.5]]], "no one-hot vector"),
        ([["a.png", [1, 1, 0]]], "no one-hot vector"),
        ([["a.png", []]], "no one-hot vector"),
        ([["a.png"]], "no pairs"),
        ([["a.png", 0]], "one class only"),
    ],
)
def test_labels_that_are_none(pack: Pack, tmp_path: Path, labels: Any, why: str) -> None:
    with pytest.raises(Usage, match=why):
        loaded(pack(labels), "dataset", tmp_path)


def test_there_is_no_dataset_json(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"colours: no dataset\.json in it"):
        loaded(folders, "dataset", tmp_path)
    with pytest.raises(Usage, match=r"a zip or a folder with a dataset\.json is needed"):
        loaded(folders / "odd.png", "dataset", tmp_path)
    with pytest.raises(Usage, match="one class only"):
        loaded(folders.parent, "folders", tmp_path)
    with pytest.raises(Usage, match="has no columns"):
        classes.read("folders", "x", [])


def test_digest_covers_the_classes(pack: Pack, tmp_path: Path) -> None:
    """Other classes of the same pictures are other data; without classes nothing has changed."""
    one = loaded(pack(listed(lambda i: i % 2)), "dataset", tmp_path)
    other = loaded(pack(listed(lambda i: (i + 1) % 2)), "dataset", tmp_path)
    more = loaded(pack([*listed(lambda i: i % 2), ["x.png", 2]]), "dataset", tmp_path)
    plain = data.load([str(tmp_path / "set.zip")], (8, 8), tmp_path)
    assert len({x.digest for x in (one, other, more, plain)}) == 4
    assert plain.classes == [] and not len(plain.labels)


# ------------------------------------------------------------------------------------- iteration


def test_fakes_have_the_classes_of_the_data() -> None:
    """Their labels are those of pictures drawn uniformly: shares of 1/3, 1/2 and 1/6."""
    t = conditional()
    t.generator.manual_seed(0)
    drawn = t._label(6000)
    assert drawn is not None
    assert drawn.sum(dim=1).eq(1).all()
    shares = drawn.mean(dim=0)
    # three standard deviations of a share of 6000
    torch.testing.assert_close(shares, torch.tensor([1 / 3, 1 / 2, 1 / 6]), atol=0.02, rtol=0)


def test_reals_come_with_their_class() -> None:
    t = conditional()
    _, label = t._scaled(t._shown(8))
    index, _ = t.reader.order.take(0, 8)
    wanted = [(2, 0, 0, 1, 1, 1)[i % 6] for i in index]
    assert label is not None
    assert label.argmax(dim=1).tolist() == wanted


def test_both_networks_see_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """D gets a label in each of the four phases; mixed styles have the same one."""
    t = conditional(mixing=1.0)
    seen: list[torch.Tensor] = []
    forward = t.d.forward

    def watched(images: torch.Tensor, label: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(label)
        return forward(images, label, *rest)

    monkeypatch.setattr(t.d, "forward", watched)
    styles: list[torch.Tensor] = []
    mapping = t.g.mapping.forward

    def watched_too(z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        styles.append(label)
        return mapping(z, label)

    monkeypatch.setattr(t.g.mapping, "forward", watched_too)
    before = [t.g.mapping.embed.weight.clone(), t.d.mapping.embed.weight.clone()]
    t.step()
    assert [len(x) for x in seen] == [8, 8, 8, 8]
    assert [len(x) for x in styles] == [8, 8, 4, 4, 8, 8]
    for first, second in zip(styles[::2], styles[1::2], strict=True):
        assert torch.equal(first, second)
    assert torch.equal(seen[0], styles[0]) and torch.equal(seen[1], styles[4])
    assert torch.equal(seen[2], seen[3])  # the reals', in R1 too
    after = [t.g.mapping.embed.weight, t.d.mapping.embed.weight]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_state_restores_to_the_bit_with_classes(tmp_path: Path) -> None:
    a = conditional()
    for _ in range(6):
        a.step()
    state.save(tmp_path, a, state.Progress("digest"))
    saved = state.read(tmp_path)
    assert saved is not None
    assert saved.networks["d"]["c_dim"] == 3
    b = conditional()
    state.restore(b, saved)
    for t in (a, b):
        for _ in range(12):
            t.step()
    same_state(a, b)


def test_samples_show_the_classes_in_turn() -> None:
    g = conditional().g_ema
    with torch.no_grad():
        g.mapping.embed.weight.mul_(30)
    turn = np.concatenate(list(snapshots.sample(g, 7, 0, "grid", None, batch=4)))
    asked = np.concatenate(
        list(snapshots.sample(g, 7, 0, "grid", None, classes=[0, 1, 2, 0, 1, 2, 0]))
    )
    other = np.concatenate(list(snapshots.sample(g, 7, 0, "grid", None, classes=[2] * 7)))
    assert np.abs(turn.astype(int) - asked).max() <= 1
    same = [np.abs(turn[i].astype(int) - other[i]).max() <= 1 for i in range(7)]
    assert same == [False, False, True, False, False, True, False]


def test_the_generator_learns_which_class_is_which() -> None:
    """A toy: every class has its colour, and the trained generator paints it."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    colours = np.array([COLOURS[name] for name in sorted(COLOURS)])
    pixels = colours[labels][:, :, None, None] + rng.normal(0, 15, (120, 3, 1, 1))
    pixels = np.clip(pixels + rng.normal(0, 5, (120, 3, 8, 8)), 0, 255).astype(np.uint8)
    made = config(batch=16, channel_max=16, lr=0.005, gamma=0.5, pl_weight=0.0, mixing=0.0,
                  ema_kimg=0.5, aug="none", seed=1)  # fmt: skip
    t = Trainer(made, networks.new_networks(made, classes=3), in_memory(made, pixels, labels))
    for _ in range(240):
        t.step()
    painted = np.concatenate(list(snapshots.sample(t.g_ema, 60, 0, "toy", None)))
    means = painted.mean(axis=(1, 2))
    nearest = np.abs(means[:, None] - colours).sum(axis=2).argmin(axis=1)
    assert (nearest == np.arange(60) % 3).mean() > 0.9


# -------------------------------------------------------------------------------------- commands


def test_a_conditional_run(gt: Any, folders: Path, tmp_path: Path) -> None:
    """Resumed to the bit; the network knows its classes; `generate --class` takes them."""
    args = ("train", "stylegan2", folders, *QUICK, "--labels", "folders")
    straight, pieces = tmp_path / "straight", tmp_path / "pieces"
    result = gt(*args, "-o", straight, "--images", "2k", "--snapshot", "1k")
    assert result.code == 0, result.err
    assert "--labels folders: pictures without a class, left out: 1" in result.err
    assert "3 classes: 0: 16 blue, 1: 24 green, 2: 8 red" in result.err
    assert gt(*args, "-o", pieces, "--images", "1k", "--snapshot", "1k").code == 0
    assert gt(*args, "-o", pieces, "--images", "2k", "--snapshot", "1k").code == 0
    last = "network-000002.safetensors"
    assert (straight / last).read_bytes() == (pieces / last).read_bytes()
    assert numbers(straight / state.NAME) == numbers(pieces / state.NAME)
    story = network.header(straight / last)
    assert story["classes"] == ["blue", "green", "red"]
    assert story["trained_on"] == "colours: 48 pictures in 3 classes"
    made = [
        gt("generate", "--net", straight / last, "--seeds", "1", "--class", c, "-o", ".png")
        for c in (0, 2)
    ]
    assert [x.code for x in made] == [0, 0]
    assert made[0].out != made[1].out
    without = gt("generate", "--net", straight / last, "--seeds", "1", "-o", ".png")
    assert "give --class 0-2" in without.err
    other = gt(*args[:-2], "-o", pieces, "--images", "3k")
    assert other.code == 2
    assert "--labels differs from the run in this folder" in other.err


def test_other_classes_are_refused(gt: Any, pack: Pack, tmp_path: Path) -> None:
    rest = (*QUICK, "--labels", "dataset", "-o", tmp_path / "run", "--snapshot", "1k", "--images")
    first = gt("train", "stylegan2", pack(listed(lambda i: i % 2)), *rest, "1k")
    assert first.code == 0, first.err  # dataset.json and LICENSE.txt are no failures
    assert "2 classes: 0: 24, 1: 24" in first.err
    again = gt("train", "stylegan2", pack(listed(lambda i: i % 3 % 2)), *rest, "2k")
    assert again.code == 2
    assert "started with, or not their classes" in again.err


def test_a_dataset_zip_without_labels_asked_for(gt: Any, pack: Pack, tmp_path: Path) -> None:
    args = (*QUICK, "-o", tmp_path / "run", "--images", "1k", "--snapshot", "1k")
    result = gt("train", "stylegan2", pack('{"labels": null}'), *args)
    assert result.code == 0, result.err
    config_g = network.header(tmp_path / "run" / "network-000001.safetensors")["config"]["g"]
    assert config_g["c_dim"] == 0


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--labels", "folders", "--label-column", "x"), "has no columns"),
        (("--label-column", "x"), "a column of which file"),
        (("--labels", "nowhere.csv"), "--labels nowhere.csv: no such file"),
        (("--channels", "2"), "1, 3 or 4 is expected"),
        (("--freeze-d", "2"), "--freeze-d: only layers that were trained can be kept; give --net"),
    ],
)
def test_flags_that_make_no_sense(
    gt: Any, folders: Path, tmp_path: Path, flags: tuple[str, ...], why: str
) -> None:
    result = gt("train", "stylegan2", folders, *QUICK, "-o", tmp_path / "run", *flags)
    assert result.code == 2
    assert why in result.err.replace("\n", " "), result.err


def test_start_from_a_conditional_network(gt: Any, folders: Path, tmp_path: Path) -> None:
    origin = make_network(tmp_path / "start.safetensors", resolution=8, c_dim=3)
    args = ("train", "stylegan2", folders, *QUICK, "--images", "1k", "--net", origin, "-q")
    assert gt(*args, "-o", tmp_path / "run", "--labels", "folders", "--lr", "1e-12").code == 0
    made = network.load(tmp_path / "run" / "network-000001.safetensors")
    np.testing.assert_allclose(
        made.part("d")["mapping.embed.weight"],
        network.load(origin).part("d")["mapping.embed.weight"],
        atol=1e-8,
    )
    result = gt(*args, "-o", tmp_path / "other")
    assert result.code == 2
    assert "the network has 3 classes, the pictures have 0 (--labels)" in result.err


# ------------------------------------------------------------------------------------- freeze-D


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("resnet", ["b16.fromrgb", "b16.conv0", "b16.conv1", "b16.skip", "b8.conv0", "b8.conv1",
                    "b8.skip"]),
        ("orig", ["b16.fromrgb", "b16.conv0", "b16.conv1", "b8.conv0", "b8.conv1"]),
        ("skip", ["b16.fromrgb", "b16.conv0", "b16.conv1", "b8.fromrgb", "b8.conv0", "b8.conv1"]),
    ],
)  # fmt: skip
def test_layers_are_counted_from_the_picture(architecture: str, names: list[str]) -> None:
    d = networks.new_networks(config(resolution=16, d_architecture=architecture)).d
    by_module = {module: name for name, module in d.named_modules()}
    assert [by_module[layer] for layer in networks.picture_layers(d)] == names


def test_frozen_layers_get_no_training(tmp_path: Path) -> None:
    """No gradient, the same bits, no moments; every other layer moves."""
    t, free = conditional(freeze_d=2), conditional()
    frozen = {f"b8.{n}.{p}" for n in ("fromrgb", "conv0") for p in ("weight", "bias")}
    before = {n: p.detach().clone() for n, p in t.d.named_parameters()}
    for _ in range(3):
        t.step()
        free.step()
    for name, parameter in t.d.named_parameters():
        kept = torch.equal(before[name], parameter)
        assert kept == (name in frozen), name
        assert (parameter.grad is None) == (name in frozen), name
        assert parameter.requires_grad == (name not in frozen), name
    assert not any(n.startswith(tuple(f"d_opt.{f}" for f in frozen)) for n in state.tensors_of(t))
    assert not torch.equal(free.d.b8.conv0.weight, before["b8.conv0.weight"])
    state.save(tmp_path, t, state.Progress("digest"))
    saved = state.read(tmp_path)
    assert saved is not None
    again = conditional(freeze_d=2)
    state.restore(again, saved)
    for x in (t, again):
        for _ in range(3):
            x.step()
    same_state(t, again)


def test_freeze_d_keeps_what_was_learned(gt: Any, folders: Path, tmp_path: Path) -> None:
    origin = make_network(tmp_path / "start.safetensors", resolution=8)
    folder = tmp_path / "run"
    args = ("train", "stylegan2", folders, *QUICK, "-q", "--snapshot", "1k", "--images")
    rest = ("--net", origin, "-o", folder, "--freeze-d")
    assert gt(*args, "1k", *rest, 4).code == 0
    assert gt(*args, "2k", "-o", folder, "--freeze-d", 4).code == 0  # resumed without --net
    before, after = (
        network.load(x).part("d") for x in (origin, folder / "network-000002.safetensors")
    )
    kept = [n for n in before if before[n].tobytes() == after[n].tobytes()]
    assert kept and {n[:3] for n in kept} == {"b8."}
    assert {n for n in before if n.startswith("b8.")} == set(kept)
    changed = gt(*args, "3k", "-o", folder, "--freeze-d", 1)
    assert "--freeze-d differs" in changed.err
    many = gt(*args, "1k", "--net", origin, "-o", tmp_path / "many", "--freeze-d", 5)
    assert many.code == 2
    assert "--freeze-d 5: the discriminator has 4 layers before the last block" in many.err


# ------------------------------------------------------------------------------------- greyscale


def test_grey_is_luma() -> None:
    """BT.601's weights; grey stays what it was."""
    pixels = np.zeros([8, 8, 3], np.uint8)
    pixels[...] = (200, 100, 50)
    assert data.fit(pixels, (8, 8), 1).shape == (1, 8, 8)
    wanted = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert (data.fit(pixels, (8, 8), 1) == wanted).all()
    ramp = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, axis=2)
    assert (data.fit(ramp, (8, 8), 1)[0] == ramp[..., 0]).all()


def test_augmented_grey_is_what_grey_colours_become() -> None:
    """One channel changes as the three equal channels of a grey picture do, which stay equal."""
    generator = torch.Generator().manual_seed(0)
    drawn = augment.draw(64, torch.tensor(1.0), (8, 8), generator)
    grey = torch.rand([64, 1, 8, 8], generator=generator) * 2 - 1
    one = augment.apply(grey, drawn)
    three = augment.apply(grey.expand(-1, 3, -1, -1), drawn)
    assert one.shape == grey.shape
    torch.testing.assert_close(one.expand(-1, 3, -1, -1), three, atol=2e-5, rtol=1e-5)


def test_a_grey_run(gt: Any, folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    args = ("train", "stylegan2", folders, *QUICK, "-q", "--images", "1k", "--snapshot", "1k")
    result = gt(*args, "-o", folder, "--channels", "1")
    assert result.code == 0, result.err
    net = folder / "network-000001.safetensors"
    story = network.header(net)
    assert [story["config"][part]["img_channels"] for part in "gd"] == [1, 1]
    with Image.open(folder / "samples" / "000001.png") as sheet:
        assert (sheet.mode, sheet.size) == ("L", (64, 64))
    made = gt("generate", "--net", net, "--seeds", "1", "-o", ".png")
    assert made.code == 0, made.err
    with Image.open(io.BytesIO(made.out)) as picture:
        assert picture.mode == "L"
    report.reset()
    wrong = gt(*args, "-o", tmp_path / "colour", "--net", net)
    assert wrong.code == 2
    assert "8 pixels and 1 channels, not 8 and 3" in wrong.err


def test_a_grey_trainer_moves() -> None:
    t = conditional(channels=1)
    t.p.fill_(0.5)
    t.step()
    assert t.is_finite()
    assert t._scaled(t._shown(8))[0].shape == (8, 1, 8, 8)


# ------------------------------------------------------------------------- metric and processes


def test_the_metric_compares_the_same_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many pictures of each class are generated as are held out."""
    monkeypatch.setattr(
        measure.features, "extractor", lambda *_: lambda x: x.float().mean(dim=(2, 3))
    )
    asked: list[Any] = []
    sample = snapshots.sample

    def watched(*args: Any, **more: Any) -> Any:
        asked.append(more["classes"])
        return sample(*args, **more)

    monkeypatch.setattr(snapshots, "sample", watched)
    t = conditional(metric="kid")
    held = np.random.default_rng(1).integers(0, 256, (100, 3, 8, 8), dtype=np.uint8)
    chosen = [i % 7 % 3 for i in range(100)]
    score = measure.measure(t.config, held, None, chosen)
    assert score is not None
    assert np.isfinite(score(t.g_ema, 0.0))
    assert asked == [chosen]


@pytest.mark.long
def test_two_processes_train_with_classes_as_one_does(folders: Path, tmp_path: Path) -> None:
    args = ("stylegan2", folders, *QUICK, "--labels", "folders", "--images", "1k")
    trained(*args, "-o", tmp_path / "one", processes=1)
    said = trained(*args, "-o", tmp_path / "two")
    one, two = lines(tmp_path / "one")[0], lines(tmp_path / "two")[0]
    for name in ("loss_g", "loss_d", "r1", "score_real", "path_length_mean"):
        assert two[name] == pytest.approx(one[name], rel=0.02, abs=0.01), name
    assert said.count("3 classes: 0: 16 blue") == 1
