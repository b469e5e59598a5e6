"""`metrics nn`: nearest neighbours in a set, with a sheet (S1.24)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from gantools.evaluation.neighbours import MOST, Nearest, centre
from gantools.report import Usage


def test_neighbours_are_those_of_all_distances_s1_24() -> None:
    """S1.24: the K smallest distances, whatever the blocks; a query in the set is at 0."""
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((3, 8)), generator.standard_normal((50, 8))
    y[17] = x[1]
    keys = [f"{i:02d}" for i in range(50)]
    every = np.linalg.norm(x[:, None] - y, axis=2)
    for size in (1, 7, 50):
        nearest = Nearest(["a", "b", "c"], torch.tensor(x), 4)
        for start in range(0, 50, size):
            nearest.add(keys[start : start + size], torch.tensor(y[start : start + size]))
        for row, neighbours in zip(every, nearest.results().values(), strict=True):
            wanted = np.argsort(row)[:4]
            assert [n.key for n in neighbours] == [keys[i] for i in wanted]
            np.testing.assert_allclose([n.distance for n in neighbours], row[wanted], rtol=1e-9)
    first = nearest.results()["b"][0]
    assert first.key == "17" and first.distance == 0
    with pytest.raises(Usage, match="at most 1024"):
        Nearest(["x"] * (MOST + 1), torch.zeros(MOST + 1, 1), 1)


def test_equal_distances_go_by_key() -> None:
    """Copies under several keys: the order in which they come does not matter."""
    for order in (["c", "a", "b"], ["b", "c", "a"]):
        nearest = Nearest(["q"], torch.zeros(1, 2), 2)
        assert nearest.add(order, torch.ones(3, 2)) == {"a", "b"}
        assert [n.key for n in nearest.results()["q"]] == ["a", "b"]


def test_the_middle_of_a_picture_s1_24() -> None:
    """S1.24: a centre crop of a share of each side."""
    x = np.arange(100 * 60).reshape(100, 60, 1)
    np.testing.assert_array_equal(centre(x, 0.6), x[20:80, 12:48])
    assert centre(x, 1) is x and centre(x, 0.001).shape == (1, 1, 1)


def test_the_command_s1_24(gt: Callable, tmp_path: Path, tiny_network: Path) -> None:
    """S1.24: queries that are in the set find themselves; forms and batches agree; a sheet."""
    generator = np.random.default_rng(0)
    queries, pictures = tmp_path / "q", tmp_path / "s"
    queries.mkdir(), pictures.mkdir()
    for i in range(12):
        pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{i:02d}.png")
        if i < 3:
            Image.fromarray(pixels).save(queries / f"query{i}.png")
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for path in sorted(pictures.iterdir(), reverse=True):
            tar.add(path, path.name)
    plot, table = tmp_path / "x.png", tmp_path / "x.tsv"
    flags = ("--features", "discriminator", "--net", tiny_network, "--top", 3, "--json")
    outputs = ("-o", "-", "-o", plot, "-o", table)
    done = gt("metrics", "nn", queries, pictures, *flags, *outputs)
    assert done.code == 0, done.err
    found = json.loads(done.text)
    for i in range(3):
        neighbours = found["nn"][f"query{i}"]
        assert neighbours[0]["key"] == f"{i:02d}" and neighbours[0]["distance"] < 1e-5
        assert len(neighbours) == 3 and neighbours[1]["distance"] > 1e-2
    assert found["nn_distance"] < 1e-5 and found["nn_distance_ci"][0] <= found["nn_distance"]
    protocol = found["protocol"]
    assert protocol["queries"]["count"] == 3 and protocol["set"]["count"] == 12
    assert protocol["features_sha256"] and protocol["crop"] == 1
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert table.read_text().startswith("query0\t00\t")
    other = gt("metrics", "nn", queries, "-", *flags, "--batch", 2,
               stdin=(tmp_path / "s.tar").read_bytes())  # fmt: skip
    again = json.loads(other.text)["nn"]
    for query, neighbours in found["nn"].items():
        assert [n["key"] for n in again[query]] == [n["key"] for n in neighbours]
    cropped = json.loads(gt("metrics", "nn", queries, pictures, *flags, "--crop", 0.5).text)
    assert cropped["nn"]["query0"][0]["key"] == "00" and cropped["nn"] != found["nn"]


def test_files_of_features_need_no_weights(gt: Callable, tmp_path: Path) -> None:
    """Rows of files find themselves by their numbers; what files cannot give is refused."""
    rows = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    np.savez(tmp_path / "set.npz", features=rows)
    np.savez(tmp_path / "queries.npz", features=rows[[31, 4]])
    np.savez(tmp_path / "narrow.npz", features=rows[:, :5])
    np.savez(tmp_path / "none.npz", features=rows[:0])
    save_file({"features": rows}, tmp_path / "a.st", {"gantools": '{"features_sha256": "1"}'})
    save_file({"features": rows}, tmp_path / "b.st", {"gantools": '{"features_sha256": "2"}'})
    queries, everything = tmp_path / "queries.npz", tmp_path / "set.npz"
    found = [
        json.loads(gt("metrics", "nn", queries, everything, "--batch", b, "--json").text)
        for b in (7, 64)
    ]
    assert found[0] == found[1]
    assert [ns[0]["key"] for ns in found[0]["nn"].values()] == ["000031", "000004"]
    wanted = np.sort(np.linalg.norm(rows - rows[31], axis=1))[:5]
    distances = [n["distance"] for n in found[0]["nn"]["000000"]]
    np.testing.assert_allclose(distances, wanted, rtol=1e-5, atol=1e-7)
    for argv, why in (
        ((queries, tmp_path / "narrow.npz"), "6 and of 5 dimensions"),
        ((tmp_path / "none.npz", everything), "holds no features"),
        ((queries, everything, "--crop", 0.5), "--crop is for pictures"),
        ((queries, everything, "-o", tmp_path / "x.png"), "a sheet needs pictures"),
        ((tmp_path / "a.st", tmp_path / "b.st"), "two networks cannot be compared"),
    ):
        done = gt("metrics", "nn", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err


def test_wrong_usage_is_one_line(gt: Callable, tmp_path: Path) -> None:
    """Features that are not there, operands that are not there, damage on either side."""
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    for argv, lines, why in (
        ((tmp_path, tmp_path, "--features", "vgg"), 1, "expected inception, mobilenet"),
        ((tmp_path, tmp_path, "--features", "vgg19"), 1, "weights vgg19"),
        ((tmp_path, tmp_path / "none"), 1, "no such file"),
        (("-", "-"), 1, "one of the two sets"),
        ((tmp_path, tmp_path, "--crop", 0), 1, "0.0 is not in the range"),
    ):
        done = gt("metrics", "nn", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == lines, done.err
