"""`gantools train direction`, the attribute network, face-api: S2.7 and its fixtures."""

from __future__ import annotations

import csv
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from gantools import report
from gantools.evaluation import attributes, faceapi
from gantools.io import direction as files
from gantools.io import image, labels, network
from gantools.io.latent import Latent
from gantools.latents import directions, fitting, gradient, labelling
from gantools.report import SampleError, Usage


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def synthetic(count: int = 4000, dim: int = 32, noise: float = 0.5) -> tuple[np.ndarray, ...]:
    """x, a = <v, x> + noise, v: the check of S2.7."""
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((count, dim)), rng.standard_normal(dim)
    return x, x @ v + noise * rng.standard_normal(count), v


# --- the fits ---


@pytest.mark.parametrize(
    ("method", "share"), [("regression", None), ("logistic", None), ("svm", 0.2)]
)
def test_s2_7_synthetic_attribute(method: str, share: float | None) -> None:
    """S2.7 check: cosine(direction, v) > 0.99, and strength 1 is one standard deviation."""
    x, a, v = synthetic()
    fit = directions.fit(x, a, method, share=share, rng=np.random.default_rng(1))
    assert cosine(fit.normal, v) > 0.99
    assert np.linalg.norm(fit.normal) == pytest.approx(1)
    assert fit.vector @ v == pytest.approx(a.std(), rel=0.03)
    assert fit.quality["r"] > 0.9


def test_s2_7_binary_labels_are_classes() -> None:
    x, a, v = synthetic()
    classes = (a > 3).astype(float)  # unbalanced: a split at the median would be wrong
    fit = directions.fit(x, classes, "logistic", share=None, rng=np.random.default_rng(1))
    assert cosine(fit.normal, v) > 0.98


def test_regression_with_more_numbers_than_samples() -> None:
    x, a, v = synthetic(count=200, dim=400, noise=0.1)
    few = directions.regression(x, a, ridge=0.1)
    centred = x - x.mean(0)
    covariance = centred.T @ centred / len(x)
    covariance += 0.1 * np.trace(covariance) / 400 * np.eye(400)
    wanted = np.linalg.solve(covariance, centred.T @ (a - a.mean()) / len(x))
    np.testing.assert_allclose(few, wanted, rtol=1e-6, atol=1e-9)
    assert cosine(few, v) > 0.5


@pytest.mark.parametrize("case", ["ratio", "number", "default"])
def test_interfacegan_boundary(fixtures: Path, case: str) -> None:
    """S2.7: InterFaceGAN's boundary, its counts exact, 1 - cosine < 1e-4."""
    t = load_file(fixtures / "numerics" / "interfacegan_boundary.safetensors")
    told = json.loads((fixtures / "numerics" / "interfacegan_boundary.json").read_bytes())
    case_of = told["values"][case]
    settings = case_of["settings"]
    recorded = iter([t[f"{case}.perm_positive"], t[f"{case}.perm_negative"]])
    made = directions.boundary(
        t["latents"],
        t["scores"][:, 0],
        share=settings["chosen_num_or_ratio"],
        split=settings["split_ratio"],
        invalid=settings["invalid_value"],
        shuffle=lambda n: next(recorded),
    )
    assert 1 - cosine(made.normal, t[f"{case}.boundary"][0]) < 1e-4
    assert list(made.validation) == case_of["validation_correct_total"]
    assert list(made.remaining) == case_of["remaining_correct_total"]


def test_sefa_of_both_codes(fixtures: Path) -> None:
    """SeFa: rosinality's SVD and genforce's eigenvectors, up to sign (fixture sefa_directions)."""
    t = load_file(fixtures / "numerics" / "sefa_directions.safetensors")
    told = json.loads((fixtures / "numerics" / "sefa_directions.json").read_bytes())
    weights = [t[f"weight.{name}"] for name in told["values"]["rosinality_keys"]]
    rows, values = directions.sefa(weights, normalise=False)
    np.testing.assert_allclose(
        np.abs(np.sum(rows * t["rosinality_eigvec_columns"].T, axis=1)), 1, atol=1e-4
    )
    np.testing.assert_allclose(np.sqrt(values), t["rosinality_singular_values"], rtol=1e-4)
    names = [f"convs.{i}.conv.modulation.weight" for i in range(4)]
    names.append("to_rgbs.0.conv.modulation.weight")
    rows, values = directions.sefa([t[f"weight.{name}"] for name in names], normalise=True)
    np.testing.assert_allclose(
        np.abs(np.sum(rows * t["sefa_vectors_rows_sorted"], axis=1)), 1, atol=1e-4
    )
    np.testing.assert_allclose(values, t["sefa_eigenvalues_sorted"], rtol=1e-4)


def test_pca_finds_the_axes() -> None:
    """GANSpace: principal directions and their standard deviations, largest first."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    sds = np.array([5.0, 3, 2, 1, 0.5, 0.1])
    x = rng.standard_normal((20000, 6)) * sds @ axes.T + 7
    rows, found = directions.pca(x, 3)
    np.testing.assert_allclose(np.abs(np.sum(rows * axes.T[:3], axis=1)), 1, atol=1e-3)
    np.testing.assert_allclose(found, sds[:3], rtol=0.03)


def test_s2_7_conditions_are_taken_out() -> None:
    """S2.7 check: the projected direction is orthogonal to its conditions, its unit kept right."""
    report.reset()
    x, a, v = synthetic()
    rng = np.random.default_rng(5)
    u = v + 2 * rng.standard_normal(len(v))
    rows = np.stack([a, x @ u], axis=1)
    fits = fitting.fit_all(x, rows, ["age", "male"], fitting.How("regression", None, ["male"], 0))
    assert abs(cosine(fits["age"].normal, fits["male"].normal)) < 1e-9
    assert fits["age"].vector @ v == pytest.approx(a.std(), rel=0.05)
    both = np.stack([a, 2 * a], axis=1)
    left = fitting.fit_all(x, both, ["age", "old"], fitting.How("regression", None, ["age"], 0))
    assert (list(left), report.failures()) == (["age"], 1)
    with pytest.raises(Usage, match="could not be fitted"):
        none = np.stack([a, np.ones(len(a))], axis=1)
        fitting.fit_all(x, none, ["age", "one"], fitting.How("regression", None, ["one"], 0))


def test_the_scale_is_what_pictures_show() -> None:
    """A response that is half of the linear prediction doubles the vector; none is refused."""
    x, a, v = synthetic()
    fits = fitting.fit_all(x, a[:, None], ["age"], fitting.How("regression", None, [], 0))
    made = fitting.measured(fits, lambda vector: np.array([vector @ v / 2]), ["age"])
    assert made["age"].vector @ v / 2 == pytest.approx(a.std(), rel=1e-6)
    report.reset()
    assert fitting.measured(fits, lambda vector: np.zeros(1), ["age"]) == {}
    assert report.failures() == 1


def test_labels_without_relation_are_refused() -> None:
    x, a, _ = synthetic(200)
    with pytest.raises(SampleError, match="different labels"):
        directions.fit(x, np.ones(200), "svm", share=None, rng=np.random.default_rng(0))
    with pytest.raises(SampleError, match="5 samples"):
        directions.fit(x[:5], a[:5], "regression", share=None, rng=np.random.default_rng(0))


# --- by gradient ---


def linear_world(**more: Any) -> tuple[gradient.World, torch.Tensor, torch.Tensor]:
    """A generator and three labels that are linear in w [3, 4]; the two matrices too."""
    draws = torch.Generator().manual_seed(7)
    paint = torch.randn(12, 48, generator=draws) / 4
    tell = torch.randn(12, 3, generator=draws)
    inverse = torch.linalg.pinv(paint)
    world = gradient.World(
        lambda w: (w.flatten(1) @ paint).view(-1, 3, 4, 4),
        lambda images: images.flatten(1) @ inverse @ tell,
        3,
        **more,
    )
    return world, paint, tell


ANY = (-math.inf, math.inf)


def test_gradient_finds_the_least_change_of_pixels() -> None:
    """GANalyze in a linear world: the minimum is the solution of its normal equations."""
    world, paint, tell = linear_world()
    w = torch.randn(500, 4, generator=torch.Generator().manual_seed(1))
    fit = gradient.learn(world, w, 0, ANY, steps=2000, seed=0)
    own, others = tell[:, :1], tell[:, 1:]
    a = (
        own @ own.T
        + gradient.OTHERS * others @ others.T / 2
        + gradient.PIXELS * paint @ paint.T / 48
    )
    wanted = torch.linalg.solve(a, own)[:, 0].numpy()
    assert fit.normal.shape == (3, 4)
    assert cosine(fit.normal.ravel(), wanted) > 0.999
    assert fit.slope == pytest.approx(cosine(fit.normal.ravel(), own[:, 0].numpy())
                                      * float(own.norm()), rel=1e-3)  # fmt: skip
    assert fit.quality["r"] == pytest.approx(1, abs=1e-3)
    again = gradient.learn(world, w, 0, ANY, steps=2000, seed=0, batch=5)
    np.testing.assert_allclose(again.normal, fit.normal, atol=1e-4)


def test_gradient_moves_only_the_layers_that_it_may() -> None:
    world, _, _ = linear_world(layers=[1])
    w = torch.randn(100, 4, generator=torch.Generator().manual_seed(1))
    fit = gradient.learn(world, w, 2, ANY, steps=50, seed=0)
    assert np.abs(fit.normal[[0, 2]]).max() == 0
    assert np.linalg.norm(fit.normal[1]) == pytest.approx(1)


def test_gradient_keeps_to_what_the_discriminator_finds_real() -> None:
    """A judge that dislikes one layer moves the direction out of it."""
    free, paint, _ = linear_world()
    inverse = torch.linalg.pinv(paint)

    def dislikes_the_first(images: torch.Tensor) -> torch.Tensor:
        return -10 * (images.flatten(1) @ inverse)[:, :4].square().sum(1)

    strict, _, _ = linear_world(realism=dislikes_the_first)
    w = torch.randn(100, 4, generator=torch.Generator().manual_seed(1))
    first = [
        np.linalg.norm(gradient.learn(world, w, 0, ANY, steps=200, seed=0).normal[0])
        for world in (free, strict)
    ]
    assert first[1] < 0.5 * first[0]


def test_gradient_asks_for_nothing_beyond_the_limits() -> None:
    """Where every sample is at the limits, there is nothing to learn."""
    world, _, _ = linear_world()
    w = torch.randn(100, 4, generator=torch.Generator().manual_seed(1))
    unread = gradient.World(world.synthesis, lambda images: torch.zeros(len(images), 2), 3)
    with pytest.raises(SampleError, match="no direction moves this label"):
        gradient.learn(unread, w, 0, (0.0, 0.0), steps=5, seed=0)


# --- label files ---


def test_labels_by_key_with_and_without_suffix(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,age,male\n00001.jpg,30,0.5\nsub/b,,1\nv1.5,7,0\n")
    table = labels.read(path)
    assert table.columns == ["age", "male"]
    for key in ("00001", "00001.jpg"):
        assert list(table.values(key, ["male", "age"])) == [0.5, 30.0]
    assert np.isnan(table.values("sub/b", ["age"])[0])
    assert table.values("00002", ["age"]) is None
    with pytest.raises(Usage, match="no column beard; it has age, male"):
        table.require(["beard"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "header line"),
        ("file,age\n", "header line"),
        ("file\na\n", "header line"),
        ("file,age,age\na,1,2\n", "twice"),
        ("file,age\na,1\na,2\n", "two rows"),
        ("file,age\na,1,2\n", "3 cells, not 2"),
    ],
)
def test_bad_label_files(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(Usage, match=words):
        labels.read(path)


# --- the command ---


def write_labels(path: Path, keys: list[str], **columns: np.ndarray) -> Path:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["file", *columns])
        out.writerows([key, *(c[i] for c in columns.values())] for i, key in enumerate(keys))
    return path


def test_train_direction_from_latents(gt, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Labelled w latents: direction, metadata, and that edit takes the file (S2.7)."""
    x, a, v = synthetic(300, 8, noise=0.1)
    story = {"name": "tiny", "id": "a" * 64}
    folder = tmp_path / "latents"
    folder.mkdir()
    keys = [f"{i:05d}" for i in range(300)]
    for key, row in zip(keys, x, strict=True):
        one = Latent(key, "w", {"w": row[None].astype(np.float32)}, {"network": story})
        (folder / f"{key}.safetensors").write_bytes(one.to_bytes())
    table = write_labels(
        tmp_path / "l.csv", [f"{k}.jpg" for k in keys[:280]], years=a, other=x[:, 0]
    )
    out = tmp_path / "d.safetensors"
    asked = ["--attribute", "age=years", "--attribute", "other", "--orthogonal-to", "other"]
    flags = ["--default-strength", "2", "--default-strength", "1.5", "--layers", "0-3"]
    done = gt("train", "direction", folder, "--labels", table, *asked, *flags, "-o", out)
    assert done.code == 0, done.err
    assert "20 samples have no row" in done.err
    found = files.read(out)
    age, other = found["age"], found["other"]
    assert (age.space, age.unit, age.default_strength) == ("w", "sd", 2.0)
    assert (other.default_strength, other.layers, other.network) == (1.5, (0, 1, 2, 3), story)
    assert age.sd_in_label_units == pytest.approx(a[:280].std(), rel=1e-6)
    assert abs(cosine(age.vector, other.vector)) < 1e-6
    assert age.vector @ v == pytest.approx(a.std(), rel=0.05)
    done = gt("train", "direction", folder, "--labels", table, *asked, "--epochs", "3", "-o", out)
    assert (done.code, "--epochs is for labelled pictures" in done.err) == (2, True)
    done = gt("train", "direction", folder, "--labels", table, *asked[:2], "--method", "gradient",
              "-o", out)  # fmt: skip
    assert (done.code, "these are latents" in done.err) == (2, True)
    edited = tmp_path / "e.safetensors"
    start = folder / "00000.safetensors"
    assert gt("edit", start, "--dir", f"{out}:other", "--layers", "0", "-o", edited).code == 1
    assert not edited.exists(), "w has no layers without its network"


def test_train_direction_without_labels(gt, tmp_path: Path, tiny_network: Path) -> None:  # type: ignore[no-untyped-def]
    for method in ("sefa", "pca"):
        out = tmp_path / f"{method}.safetensors"
        done = gt("train", "direction", "--method", method, "--net", tiny_network, "-o", out,
                  "--samples", "200", "--components", "3")  # fmt: skip
        assert done.code == 0, done.err
        found = files.read(out)
        assert sorted(found) == [f"{method}0{i}" for i in (1, 2, 3)]
        first = found[f"{method}01"]
        assert first.network["id"] == network.header(tiny_network)["id"]
        assert (first.unit, first.default_strength) == ("sd", 3.0)
        assert gt("train", "direction", "--method", method, "--net", tiny_network,
                  "--samples", "200", "--components", "3", "-o", tmp_path / "again.safetensors",
                  ).code == 0  # fmt: skip
        assert (tmp_path / "again.safetensors").read_bytes() == out.read_bytes()
        done = gt("train", "direction", "--method", method, "--net", tiny_network,
                  "--layers", "99", "-o", out)  # fmt: skip
        assert (done.code, "--layers 99: the network has layers 0-" in done.err) == (2, True)


def pictures_of_brightness(count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Noisy pictures, each of one level; keys, uint8 [N, 16, 16, 3], levels."""
    rng = np.random.default_rng(0)
    level = rng.uniform(40, 210, count)
    pixels = level[:, None, None, None] + rng.normal(0, 12, (count, 16, 16, 3))
    return [f"{i:05d}" for i in range(count)], pixels.clip(0, 255).astype(np.uint8), level


def test_train_direction_from_pictures(gt, tmp_path: Path, tiny_network: Path) -> None:  # type: ignore[no-untyped-def]
    """The attribute network learns a label, and the direction found with it moves that label."""
    keys, pixels, level = pictures_of_brightness(160)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for key, one in zip(keys, pixels, strict=True):
        (folder / f"{key}.png").write_bytes(image.encode(one))
    table = write_labels(tmp_path / "l.csv", keys, level=level)
    out, reader = tmp_path / "d.safetensors", tmp_path / "reader.safetensors"
    flags = ["--labels", table, "--attribute", "bright=level", "--net", tiny_network,
             "--samples", "200", "--epochs", "10", "--reader", reader]  # fmt: skip
    done = gt("train", "direction", folder, *flags, "--hold-out", "10", "-o", out)
    assert done.code == 0, done.err
    found = files.read(out)["bright"]
    net, quality = attributes.load(reader)
    assert quality["level"] > 0.9
    from gantools.networks.network import open_network

    tiny = open_network(str(tiny_network))
    w = labelling.sample_w(tiny, 64, seed=5)
    moved = labelling.response(tiny, w, net.read, found.vector)
    assert found.sd_in_label_units is not None
    assert moved[0] == pytest.approx(found.sd_in_label_units, rel=0.5)
    again = tmp_path / "again.safetensors"
    done = gt("train", "direction", *flags, "-o", again)
    assert done.code == 0, done.err
    np.testing.assert_allclose(files.read(again)["bright"].vector, found.vector, rtol=1e-4)
    done = gt("train", "direction", *flags, "--method", "gradient", "--steps", "40", "-o", out)
    assert done.code == 0, done.err
    learned = files.read(out)["bright"]
    assert (learned.space, learned.vector.shape) == ("w+", (tiny.g.num_ws, 16))
    moved = labelling.response(tiny, w, net.read, learned.vector)
    assert moved[0] == pytest.approx(learned.sd_in_label_units, rel=0.5)
    latent = tmp_path / "w.safetensors"
    latent.write_bytes(Latent("a", "w", {"w": w[:1]}, {"network": tiny.story()}).to_bytes())
    assert gt("edit", latent, "--dir", out, "-o", tmp_path / "e.safetensors").code == 0
    edited = Latent.from_bytes((tmp_path / "e.safetensors").read_bytes(), "a")
    np.testing.assert_allclose(edited.tensors["w"], w[:1] + 3 * learned.vector, rtol=1e-5)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--attribute", "age"], "needs --labels"),
        (["--labels", "L"], "--attribute NAME"),
        (["--labels", "L", "--attribute", "beard"], "no column beard"),
        (["--labels", "L", "--attribute", "age", "--orthogonal-to", "male"], "not among"),
        (["--labels", "L", "--attribute", "age", "--attribute", "age"], "name of its own"),
        (["--method", "pca", "--attribute", "age"], "neither operands nor labels"),
        (["--method", "pca", "--labels", "L"], "neither operands nor labels"),
        (["--method", "pca", "--reader", "x"], "--reader does nothing with --method pca"),
        (["--method", "sefa", "--epochs", "8"], "--epochs does nothing with --method sefa"),
        (["--method", "sefa", "--hold-out", "0"], "--hold-out does nothing"),
        (["--method", "pca", "--convention", "genforce"], "--convention does nothing"),
        (["--labels", "L", "--attribute", "age", "--share", "0.1"], "--share does nothing"),
        (["--labels", "L", "--attribute", "age", "--components", "3"], "--components does nothing"),
        (["--labels", "L", "--attribute", "age", "--steps", "9"], "--steps does nothing"),
        (["--method", "gradient", "--orthogonal-to", "age"], "--orthogonal-to does nothing"),
        (["--labels", "L", "--attribute", "age", "--default-strength", "1"] * 2, "name of its own"),
    ],
)
def test_wrong_usage_is_one_line(gt, tmp_path: Path, args: list[str], words: str) -> None:  # type: ignore[no-untyped-def]
    table = write_labels(tmp_path / "l.csv", ["a"], age=np.ones(1))
    args = [str(table) if a == "L" else a for a in args]
    done = gt("train", "direction", *args, "-o", tmp_path / "d.safetensors")
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert words in done.err
    done = gt("train", "direction", "--method", "pca", "-o", tmp_path / "d.png")
    assert done.code == 2


# --- face-api ---


def test_faceapi_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="not in"):
        faceapi.load(tmp_path)
    manifest = tmp_path / "age_gender_model-weights_manifest.json"
    entry = {"name": "fc/age/bias", "shape": [4], "dtype": "float32"}
    manifest.write_text(json.dumps([{"paths": ["x.bin"], "weights": [entry]}]))
    (tmp_path / "x.bin").write_bytes(bytes(12))
    with pytest.raises(Usage, match="damaged"):
        faceapi.load(tmp_path)


def test_share_raised() -> None:
    assert faceapi.share_raised(np.array([20, 30, 40]), np.array([30, 39, 60])) == pytest.approx(
        2 / 3
    )


@pytest.mark.data
def test_faceapi_reads_the_ages_of_the_labels(shared: Path) -> None:
    """Ages and genders of 100 held-out faces follow labels.csv, made at four times the size."""
    folder = shared / "data" / "faces-celeba64"
    weights = faceapi.load(shared / "data" / "weights")
    table = labels.read(folder / "labels.csv")
    with zipfile.ZipFile(folder / "celeba64_20k.zip") as pack:
        names = sorted(n for n in pack.namelist() if n.endswith("0.jpg"))[::20][:100]
        faces = np.stack([image.decode(pack.read(n)) for n in names])
    wanted = np.stack([table.values(n.removesuffix(".jpg"), ["age", "male"]) for n in names])
    age, male = faceapi.age_and_male(faces, weights)
    assert len(names) == 100
    assert np.corrcoef(age, wanted[:, 0])[0, 1] > 0.95
    assert np.abs(age - wanted[:, 0]).mean() < 4
    assert np.mean((male > 0.5) == (wanted[:, 1] > 0.5)) > 0.95


@pytest.mark.data
@pytest.mark.long
def test_age_of_the_package_makes_held_out_faces_older(gt, shared: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """S2.7: `--dir age` alone raises the age that face-api reads.

    A small part of tests/benchmarks/age_edit.py, which measures 100 faces at full length.
    """
    folder = tmp_path / "faces"
    folder.mkdir()
    with zipfile.ZipFile(shared / "data" / "faces-celeba64" / "celeba64_20k.zip") as pack:
        for name in sorted(n for n in pack.namelist() if n.endswith("0.jpg"))[7::160][:12]:
            (folder / name).write_bytes(pack.read(name))
    tar = tmp_path / "w.tar"
    done = gt("project", folder, "--align", "never", "--steps", "40", "-o", tar)
    assert done.code == 0, done.err
    assert gt("generate", tar, "-o", f"{tmp_path}/before/{{}}.png").code == 0
    assert gt("edit", tar, "--dir", "age", "-o", f"{tmp_path}/after/{{}}.png").code == 0
    weights = faceapi.load(shared / "data" / "weights")
    ages = []
    for place in ("before", "after"):
        files_in = sorted((tmp_path / place).glob("*.png"))
        assert len(files_in) == 12
        faces = np.stack([image.decode(path.read_bytes()) for path in files_in])
        ages.append(faceapi.age_and_male(faces, weights)[0])
    assert np.mean(ages[1] - ages[0]) > 5
