"""train stylegan2 --fnz: what it draws, where it starts from, how it goes on (S2.20, S2.21)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Result, make_network
from test_accumulation import gradients, same
from test_distributed import FAMILIES, SMALL, lines, trained
from test_training import config, picture, same_state

from gantools.io import network as files
from gantools.report import Usage
from gantools.training import losses, networks, presets, state
from gantools.training.distributed import Ranks
from gantools.training.loop import Trainer
from gantools.training.reader import in_memory

Run = Callable[..., Result]


def trainer(batch_gpu: int | None = None, **more: Any) -> Trainer:
    """16x16, block 3 on: features of 8x8 cells."""
    made = config(**{"resolution": 16, "fnz": 3, "noise_blur": 1.5, "mbstd_group": 2, **more})
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), dtype=np.uint8)
    nets = networks.new_networks(made)
    return Trainer(made, nets, in_memory(made, pixels), batch_gpu=batch_gpu)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fnz")
    for i in range(20):
        (folder / f"{i:05d}.png").write_bytes(picture(i, 16))
    return folder


TINY = (
    "--resolution", "16", "--batch", "32", "--channel-max", "8", "--map-depth", "1",
    "--gamma", "0.05", "--device", "cpu", "--workers", "1", "--snapshot", "1k",
)  # fmt: skip


# ------------------------------------------------------------------------------------ what it draws


def test_s2_21_features_have_unit_variance_everywhere() -> None:
    """Each channel's standard deviation is 1 within 2 %, at the border as in the middle."""
    t = trainer(batch=4096, mbstd_group=4)
    t._begin()
    f = t._features(4096, grouped=True)
    assert f is not None and f.shape == (4096, 8, 8, 8)
    torch.testing.assert_close(f.std((0, 2, 3)), torch.ones(8), rtol=0.02, atol=0)
    spread = f.std(0)[5]  # of one channel, cell by cell
    torch.testing.assert_close(spread, torch.ones(8, 8), rtol=0.06, atol=0)
    lag = (f[..., 1:] * f[..., :-1]).mean((0, 2, 3))
    assert abs(lag[0]) < 0.01 and (lag.diff()[1:] > 0).all() and lag[-1] > 0.8


def test_s2_20_normal_features_are_white() -> None:
    t = trainer(batch=1024, noise_blur=0.0)
    t._begin()
    f = t._features(1024, grouped=True)
    assert f is not None
    assert abs(float(f.mean())) < 0.01 and abs(float(f.std()) - 1) < 0.01
    assert abs(float((f[..., 1:] * f[..., :-1]).mean())) < 0.01


@pytest.mark.parametrize("grouped", [True, False])
def test_parts_of_a_batch_draw_what_the_batch_draws(grouped: bool) -> None:
    whole = trainer()
    whole._begin()
    f = whole._features(8, grouped=grouped)
    assert f is not None
    for rank in range(2):
        t = trainer()
        t.ranks = Ranks(rank, 2)
        t._begin()
        part = t._features(8, grouped=grouped)
        group = 2 if grouped else 1
        torch.testing.assert_close(part, Ranks(rank, 2).take(f, group), rtol=0, atol=1e-6)


@pytest.mark.parametrize("more", [{}, {"noise_blur": 0.0, "fnz": 4}, {"fnz": 6, "noise_blur": 2.0}])
def test_in_parts_it_trains_as_the_whole_batch(
    more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--batch-gpu: the same gradients; style mixing and ADA included."""
    whole, parts = (trainer(n, pl_weight=0.0, **more) for n in (None, 4))
    for t in (whole, parts):
        t.p.fill_(0.7)
    same(gradients(whole, monkeypatch), gradients(parts, monkeypatch))
    torch.testing.assert_close(whole.g.mapping.w_avg, parts.g.mapping.w_avg)


def test_styles_are_mixed_where_the_network_has_layers() -> None:
    """The crossover lies behind the first block; path lengths are means over the layers there."""
    draw = torch.Generator().manual_seed(0)
    cutoffs = losses.draw_cutoffs(4000, 8, 1.0, draw, first=5)
    assert set(cutoffs.tolist()) == {5, 6, 7}
    assert set(losses.draw_cutoffs(9, 8, 1.0, draw, first=8).tolist()) == {8}
    ws = torch.randn(2, 6, 4, requires_grad=True)
    images = ws[:, 2:].sum((1, 2))[:, None, None, None] * torch.ones(2, 1, 1, 1)
    lengths = losses.path_lengths(images, ws, torch.ones(2, 1, 1, 1), first=3)
    torch.testing.assert_close(lengths, torch.full([2], 2.0))  # sqrt(4) in each layer there


# ------------------------------------------------------------------------------- where it starts


def test_s2_20_weights_are_inherited_and_earlier_blocks_dropped(tmp_path: Path) -> None:
    net = make_network(tmp_path / "v.safetensors", resolution=16)
    made = config(resolution=16, fnz=3, latent_dim=16, net="v.safetensors")
    checkpoint = networks.start(str(net), made)
    assert checkpoint is not None
    nets, parents = networks.from_checkpoint(checkpoint, made)
    own = nets.g.state_dict()
    assert not [n for n in own if n.startswith("synthesis.b4") or "b8.conv0" in n]
    before = checkpoint.part("g_ema")
    for name, tensor in own.items():
        assert (tensor.numpy() == before[name]).all(), name
    for name, tensor in nets.d.state_dict().items():
        assert (tensor.numpy() == checkpoint.part("d")[name]).all(), name
    assert parents == [checkpoint.meta["id"]]
    # FNZ_3 -> FNZ_5, but not back, and not to a network with a constant.
    later = make_network(tmp_path / "f.safetensors", resolution=16, fnz=3)
    five = config(resolution=16, fnz=5, latent_dim=16)
    checkpoint = networks.start(str(later), five)
    assert checkpoint is not None
    nets, _ = networks.from_checkpoint(checkpoint, five)
    assert nets.g.cfg.fnz == 5
    for wrong in (config(resolution=16, fnz=2), config(resolution=16)):
        with pytest.raises(Usage, match="it starts at block 3"):
            networks.start(str(later), wrong)
    old = make_network(tmp_path / "o.safetensors", resolution=16, architecture="orig")
    with pytest.raises(Usage, match="architecture orig"):
        networks.start(str(old), made)


@pytest.mark.parametrize(
    ("given", "sigma"),
    [
        ({"fnz": 3}, 0.0),
        ({"fnz": 3, "noise_blur": "normal"}, 0.0),
        ({"fnz": 3, "noise_blur": "blurred"}, 4.0),  # S2.21: half of the 8 cells of F_3
        ({"fnz": 5, "noise_blur": "blurred"}, 8.0),
        ({"fnz": 5, "noise_blur": "2.5"}, 2.5),
        ({"fnz": 4, "noise_blur": "blurred", "first_block": (4, 6)}, 4.0),
    ],
)
def test_noise_blur_is_a_sigma_in_cells(given: dict[str, Any], sigma: float) -> None:
    assert presets.resolve("auto", 64, given).noise_blur == sigma


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"fnz": 11}, "blocks 1 to 10"),
        ({"noise_blur": "blurred"}, "give --fnz too"),
        ({"fnz": 3, "noise_blur": "soft"}, "expected normal, blurred or a sigma from 0 to 16"),
        ({"fnz": 3, "noise_blur": "17"}, "a sigma from 0 to 16"),
        ({"fnz": 3, "noise_blur": "-1"}, "a sigma from 0 to 16"),
        ({"fnz": 3, "noise_blur": "nan"}, "a sigma from 0 to 16"),
    ],
)
def test_impossible_features_are_named(given: dict[str, Any], why: str) -> None:
    with pytest.raises(Usage, match=why):
        presets.resolve("auto", 64, given)


# ---------------------------------------------------------------------------------- how it goes on


@pytest.mark.parametrize("fnz", [1, 2, 3, 6])
def test_state_file_restores_to_the_bit(tmp_path: Path, fnz: int) -> None:
    """Stopped behind 3 steps and restored, step 4 to 6 are those of a run that went on."""
    one = trainer(fnz=fnz)
    for _ in range(3):
        one.step()
    state.save(tmp_path, one, state.Progress("digest"))
    saved = state.read(tmp_path)
    assert saved is not None
    assert (saved.networks["g"]["fnz"], saved.networks["g"]["noise_blur"]) == (fnz, 1.5)
    other = trainer(fnz=fnz)
    state.restore(other, saved)
    for t in (one, other):
        for _ in range(3):
            t.step()
    same_state(one, other)


def test_resumed_run_is_the_uninterrupted_one(gt: Run, data: Path, tmp_path: Path) -> None:
    """Network files, samples and state of a run that was stopped are the same bytes."""
    fnz = ("--fnz", "3", "--noise-blur", "blurred")
    go = ("train", "stylegan2", data, *TINY, *fnz, "-q", "--images")
    assert gt(*go, "2016", "-o", tmp_path / "a").code == 0
    assert gt(*go, "1k", "-o", tmp_path / "b").code == 0
    assert gt(*go, "2016", "-o", tmp_path / "b").code == 0
    for name in ("network-000001.safetensors", "network-000002.safetensors", "samples/000002.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    made = files.load(tmp_path / "a/network-000002.safetensors")
    assert (made.config["g"]["fnz"], made.config["g"]["noise_blur"]) == (3, 4.0)
    assert json.loads((tmp_path / "a/config.json").read_text())["noise_blur"] == 4.0
    for other in (("--fnz", "4"), ("--fnz", "3"), ()):
        result = gt("train", "stylegan2", data, *TINY, *other, "--images", "3k",
                    "-o", tmp_path / "a")  # fmt: skip
        assert result.code == 2
        assert ("--fnz" in result.err) == (other != ("--fnz", "3"))
        assert "--noise-blur" in result.err and result.err.count("\n") == 1


def test_a_vanilla_network_goes_on_as_fnz(gt: Run, data: Path, tmp_path: Path) -> None:
    """On the command line: a network, then FNZ_5 of it, then its own picture of another size."""
    go = ("train", "stylegan2", data, *TINY, "-q", "--images", "1k")
    assert gt(*go, "-o", tmp_path / "v").code == 0
    net = ("--net", tmp_path / "v" / "network-000001.safetensors")
    result = gt(*go, *net, "--fnz", "5", "-o", tmp_path / "f")
    assert result.code == 0, result.err
    made = tmp_path / "f" / "network-000001.safetensors"
    vanilla, derived = (files.load(p) for p in (net[1], made))
    assert derived.meta["derived_from"] == [vanilla.meta["id"]]
    wide = gt("generate", "--net", made, "--seeds", "0", "--size", "20x50", "-o", ".png")
    assert wide.code == 0 and wide.out[16:24] == bytes([0, 0, 0, 50, 0, 0, 0, 20])
    back = gt(*go, "--net", made, "-o", tmp_path / "back")
    assert back.code == 2 and "it starts at block 5" in back.err
    assert not shutil.rmtree(tmp_path / "back", ignore_errors=True)


@pytest.mark.long
def test_two_processes_train_as_one_does(data: Path, tmp_path: Path) -> None:
    args = ("stylegan2", data, *SMALL, *FAMILIES["stylegan2"][2:], "--resolution", "16",
            "--fnz", "3", "--noise-blur", "blurred", "--images", "1k")  # fmt: skip
    trained(*args, "-o", tmp_path / "one", processes=1)
    trained(*args, "-o", tmp_path / "two")
    (one,), (two,) = lines(tmp_path / "one"), lines(tmp_path / "two")
    for name in ("loss_g", "loss_d", "r1", "path_length", "score_fake"):
        assert two[name] == pytest.approx(one[name], rel=0.02, abs=0.01), name
