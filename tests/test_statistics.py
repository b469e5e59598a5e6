"""`metrics stats` (S0.16): partial sums that merge, others' mu and sigma, and fid of both."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from gantools.evaluation import frechet, statistics
from gantools.evaluation.frechet import Gaussian, Moments
from gantools.report import Usage


@pytest.fixture
def sets() -> tuple[np.ndarray, np.ndarray]:
    """Real and generated features [N, 6] of unequal counts, far from 0."""
    generator = np.random.default_rng(0)
    real = generator.standard_normal((90, 6)) + 50
    return real.astype(np.float32), (generator.standard_normal((77, 6)) * 2 + 51).astype(np.float32)


@pytest.fixture
def files(sets, tmp_path: Path) -> tuple[Path, Path]:
    """The same as files of features."""
    for name, x in zip("xy", sets, strict=True):
        np.savez(tmp_path / f"{name}.npz", features=x)
    return tmp_path / "x.npz", tmp_path / "y.npz"


def of(x: np.ndarray, name: str = "x", **extractor: str) -> statistics.Statistics:
    """Statistics of features."""
    return statistics.measured(name, Moments.of(x), extractor, {"source": name})


# ---------------------------------------------------------------------------- sums and files


def test_parts_merge_in_any_order_to_1e_10(sets, tmp_path: Path) -> None:
    """Files of unequal parts, merged in 6 orders and in two steps, are what one pass counts."""
    x, rng = sets[0], np.random.default_rng(1)
    for i, part in enumerate(np.split(x, [1, 9, 40])):
        statistics.save(tmp_path / f"{i}.safetensors", of(part, str(i)))
    parts = [statistics.load(tmp_path / f"{i}.safetensors") for i in range(4)]
    whole = Moments.of(x)
    orders = [[parts[i] for i in rng.permutation(4)] for _ in range(6)]
    stepwise = [statistics.merged(parts[:2]), statistics.merged(parts[:1:-1])]
    for order in [*orders, stepwise]:
        found = statistics.merged(order)
        assert isinstance(found.moments, Moments) and found.moments.count == 90
        np.testing.assert_allclose(found.moments.mean, whole.mean, rtol=1e-10)
        scale = np.abs(whole.scatter).max()
        np.testing.assert_allclose(found.moments.scatter, whole.scatter, atol=1e-10 * scale)
        assert abs(frechet.fid(found.moments, whole)) < 1e-9
        assert len(found.parts) == 4


def test_a_file_repeats_and_is_read_back_exactly(sets, tmp_path: Path) -> None:
    """The same statistics give the same bytes, and the same numbers."""
    found = of(sets[0], "x", features="f", features_sha256="12")
    for name in "ab":
        statistics.save(tmp_path / f"{name}.safetensors", found)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again = statistics.load(tmp_path / "a.safetensors")
    assert isinstance(again.moments, Moments) and isinstance(found.moments, Moments)
    assert (again.moments.scatter == found.moments.scatter).all()
    assert (again.extractor, again.parts) == (found.extractor, found.parts)
    assert statistics.is_file_of_statistics(tmp_path / "a.safetensors")


def test_what_does_not_merge(sets) -> None:
    """The same part twice, another network's features, other dimensions, no count."""
    x, y = sets
    one, two = of(x, "one"), of(y, "two")
    gaussian = statistics.Statistics("mu.npz", Gaussian(x.mean(axis=0), np.cov(x.T)), {}, [])
    cases = {
        "one: what it counts is in one already": (one, two, one),
        "it counts is in one and 1 more already": (statistics.merged([one, two]), two),
        "other: of other features than one": (one, of(y, "other", features_sha256="7")),
        "small: features of 6 and of 2 dimensions": (one, of(y[:, :2], "small")),
        "mu.npz: mu and sigma without a count": (one, gaussian),
    }
    for why, parts in cases.items():
        with pytest.raises(Usage, match=why):
            statistics.merged(parts)


def test_shards_that_are_missing() -> None:
    """Named, of every N; a set without shards misses none."""
    parts = [{"shard": "0/3"}, {"shard": "2/3"}, {"source": "x"}, {"shard": "0/1"}]
    assert statistics.missing(parts) == ["1/3"]
    assert statistics.missing([{"source": "x"}]) == []


def test_rank_deficient_statistics_closed_form(tmp_path: Path) -> None:
    """Σ = a e1e1ᵀ and b e1e1ᵀ: (√a - √b)² + ‖Δμ‖²; and in disjoint directions a + b (S0.16)."""
    zero, one, two = np.zeros((3, 3)), np.diag([4.0, 0, 0]), np.diag([9.0, 0, 0])
    mean = np.array([1.0, 2.0, 2.0])
    for first, second, wanted in (
        (one, two, 1.0),
        (one, np.diag([0, 9.0, 0]), 13.0),
        (zero, two, 9.0),
        (zero, zero, 0.0),
    ):
        distance = frechet.fid(Gaussian(mean, first), Gaussian(0 * mean, second))
        assert distance == pytest.approx(9 + wanted, rel=1e-12)


# ---------------------------------------------------------------------------- the verbs


def test_features_of_clean_fid(gt: Callable, files, sets, tmp_path: Path) -> None:
    """Its files for KID name their features `feats`."""
    np.savez_compressed(tmp_path / "kid.npz", feats=sets[1])
    found = [gt("metrics", "kid", files[0], f, "--json") for f in (files[1], tmp_path / "kid.npz")]
    assert json.loads(found[0].text)["kid"] == json.loads(found[1].text)["kid"]


def test_shards_and_merged_files_are_the_whole_for_fid(
    gt: Callable, files, sets, tmp_path: Path
) -> None:
    """fid of features = of statistics = of any number of shards = of shards merged."""
    x, y = files
    wanted = frechet.fid_from_features(*sets)
    real, parts = tmp_path / "real.safetensors", []
    assert gt("metrics", "stats", x, "-o", real).code == 0
    for i in range(3):
        parts.append(tmp_path / f"part-{i}.safetensors")
        done = gt("metrics", "stats", y, "--shard", f"{i}/3", "-o", parts[-1], "--json")
        assert done.code == 0, done.err
        assert json.loads(done.text)["count"] == len(sets[1][i::3])
    merged = tmp_path / "merged.safetensors"
    assert gt("metrics", "stats", parts[2], parts[0], parts[1], "-o", merged).err == ""
    for operands in ((x, y), (real, y), (real, *parts), (x, *parts[::-1]), (real, merged)):
        for ddof in (1, 0):
            done = gt("metrics", "fid", *operands, "--ddof", ddof, "--json")
            assert done.code == 0, done.err
            found = json.loads(done.text)
            exact = wanted if ddof else frechet.fid_from_features(*sets, 0)
            assert found["fid"] == pytest.approx(exact, rel=1e-10)
            assert found["protocol"]["fake"]["count"] == 77
    done = gt("metrics", "stats", parts[2], parts[0], "-o", tmp_path / "two.safetensors")
    assert "of the shards these are missing: 1/3" in done.err


def test_mu_and_sigma_of_other_projects_fixture(gt: Callable, fixtures: Path, tmp_path) -> None:
    """The .npz files of pytorch-fid, clean-fid and EDM give the fixture's figure (ddof 1)."""
    file = fixtures / "numerics" / "fid_features"
    t = load_file(file.with_suffix(".safetensors"))
    values = json.loads(file.with_suffix(".json").read_text())["values"]["full"]
    for name in ("real", "gen"):
        x = t[f"full.{name}"].astype(np.float64)
        arrays = {"mu": x.mean(axis=0), "sigma": np.cov(x, rowvar=False)}
        np.savez_compressed(tmp_path / f"{name}.npz", **arrays)
    np.savez(tmp_path / "features.npz", features=t["full.gen"])
    for fake in ("gen.npz", "features.npz"):
        done = gt("metrics", "fid", tmp_path / "real.npz", tmp_path / fake, "--json")
        assert done.code == 0, done.err
        found = json.loads(done.text)
        assert found["fid"] == pytest.approx(values["eigenvalue_route_ddof1"], rel=1e-8)
        assert found["fid"] == pytest.approx(values["pytorch_fid"], rel=1e-6)
        assert found["protocol"]["real"]["count"] == "not in the file"
    done = gt("metrics", "fid", tmp_path / "real.npz", tmp_path / "gen.npz", "--ddof", 0)
    assert done.code == 2 and "--ddof 0 needs a count" in done.err


def test_statistics_of_pictures(gt: Callable, tiny_network: Path, tmp_path: Path) -> None:
    """Shards of a folder and of a network count what one process counts; a flat picture is named
    and not averaged in."""
    folder, rng = tmp_path / "photos", np.random.default_rng(3)
    folder.mkdir()
    for i in range(9):
        pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        if i == 4:
            pixels[:] = 7
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "png")
        (folder / f"{i}.png").write_bytes(out.getvalue())
    flags = ("--features", "discriminator", "--net", tiny_network)
    fake = ("--num", 7)
    files = {}
    for what, operand in (("photos", (folder,)), ("made", fake)):
        for shard in ("0/1", "0/2", "1/2"):
            path = tmp_path / f"{what}-{shard.replace('/', '-')}.safetensors"
            done = gt("metrics", "stats", *operand, *flags, "--shard", shard, "-o", path)
            flat = what == "photos" and shard in ("0/1", "0/2")
            assert done.code == (1 if flat else 0), done.err
            assert ("4.png: a picture of one flat colour" in done.err) == flat
            files[what, shard] = statistics.load(path)
    for what, count in (("photos", 8), ("made", 7)):
        halves = [files[what, "0/2"], files[what, "1/2"]]
        both, whole = statistics.merged(halves).moments, files[what, "0/1"].moments
        assert isinstance(both, Moments) and isinstance(whole, Moments)
        assert both.count == whole.count == count
        np.testing.assert_allclose(both.mean, whole.mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(both.scatter, whole.scatter, rtol=1e-4, atol=1e-5)
        assert files[what, "0/2"].parts[0]["shard"] == "0/2"
    real = tmp_path / "photos-0-1.safetensors"
    direct = gt("metrics", "fid", folder, *flags, *fake, "--json")
    stored = gt("metrics", "fid", real, *flags, *fake, "--json")
    a, b = (json.loads(done.text) for done in (direct, stored))
    assert a["fid"] == pytest.approx(b["fid"], rel=1e-9)
    assert a["protocol"]["features_sha256"] == b["protocol"]["features_sha256"]
    assert b["protocol"]["real"]["parts"][0]["source"] == "photos"


def test_no_clobber_does_no_work(gt: Callable, files, tmp_path: Path) -> None:
    """What exists stays, whatever it is."""
    (tmp_path / "s.safetensors").write_bytes(b"mine")
    done = gt("metrics", "stats", files[0], "-o", tmp_path / "s.safetensors", "--no-clobber")
    assert (done.code, done.text) == (0, "")
    assert (tmp_path / "s.safetensors").read_bytes() == b"mine"


def damaged(tmp_path: Path) -> dict[str, Path]:
    """Files of statistics that are none, by what has to be said about them."""
    mean, eye = np.zeros(3), np.eye(3)
    arrays = {
        "expected [D] and [D, D]": (mean, eye[:2]),
        "are not finite": (mean * np.nan, eye),
        "its covariance is not symmetric": (mean, eye + np.triu(np.ones((3, 3)), 1)),
        "are int64 and float64": (np.zeros(3, int), eye),
    }
    files = {}
    for i, (why, (mu, sigma)) in enumerate(arrays.items()):
        files[why] = tmp_path / f"bad{i}.npz"
        np.savez(files[why], mu=mu, sigma=sigma)
    files["its count is no number"] = tmp_path / "bad.safetensors"
    count = {"count": np.zeros(2, np.int64), "mean": mean, "scatter": eye}
    save_file(count, files["its count is no number"])
    return files


def test_refusals(gt: Callable, files, tmp_path: Path) -> None:
    """One clear line each, exit status 2, and no file."""
    x, y = files
    real, out = tmp_path / "real.safetensors", tmp_path / "out.safetensors"
    assert gt("metrics", "stats", x, "-o", real).code == 0
    cases = {
        "statistics are a file: -o x.safetensors": ("stats", x),
        "statistics go to x.safetensors": ("stats", x, "-o", tmp_path / "x.npz"),
        "2 inputs: statistics are of one set": ("stats", x, y, "-o", out),
        "--shard and --mirror are for pictures": ("stats", real, "--shard", "0/2", "-o", out),
        "I/N with 0 <= I < N": ("stats", x, "--shard", "2/2", "-o", out),
        "no picture could be measured": ("stats", x, "--shard", "90/91", "-o", out),
        "what it counts is in real.safetensors already": ("stats", real, real, "-o", out),
        "statistics are for metrics fid and metrics stats": ("kid", real, y),
        "are for metrics fid": ("pr", x, real),
        "of several FAKE each must be": ("fid", x, real, y),
        "--splits: an interval needs": ("fid", real, y, "--splits", 3),
        "--mirror is for pictures: real": ("fid", real, y, "--mirror"),
        "y.npz holds what was made": ("stats", y, "--mirror", "-o", out),
        "leave INPUT out": ("stats", x, "--num", 5, "-o", out),
        **{why: ("fid", path, y) for why, path in damaged(tmp_path).items()},
    }
    for why, argv in cases.items():
        done = gt("metrics", *argv)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, (why, done.err)
    assert not out.exists()
