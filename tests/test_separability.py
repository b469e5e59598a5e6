"""`metrics ls` (S0.18): the reference's tables, closed forms, labels from everywhere, errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network
from safetensors.numpy import load_file

from gantools.evaluation import attributes, plots, separability
from gantools.evaluation.separability import Attribute, attribute, conditional_entropy
from gantools.io import labels as label_files
from gantools.io.seeds import z_from_seed
from gantools.networks.network import open_network
from gantools.report import SampleError

CPU = ("--device", "cpu", "--json")


@pytest.fixture(scope="module")
def golden() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    folder = Path(__file__).parent / "fixtures" / "numerics"
    told = json.loads((folder / "linear_separability.json").read_text())
    return told["values"], load_file(folder / "linear_separability.safetensors")


# ---------------------------------------------------------------------------- formulas


def test_samples_tables_and_entropies_are_the_references(golden) -> None:
    """S0.18 fixture: which samples are kept, the 2x2 tables, H(Y|X), and the score of both spaces.

    The reference's first class is a logit above 0, and one class alone counts 0 bits there.
    """
    values, tensors = golden
    logits = tensors["logits"].astype(np.float64)
    chosen = [attribute(str(k), logits[:, k], 0.0) for k in range(3)]
    with pytest.raises(SampleError, match="600 of 600 samples are above 0"):
        attribute("3", logits[:, 3], 0.0)
    for k, one in enumerate(chosen):
        assert set(one.kept) == set(tensors["kept_indices"][k])
    for i, (space, x) in enumerate((("z", tensors["latents"]), ("w", tensors["dlatents"]))):
        found = separability.separability(x, chosen)
        wanted = values[f"conditional_entropy_{space}"]
        np.testing.assert_allclose([*found.entropies.values()], wanted[:3], atol=0.02)
        assert wanted[3] == 0 and found.score == pytest.approx(values[f"score_{space}"], rel=0.05)
        assert found.interval[0] <= found.score <= found.interval[1] and not found.unfinished
        for k, one in enumerate(chosen):
            said, _ = separability.predicted(x[one.kept], one.positive)
            cells = np.bincount(separability.cells(said, one.positive), minlength=4) / 600
            table = cells.reshape(2, 2)[::-1, ::-1]
            np.testing.assert_allclose(table, tensors["tables"][k, i], atol=0.01)


def test_entropies_of_tables(golden) -> None:
    """S0.18: the hand-made table; 0 log 0 is 0; an empty row; independence; counts as shares."""
    hand = golden[0]["hand_table"]
    assert conditional_entropy(np.array(hand["p"])) == pytest.approx(hand["H(Y|X)"], abs=1e-6)
    tables = np.array([[[50, 0], [0, 50]], [[25, 25], [25, 25]], [[0, 0], [10, 30]]])
    quarter = -0.25 * np.log2(0.25) - 0.75 * np.log2(0.75)
    np.testing.assert_allclose(conditional_entropy(tables), [0, 1, quarter], atol=1e-12)
    np.testing.assert_allclose(conditional_entropy(tables * 7), conditional_entropy(tables))


def test_closed_forms() -> None:
    """S0.18: a hyperplane that tells all makes 1, independent balanced labels 2 for each."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 4)).astype(np.float32)
    told = attribute("told", x[:, 1].astype(np.float64) - 0.2, 0.0)
    random = [attribute(f"r{i}", (rng.permutation(4000) % 2).astype(float)) for i in range(2)]
    assert separability.separability(x, [told]).score == pytest.approx(1, abs=1e-3)
    found = separability.separability(x, [told, *random])
    assert found.score == pytest.approx(4, rel=0.01)
    low, high = found.interval
    assert low < found.score <= high * 1.01 and high <= 4.0 + 1e-9


def test_an_interval_follows_the_samples() -> None:
    """S0.18: of a fixed table, the bootstrap's width is that of the binomial, and falls with N."""
    widths = []
    for count in (400, 6400):
        x = np.linspace(-1, 1, count)[:, None]
        wrong = np.arange(count) % 10 == 0
        found = separability.separability(
            x, [Attribute("a", np.arange(count), (x[:, 0] > 0) ^ wrong, 0)]
        )
        assert found.score == pytest.approx(2**0.469, rel=0.02)
        widths.append(found.interval[1] - found.interval[0])
    # dH/dp = log2(9) at p = 0.1, and the standard error of p is 0.3 / √N
    wanted = 2 * 1.96 * np.log2(9) * 0.3 / 20 * np.log(2) * 2**0.469
    assert widths[0] == pytest.approx(wanted, rel=0.15)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.2)


def test_thresholds_and_what_is_kept() -> None:
    """S0.18: the surest half by the distance to the threshold; all labels of two values."""
    scores = np.array([5.0, 1, np.nan, 2, 9, 3, 8, 4, 7])
    one = attribute("a", scores)
    assert one.threshold == 4.5 and sorted(one.kept) == [1, 3, 4, 6]
    assert one.positive.sum() == 2
    shifted = attribute("a", scores, 5.0)
    assert sorted(shifted.kept) == [1, 3, 4, 6] and shifted.positive.sum() == 2
    with pytest.raises(SampleError, match=r"4 of 4 samples are above 2.4"):
        attribute("a", scores, 2.4)  # the four surest, 5, 7, 8 and 9, are all on one side
    two = attribute("b", np.array([-1.0, 1, 1, -1, np.nan, -1]))
    assert two.threshold == 0 and len(two.kept) == 5 and two.positive.sum() == 2
    for bad in (np.full(6, 3.0), np.full(6, np.nan), np.array([0.0, 1, 1, 1])):
        with pytest.raises(SampleError):
            attribute("c", bad)


# ---------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network, a reader, and labels of its seeds that lie on hyperplanes in w and in z."""
    folder = tmp_path_factory.mktemp("ls")
    net = make_network(folder / "net.safetensors", resolution=8, w_dim=8)
    torch.manual_seed(3)
    reader = attributes.Reader(["smile", "age"])
    for module in reader.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1.0
    attributes.save(folder / "reader.safetensors", reader.eval(), {"smile": 0.9, "age": 0.8})
    network = open_network(str(net), device="cpu")
    z = np.stack([z_from_seed(i, 8) for i in range(400)])
    with torch.no_grad():
        w = network.g.mapping(torch.from_numpy(z))[:, 0].numpy()
    made = {"in_w": w @ w[0] - np.median(w @ w[0]), "in_z": z[:, 2], "coin": np.arange(400) % 2,
            "none": np.ones(400)}  # fmt: skip
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *made])
        writer.writerows(
            [f"seed{i:06d}.png", *row] for i, row in enumerate(zip(*made.values(), strict=True))
        )
    return {"net": net, "reader": folder / "reader.safetensors", "labels": folder / "labels.csv"}


def test_labels_of_seeds(gt, world, tmp_path: Path) -> None:
    """S0.18: labels by key, as generate names pictures; one class alone is named and left out."""
    own = ("metrics", "ls", "--net", world["net"], "--labels", world["labels"], "--num", "400")
    done = gt(*own, *CPU)
    assert done.code == 1 and done.err.count("\n") == 1
    assert "attribute none: 400 labels of one value" in done.err
    found = json.loads(done.text)
    each = found["attributes"]
    assert [*each] == ["in_w", "in_z", "coin"]
    assert each["in_w"]["entropy_w"] < 0.05 and each["in_z"]["entropy_z"] < 0.05
    assert each["coin"]["entropy_z"] > 0.9 and each["coin"]["kept"] == 400
    assert each["in_w"]["kept"] == 200 and each["in_w"]["threshold"] == pytest.approx(0, abs=1e-6)
    for space in "zw":
        bits = sum(one[f"entropy_{space}"] for one in each.values())
        assert found[f"ls_{space}"] == pytest.approx(2**bits)
        low, high = found[f"ls_{space}_ci"]
        assert low < found[f"ls_{space}"] <= high * 1.02
    one = json.loads(
        gt(*own, "--attribute", "coin", *CPU, "-o", tmp_path / "x.png", "-o", "-").text
    )
    assert [*one["attributes"]] == ["coin"] and 1.8 < one["ls_z"] <= 2
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    skewed = gt(*own, "--attribute", "in_z", "--threshold", "in_z=1", *CPU)
    about = json.loads(skewed.text)["attributes"]["in_z"]
    assert about["threshold"] == 1 and about["positive"] < 40


def test_labels_of_latents_are_the_same(gt, world, tmp_path: Path) -> None:
    """S0.18: z of files as z of seeds; w+ has w alone, its last row."""
    seeds = ("--net", world["net"], "--seeds", "0-199", "--device", "cpu")
    labelled = ("--net", world["net"], "--labels", world["labels"], "--attribute", "in_z")
    wanted = json.loads(gt("metrics", "ls", *labelled, "--num", "200", *CPU).text)
    for space, keys in (("z", ["ls_z", "ls_w"]), ("w+", ["ls_w"])):
        made = gt(
            "generate", *seeds, "--space", space, "--psi", "1", "-o", tmp_path / f"{space}.tar"
        )
        assert made.code == 0, made.err
        done = gt("metrics", "ls", tmp_path / f"{space}.tar", *labelled, *CPU)
        assert done.code == 0, done.err
        found = json.loads(done.text)
        assert [key for key in found if key in ("ls_z", "ls_w")] == keys
        for key in keys:
            assert found[key] == pytest.approx(wanted[key], rel=1e-3)
        assert found["protocol"]["network_id"] == wanted["protocol"]["network_id"]


def test_parts_and_batches_change_nothing(gt, world, tmp_path: Path) -> None:
    """S0.18: pictures read in shards merge to what one process finds, to the bit."""
    own = ("metrics", "ls", "--net", world["net"], "--reader", world["reader"], "--num", "61")
    whole = json.loads(gt(*own, *CPU).text)
    assert [*whole["attributes"]] == ["smile", "age"]
    assert json.loads(gt(*own, *CPU, "--batch", "7").text) == whole
    for i in (1, 0):
        part = gt(*own, *CPU, "--shard", f"{i}/2", "-o", tmp_path / f"{i}.safetensors")
        assert part.code == 0 and json.loads(part.text)["count"] == 31 - i
    merged = ("metrics", "ls", tmp_path / "1.safetensors", tmp_path / "0.safetensors", "--net")
    found = json.loads(gt(*merged, world["net"], *CPU).text)
    assert found["protocol"].pop("shards") == ["1/2", "0/2"]
    assert found == whole
    half = gt(*merged[:3], "--net", world["net"], *CPU)
    assert "missing: 0/2" in half.err and half.code == 0
    refused(gt(*merged, make_network(tmp_path / "b.safetensors", seed=1)), "of the network net")
    refused(gt(*merged, world["net"], "--seed", "5"), "give --seed 0")
    refused(gt(*merged, world["net"], "--reader", world["reader"]), "leave --labels and --reader")


def test_networks_without_w_and_with_classes(gt, world, tmp_path: Path) -> None:
    """S0.18: PGGAN has ls_z alone; classes of a conditional network are drawn by the seed."""
    from test_path_length import growing

    classes = make_network(tmp_path / "c.safetensors", resolution=8, w_dim=8, c_dim=3)
    for net in (growing(tmp_path / "p.safetensors", "pggan"), classes):
        done = gt("metrics", "ls", "--net", net, "--reader", world["reader"], "--num", "30", *CPU)
        assert done.code == 0, done.err
        found = json.loads(done.text)
        assert ("ls_w" in found) == (net.stem == "c") and "ls_z" in found
        assert "by heart" in done.err


def test_a_plot_of_entropies() -> None:
    """S0.18: bars of both spaces; all 0 is a picture too."""
    for entropies in ({"a": 0.0, "b": 0.0}, {"a": 0.5, "$b_": 0.9}):
        found = {"z": entropies, "w": dict.fromkeys(entropies, 0.0)}
        assert plots.of_entropies(found, "png").startswith(b"\x89PNG")


# ---------------------------------------------------------------------------- what is refused


def refused(result: Any, *words: str) -> None:
    assert result.code == 2 and len(result.err.splitlines()) == 1, result.err
    for word in words:
        assert word in result.err


def test_one_line_for_what_cannot_be_done(gt, world, tmp_path: Path) -> None:
    """S0.18: with the flag or the file that is wrong."""
    run = ("metrics", "ls", "--net", world["net"])
    labels, reader = ("--labels", world["labels"]), ("--reader", world["reader"])
    refused(gt(*run), "labels are needed")
    refused(gt(*run, *labels, *reader), "give one of them")
    refused(gt(*run, *labels, "--attribute", "hat"), "no column hat")
    refused(gt(*run, *reader, "--attribute", "hat", "--num", "4"), "--attribute hat", "smile")
    refused(gt(*run, *labels, "--num", "9", "--threshold", "hat=1"), "--threshold hat")
    refused(gt(*run, *labels, "--threshold", "1", "--threshold", "2"), "--threshold 2")
    refused(gt(*run, *labels, "--threshold", "a=nan"), "--threshold a=nan")
    refused(gt(*run, *labels, "--shard", "0/2", "-o", tmp_path / "x.safetensors"), "--shard")
    refused(gt(*run, *reader, "--shard", "0/2"), "part.safetensors")
    refused(gt(*run, "--reader", tmp_path / "no"), "no such file or folder")
    refused(gt(*run, "--reader", tmp_path), "age_gender_model")
    refused(gt(*run, "--reader", world["net"]), "no attribute network")
    refused(gt(*run, *labels, "--num", "5", "--seed", "1000"), "has no row of seed001000")
    refused(gt(*run, world["net"], *reader), "leave INPUT out")
    refused(gt(*run, *labels, "--num", "5", world["net"]), "leave INPUT out")
    alone = gt(*run, *labels, "--num", "20", "--attribute", "none")
    assert alone.code == 2 and "no attribute could be measured" in alone.err
    assert label_files.read(world["labels"]).columns == ["in_w", "in_z", "coin", "none"]
