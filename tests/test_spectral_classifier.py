"""spectrum classify: fits, fair judgement, saved classifiers in a pipe (S3.26)."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from gantools.io.image import decode
from gantools.ops import spectrum
from gantools.report import SampleError, Usage
from gantools.spectra import classifier, dzanic, power_law, toyset


def test_dzanic_fixture_s3_26(fixtures: Path) -> None:
    """S3.26, X.6: bins, smoothing and fits of the published script, its three settings."""
    t = load_file(fixtures / "numerics/dzanic_fit.safetensors")
    for i, picture in enumerate(t["grey"]):
        x, y = dzanic.binned(picture.astype(float))
        np.testing.assert_allclose(x, t["xh"][i], rtol=1e-10)
        np.testing.assert_allclose(np.nan_to_num(y, nan=-1), t["yh"][i], rtol=1e-8)
        for name, threshold, span in (
            ("r85_s5", 0.85, 5),
            ("r75_s5", 0.75, 5),
            ("r85_s3", 0.85, 3),
        ):
            found = dzanic.fit(x, y, threshold, span)
            wanted = t[f"{name}.c_reference"][i]
            assert found[0] == pytest.approx(wanted[0], abs=2e-3)
            np.testing.assert_allclose(found[1:], wanted[1:], rtol=1e-8)


def test_matrix_norm_s3_26() -> None:
    """X.6: the largest singular value of all differences, from two by two numbers."""
    y, f = np.random.default_rng(0).random((2, 40))
    wanted = np.linalg.norm(y[:, None] - f[None], 2)
    assert dzanic._matrix_norm(y, f) == pytest.approx(wanted, rel=1e-12)


def test_power_law_is_recovered_s3_26() -> None:
    """S3.26: of S = A r^-k the fit gives A and k to 1e-6, at any threshold."""
    at = spectrum.frequencies(64, 64)
    for k, a in ((2.0, 3.0), (-1.5, 1e-3), (0.0, 40.0), (7.0, 1e4)):
        s = a * np.maximum(at, 1e-9)[None] ** -k
        for threshold in (0.5, 0.75, 0.9):
            ((log_b1, b2),) = power_law.features(s, at, threshold)
            assert b2 == pytest.approx(-k, abs=1e-6)
            assert np.exp(log_b1) * threshold**k == pytest.approx(a, rel=1e-6)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 33), (64, 48), (65, 65), (128, 20)])
def test_no_nan_at_any_size_s3_26(size: tuple[int, int]) -> None:
    """S3.26: finite features of noise and of a flat picture; too small ones are refused."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    at = spectrum.frequencies(*size)
    for pixels in (noise, np.full_like(noise, 7)):
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
        assert np.isfinite(power_law.features(spectrum.reduced(x).numpy(), at, 0.75)).all()
        assert np.isfinite(dzanic.features(pixels)).all()
    with pytest.raises(SampleError, match="too small"):
        power_law.tail(spectrum.frequencies(4, 4), 0.75)
    with pytest.raises(SampleError, match="too small"):
        dzanic.features(noise[:8])


def two_clouds(count: int, away: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2 * count, 2)) * [1, 30] + 5
    generated = np.arange(2 * count) >= count
    x[generated] += away * np.array([1, 30])
    return x, generated


def test_scores_are_scikit_learns_s3_26(tmp_path: Path) -> None:
    """The file's numbers give the library's decisions, before and after it was written."""
    x, generated = two_clouds(80, 1)
    scaled = (x - x.mean(0)) / x.std(0)
    svm = SVC(C=1, gamma=0.5).fit(scaled, generated)
    knn = KNeighborsClassifier(5).fit(scaled, generated)
    found = classifier.train(x, generated, "svm", {"fit": "loglog"})
    np.testing.assert_allclose(found.scores(x), svm.decision_function(scaled), rtol=1e-9)
    classifier.save(tmp_path / "c.safetensors", found)
    back = classifier.load(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(back.scores(x), found.scores(x))
    assert back.story == {"fit": "loglog"} and back.method == "svm"
    near = classifier.train(x, generated, "knn")
    np.testing.assert_array_equal(near.scores(x) > 0, knn.predict(scaled))


def test_judged_without_leakage_s3_26() -> None:
    """S3.26: a fold's labels and scale do not reach its judgement; equal pictures share a fold."""
    x, generated = two_clouds(50, 1.5)
    names = [[str(i) for i in range(50)], [str(i) for i in range(50, 100)]]
    fold = np.concatenate(classifier.folds(names, 10, 0))
    assert (np.bincount(fold, minlength=10) == 10).all()
    before = classifier.judged(x, generated, fold, "svm")
    other = generated.copy()
    other[fold == 0] = ~other[fold == 0]
    assert (classifier.judged(x, other, fold, "svm")[fold == 0] == before[fold == 0]).all()
    assert (before == generated).mean() > 0.8
    twins = classifier.folds([["a", "b", "a", "c"], ["c", "d", "b"]], 3, 0)
    assert twins[0][0] == twins[0][2] and twins[0][3] == twins[1][0] and twins[0][1] == twins[1][2]
    # Pictures that are there twice, with labels by chance, cannot be told apart.
    doubled = np.repeat(np.random.default_rng(1).standard_normal((100, 2)), 2, axis=0)
    labels = np.random.default_rng(2).permutation(200) < 100
    same = np.concatenate(classifier.folds([[str(i // 2) for i in range(200)]], 10, 0))
    found = classifier.summary(classifier.judged(doubled, labels, same, "knn"), labels)
    assert found["accuracy_ci"][0] < 0.5 < found["accuracy_ci"][1] + 0.05
    with pytest.raises(Usage, match="too few"):
        classifier.judged(x[:2], np.array([True, False]), np.array([0, 1]), "svm")


def test_interval_s3_26() -> None:
    """95 of 100: the exact interval of the textbooks."""
    generated = np.arange(100) < 50
    taken = generated.copy()
    taken[:5] = False
    found = classifier.summary(taken, generated)
    assert found["accuracy"] == 0.95 and found["accuracy_real"] == 1
    assert found["accuracy_ci"] == pytest.approx([0.8872, 0.9836], abs=1e-4)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """White noise and 1/f noise, 40 pictures each."""
    top = tmp_path_factory.mktemp("sets")
    for name in ("white", "pink"):
        (top / name).mkdir()
        for i in range(40):
            pixels = toyset.pink(32, torch.Generator().manual_seed(i))
            if name == "white":
                pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(top / name / f"{i}.png")
    return top / "white", top / "pink"


@pytest.mark.parametrize("how", [(), ("--classifier", "knn"), ("--fit", "dzanic", "--jpeg", 90)])
def test_noise_is_told_from_pink_noise_s3_26(gt: Callable, sets: tuple, how: tuple) -> None:
    """S3.26: white noise against 1/f gives 100 %; a set against itself chance."""
    found = json.loads(gt("spectrum", "classify", *sets, *how, "--json").text)
    assert found["accuracy"] == 1 and found["protocol"]["folds"] == 10
    assert found["protocol"]["real"]["count"] == found["protocol"]["fake"]["count"] == 40
    half = gt("spectrum", "classify", sets[0], "--halves", "--folds", 4, *how, "--json")
    chance = json.loads(half.text)
    assert chance["accuracy_ci"][0] <= 0.5 <= chance["accuracy_ci"][1]
    assert chance["protocol"]["real"]["count"] == 20


def test_a_classifier_in_a_pipe_s3_26(gt: Callable, sets: tuple, tmp_path: Path) -> None:
    """Trained, kept, and used on a stream: a line for each picture, whatever the batch."""
    model, plot = tmp_path / "c.safetensors", tmp_path / "c.png"
    done = gt("spectrum", "classify", *sets, "--jpeg", 80, "-o", model, "-o", plot, "-o", "-")
    assert done.code == 0, done.err
    assert done.text.startswith("accuracy\t1.0\n") and plot.read_bytes().startswith(b"\x89PNG")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder in sets:
            tar.add(folder / "0.png", f"{folder.name}.png")
    stream = ("spectrum", "classify", "--model", model)
    done = gt(*stream, stdin=packed.getvalue())
    assert done.code == 0, done.err
    lines = [line.split("\t") for line in done.text.splitlines()]
    assert [line[:2] for line in lines[:2]] == [["white", "real"], ["pink", "generated"]]
    assert ["generated_share", "0.5"] in lines and ["protocol.jpeg", "80"] in lines
    all_at_once = json.loads(gt(*stream, sets[1], "--json").text)
    one_by_one = json.loads(gt(*stream, sets[1], "--json", "--batch", 1).text)
    for a, b in zip(all_at_once["classified"], one_by_one["classified"], strict=True):
        assert a["key"] == b["key"] and a["score"] == pytest.approx(b["score"], abs=1e-9)
    assert all_at_once["generated_share"] == 1


def test_a_run_in_the_place_of_what_it_makes_s3_26(
    gt: Callable, tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FAKE, and where a classifier judges; the folder in which one works is none."""
    run, real = tmp_path / "run", tmp_path / "real"
    (run / "samples").mkdir(parents=True)
    (run / "network-000001.safetensors").write_bytes(tiny_network.read_bytes())
    for folder, side in ((run / "samples", 64), (real, 16)):
        folder.mkdir(exist_ok=True)
        for i in range(10):
            pixels = toyset.pink(side, torch.Generator().manual_seed(i))
            Image.fromarray(pixels).save(folder / f"{i}.png")
    monkeypatch.chdir(run)
    args = ("spectrum", "classify", real, "--folds", 5, "--psi", 0.7, "--json")
    told = [gt(*args, *fake) for fake in ((run,), (tiny_network,), ("--net", tiny_network))]
    assert [done.code for done in told] == [0, 0, 0], told[0].err
    found = [json.loads(done.text) for done in told]
    assert found[0]["accuracy"] == found[1]["accuracy"] == found[2]["accuracy"]
    assert [one["protocol"]["fake"]["count"] for one in found] == [10] * 3
    model = tmp_path / "c.safetensors"
    assert gt(*args[:-1], run, "-o", model).code == 0
    judged = ("spectrum", "classify", "--model", model, "--json", "--num", 3)
    one, other = (json.loads(gt(*judged, *net).text) for net in ((run,), ("--net", tiny_network)))
    assert one["classified"] == other["classified"] and len(one["classified"]) == 3
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(real / "0.png", "0.png")
    piped = json.loads(gt(*judged[:-2], stdin=packed.getvalue()).text)
    assert [row["key"] for row in piped["classified"]] == ["0"]


def test_refusals_of_classify_s3_26(gt: Callable, sets: tuple, tmp_path: Path) -> None:
    """One clear line each; a picture of another size fails alone."""
    model = tmp_path / "c.safetensors"
    assert gt("spectrum", "classify", *sets, "--num", 10, "--folds", 5, "-o", model).code == 0
    wide = tmp_path / "wide.png"
    Image.linear_gradient("L").resize((40, 32)).convert("RGB").save(wide)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(model.read_bytes()[:-9])
    trained = classifier.load(model)
    other = tmp_path / "other.safetensors"
    classifier.save(other, replace(trained, story={**trained.story, "jpeg": 900}))
    for argv, why in (
        ((sets[0], "--model", other), "does not say how its features are made"),
        ((), "name the REAL pictures"),
        ((sets[0], "--model", tmp_path / "none"), "no such file"),
        ((sets[0], "--model", wide), "not a classifier"),
        ((sets[0], "--model", damaged), "damaged safetensors"),
        ((sets[0], "--model", model, "--jpeg", 90), "--jpeg is for training"),
        ((sets[0], "--model", model, "--num", 3), "leave the pictures out"),
        ((*sets, "--halves"), "leave FAKE out"),
        ((*sets, "--psi", 1), "--psi is for pictures that the network makes"),
        ((*sets, "--num", 5), "--folds 10: there are only 5"),
        ((*sets, "--fit", "dzanic", "-o", "x.txt"), "x.json"),
        ((sets[0], wide), "40x32 pixels do not compare"),
        ((sets[0], wide, "-o", tmp_path / "no/c.safetensors"), "folder"),  # before any work
    ):
        done = gt("spectrum", "classify", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, (argv, done.err)
    done = gt("spectrum", "classify", "--model", model, wide)
    assert done.code == 2 and "40x32 pixels, those of the classifier 32x32" in done.err


@pytest.mark.data
def test_published_fits_s3_26(shared: Path) -> None:
    """S3.26, X.6: the authors' stored fits of 30 pictures, which match a span of 3."""
    folder = shared / "data/spectrum"
    with (folder / "published_fits.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["size"] == "256" and int(r["index"]) < 5]
    assert len(rows) == 30
    away = []
    for row in rows:
        pixels = decode((folder / f"256/{row['model']}/{row['index']}.png").read_bytes())
        b1, first, _ = dzanic.features(pixels, span=3)
        away.append((b1 - float(row["c0"]), first / float(row["c1"]) - 1))
    assert np.abs(away).mean(0) == pytest.approx([0.064, 0.004], abs=4e-3)


@pytest.mark.data
def test_faces_of_the_packaged_network_s3_26(gt: Callable, shared: Path) -> None:
    """S3.26: the packaged network's faces are known by their spectrum, real ones not."""
    pack = shared / "data/faces-celeba64/celeba64_20k.zip"
    args = ("spectrum", "classify", pack, "--num", 200, "--json", "--jpeg", 90)
    assert json.loads(gt(*args).text)["accuracy_ci"][0] > 0.55
    chance = json.loads(gt(*args, "--halves", "--seed", 1).text)
    assert chance["accuracy_ci"][0] < 0.5 < chance["accuracy_ci"][1]
