"""`metrics msssim`: random pairs of one set, seeded, whatever the order (S1.19)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gantools.ops.similarity import ms_ssim


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine noisy pictures that have a gradient in common."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(9):
        pixels = np.linspace(0, 200, 24)[:, None, None] + generator.integers(0, 40, (24, 20, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def test_pairs_are_disjoint_seeded_and_free_of_order_s1_19(
    gt: Callable, folder: Path, tmp_path: Path
) -> None:
    """S1.19: four pairs of nine pictures; the same from a tar in another order and in batches."""
    with tarfile.open(tmp_path / "p.tar", "w") as tar:
        for path in sorted(folder.iterdir(), reverse=True):
            tar.add(path, path.name)
    piped = (tmp_path / "p.tar").read_bytes()
    runs = [
        gt("metrics", "msssim", *argv, "--json", stdin=piped if "-" in argv else b"")
        for argv in ((folder,), (tmp_path / "p.tar", "--batch", 1), ("-",), (folder, "--seed", 1))
    ]
    assert all(run.code == 0 for run in runs), [run.err for run in runs]
    found = [json.loads(run.text) for run in runs]
    assert found[0]["msssim"] == pytest.approx(found[1]["msssim"], rel=1e-9)
    assert found[0]["msssim"] == pytest.approx(found[2]["msssim"], rel=1e-9)
    assert found[0]["msssim_ci"] == pytest.approx(found[1]["msssim_ci"], rel=1e-9)
    assert found[0]["msssim"] != found[3]["msssim"]
    low, high = found[0]["msssim_ci"]
    assert low <= found[0]["msssim"] <= high
    protocol = found[0]["protocol"]
    assert (protocol["pairs"], protocol["source"], protocol["size"]) == (4, "photos", "20x24")
    assert json.loads(gt("metrics", "msssim", folder, "--pairs", 2, "--json").text)["protocol"][
        "pairs"
    ] == 2  # fmt: skip


def test_copies_are_one_and_two_pictures_are_their_own_s1_19(gt: Callable, tmp_path: Path) -> None:
    """S1.19: 1 for copies; the measure itself for one pair, which has no interval."""
    generator = np.random.default_rng(1)
    a, b = generator.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    for name, pictures in (("copies", (a, a, a, a)), ("pair", (a, b // 2 + a // 2))):
        (tmp_path / name).mkdir()
        for i, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    copies = json.loads(gt("metrics", "msssim", tmp_path / "copies", "--json").text)
    assert copies["msssim"] == pytest.approx(1)
    pair = json.loads(gt("metrics", "msssim", tmp_path / "pair", "--json").text)
    both = torch.from_numpy(np.stack([a, b // 2 + a // 2])).permute(0, 3, 1, 2)
    assert pair["msssim"] == pytest.approx(ms_ssim(both[:1], both[1:]).item(), rel=1e-9)
    assert "msssim_ci" not in pair


def test_a_network_a_plot_and_wrong_usage(
    gt: Callable, folder: Path, tmp_path: Path, tiny_network: Path
) -> None:
    """--net makes two pictures for each pair; other sizes are named; one line for wrong usage."""
    plot = tmp_path / "x.png"
    net = ("--net", tiny_network, "--pairs", 3, "--json")
    done = gt("metrics", "msssim", *net, "-o", "-", "-o", plot)
    assert done.code == 0, done.err
    found = json.loads(done.text)
    assert found["protocol"]["pairs"] == 3 and found["protocol"]["seeds"] == "0-5"
    assert plot.read_bytes().startswith(b"\x89PNG")
    picture = Image.linear_gradient("L").resize((9, 9)).convert("RGB")
    picture.save(folder / "small.png")
    odd = gt("metrics", "msssim", folder, "--json")
    assert odd.code == 1 and odd.err.count("\n") == 1 and "cannot be compared" in odd.err
    (tmp_path / "one").mkdir()
    picture.save(tmp_path / "one/1.png")
    for argv, why in (
        ((tmp_path / "one",), "no pair could be measured"),
        ((folder, "--psi", 1), "leave PICTURES out"),
        ((tmp_path / "none",), "no such file"),
        ((folder, "--pairs", 0), "0 is not in the range"),
    ):
        done = gt("metrics", "msssim", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err
