"""`metrics modes`: stacked MNIST's modes and their divergence from uniform (S1.22)."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gantools.evaluation import modes
from gantools.report import SampleError, Usage


def test_a_single_mode_and_uniform_ones_s1_22() -> None:
    """S1.22: one mode: 1 and ln 1000; all alike: 1000 and 0; half of them: ln 2."""
    one = np.zeros(1000, np.int64)
    one[137] = 5
    found = modes.Modes(one).results()
    assert found["modes"] == 1 and found["kl"] == pytest.approx(math.log(1000))
    found = modes.Modes(np.full(1000, 3)).results()
    assert found["modes"] == 1000 and found["kl"] == pytest.approx(0, abs=1e-12)
    found = modes.Modes(np.arange(1000) % 2).results()
    assert found["modes"] == 500 and found["kl"] == pytest.approx(math.log(2))


def test_25600_uniform_draws_x_3() -> None:
    """X.3: the divergence of 25,600 uniform draws is about (1000 - 1) / (2 · 25600) = 0.0195."""
    drawn = np.random.default_rng(0).integers(0, 1000, 25_600)
    found = modes.Modes(np.bincount(drawn, minlength=1000)).results()
    assert found["modes"] == 1000 and found["kl"] == pytest.approx(0.0195, abs=0.002)


def test_intervals_hold_the_source_s1_22() -> None:
    """Of 400 equal modes 1500 pictures miss some: most intervals hold all 400, and ln 2.5."""
    rng, held = np.random.default_rng(0), np.zeros(2, int)
    for draw in range(20):
        found = modes.Modes(rng.multinomial(1500, np.repeat([1 / 400, 0], [400, 600])))
        ends = found.intervals(draw)
        assert found.results()["modes"] <= ends["modes_ci"][0]
        truth = {"modes_ci": 400, "kl_ci": math.log(2.5)}
        held += [ends[name][0] <= wanted <= ends[name][1] for name, wanted in truth.items()]
    assert (held >= 15).all(), held
    single = modes.Modes(np.eye(1, 1000, 5, dtype=int)[0] * 30).intervals()
    assert single == {"modes_ci": [1, 1], "kl_ci": pytest.approx([math.log(1000)] * 2)}


def test_the_code_is_red_then_green_then_blue_s1_22() -> None:
    """S1.22: d0 + 10 d1 + 100 d2; each channel is read by itself, whatever the size."""

    def bright(x: torch.Tensor) -> torch.Tensor:
        """A reader whose digit is the brightness in tenths."""
        level = (x.mean((1, 2, 3)) * 10).floor().long()
        return torch.nn.functional.one_hot(level, 10).float()

    digits = torch.tensor([[7, 3, 1], [0, 0, 9]], dtype=torch.float)
    images = ((digits + 0.5) * 25.5)[:, :, None, None].expand(-1, -1, 20, 24).to(torch.uint8)
    assert modes.codes(images, bright).tolist() == [137, 900]
    with pytest.raises(SampleError, match="1 channels"):
        modes.codes(images[:, :1], bright)


def test_a_file_of_other_tensors_is_refused(tmp_path: Path) -> None:
    """One clear line, no traceback."""
    torch.save({"convnet.c1.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(Usage, match=r"x\.pth: no LeNet of digits"):
        modes.load(tmp_path / "x.pth")


def test_lenet_reads_mnist_s1_22(
    gt: Callable, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1.22: 98.8 % of MNIST's test digits; what is stacked is what is counted; a plot."""
    data = shared / "data"
    weights = data / "weights"
    if not (weights / "mnist_lenet.pth").is_file():
        pytest.skip("no LeNet in the packs")
    with gzip.open(data / "mnist/t10k-images-idx3-ubyte.gz") as file:
        digits = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)[:999]
    with gzip.open(data / "mnist/t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read()[8:], np.uint8)[:999].astype(int)
    stacked = digits.reshape(-1, 3, 28, 28)
    net = modes.load(weights / "mnist_lenet.pth")
    wanted = labels.reshape(-1, 3) @ (1, 10, 100)
    found = modes.codes(torch.from_numpy(stacked.copy()), net)
    assert np.mean(found == wanted) > 0.94  # 0.988 of single digits, three of them right
    folder = tmp_path / "stacked"
    folder.mkdir()
    for i, picture in enumerate(stacked[:40]):
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / f"{i:02d}.png")
    monkeypatch.setenv("GANTOOLS_WEIGHTS", str(weights))
    plot = tmp_path / "x.png"
    runs = [
        gt("metrics", "modes", folder, "--json", "--batch", b, "-o", "-", "-o", plot)
        for b in (7, 64)
    ]
    assert runs[0].code == 0, runs[0].err
    results = [json.loads(run.text) for run in runs]
    assert results[0] == results[1]
    counts = np.bincount(found[:40], minlength=1000)
    assert results[0]["counts"] == counts.tolist()
    assert results[0]["modes"] == np.count_nonzero(counts)
    assert results[0]["protocol"]["count"] == 40 and plot.read_bytes().startswith(b"\x89PNG")
    parts = [tmp_path / f"part{i}.safetensors" for i in range(3)]
    for i, part in enumerate(parts):
        made = gt("metrics", "modes", folder, "--shard", f"{i}/3", "-o", part, "--json")
        assert made.code == 0, made.err
    whole = json.loads(gt("metrics", "modes", *reversed(parts), "--json").text)
    assert sorted(whole["protocol"].pop("shards")) == ["0/3", "1/3", "2/3"]
    assert whole == results[0]
    for argv, why in (
        ((parts[0], parts[0]), "is in part0.safetensors already"),
        ((parts[0], "--num", 5), "parts say what was read"),
        ((parts[0], folder), "stacked: no part of metrics modes"),
        ((folder, "--shard", "0/3"), "name its file"),
    ):
        done = gt("metrics", "modes", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err


def test_wrong_usage_is_one_line(gt: Callable, tmp_path: Path) -> None:
    """Weights that are missing are named with their sha256; flags that do not fit."""
    Image.new("RGB", (32, 32)).save(tmp_path / "1.png")
    for argv, why in (
        ((tmp_path,), "weights mnist-lenet"),
        ((tmp_path, "--num", 5), "leave INPUT out"),
        ((tmp_path / "none",), "no such file"),
    ):
        done = gt("metrics", "modes", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err
