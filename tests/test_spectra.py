"""spectrum profile, compare and evolution: sets of pictures and networks (S3.3, S3.27, S3.29)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from gantools.io.network import load, save
from gantools.ops import spectrum
from gantools.spectra import profile


def picture_folder(
    path: Path, count: int, scale: float = 40, size: tuple[int, int] = (24, 24)
) -> Path:
    """Noise around grey, `scale` levels wide."""
    path.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for i in range(count):
        x = 128 + scale * generator.standard_normal((*size, 3))
        Image.fromarray(x.round().clip(0, 255).astype(np.uint8)).save(path / f"{i}.png")
    return path


def of(spectra: np.ndarray, average: profile.Average = "mean") -> profile.Spectrum:
    found = profile.Profile()
    found.add(spectra, (32, 32))
    return found.spectrum(average)


def test_evolution_fixture_s3_3(fixtures: Path) -> None:
    """S3.3: mean, deviation, and the matrix that the paper's plot shows, clipped, without DC."""
    t = load_file(fixtures / "numerics/spectrum_evolution.safetensors")

    def spectra(images: np.ndarray) -> np.ndarray:
        return spectrum.reduced(torch.from_numpy(images).float() / 127.5 - 1).double().numpy()

    real = of(spectra(t["real"]))
    np.testing.assert_allclose(real.values, t["real_mean"], rtol=2e-4)
    np.testing.assert_allclose(real.high - real.values, t["real_std"], rtol=2e-4)
    made = [of(spectra(images)) for images in t["gen"]]
    errors = np.stack([profile.relative_error(one, real) for one in made])
    np.testing.assert_allclose(errors[:, 1:].clip(-1, 1), t["evolution"], atol=1e-3)


def test_relative_errors_s3_3() -> None:
    """S3.3: the same set 0, sqrt(2) times the picture +1 everywhere, nothing -1."""
    x = torch.rand(3, 3, 32, 32, dtype=torch.float64) - 0.5
    same, more, none = (of(spectrum.reduced(f * x).numpy()) for f in (1, 2**0.5, 0))
    assert (profile.relative_error(same, same) == 0).all()
    np.testing.assert_allclose(profile.relative_error(more, same), 1)
    np.testing.assert_allclose(profile.relative_error(none, same), -1)
    assert (profile.relative_error(none, none) == 0).all()


def test_jensen_s3_27() -> None:
    """S3.27: E[log S] <= log E[S] in every bin; equal where all pictures are equal."""
    x = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    s = spectrum.reduced(x).numpy()
    assert (of(s, "logmean").values < of(s).values).all()
    same = s[:1].repeat(4, axis=0)
    np.testing.assert_allclose(of(same, "logmean").values, of(same).values, rtol=1e-12)
    band = of(s, "logmean")
    np.testing.assert_allclose(band.low * band.high, band.values**2, rtol=1e-9)


def test_profile_s3_2(gt: Callable, tmp_path: Path) -> None:
    """White noise: every bin N² times its variance. JSON, TSV, plot, batches."""
    folder = picture_folder(tmp_path / "_no$i$e", 12)
    out = [tmp_path / f"x.{kind}" for kind in ("json", "tsv", "png", "svg")]
    done = gt("spectrum", "profile", folder, *(a for o in out for a in ("-o", o)))
    assert done.code == 0, done.err
    found = json.loads(out[0].read_text())
    assert len(found["spectrum"]) == len(found["frequency"]) == 17 == spectrum.bins(24, 24)
    np.testing.assert_allclose(found["spectrum"][2:], 24**2 * (40 / 127.5) ** 2, rtol=0.2)
    assert found["protocol"]["count"] == 12 and found["protocol"]["size"] == "24x24"
    assert found["protocol"]["window"] == "none" and found["protocol"]["average"] == "mean"
    lines = [line.split("\t") for line in out[1].read_text().splitlines()]
    assert lines[0] == ["bin", "frequency", "spectrum", "low", "high"]
    assert [float(line[2]) for line in lines[1:18]] == found["spectrum"]
    assert out[2].read_bytes().startswith(b"\x89PNG") and b"<svg" in out[3].read_bytes()
    one = gt("spectrum", "profile", folder, "--batch", 1, "--json")
    np.testing.assert_allclose(json.loads(one.text)["spectrum"], found["spectrum"], rtol=1e-12)
    log = json.loads(gt("spectrum", "profile", folder, "--average", "logmean", "--json").text)
    assert (np.array(log["spectrum"]) < found["spectrum"]).all()


def test_compare_s3_3(gt: Callable, tmp_path: Path, tiny_network: Path) -> None:
    """A set with half the contrast has -0.75 of the power; profiles and networks are operands."""
    real = picture_folder(tmp_path / "real", 8)
    half = picture_folder(tmp_path / "half", 8, scale=20)
    assert gt("spectrum", "profile", half, "-o", tmp_path / "half.json").code == 0
    done = gt("spectrum", "compare", real, half, tmp_path / "half.json", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.text)
    for other in found["others"]:
        np.testing.assert_allclose(other["relative_error"][1:], -0.75, atol=0.01)
        assert other["error"] == pytest.approx(0.75, abs=0.01)
        assert other["relative_error"] == found["others"][0]["relative_error"]
    lines = gt("spectrum", "compare", real, real).text.splitlines()
    assert lines[0].split("\t") == ["bin", "frequency", "real", "real (2)", "real (2) error"]
    assert {line.split("\t")[4] for line in lines[1:18]} == {"0.0"}
    other = picture_folder(tmp_path / "other" / "half", 8)
    heads = gt("spectrum", "compare", real, half, other, half).text.split("\n")[0].split("\t")
    assert heads[3::2] == [f"{tmp_path.name}/half", "other/half", f"{tmp_path.name}/half (2)"]
    generated = tmp_path / "g"
    net = ("--net", tiny_network)
    assert gt("spectrum", "profile", *net, "--num", 5, "-o", tmp_path / "n.json").code == 0
    args = ("spectrum", "compare", tmp_path / "n.json", tiny_network, "--num", 5, "--json")
    same = json.loads(gt(*args, "-o", "-", "-o", tmp_path / "n.png").text)
    assert same["others"][0]["error"] == 0 and same["protocol"]["others"][0]["count"] == 5
    shown = ("--noise-mode", "random", "--seeds", "0-4", "-o", f"{generated}/{{}}.png")
    assert gt("generate", *net, *shown).code == 0
    near = json.loads(gt("spectrum", "compare", tmp_path / "n.json", generated, "--json").text)
    assert near["others"][0]["error"] < 1e-3  # the same noise


def test_mse_by_frequency_s3_29(gt: Callable, tmp_path: Path) -> None:
    """S3.29: shares sum to 1, their MSE is the pixels'; an offset is all DC."""
    a, b = picture_folder(tmp_path / "a", 3), tmp_path / "b"
    b.mkdir()
    for file in a.iterdir():
        x = np.asarray(Image.open(file)).astype(int) + 2
        Image.fromarray(x.clip(0, 255).astype(np.uint8)).save(b / file.name)
    done = gt("spectrum", "compare", a, b, "--mse", "--json", "-o", "-", "-o", tmp_path / "x.png")
    assert done.code == 0, done.err
    found = json.loads(done.text)
    assert found["mse"] == pytest.approx(4, rel=0.02)
    assert sum(found["mse_share"]) == pytest.approx(1) and found["mse_share"][0] > 0.98
    wide = picture_folder(tmp_path / "w", 1, size=(24, 32))
    alone = gt("spectrum", "compare", wide / "0.png", a / "1.png", "--mse")
    assert alone.code == 2 and "24x24 pixels; prefilter --size brings both to one" in alone.err
    other = picture_folder(tmp_path / "c", 3, scale=10)
    noise = json.loads(gt("spectrum", "compare", a, other, "--mse", "--json").text)
    recon = json.loads(gt("metrics", "recon", a, other, "--json").text)
    assert noise["mse"] == pytest.approx(recon["mse"], rel=1e-4)


def test_refusals_of_spectrum(gt: Callable, tmp_path: Path) -> None:
    """One clear line each, and the right status."""
    folder = picture_folder(tmp_path / "a", 2)
    wide = picture_folder(tmp_path / "w", 2, size=(24, 32))
    thin = picture_folder(tmp_path / "thin", 1, size=(1, 7))
    wide_1 = picture_folder(tmp_path / "w-1", 1, size=(24, 32))
    logs = tmp_path / "logs.json"
    assert gt("spectrum", "profile", folder, "--average", "logmean", "-o", logs).code == 0
    for argv, why in (
        (("profile", tmp_path / "none"), "no such file or folder"),
        (("profile", folder, "--num", 3), "leave PICTURES out"),
        (("profile", folder, "-o", "x.jpg"), "x.json, x.tsv, x.png"),
        (("compare", folder, folder, wide), "w: 32x24 pixels, the reference's pictures 24x24"),
        (("compare", logs, folder), "a: a spectrum by --average mean, the reference's by logmean"),
        (("evolution", logs, wide_1), "w-1: 32x24 pixels, the reference's pictures 24x24"),
        (("compare", folder, folder, "--psi", 1), "none is named"),
        (("compare", folder, "--mse"), "--mse takes REFERENCE and one OTHER"),
        (("compare", folder, folder, "--mse", "--average", "logmean"), "not for --mse"),
        (("profile", thin), "pictures of 7x1 pixels have no frequencies"),
    ):
        done = gt("spectrum", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err
    bad = tmp_path / "bad.json"
    bad.write_text('{"spectrum": [1, 2]}')
    done = gt("spectrum", "compare", folder, bad)
    assert done.code == 2 and "bad.json: no result of spectrum profile" in done.err
    (folder / "big.png").write_bytes((wide / "0.png").read_bytes())
    (folder / "cut.png").write_bytes((wide / "0.png").read_bytes()[:60])
    done = gt("spectrum", "profile", folder, "--json")
    assert done.code == 1 and "32x24 pixels, the pictures before it 24x24" in done.err
    assert json.loads(done.text)["protocol"]["count"] == 2


def test_evolution_s3_3(gt: Callable, tmp_path: Path) -> None:
    """Sets by the number in their name, whatever their order: less and less contrast."""
    real = picture_folder(tmp_path / "real", 6)
    sets = [picture_folder(tmp_path / f"set-{n}", 6, 400 / n) for n in (10, 20, 40)]
    args = ("spectrum", "evolution", real, sets[1], sets[2], sets[0])
    done = gt(*args, "--json", "-o", "-", "-o", tmp_path / "x.png")
    assert done.code == 0, done.err
    found = json.loads(done.text)
    assert found["time"] == [10, 20, 40] and found["unit"] == "number in the name"
    for row, wanted in zip(found["relative_error"], (0, -0.75, -15 / 16), strict=True):
        np.testing.assert_allclose(row[1:], wanted, atol=0.01)
    assert found["error"][0] == 0 and found["error"][2] == pytest.approx(15 / 16, abs=0.01)
    picture = np.asarray(Image.open(tmp_path / "x.png"))[..., :3]
    first, blue = picture[500, 200], picture[300, 200]  # from the bottom: no error, then less
    assert first.min() > 250 and blue[2] > 250 and blue[0] < 100
    lines = [line.split("\t") for line in gt(*args).text.splitlines()]
    assert lines[0][:3] == ["snapshot", "number in the name", "error"]
    assert [line[0] for line in lines[1:4]] == ["set-10", "set-20", "set-40"]
    for argv, why in (
        ((real, tmp_path / "real"), "has to have a number"),
        ((real, sets[0], sets[0]), "two snapshots are of number in the name 10"),
        ((real, sets[0], "--num", 4), "none is named"),
    ):
        done = gt("spectrum", "evolution", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err


def test_evolution_of_a_run_s3_3(gt: Callable, tmp_path: Path, tiny_network: Path) -> None:
    """A run's networks by the images that they were shown; as `compare` sees each of them."""
    run = tmp_path / "run"
    run.mkdir()
    for thousands in (2, 1):
        network = load(tiny_network)
        network.meta["images_shown"] = 1000 * thousands
        network.tensors["g_ema.mapping.w_avg"] = network.tensors["g_ema.mapping.w_avg"] + thousands
        save(run / f"network-{thousands:06d}.safetensors", network)
    real = picture_folder(tmp_path / "real", 6, size=(16, 16))
    made = ("--num", 4, "--psi", 0.5, "--json")
    done = gt("spectrum", "evolution", real, run, *made)
    assert done.code == 0, done.err
    found = json.loads(done.text)
    assert found["time"] == [1, 2] and found["unit"] == "thousands of images shown"
    args = ("spectrum", "compare", real, run / "network-000002.safetensors", *made)
    one = json.loads(gt(*args).text)["others"][0]
    assert one["relative_error"] == found["relative_error"][1]
    # The run itself is its last network, or the best, not the pictures in it.
    (run / "samples").mkdir()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(run / "samples" / "1.png")
    last = json.loads(gt("spectrum", "compare", real, run, *made).text)["others"][0]
    assert last == {**one, "name": "run"}
    (run / "best.safetensors").write_bytes((run / "network-000001.safetensors").read_bytes())
    best = json.loads(gt("spectrum", "profile", run, *made).text)
    first = json.loads(gt("spectrum", "profile", run / "network-000001.safetensors", *made).text)
    assert best["spectrum"] == first["spectrum"] and best["protocol"]["network"] == "best"


def test_plots_of_flat_and_tiny_pictures(gt: Callable, tmp_path: Path) -> None:
    """Spectra that are 0 beyond DC, or of two bins, are drawn without a word."""
    flat, tiny = tmp_path / "flat", picture_folder(tmp_path / "tiny-1", 2, size=(2, 3))
    flat.mkdir()
    Image.fromarray(np.full((16, 16, 3), 7, np.uint8)).save(flat / "7.png")
    for average in ("mean", "logmean"):
        for folder in (flat, tiny):
            out = ("-o", tmp_path / "x.png", "--average", average)
            done = gt("spectrum", "compare", folder, folder, *out)
            assert done.code == 0 and not done.err, done.err
    for verb in (("evolution", tiny, tiny), ("compare", tiny, tiny, "--mse")):
        done = gt("spectrum", *verb, "-o", tmp_path / "y.png")
        assert done.code == 0 and not done.err, done.err
