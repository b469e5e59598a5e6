"""train stylegan2: data, presets, run folders, exact resume, and every way a run ends."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network
from PIL import Image

from gantools import report
from gantools.io import network, tensorfile
from gantools.report import SampleError, Usage
from gantools.training import (
    data,
    folders,
    networks,
    presets,
    refusals,
    report_html,
    rounds,
    run,
    snapshots,
    state,
)
from gantools.training.job import Job
from gantools.training.loop import Trainer
from gantools.training.order import Order
from gantools.training.presets import TrainConfig
from gantools.training.reader import in_memory

# 8x8 pictures and few channels: an iteration takes a hundredth of a second.
SMALL = (
    "--resolution", "8", "--batch", "32", "--channel-max", "8", "--map-depth", "1",
    "--gamma", "0.05", "--device", "cpu", "--workers", "2",
)  # fmt: skip


def picture(i: int, size: int = 8) -> bytes:
    rng = np.random.default_rng(i)
    colour = rng.integers(0, 256, 3)
    pixels = np.clip(colour + rng.normal(0, 20, (size, size, 3)), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """faces.zip with 60 pictures of 8x8, 00001.png to 00060.png."""
    path = tmp_path_factory.mktemp("data") / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(1, 61):
            archive.writestr(f"{i:05d}.png", picture(i))
    return path


def config(**more: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "preset": "stylegan2", "resolution": 8, "batch": 8, "channel_max": 8, "latent_dim": 16,
        "map_depth": 1, "gamma": 0.1, "mirror": True,
    }  # fmt: skip
    return TrainConfig(**{**values, **more})


def trainer(*, compile: bool = False, **more: Any) -> Trainer:
    made = config(**more)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    nets = networks.new_networks(made)
    return Trainer(made, nets, in_memory(made, pixels), compile=compile)


def same_state(a: Trainer, b: Trainer) -> None:
    left, right = state.tensors_of(a), state.tensors_of(b)
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.tobytes() == right[name].tobytes(), name


# ------------------------------------------------------------------------------------------ data


def test_held_out_pictures_are_those_whose_number_is_divisible() -> None:
    assert data.is_held_out("00020", 10)
    assert data.is_held_out("set3/02360", 10)
    assert not data.is_held_out("00021", 10)
    assert data.is_held_out("face_20_b", 10)
    assert not data.is_held_out("portrait", 10)  # no number: trained on
    assert not data.is_held_out("00020", 0)


def test_pictures_fit_or_say_why() -> None:
    grey = np.full([32, 32, 3], 77, np.uint8)
    assert (data.fit(grey, (8, 8)) == 77).all()
    assert data.fit(grey, (8, 8)).shape == (3, 8, 8)
    with pytest.raises(SampleError, match="32x24 is not square"):
        data.fit(grey[:24], (8, 8))
    with pytest.raises(SampleError, match="32x32 is smaller than the network's pictures, 64"):
        data.fit(grey, (64, 64))


def test_load_keeps_order_and_holds_out(faces: Path, tmp_path: Path) -> None:
    pictures = data.load([str(faces)], (8, 8), tmp_path, hold_out=10, keep_held=True)
    assert (len(pictures.train), pictures.train.shape) == (54, (3, 8, 8))
    assert pictures.held.shape == (6, 3, 8, 8)
    assert pictures.names == ["faces.zip"]
    first = np.asarray(Image.open(io.BytesIO(picture(1)))).transpose(2, 0, 1)
    held = np.asarray(Image.open(io.BytesIO(picture(10)))).transpose(2, 0, 1)
    assert (pictures.train.decode(0) == first).all()
    assert (pictures.held[0] == held).all()
    assert list(tmp_path.iterdir()) == []  # the pixels' file has no name
    other = data.load([str(faces)], (8, 8), tmp_path, hold_out=0)
    assert other.digest != pictures.digest
    assert (
        data.load([str(faces)], (8, 8), tmp_path, hold_out=10, workers=1).digest == pictures.digest
    )


def test_order_shows_every_picture_once_an_epoch_and_mirrored_once_s1_13() -> None:
    order = Order(7, seed=3, mirror=True)
    index, flipped = order.take(0, 28)
    for epoch in (slice(0, 14), slice(14, 28)):
        pairs = set(zip(index[epoch].tolist(), flipped[epoch].tolist(), strict=True))
        assert pairs == {(i, f) for i in range(7) for f in (False, True)}
    assert index[:14].tolist() != index[14:].tolist()
    assert not Order(7, seed=3, mirror=False).take(0, 50)[1].any()


def test_order_depends_on_the_position_alone() -> None:
    """Any cut into batches, and a start in the middle, gives the same sequence."""
    whole, _ = Order(11, seed=0, mirror=False).take(0, 40)
    order = Order(11, seed=0, mirror=False)
    parts = [order.take(at, 8)[0] for at in range(0, 40, 8)]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert Order(11, seed=0, mirror=False).take(25, 9)[0].tolist() == whole[25:34].tolist()
    assert Order(11, seed=1, mirror=False).take(0, 40)[0].tolist() != whole.tolist()


def test_reals_are_scaled_and_mirrored() -> None:
    t = trainer()
    reals, label = t._scaled(t._shown(8))
    assert label is None
    index, flipped = t.reader.order.take(0, 8)
    wanted = t.reader.pixels.numpy()[index].astype(np.float32) / 127.5 - 1
    wanted[flipped] = wanted[flipped][..., ::-1]
    np.testing.assert_allclose(reals.numpy(), wanted, atol=1e-6)
    assert 0 < flipped.sum() < 8


# --------------------------------------------------------------------------------------- presets


@pytest.mark.parametrize(
    ("preset", "resolution", "wanted"),
    [
        ("auto", 256, (16, 4, 16384, 0.0025, 0.0002 * 256**2 / 16, 5.0, 0.05, 2)),
        ("auto", 1024, (4, 4, 32768, 0.002, 0.0002 * 1024**2 / 4, 1.25, 0.05, 2)),
        ("auto", 64, (32, 4, 16384, 0.0025, 0.0002 * 64**2 / 32, 10.0, 0.05, 2)),
        ("stylegan2", 1024, (32, 4, 32768, 0.002, 10.0, 10.0, None, 8)),
        ("paper256", 256, (64, 8, 16384, 0.0025, 1.0, 20.0, None, 8)),
        ("paper512", 512, (64, 8, 32768, 0.0025, 0.5, 20.0, None, 8)),
        ("paper1024", 1024, (32, 4, 32768, 0.002, 2.0, 10.0, None, 8)),
        ("cifar", 32, (64, 32, 32768, 0.0025, 0.01, 500.0, 0.05, 2)),
    ],
)
def test_presets(preset: str, resolution: int, wanted: tuple[Any, ...]) -> None:
    """formats.md 5.1, column by column."""
    made = presets.resolve(preset, resolution, {})
    found = (
        made.batch, made.mbstd_group, made.channel_base, made.lr, made.gamma, made.ema_kimg,
        made.ema_rampup, made.map_depth,
    )  # fmt: skip
    assert found == pytest.approx(wanted)
    is_cifar = preset == "cifar"
    assert (made.pl_weight, made.mixing) == ((0, 0) if is_cifar else (2.0, 0.9))
    assert made.d_architecture == ("orig" if is_cifar else "resnet")
    assert (made.ada_target, made.ada_kimg, made.channel_max) == (0.6, 500.0, 512)


@pytest.mark.parametrize(
    ("resolution", "gpus", "wanted"),
    [
        (256, 8, (64, 4)),
        (1024, 8, (32, 4)),
        (1024, 2, (8, 4)),
        (2048, 8, (16, 2)),
        (64, 2, (64, 4)),
    ],
)
def test_auto_for_several_gpus(resolution: int, gpus: int, wanted: tuple[int, int]) -> None:
    """formats.md 5.1: batch and groups; gamma and EMA follow the batch. A change is named."""
    made = presets.resolve("auto", resolution, {"gpus": gpus})
    assert (made.batch, made.mbstd_group) == wanted
    assert made.gamma == pytest.approx(0.0002 * resolution**2 / made.batch)
    assert made.ema_kimg == made.batch * 10 / 32
    one = presets.resolve("auto", resolution, {})
    assert presets.changed(one, made) == ["--gpus"]
    assert presets.changed(made, presets.resolve("auto", resolution, {"gpus": gpus})) == []
    with pytest.raises(Usage, match="--gpus is for preset auto"):
        presets.resolve("paper256", 256, {"gpus": gpus})


def test_lengths_of_the_presets() -> None:
    """formats.md 5.1: 25,000 kimg, cifar's 100,000."""
    found = {name: presets.total_images(name) // 1000 for name in presets.NAMES}
    assert found.pop("cifar") == 100_000
    assert set(found.values()) == {25_000}


def test_preset_of_the_packaged_network_holds_out_every_tenth() -> None:
    made = presets.resolve("faces64", None, {})
    assert (made.resolution, made.hold_out, made.mirror) == (64, 10, True)


def test_transfer_learning_is_nvidias() -> None:
    """formats.md 5.1: from another network ADA over 100 kimg instead of 500, no EMA ramp-up."""
    fresh = presets.resolve("auto", 64, {})
    moved = presets.resolve("auto", 64, {"net": "x.safetensors"})
    assert (fresh.ada_kimg, fresh.ema_rampup) == (500.0, 0.05)
    assert (moved.ada_kimg, moved.ema_rampup) == (100.0, None)
    # --net counts only at the start, and a run of before this was so goes on as it was.
    before = presets.resolve("auto", 64, {"net": "x", "ada_kimg": 500.0, "ema_rampup": 0.05})
    for old, now in ((moved, fresh), (fresh, moved), (before, moved), (before, fresh)):
        assert presets.changed(old, now) == []
    assert presets.changed(moved, presets.resolve("cifar", 64, {})) == ["--preset"]


def test_impossible_settings_are_named() -> None:
    with pytest.raises(Usage, match="power of two"):
        presets.resolve("stylegan2", 48, {})
    with pytest.raises(Usage, match="--batch 1: path length"):
        presets.resolve("stylegan2", 64, {"batch": 1})


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++, with which torch.compile compiles")
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_networks_train_the_same() -> None:
    plain, compiled = (trainer(batch=4, compile=c) for c in (False, True))
    for t in (plain, compiled):
        for _ in range(2):
            t.step()
    for a, b in zip(plain.g_params, compiled.g_params, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_any_batch_trains() -> None:
    """Groups of the minibatch stddev are as near to their size as the batch allows (S1.6)."""
    t = trainer(batch=7, mbstd_group=4)
    t.step()
    assert t.is_finite() and t.images == 7


def test_changed_flags_are_named_and_the_start_never_counts() -> None:
    before = config()
    assert presets.changed(before, config(labels="folders", freeze_d=2, channels=1)) == [
        "--freeze-d", "--labels", "--channels"
    ]  # fmt: skip
    assert presets.changed(before, config(net="x.safetensors")) == []
    assert presets.changed(before, config(lr=0.1, channel_max=4)) == ["--lr", "--channel-max"]
    assert TrainConfig.from_dict(json.loads(json.dumps(before.to_dict()))) == before


def test_settings_that_follow_a_changed_one_are_not_named() -> None:
    """auto's gamma and EMA follow the batch, nearly everything follows the preset."""

    def made(preset: str = "auto", resolution: int = 64, **given: Any) -> TrainConfig:
        return presets.resolve(preset, resolution, given)

    assert presets.changed(made(), made(batch=16)) == ["--batch"]
    assert presets.changed(made(batch=16), made()) == ["--batch"]
    assert presets.changed(made(batch=16, gamma=3.0), made()) == ["--batch", "--gamma"]
    assert presets.changed(made(), made(batch=16, ema_kimg=1.0)) == ["--batch", "--ema-kimg"]
    assert presets.changed(made(), made(gamma=3.0)) == ["--gamma"]
    assert presets.changed(made(), made(resolution=1024)) == ["--resolution"]
    assert presets.changed(made(), made("cifar")) == ["--preset"]
    assert presets.changed(made("faces64"), made("faces64", mirror=False)) == ["--mirror"]


def test_a_run_of_before_there_were_classes_goes_on() -> None:
    """Its settings lack what is newer, and mean what they meant: no classes, three channels."""
    values = config().to_dict()
    for name in ("freeze_d", "labels", "label_column", "channels"):
        del values[name]
    assert TrainConfig.from_dict(values) == config()


@pytest.mark.parametrize("bad", [{"preset": "x"}, {"batch": 0}, {"resolution": "64"}])
def test_impossible_saved_settings_are_one_line(bad: dict[str, Any]) -> None:
    with pytest.raises(Usage, match=r"another version|damaged"):
        TrainConfig.from_dict({**config().to_dict(), **bad})


@pytest.mark.parametrize("flag", ["--lr", "--gamma", "--ada-target", "--ema-kimg"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_numbers_have_to_be_finite(
    gt: Any, faces: Path, tmp_path: Path, flag: str, value: str
) -> None:
    result = gt("train", "stylegan2", faces, *SMALL, "-o", tmp_path / "run", flag, value)
    assert result.code == 2
    assert flag in result.err
    assert f"{value} is not a finite number" in result.err
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------- iteration


def test_regularisers_are_lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Path length at 0, 4, 8, …; R1 at 0, 16, 32, … (S2.20)."""
    t = trainer()
    seen: dict[str, list[int]] = {"_g_path": [], "_d_r1": []}
    for name, when in seen.items():
        old: Callable[..., torch.Tensor] = getattr(t, name)

        def wrapped(*a: Any, old: Any = old, when: list[int] = when) -> torch.Tensor:
            when.append(t.iteration)
            return old(*a)  # type: ignore[no-any-return]

        monkeypatch.setattr(t, name, wrapped)
    for _ in range(18):
        t.step()
    assert seen == {"_g_path": [0, 4, 8, 12, 16], "_d_r1": [0, 16]}
    assert t.images == 18 * 8


def test_both_networks_move_and_stay_unfrozen() -> None:
    t = trainer()
    before = [p.detach().clone() for p in (*t.g_params, *t.d_params)]
    t.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, (*t.g_params, *t.d_params), strict=True)]
    assert all(moved)
    assert all(p.requires_grad for p in (*t.g_params, *t.d_params))
    assert not any(p.requires_grad for p in t.g_ema.parameters())
    assert t.is_finite()


def test_average_starts_as_a_copy_with_rampup() -> None:
    """The half-life begins at 0: after the first iteration the average is the network (S0.9)."""
    t = trainer(ema_rampup=0.05)
    t.step()
    for a, b in zip(t.g_ema.state_dict().values(), t.g.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


def test_w_avg_follows_the_mean_w_s0_11() -> None:
    t = trainer(mixing=0.0)
    t.g.mapping.w_avg.fill_(2.0)
    t.generator.manual_seed(5)
    ws = t._ws(8, None)
    t._move_w_avg()
    wanted = 0.995 * 2.0 + 0.005 * ws[:, 0].mean(dim=0)
    torch.testing.assert_close(t.g.mapping.w_avg, wanted.detach())


def test_ada_follows_the_signs() -> None:
    """p rises by batch * 4 / 500k every 4 iterations while D is sure of the real pictures."""
    t = trainer(gamma=0.0, lr=0.01, pl_weight=0.0, ada_target=-2.0)
    for _ in range(12):
        t.step()
    assert float(t.p) == pytest.approx(3 * 8 * 4 / 500_000, rel=1e-5)
    low = trainer(ada_target=2.0)
    for _ in range(8):
        low.step()
    assert float(low.p) == 0.0
    assert float(trainer(aug="none").p) == 0.0


def test_trajectory_is_a_function_of_the_seed() -> None:
    a, b, c = trainer(), trainer(), trainer(seed=1)
    for t in (a, b, c):
        for _ in range(3):
            t.step()
    same_state(a, b)
    assert not torch.equal(a.g_params[0], c.g_params[0])


@pytest.mark.parametrize("more", [{}, {"dtype": "bf16"}, {"aug": "none", "pl_weight": 0.0}])
def test_state_file_restores_to_the_bit(tmp_path: Path, more: dict[str, Any]) -> None:
    """Save in the middle of an ADA interval and of a log line, restore, go on: the same numbers."""
    a = trainer(**more)
    a.p.fill_(0.3)
    for _ in range(6):
        a.step()
    state.save(tmp_path, a, state.Progress("digest", scores=[(1000, 2.5)], derived_from=["x"]))
    saved = state.read(tmp_path)
    assert saved is not None
    assert saved.progress == state.Progress("digest", 0.0, 0, [(1000, 2.5)], ["x"])
    b = trainer(**more)
    state.restore(b, saved)
    same_state(a, b)
    for t in (a, b):
        for _ in range(12):
            t.step()
    same_state(a, b)
    assert a.is_finite()


def test_state_of_another_shape_is_refused(tmp_path: Path) -> None:
    state.save(tmp_path, trainer(), state.Progress("digest"))
    saved = state.read(tmp_path)
    assert saved is not None
    with pytest.raises(Usage, match="of another shape"):
        state.restore(trainer(latent_dim=8), saved)
    tensorfile.write(tmp_path / state.NAME, {}, {"kind": "network"})
    with pytest.raises(Usage, match="not a training state"):
        state.read(tmp_path)
    assert state.read(tmp_path / "nowhere") is None


def test_cifar_preset_trains() -> None:
    """No path length, no mixing, D without residuals."""
    made = presets.resolve("cifar", 8, {"batch": 8, "channel_max": 8, "latent_dim": 8})
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    t = Trainer(made, networks.new_networks(made), in_memory(made, pixels))
    t.step()
    assert t.d.cfg.architecture == "orig"
    assert "path_length" not in t.sums.values
    assert t.is_finite()


# ------------------------------------------------------------------------------------ run folder


def numbers(path: Path) -> dict[str, bytes]:
    return {n: t.tobytes() for n, t in tensorfile.read(path)[1].items()}


def test_run_folder(gt: Any, faces: Path, tmp_path: Path) -> None:
    """Networks, samples, log, state, report; resumed by the same command, and then left alone."""
    folder = tmp_path / "run"
    crop = tmp_path / "crop.json"
    crop.write_text(
        json.dumps({"landmarks": [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.4, 0.8], [0.6, 0.8]]})
    )
    args = ("train", "stylegan2", faces, "-o", folder, *SMALL, "--hold-out", 10, "--mirror")
    result = gt(*args, "--images", "2k", "--snapshot", "1k", "--licence", "CC0", "--crop", crop)
    assert result.code == 0, result.err
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert names == [
        "config.json", "log.jsonl", "network-000001.safetensors", "network-000002.safetensors",
        "report.html", "samples/000001.png", "samples/000002.png", "state.safetensors",
    ]  # fmt: skip
    story = network.header(folder / "network-000002.safetensors")
    assert story["images_shown"] == 2016
    assert story["trained_on"] == (
        "faces.zip: 54 pictures, mirrored too; those with a number divisible by 10 held out"
    )
    assert story["licence"] == "CC0"
    assert len(story["crop"]["landmarks"]) == 5
    checkpoint = network.load(folder / "network-000002.safetensors")
    assert all(checkpoint.part(part) for part in ("g_ema", "g", "d"))
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [1024, 2016]
    assert {"loss_g", "loss_d", "p", "images_per_second", "seconds"} <= lines[0].keys()
    with Image.open(folder / "samples" / "000002.png") as grid:
        assert grid.size == (64, 64)
    for file in folder.rglob("*"):  # no file but the report names this machine's folders
        if file.is_file() and file.name != "report.html":
            assert str(tmp_path).encode() not in file.read_bytes(), file.name
    again = gt(*args, "--images", "2k", "--snapshot", "1k")
    assert again.code == 0
    assert "2,016 images are done" in again.err
    made = gt(
        "generate", "--net", folder / "network-000002.safetensors", "--seeds", "1", "-o", ".png"
    )
    assert made.code == 0
    assert made.out[:4] == b"\x89PNG"


def test_resumed_run_is_the_uninterrupted_one(gt: Any, faces: Path, tmp_path: Path) -> None:
    """--images, --snapshot and --workers may change; every number at the end is the same."""
    args = ("train", "stylegan2", faces, *SMALL, "--quiet")
    straight, pieces = tmp_path / "straight", tmp_path / "pieces"
    assert gt(*args, "-o", straight, "--images", "3k", "--snapshot", "3k").code == 0
    assert gt(*args, "-o", pieces, "--images", "1.2k", "--snapshot", "1k").code == 0
    more = ("--images", "3k", "--snapshot", "1500", "--workers", "1")
    assert gt(*args, "-o", pieces, *more).code == 0
    last = "network-000003.safetensors"
    assert (straight / last).read_bytes() == (pieces / last).read_bytes()
    assert (straight / "samples/000003.png").read_bytes() == (
        pieces / "samples/000003.png"
    ).read_bytes()
    left, right = numbers(straight / state.NAME), numbers(pieces / state.NAME)
    assert {n for n in left if left[n] != right.get(n)} <= {n for n in left if n[:5] == "sums."}
    images = [json.loads(x)["images"] for x in (pieces / "log.jsonl").read_text().splitlines()]
    assert images == sorted(set(images))


def test_log_is_cut_back_to_the_state(gt: Any, faces: Path, tmp_path: Path) -> None:
    """What a killed process logged after its last state is logged again, once."""
    args = ("train", "stylegan2", faces, *SMALL, "-o", tmp_path / "run", "--snapshot", "1k", "-q")
    assert gt(*args, "--images", "1k").code == 0
    log = tmp_path / "run" / "log.jsonl"
    with log.open("a") as file:
        file.write('{"images": 1500}\n{"half a li')
    (tmp_path / "run" / ".state.safetensors.1.tmp").write_bytes(b"half")
    assert gt(*args, "--images", "2k").code == 0
    assert [json.loads(x)["images"] for x in log.read_text().splitlines()] == [1024, 2016]
    assert not list((tmp_path / "run").glob(".*"))


def test_changed_flags_are_refused_by_name(gt: Any, faces: Path, tmp_path: Path) -> None:
    args = ("train", "stylegan2", faces, *SMALL, "-o", tmp_path / "run", "--snapshot", "1k", "-q")
    assert gt(*args, "--images", "1k").code == 0
    before = numbers(tmp_path / "run" / state.NAME)
    result = gt(*args, "--images", "2k", "--lr", "0.01", "--mirror", "--seed", "4")
    assert result.code == 2
    assert "--seed, --mirror, --lr differ from the run in this folder" in result.err
    assert numbers(tmp_path / "run" / state.NAME) == before


def test_other_pictures_are_refused(gt: Any, faces: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        for i in range(20):
            archive.writestr(f"{i:05d}.png", picture(i + 100))
    rest = (*SMALL, "-o", tmp_path / "run", "--snapshot", "1k", "-q", "--images")
    assert gt("train", "stylegan2", faces, *rest, "1k").code == 0
    result = gt("train", "stylegan2", other, *rest, "2k")
    assert result.code == 2
    assert "not the pictures that the run was started with" in result.err


def test_bad_pictures_are_named_and_left_out(gt: Any, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(20):
        (folder / f"{i}.png").write_bytes(picture(i))
    (folder / "cut.png").write_bytes(picture(3)[:60])
    (folder / "tiny.png").write_bytes(picture(3, 4))
    args = (*SMALL, "-o", tmp_path / "run", "--images", "1k", "--snapshot", "1k")
    result = gt("train", "stylegan2", folder, *args)
    assert result.code == 1
    lines = [x for x in result.err.splitlines() if ".png: " in x and "samples" not in x]
    assert len(lines) == 2, result.err
    assert "tiny.png: 4x4 is smaller than the network's pictures, 8" in result.err
    story = network.header(tmp_path / "run" / "network-000001.safetensors")
    assert story["trained_on"] == "photos: 20 pictures"


def test_nothing_to_train_on(gt: Any, tmp_path: Path) -> None:
    (tmp_path / "2.png").write_bytes(picture(2, 4))
    args = ("train", "stylegan2", tmp_path / "2.png", *SMALL, "-o", tmp_path / "run")
    result = gt(*args)
    assert result.code == 2
    assert "no picture left to train on" in result.err


def test_resolution_comes_from_the_pictures(gt: Any, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    args = ("train", "stylegan2", faces, "-o", folder, *SMALL[2:], "--images", "1k", "-q")
    assert gt(*args).code == 0
    assert json.loads((folder / "config.json").read_text())["resolution"] == 8
    odd = tmp_path / "odd.png"
    odd.write_bytes(picture(0, 9))
    result = gt("train", "stylegan2", odd, "-o", tmp_path / "r2", *SMALL[2:])
    assert result.code == 2
    assert (
        "picture's size is no --resolution: 9: " in result.err and "near sizes: 8, 10" in result.err
    )


def test_two_processes_never_share_a_folder(gt: Any, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / "log.jsonl").open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        result = gt("train", "stylegan2", faces, *SMALL, "-o", folder)
    assert result.code == 2
    assert "another process trains in this folder" in result.err


def test_divergence_stops_and_keeps_the_last_state(gt: Any, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    args = ("train", "stylegan2", faces, *SMALL, "-o", folder, "--snapshot", "1k", "-q")
    assert gt(*args, "--lr", "1e38", "--images", "2k").code == 2
    assert not (folder / state.NAME).exists()
    assert not list(folder.glob("network-*"))
    result = gt(*args, "--lr", "1e38", "--images", "2k")
    assert re.search(r"diverged before 1,024 images .*lower --lr", result.err)


def test_start_from_a_network(gt: Any, faces: Path, tmp_path: Path) -> None:
    """--net: its weights and shape at the start; its id is kept; later it does not count."""
    start = make_network(tmp_path / "start.safetensors", resolution=8)
    origin = network.load(start)
    folder = tmp_path / "run"
    args = ("train", "stylegan2", faces, *SMALL, "-o", folder, "--snapshot", "1k", "-q")
    assert gt(*args, "--images", "1k", "--net", start, "--lr", "1e-12").code == 0
    made = network.load(folder / "network-000001.safetensors")
    assert made.config["g"]["widths"] == origin.config["g"]["widths"]
    assert made.meta["derived_from"][0] == origin.meta["id"]
    for name, value in origin.part("d").items():
        np.testing.assert_allclose(made.part("d")[name], value, atol=1e-8)
    assert gt(*args, "--images", "2k", "--lr", "1e-12").code == 0
    last = network.load(folder / "network-000002.safetensors")
    assert last.meta["derived_from"] == made.meta["derived_from"]
    result = gt(
        "train",
        "stylegan2",
        faces,
        *SMALL[2:],
        "--resolution",
        "16",
        "-o",
        tmp_path / "r2",
        "--net",
        start,
    )
    assert result.code == 2
    assert "8 pixels and 3 channels, not 16 and 3" in result.err


def test_best_snapshot_is_kept_s0_15(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """best.safetensors is the snapshot with the smallest score, ties to the earliest."""
    scores = iter([5.0, 3.0, 3.0, 4.0])
    monkeypatch.setattr(rounds, "measure", lambda *_: lambda _g, _lod: next(scores))
    monkeypatch.setattr(refusals.features, "weights_of", lambda _: None)
    made = config(metric="kid", batch=32, hold_out=7)
    folder = tmp_path / "run"
    report.reset()
    run.train(Job([str(faces)], folder, 4000, 1000, 2), made)
    best, second = folder / "best.safetensors", folder / "network-000002.safetensors"
    assert best.read_bytes() == second.read_bytes()
    saved = state.read(folder)
    assert saved is not None
    assert [score for _, score in saved.progress.scores] == [5.0, 3.0, 3.0, 4.0]
    page = (folder / "report.html").read_text()
    assert "KID against held-out pictures" in page
    assert network.find(str(folder)) == best


def test_metric_needs_held_out_pictures_and_weights(gt: Any, faces: Path, tmp_path: Path) -> None:
    args = ("train", "stylegan2", faces, *SMALL, "-o", tmp_path / "run", "--metric", "fid")
    result = gt(*args)
    assert result.code == 2
    assert "0 pictures are held out, 100 are needed (--hold-out N)" in result.err
    many = tmp_path / "many.zip"
    with zipfile.ZipFile(many, "w") as archive:
        for i in range(220):
            archive.writestr(f"{i}.png", picture(i))
    rest = (*SMALL, "-o", tmp_path / "r2", "--metric", "kid", "--hold-out", "2")
    result = gt("train", "stylegan2", many, *rest, "--features", "mobilenet")
    assert result.code == 2
    assert "weights mobilenet" in result.err
    assert "missing" in result.err


@pytest.mark.data
def test_metric_measures_against_held_out_pictures(
    gt: Any, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTOOLS_WEIGHTS", str(shared / "data" / "weights"))
    many, folder = tmp_path / "many.zip", tmp_path / "run"
    with zipfile.ZipFile(many, "w") as archive:
        for i in range(220):
            archive.writestr(f"{i}.png", picture(i))
    rest = (*SMALL, "-o", folder, "--metric", "kid", "--hold-out", "2", "--features", "mobilenet")
    result = gt("train", "stylegan2", many, *rest, "--images", "2k", "--snapshot", "1k", "-q")
    assert result.code == 0, result.err
    lines = [json.loads(x) for x in (folder / "log.jsonl").read_text().splitlines()]
    better = min(lines, key=lambda line: line["kid"])
    assert (folder / "best.safetensors").read_bytes() == (folder / better["network"]).read_bytes()


def test_samples_are_the_same_each_time() -> None:
    g = trainer().g_ema
    one = np.concatenate(list(snapshots.sample(g, 5, 0, "grid", None)))
    other = np.concatenate(list(snapshots.sample(g, 5, 0, "grid", None, batch=2)))
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    assert one.shape == (5, 8, 8, 3)
    assert (np.concatenate(list(snapshots.sample(g, 5, 1, "grid", None))) != one).any()
    cells = np.arange(12, dtype=np.uint8).reshape(6, 1, 1, 2).repeat(2, 1)
    assert snapshots.grid(cells, 3)[0, :, 0].tolist() == [0, 2, 4]


def test_report_is_self_contained(faces: Path, tmp_path: Path) -> None:
    """No link, script or picture outside the file; curves and grids inside."""
    folder = tmp_path / "a <run>"
    report.reset()
    run.train(Job([str(faces)], folder, 3000, 1000, 2), config(batch=32))
    page = (folder / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 3
    assert not re.search(r"(?:src|href)=\"(?!data:)|<script|url\(|http", page)
    assert "a &lt;run&gt;" in page
    assert page.count("<svg") == 6  # the others are those of other families
    assert page.count("<polyline") >= 8
    svg = report_html.curve("x", [{"images": 1, "a": 2.0}, {"images": 2, "a": None}], ["a"])
    assert svg.count("<polyline") == 1
    assert report_html.curve("x", [{"images": 1}], ["a"]) == ""
    alone = report_html.curve("x", [{"images": 1, "b": 2.0}], ["a", "b"])
    assert alone.count("<polyline") == 1 and ">b</span>" in alone and ">a</span>" not in alone


# ------------------------------------------------------------------------------ real processes


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "gantools", "train", "stylegan2", *map(str, args)]


def start(*args: object, **more: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(run.__file__).parents[2]
    return subprocess.Popen(
        command(*args), stderr=subprocess.PIPE, text=True, env=environment, cwd=root, **more
    )


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, f"{path} has not come"
        time.sleep(0.01)


@pytest.mark.long
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_with_the_state_written(
    faces: Path, tmp_path: Path, number: int, status: int, gt: Any
) -> None:
    """130 and 143, nothing half written, and the work since the snapshot is not lost."""
    folder = tmp_path / "run"
    args = (faces, *SMALL, "-o", folder, "--snapshot", "1k")
    with start(*args, "--images", "1M") as process:
        wait_for(folder / state.NAME, process)
        time.sleep(0.2)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == -number, err
    assert status == 128 + number
    assert "Traceback" not in err
    assert not [p for p in folder.rglob("*") if p.name.startswith(".")]
    saved = state.read(folder)
    assert saved is not None
    images = saved.images + 32
    assert gt("train", "stylegan2", *args, "--images", images, "-q").code == 0


def wait_for_a_new_state(process: subprocess.Popen[str], path: Path) -> None:
    """Until the running process has written the state once, or has ended."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.005)


def test_a_signal_that_comes_twice_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm and torchrun both send it. Seconds later it ends the run at once, Ctrl-C always."""
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("it was not caught"))
    try:
        with folders.Interruption() as interruption:
            for _ in range(3):
                signal.raise_signal(signal.SIGTERM)
            assert interruption.wanted is report.Terminated
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        ended: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
        with folders.Interruption() as interruption:
            signal.raise_signal(signal.SIGTERM)
            monkeypatch.setattr(folders.Interruption, "SAME", -1.0)
            signal.raise_signal(signal.SIGTERM)
        assert ended == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.long
def test_killed_runs_end_in_the_same_numbers(gt: Any, faces: Path, tmp_path: Path) -> None:
    """kill -9 at 20 random moments, half of them while files are written: bit-identical."""
    rest = (*SMALL, "--images", "30k", "--snapshot", "1k", "--mirror", "--ada-target", "0.1")
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert gt("train", "stylegan2", faces, *rest, "-o", straight, "-q").code == 0
    rng = np.random.default_rng(0)
    killings = 0
    for moment in range(20):
        with start(faces, *rest, "-o", killed, "-q") as process:
            if moment % 2:
                time.sleep(float(rng.uniform(0, 5)))
            else:
                wait_for_a_new_state(process, killed / state.NAME)
                time.sleep(float(rng.uniform(0, 0.3)))
            killings += process.poll() is None
            process.kill()
    assert killings >= 15
    assert gt("train", "stylegan2", faces, *rest, "-o", killed, "-q").code == 0
    names = [p.name for p in sorted(straight.glob("network-*"))]
    assert names == [p.name for p in sorted(killed.glob("network-*"))]
    for name in names:
        assert (straight / name).read_bytes() == (killed / name).read_bytes(), name
    assert numbers(straight / state.NAME) == numbers(killed / state.NAME)
    logs = [
        [json.loads(x) for x in (folder / "log.jsonl").read_text().splitlines()]
        for folder in (straight, killed)
    ]
    times = {"seconds", "images_per_second", "waiting"}
    left, right = ([{n: v for n, v in x.items() if n not in times} for x in log] for log in logs)
    assert left == right
    assert not [p for p in killed.rglob("*") if p.name.startswith(".")]


@pytest.mark.long
def test_full_disk_keeps_the_last_state(gt: Any, faces: Path, tmp_path: Path) -> None:
    """A write that fails ends the run with 2 and one line; what was there stays and resumes."""
    folder = tmp_path / "run"
    args = (faces, *SMALL, "-o", folder, "--snapshot", "1k")
    assert gt("train", "stylegan2", *args, "--images", "1k", "-q").code == 0
    before = numbers(folder / state.NAME)
    limit = (folder / state.NAME).stat().st_size // 2

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with start(*args, "--images", "3k", preexec_fn=small_files) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "Traceback" not in err
    assert len([x for x in err.splitlines() if "file too large" in x.lower()]) == 1, err
    assert numbers(folder / state.NAME) == before
    assert not [p for p in folder.rglob("*") if p.name.startswith(".")]
    assert gt("train", "stylegan2", *args, "--images", "2k", "-q").code == 0


def test_unwritable_folder_is_one_line(gt: Any, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = gt("train", "stylegan2", faces, *SMALL, "-o", tmp_path / "file" / "run")
    assert result.code == 2
    assert "not a directory" in result.err
    shutil.rmtree(tmp_path, ignore_errors=True)
