"""`metrics recon`: pairs by key, their measures and intervals (S1.19, S3.6, S4.6, S4.19)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gantools.evaluation import bootstrap
from gantools.evaluation.features import resized
from gantools.inversion import perceptual
from gantools.ops import similarity
from gantools.ops.crops import part


@pytest.mark.parametrize("size", [64, 128])
def test_msssim_fixture_s1_19(fixtures: Path, size: int) -> None:
    """S1.19: each pair's MS-SSIM, and 1 for equal ones; windows shrink with the picture."""
    values = json.loads((fixtures / "numerics/msssim.json").read_text())["values"]
    t = load_file(fixtures / "numerics/msssim.safetensors")
    a, b = t[f"s{size}.a"], t[f"s{size}.b"]
    found = similarity.ms_ssim(a, b)
    np.testing.assert_allclose(found.numpy(), values[f"msssim_{size}_each"], atol=2e-4)
    np.testing.assert_allclose(similarity.ms_ssim(a, a).numpy(), 1, rtol=1e-12)
    assert similarity.ms_ssim(t["neg.a"], t["neg.b"]).item() == values["msssim_negative_image"]


def test_msssim_closed_forms_s1_19() -> None:
    """S1.19: falls with noise, symmetric; flat pictures leave the luminance of level 5 alone."""
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(1, 3, 21, 18, generator=generator) * 255
    noise = torch.randn(a.shape, generator=generator)
    found = [similarity.ms_ssim(a, a + s * noise).item() for s in (0, 5, 20, 80)]
    assert found[0] == pytest.approx(1) and found == sorted(found, reverse=True)
    assert similarity.ms_ssim(a + 9 * noise, a).item() == pytest.approx(
        similarity.ms_ssim(a, a + 9 * noise).item(), rel=1e-12
    )
    c1 = 2.55**2
    expected = ((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)) ** 0.1333
    flat = similarity.ms_ssim(torch.full((1, 1, 40, 40), 100.0), torch.full((1, 1, 40, 40), 150.0))
    assert flat.item() == pytest.approx(expected, rel=1e-9)


def test_truncation_of_what_came_from_8_bits_s3_6() -> None:
    """S3.6: the published float32 puts 63 of the 256 levels one below; both its chains do."""
    levels = torch.arange(256.0).view(1, 1, 16, 16)
    for x in (levels / 127.5 - 1, (levels / 255 - 0.5) / 0.5):
        lost = levels - similarity.levels(x, "truncate")
        assert lost.sum() == 63 and set(lost.unique().tolist()) == {0, 1}
        assert torch.equal(similarity.levels(x), levels)


def test_parts_of_a_face_fixture_s4_6(fixtures: Path) -> None:
    """S4.6: the rows and columns of the attention crops."""
    values = json.loads((fixtures / "numerics/dse_crops.json").read_text())["values"]
    for size, crops in values.items():
        for name, wanted in crops.items():
            rows, columns = part(name.lower(), int(size), int(size))
            assert list(rows.indices(int(size))[:2]) == wanted["rows"]
            assert list(columns.indices(int(size))[:2]) == wanted["cols"]
    assert part("full", 5, 7) == (slice(0, 5), slice(0, 7))


def test_bootstrap_intervals() -> None:
    """About ±1.96 σ/√N for normal values; seeded; infinite where enough values are."""
    x = np.random.default_rng(0).normal((0, 5), 1, (400, 2))
    low, high = bootstrap.intervals(x).T
    np.testing.assert_allclose(high - low, 2 * 1.96 * x.std(0) / 20, rtol=0.1)
    assert (low < x.mean(0)).all() and (x.mean(0) < high).all()
    np.testing.assert_array_equal(bootstrap.intervals(x), bootstrap.intervals(x))
    assert (bootstrap.intervals(x, 1) != bootstrap.intervals(x)).any()
    found = bootstrap.summary("a", np.array([1.0, np.inf, 2.0, 3.0]))
    assert found["a"] == np.inf and found["a_ci"][1] == np.inf  # type: ignore[index]
    assert bootstrap.summary("a", np.array([2.5])) == {"a": 2.5}
    constant = bootstrap.summary("a", np.full(7, 0.25))
    assert constant == {"a": 0.25, "a_ci": [0.25, 0.25]}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Nine noisy pictures and themselves one grey level up."""
    generator = np.random.default_rng(0)
    target, result = tmp_path / "target", tmp_path / "result"
    target.mkdir(), result.mkdir()
    for i in range(9):
        pixels = generator.integers(0, 255, (24, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(target / f"{i}.png")
        Image.fromarray(pixels + 1).save(result / f"{i}.webp", lossless=True)
    return target, result


def test_one_level_is_48_db_x_3(gt: Callable, folders) -> None:
    """X.3: an offset of one level is 48.1308 dB, mse 1, with an interval of no width."""
    done = gt("metrics", "recon", *folders, "--json", "--each")
    assert done.code == 0, done.err
    found = json.loads(done.text)
    assert found["psnr_trunc"] == pytest.approx(48.13, abs=0.1)  # float32 loses some levels
    for key, value in (("psnr", 48.1308036), ("mse", 1.0)):
        assert found[key] == pytest.approx(value, abs=1e-6)
        np.testing.assert_allclose(found[f"{key}_ci"], value, atol=1e-6)
    assert 0.99 < found["ssim"] < 1 and 0.99 < found["msssim"] < 1 and found["cosine"] > 0.99
    assert list(found["each"]) == [str(i) for i in range(9)]
    assert np.mean([row["ssim"] for row in found["each"].values()]) == pytest.approx(found["ssim"])
    assert "lpips" not in found and "identity" not in found
    protocol = found["protocol"]
    assert (protocol["pairs"], protocol["size"], protocol["crop"]) == (9, "20x24", "full")
    assert "bootstrap" in protocol["interval"]


def test_identical_pairs_are_counted_and_leave_psnr_finite(gt: Callable, folders) -> None:
    """X.3: equal pictures have no bounded PSNR: the others make the mean; the JSON is JSON."""
    target, result = folders
    for i in (3, 7):
        (result / f"{i}.webp").unlink()
        (result / f"{i}.png").write_bytes((target / f"{i}.png").read_bytes())
    text = gt("metrics", "recon", target, result, "--json").text
    found = json.loads(text, parse_constant=pytest.fail)
    assert found["identical"] == 2 and found["protocol"]["pairs"] == 9
    assert found["psnr"] == pytest.approx(48.1308036) and found["mse"] == pytest.approx(7 / 9)
    np.testing.assert_allclose(found["psnr_ci"], 48.1308036)
    itself = json.loads(gt("metrics", "recon", target, target, "--json").text)
    assert itself["psnr"] == "inf" and itself["identical"] == 9 and itself["mse"] == 0


def test_order_batch_and_form_do_not_matter(gt: Callable, folders, tmp_path: Path) -> None:
    """Streams, tars in another order, other batches: the same numbers to the last bit."""
    import tarfile

    target, result = folders
    with tarfile.open(tmp_path / "r.tar", "w") as tar:
        for path in sorted(result.iterdir(), reverse=True):
            tar.add(path, path.name)
    piped = (tmp_path / "r.tar").read_bytes()
    runs = [
        gt("metrics", "recon", target, other, "--batch", batch, "--json", stdin=stdin)
        for other, batch, stdin in (
            (result, 64, b""),
            (tmp_path / "r.tar", 2, b""),
            ("-", 3, piped),
        )
    ]
    found = [json.loads(run.text) for run in runs]
    for other in found[1:]:
        for key in found[0].keys() - {"protocol"}:
            np.testing.assert_allclose(other[key], found[0][key], rtol=1e-12)


def test_a_named_pipe_is_read_once(gt: Callable, folders, tmp_path: Path) -> None:
    """A result that comes through a pipe of the file system is whole, its head included."""
    import os
    import tarfile
    from threading import Thread

    target, result = folders
    with tarfile.open(tmp_path / "r.tar", "w") as tar:
        tar.add(result / "0.webp", "0.webp")
        tar.add(result / "1.webp", "1.webp")
    for path in sorted(target.iterdir())[2:]:
        path.unlink()
    os.mkfifo(tmp_path / "pipe")
    data = (tmp_path / "r.tar").read_bytes()
    writer = Thread(target=lambda: (tmp_path / "pipe").write_bytes(data), daemon=True)
    writer.start()
    done = gt("metrics", "recon", target, tmp_path / "pipe", "--json")
    writer.join(10)
    assert done.code == 0, done.err
    assert json.loads(done.text)["protocol"]["pairs"] == 2


def test_what_has_no_partner_is_named(gt: Callable, folders, tmp_path: Path) -> None:
    """Missing keys, other sizes, damage: a line each, exit 1, the rest measured; a plot."""
    target, result = folders
    (result / "3.webp").unlink()
    (target / "4.png").unlink()
    (result / "5.webp").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    Image.new("RGB", (9, 12)).save(result / "6.webp")
    plot = tmp_path / "x.png"
    done = gt("metrics", "recon", target, result, "--json", "-o", "-", "-o", plot)
    assert done.code == 1 and done.err.count("\n") == 4, done.err
    for why in ("3.png: result has no 3", "4.webp: target has no 4", "5.webp: damaged",
                "6: its pictures have 20x24 and 9x12 pixels"):  # fmt: skip
        assert why in done.err
    assert json.loads(done.text)["protocol"]["pairs"] == 5
    assert plot.read_bytes().startswith(b"\x89PNG")
    fitted = gt("metrics", "recon", target, result, "--json", "--size", "16x18", "--crop", "at1")
    assert json.loads(fitted.text)["protocol"]["pairs"] == 6
    assert json.loads(fitted.text)["protocol"]["size"] == "13x16"


@pytest.mark.parametrize(
    ("crop", "rows", "columns"), [("at1", (0, 64), (8, 56)), ("at2", (10, 54), (10, 54))]
)
def test_s4_20_a_crop_is_measured_as_the_cut_pictures_are(
    gt: Callable, tmp_path: Path, crop: str, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    """Cut after both have been brought to one size; what differs outside does not count."""
    generator = np.random.default_rng(0)
    for name in ("target", "result"):
        (tmp_path / name).mkdir(), (tmp_path / f"{name}-cut").mkdir()
        small = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(small).save(tmp_path / name / "a.png")
        x = resized(torch.from_numpy(small).permute(2, 0, 1)[None], (64, 64))[0]
        pixels = x.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        cut = np.ascontiguousarray(pixels[slice(*rows), slice(*columns)])
        Image.fromarray(cut).save(tmp_path / f"{name}-cut" / "a.png")
    operands = [
        [tmp_path / f"{name}{end}" for name in ("target", "result")] for end in ("", "-cut")
    ]
    done = gt("metrics", "recon", *operands[0], "--json", "--size", "64", "--crop", crop)
    wanted = gt("metrics", "recon", *operands[1], "--json")
    found, cuts = json.loads(done.text), json.loads(wanted.text)
    for key in ("psnr", "ssim", "ssim_gauss", "mse", "cosine"):
        assert found[key] == pytest.approx(cuts[key], rel=1e-9), key
    assert found["protocol"]["crop"] == crop


def test_latents_and_single_files(gt: Callable, tmp_path: Path, tiny_network: Path) -> None:
    """Latents are rendered as they say, noise fixed: the very pictures of `generate`."""
    net = ("--net", tiny_network, "--seeds", "0-2")
    latents = tmp_path / "l.tar"
    assert gt("generate", *net, "--noise-mode", "const", "-o", f"{tmp_path}/p/{{}}.png").code == 0
    made = gt("generate", *net, "--space", "w+")
    latents.write_bytes(made.out)
    done = gt("metrics", "recon", tmp_path / "p", latents, "--net", tiny_network, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.text)
    assert found["mse"] < 0.5 and found["protocol"]["pairs"] == 3
    files = sorted((tmp_path / "p").rglob("*.png"))
    single = json.loads(gt("metrics", "recon", files[0], files[1], "--json").text)
    assert single["mse"] > 1 and "mse_ci" not in single


def test_lpips_with_the_fixtures_trunk_s2_14(
    gt: Callable, fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2.14: LPIPS of PNG files is the reference's, for a trunk and heads of known numbers."""
    t = load_file(fixtures / "numerics/lpips_squeeze_random.safetensors")
    trunk = perceptual.build_trunk("squeeze")
    state = {n.split(".", 2)[2]: x.float() for n, x in t.items() if n.startswith("net.slice")}
    trunk.load_state_dict(state, assign=True)
    heads = [t[f"lin{i}"].float() for i in range(7)]
    net = perceptual.Lpips(trunk, perceptual.TAPS["squeeze"], heads)
    monkeypatch.setattr(perceptual, "lpips", lambda _backbone: net)
    for name in "ab":
        (tmp_path / name).mkdir()
        for i, picture in enumerate(t[name]):
            pixels = picture.permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    argv = ("metrics", "recon", tmp_path / "a", tmp_path / "b", "--json", "--each")
    found = json.loads(gt(*argv, "--lpips", "squeeze").text)
    each = [found["each"][str(i)]["lpips"] for i in range(len(t["a"]))]
    np.testing.assert_allclose(each, t["distance"].flatten().numpy(), rtol=1e-4)
    assert found["lpips"] == pytest.approx(np.mean(each)) and found["lpips_ci"]
    assert "squeeze" in found["protocol"]["lpips"] and found["protocol"]["lpips_sha256"]


def test_wrong_usage_is_one_line(gt: Callable, folders, tmp_path: Path) -> None:
    """Exit 2 where nothing can be measured; missing LPIPS weights are named when asked for."""
    target, result = folders
    (tmp_path / "empty").mkdir()
    for i in range(2):
        Image.new("RGB", (5, 5)).save(tmp_path / f"s{i}.png")
    for argv, why in (
        (("-", "-"), "can be one of the two sets"),
        ((target, tmp_path / "none"), "no such file or folder"),
        ((target, tmp_path / "empty"), "empty"),
        ((target, result, "--size", "0"), "--size 0"),
        ((target, result, "--crop", "at3"), "at3"),
        ((target, result, "--lpips", "vgg"), "weights vgg16"),
        ((target, result, "-o", "x.txt"), "x.png"),
    ):
        done = gt("metrics", "recon", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err
    small = gt("metrics", "recon", tmp_path / "s0.png", tmp_path / "s1.png")
    assert small.code == 2 and "5x5 pixels is below the window" in small.err
