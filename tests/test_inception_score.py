"""The inception score (S1.20): fixture, closed forms, torch-fidelity, both ways of reporting."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from gantools.evaluation import features, inception_score, mobilenet
from gantools.evaluation.inception_score import Score, of_splits, summary
from gantools.io import weights
from gantools.report import Usage


@pytest.fixture
def fixture(fixtures: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The recorded logits and what two references made of them."""
    file = fixtures / "numerics" / "inception_score"
    values = json.loads(file.with_suffix(".json").read_text())["values"]
    return load_file(file.with_suffix(".safetensors")), values


def test_fixture_s1_20(fixture) -> None:
    """Every split of NVIDIA's ten, their mean and deviation; torch-fidelity's shuffled ones."""
    t, values = fixture
    scores = of_splits(t["logits"])
    np.testing.assert_allclose(scores, values["per_split"], rtol=1e-9)
    found = summary(scores)
    wanted = values["is_nvidia_10_splits_mean_std"]
    assert [found.value, found.deviation] == pytest.approx(wanted, rel=1e-9)
    shuffled = summary(of_splits(t["logits"][t["permutation_seed2020"]]))
    theirs = values["torch_fidelity_shuffled_seed2020"]
    assert shuffled.value == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert shuffled.deviation == pytest.approx(theirs["inception_score_std"], rel=1e-9)


def test_equals_torch_fidelity() -> None:
    """torch-fidelity's own function on the same logits, to 1e-6 relative."""
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = (np.random.default_rng(0).standard_normal((157, 30)) * 4).astype(np.float32)
    for splits in (1, 4):
        theirs = isc_features_to_metric(torch.from_numpy(logits), splits=splits, shuffle=False)
        found = summary(of_splits(logits, splits))
        assert found.value == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
        assert found.deviation == pytest.approx(theirs["inception_score_std"], rel=1e-6)


def test_closed_forms_s1_20() -> None:
    """Uniform predictions: 1. K sure and balanced classes: K. Logits have no zero point."""
    assert of_splits(np.zeros((20, 7)), 2) == pytest.approx([1, 1])
    sure = np.tile(np.eye(5) * 2000, (6, 1)).astype(np.float32)
    assert of_splits(sure, 2) == pytest.approx([5, 5])
    assert of_splits(np.tile(sure[:1], (4, 1)), 1) == pytest.approx([1])
    mixed = np.random.default_rng(0).standard_normal((40, 6))
    assert of_splits(mixed + 1e4, 3) == pytest.approx(of_splits(mixed, 3), rel=1e-9)


def test_both_ways_of_reporting_s1_20() -> None:
    """(i) the best with its own deviation, of equal ones the earliest; (ii) mean and deviation."""
    runs = [Score(5.0, 0.1), Score(7.0, 0.3), Score(7.0, 0.2)]
    assert inception_score.best(runs) == 1
    found = summary(np.array([5.0, 7.0, 9.0]))
    assert found == Score(7.0, pytest.approx(np.sqrt(8 / 3)))
    low, high = inception_score.interval(np.array([5.0, 7.0, 9.0]))
    assert high - 7 == pytest.approx(7 - low) == pytest.approx(4.302653 * 2 / np.sqrt(3))
    with pytest.raises(Usage, match="10 splits need 10 pictures or more, here are 9"):
        of_splits(np.zeros((9, 3)))


def test_mobilenet_logits_with_and_without_bias(monkeypatch, tmp_path: Path) -> None:
    """They are the head's of the pooled features, and differ by its bias."""
    torch.manual_seed(0)
    net = mobilenet.MobileNetV2()
    for parameter in net.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.05)
    monkeypatch.setattr(features, "weights_of", lambda name: tmp_path)
    monkeypatch.setattr(mobilenet, "load", lambda path: net)
    images = torch.randint(0, 256, (2, 3, 40, 30), dtype=torch.uint8)
    pooled = features.mobilenet_v2()(images)
    plain = features.mobilenet_v2(layer="logits without bias")
    whole = features.mobilenet_v2(layer="logits")
    torch.testing.assert_close(plain(images), pooled @ net.head.weight.T)
    torch.testing.assert_close(whole(images), plain(images) + net.head.bias)
    assert plain.dim == whole.dim == plain(images).shape[1] == 1001
    assert plain.name == "mobilenet's logits without bias"
    assert whole.sha256 == weights.KNOWN["mobilenet"].sha256


def test_inception_logits_with_and_without_bias(monkeypatch, tmp_path: Path) -> None:
    """Through torch-fidelity with random weights: 1008 logits, which differ by the bias."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Theirs

    with monkeypatch.context() as m:
        m.setattr(torch, "load", lambda *a, **k: {})
        m.setattr(Theirs, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        state = Theirs("t", ["2048"], feature_extractor_weights_path="none").state_dict()
    torch.save(state, tmp_path / "w.pth")
    monkeypatch.setattr(features, "weights_of", lambda name: tmp_path / "w.pth")
    images = torch.randint(0, 256, (2, 3, 20, 20), dtype=torch.uint8)
    plain = features.inception(layer="logits without bias")
    whole = features.inception(layer="logits")(images)
    torch.testing.assert_close(whole, plain(images) + state["fc.bias"])
    assert plain.dim == whole.shape[1] == 1008


def test_command_over_snapshots_and_runs(gt: Callable, fixture, tmp_path: Path) -> None:
    """Files of logits -> the best snapshot of each run -> mean and deviation of the runs."""
    t, values = fixture
    for i, scale in enumerate((1, 2, 0.5)):
        np.savez(tmp_path / f"{i}.npz", logits=t["logits"] * np.float32(scale))
    alone = json.loads(gt("metrics", "is", tmp_path / "0.npz", "--json").text)
    assert alone["is"] == pytest.approx(values["is_nvidia_10_splits_mean_std"][0], rel=1e-9)
    assert alone["is_ci"][0] < alone["is"] < alone["is_ci"][1]
    assert alone["protocol"]["splits"] == 10
    for name, sets in (("a", "02"), ("b", "12")):
        files = [tmp_path / f"{i}.npz" for i in sets]
        out = tmp_path / f"{name}.json"
        done = gt("metrics", "is", *files, "--over", "snapshots", "-o", out)
        assert done.code == 0, done.err
    first, second = (json.loads((tmp_path / f"{n}.json").read_text()) for n in "ab")
    assert (first["best"], second["best"]) == ("0.npz", "1.npz")
    assert [first["is"], first["is_std"]] == [alone["is"], alone["is_std"]]
    done = gt("metrics", "is", tmp_path / "a.json", tmp_path / "b.json", "--over", "runs", "--json")
    found = json.loads(done.text)
    assert found["is"] == pytest.approx((first["is"] + second["is"]) / 2)
    assert found["is_std"] == pytest.approx(abs(first["is"] - second["is"]) / 2)
    assert found["protocol"]["runs"] == 2


def test_shuffle_follows_the_seed(gt: Callable, fixture, tmp_path: Path) -> None:
    """--shuffle: the seed's, another seed's, and one split which has no order."""
    np.savez(tmp_path / "x.npz", logits=fixture[0]["logits"])

    def score(*flags: object) -> float:
        done = gt("metrics", "is", tmp_path / "x.npz", "--json", *flags)
        return json.loads(done.text)["is"]

    assert score("--shuffle") == score("--shuffle") != score("--shuffle", "--seed", 1)
    whole = score("--splits", 1)
    assert score("--splits", 1, "--shuffle") == pytest.approx(whole, rel=1e-12)


def test_refusals(gt: Callable, fixture, tmp_path: Path) -> None:
    """One clear line each, exit status 2."""
    x = tmp_path / "x.npz"
    np.savez(x, logits=fixture[0]["logits"])
    np.savez(tmp_path / "bad.npz", logits=np.full((20, 3), np.nan))
    (tmp_path / "other.json").write_text('{"fid": 3}')
    other = json.loads(gt("metrics", "is", x, "--json", "--splits", 5).text)
    (tmp_path / "five.json").write_text(json.dumps(other))
    cases = {
        "2 sets: --over snapshots gives the best": (x, x),
        "--over runs needs two sets": (x, "--over", "runs"),
        "no such file or folder": (tmp_path / "none.npz",),
        "--features vgg": (x, "--features", "vgg"),
        "--bias: x.npz holds logits": (x, "--bias"),
        "300 splits need 300 pictures": (x, "--splits", 300),
        "row 0 of its logits is not finite": (tmp_path / "bad.npz",),
        "no result of metrics is": (tmp_path / "other.json",),
        "different splits do not compare: 10, 5": (x, tmp_path / "five.json", "--over", "runs"),
        "--num and --psi are for": (x, "--num", 4),
    }
    for why, argv in cases.items():
        done = gt("metrics", "is", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err
