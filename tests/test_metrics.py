"""The commands `metrics fid` and `metrics kid`, and how text results are written (S0.16)."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gantools import report
from gantools.evaluation import frechet, kernel
from gantools.io import results
from gantools.io.latent import Latent
from gantools.networks.network import open_network

D = ("--features", "discriminator")


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures of noise with some colour of their own."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(10):
        pixels = generator.integers(0, 200, (16, 16, 3)) + generator.integers(0, 56, 3)
        (folder / f"{i}.png").write_bytes(png(pixels.astype(np.uint8)))
    return folder


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """Two files of features."""
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((40, 4)), generator.standard_normal((30, 4)) + 1
    x, y = x.astype(np.float32), y.astype(np.float32)
    np.savez(tmp_path / "x.npz", features=x)
    np.savez(tmp_path / "y.npz", features=y)
    return tmp_path / "x.npz", tmp_path / "y.npz", x, y


# ---------------------------------------------------------------------------- the verbs


def test_fid_of_files_of_features_s0_16(gt: Callable, files) -> None:
    """The printed number is the function's, to the last digit; ddof is a flag and is named."""
    x_file, y_file, x, y = files
    for ddof in (1, 0):
        done = gt("metrics", "fid", x_file, y_file, "--ddof", ddof, "--json")
        assert done.code == 0, done.err
        found = json.loads(done.text)
        assert found["fid"] == frechet.fid_from_features(x, y, ddof)
        assert found["protocol"]["ddof"] == ddof
        assert found["protocol"]["real"] == {"source": "x.npz", "kind": "features", "count": 40}
        assert found["protocol"]["fake"]["count"] == 30
    assert str(x_file.parent) not in done.text


def test_kid_of_files_of_features(gt: Callable, files) -> None:
    """kid is not multiplied by 1000; all pairs, or subsets that follow from --seed."""
    x_file, y_file, x, y = files
    exact = json.loads(gt("metrics", "kid", x_file, y_file, "--subsets", 0, "--json").text)
    assert exact["kid"] == kernel.mmd2(x, y) and "kid_std" not in exact
    runs = [
        json.loads(gt("metrics", "kid", x_file, y_file, "--seed", seed, "--json").text)
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] and runs[0]["kid"] != runs[2]["kid"]
    assert runs[0]["protocol"]["subset_size"] == 30
    assert runs[0]["kid"] == pytest.approx(exact["kid"], rel=0.2)


def test_intervals_are_named(gt: Callable, files) -> None:
    """--splits adds <key>_ci and says what it is."""
    for verb, how in (("fid", "jackknife over 5 parts"), ("kid", "t over 5 disjoint parts")):
        done = gt("metrics", verb, files[0], files[1], "--splits", 5, "--json")
        found = json.loads(done.text)
        low, high = found[f"{verb}_ci"]
        assert low < found[verb] < high
        assert how in found["protocol"]["interval"]


def test_folder_tar_zip_and_stdin_agree(
    gt: Callable, folder: Path, tmp_path: Path, tiny_network: Path
) -> None:
    """The same pictures in any form have the distance 0 and the same features."""
    with (
        tarfile.open(tmp_path / "p.tar", "w") as tar,
        zipfile.ZipFile(tmp_path / "p.zip", "w") as z,
    ):
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
            z.write(path, path.name)
    stream = (tmp_path / "p.tar").read_bytes()
    for other in (tmp_path / "p.tar", tmp_path / "p.zip", "-"):
        stdin = stream if other == "-" else b""
        done = gt("metrics", "fid", folder, other, *D, "--net", tiny_network, stdin=stdin)
        assert done.code == 0, done.err
        lines = dict(line.split("\t") for line in done.text.splitlines())
        assert abs(float(lines["fid"])) < 1e-6
        assert lines["protocol.real.count"] == lines["protocol.fake.count"] == "10"
        assert lines["protocol.real.size"] == "16x16"
        assert "dimensions: this FID is far above" in done.err


def test_network_as_fake_set_s0_16(gt: Callable, folder: Path, tiny_network: Path) -> None:
    """S0.16: --net and --num make the fake set; no batch size changes the number; all is named."""
    found = []
    for batch in (3, 8):
        done = gt(
            *("metrics", "fid", folder, *D, "--net", tiny_network),
            *("--num", 12, "--seed", 5, "--batch", batch, "--mirror", "--json"),
        )
        assert done.code == 0, done.err
        found.append(json.loads(done.text))
    assert found[0]["fid"] == pytest.approx(found[1]["fid"], rel=1e-5)
    assert found[0]["fid"] > 0
    protocol = found[0]["protocol"]
    assert protocol["real"] == {"source": "photos", "mirror": True, "size": "16x16", "count": 20}
    fake = protocol["fake"]
    assert fake["seeds"] == "5-16" and fake["count"] == 12 and fake["noise"] == "random"
    assert fake["network"] == "tiny" and fake["network_id"] == protocol["features_sha256"]
    assert fake["psi"] == 1.0 and fake["mirror"] is False
    assert {"features", "dimensions", "resize", "quantisation", "ddof", "version"} <= set(protocol)


def test_features_of_another_networks_discriminator(
    gt: Callable, folder: Path, tiny_network: Path, tmp_path: Path
) -> None:
    """--features FILE: two networks' pictures, seen by the discriminator of a third."""
    from conftest import make_network

    other = make_network(tmp_path / "other.safetensors", seed=5)
    found = []
    for net in (tiny_network, other):
        argv = ("metrics", "kid", folder, "--net", net, "--num", 8, "--features", tiny_network)
        done = gt(*argv, "--json")
        assert done.code == 0, done.err
        found.append(json.loads(done.text))
    own = ("metrics", "kid", folder, "--net", tiny_network, "--num", 8, *D, "--json")
    assert json.loads(gt(*own).text)["kid"] == pytest.approx(found[0]["kid"], rel=1e-9)
    one, two = (each["protocol"]["features_sha256"] for each in found)
    assert one == two == open_network(str(tiny_network)).id
    assert found[0]["kid"] != found[1]["kid"]


def test_latents_are_rendered(gt: Callable, tmp_path: Path, folder: Path, tiny_network) -> None:
    """Latents stand for their pictures, beside pictures in one folder."""
    from gantools.io.latent import Latent
    from gantools.io.seeds import z_from_seed

    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for seed in range(5):
        latent = Latent(f"seed{seed}", "z", {"z": z_from_seed(seed, 16)})
        (mixed / f"{seed}.safetensors").write_bytes(latent.to_bytes())
        (mixed / f"{seed}b.png").write_bytes((folder / f"{seed}.png").read_bytes())
    done = gt("metrics", "kid", folder, mixed, *D, "--net", tiny_network, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.text)["protocol"]["fake"]["count"] == 10


def test_latents_with_noise_keep_it(gt: Callable, tmp_path: Path, tiny_network: Path) -> None:
    """Pictures of nw+ latents and the latents themselves are one set; a damaged one is named."""
    network = open_network(str(tiny_network))
    draws = np.random.default_rng(0)
    folder = tmp_path / "latents"
    folder.mkdir()
    for key in "abcdef":
        tensors = {"w": draws.standard_normal((network.g.num_ws, 16))}
        for j, shape in enumerate(network.g.noise_shapes, 1):
            tensors[f"n.{j}"] = 9 * draws.standard_normal((1, *shape))
        small = {name: value.astype(np.float32) for name, value in tensors.items()}
        latent = Latent(key, "nw+", small, {"network": network.story()})
        (folder / f"{key}.safetensors").write_bytes(latent.to_bytes())
    net = ("--net", tiny_network)
    assert gt("generate", *net, folder, "-o", f"{tmp_path}/pictures/").code == 0
    done = gt("metrics", "fid", tmp_path / "pictures", folder, *net, *D, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.text)["fid"] == pytest.approx(0, abs=1e-6)
    latent.key, latent.header["psi"] = "g", "wide"
    latent.space, latent.tensors = "z", {"z": np.zeros(16, np.float32)}
    (folder / "g.safetensors").write_bytes(latent.to_bytes())
    done = gt("metrics", "fid", tmp_path / "pictures", folder, *net, *D, "--json")
    assert (done.code, "g.safetensors: its header's psi" in done.err) == (1, True), done.err
    assert json.loads(done.text)["protocol"]["fake"]["count"] == 6


def test_a_bad_picture_is_named_and_the_rest_is_measured(
    gt: Callable, folder: Path, tmp_path: Path, tiny_network: Path
) -> None:
    """Exit status 1; the counts say what was left."""
    bad = tmp_path / "bad"
    bad.mkdir()
    for path in folder.iterdir():
        (bad / path.name).write_bytes(path.read_bytes())
    (bad / "3.png").write_bytes((folder / "3.png").read_bytes()[:90])
    (bad / "4.png").write_bytes(png(np.full((16, 16, 3), 7, np.uint8)))
    done = gt("metrics", "kid", folder, bad, *D, "--net", tiny_network, "--json")
    assert done.code == 1
    assert "3.png" in done.err and "4.png: a picture of one flat colour" in done.err
    assert json.loads(done.text)["protocol"]["fake"]["count"] == 8


@pytest.mark.parametrize("verb", ["fid", "kid", "pr", "swd", "msssim", "positions", "nn", "stats"])
def test_a_flat_picture_is_named_in_every_set_metric(
    gt: Callable, tmp_path: Path, tiny_network: Path, verb: str
) -> None:
    """S0.16: one line with its name, exit 1, and the numbers of the set without it."""
    rng, folder = np.random.default_rng(0), tmp_path / "set"
    folder.mkdir()
    for i in range(8):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    features = ("--features", "discriminator", "--net", tiny_network)
    two = verb in ("fid", "kid", "pr", "swd", "nn")
    flags = {"swd": (), "msssim": (), "positions": ()}.get(verb, features)

    def run() -> tuple[int, str, dict]:
        out = ("-o", tmp_path / "x.safetensors") if verb == "stats" else ("--json",)
        done = gt("metrics", verb, *[folder] * (1 + two), *flags, *out)
        return done.code, done.err, {} if verb == "stats" else json.loads(done.text)

    code, err, whole = run()
    assert code == 0, err
    Image.new("RGB", (32, 32), (90, 90, 90)).save(folder / "grey.png")
    code, err, found = run()
    assert code == 1 and err.count("grey") == err.count("one flat colour") == 1 + two
    for name in whole.keys() - {"protocol"}:
        assert found[name] == whole[name], name


def test_features_of_two_networks_do_not_compare(
    gt: Callable, files, tmp_path: Path, folder: Path, tiny_network: Path
) -> None:
    """Files that name different extractors, or have different dimensions, are refused."""
    from gantools.evaluation import features

    for name, sha256 in (("a", "1" * 64), ("b", "2" * 64)):
        extract = features.Extractor(name, sha256, 4, "none", "cpu", lambda x: x)
        features.save(tmp_path / f"{name}.safetensors", files[2], extract)
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    done = gt("metrics", "fid", a, b)
    assert done.code == 2 and "features of two networks cannot be compared: a and b" in done.err
    assert gt("metrics", "fid", a, a).text.startswith("fid\t")
    done = gt("metrics", "fid", a, folder, *D, "--net", tiny_network)
    assert done.code == 2 and "cannot be compared" in done.err
    done = gt("metrics", "fid", files[0], folder, *D, "--net", tiny_network)
    assert done.code == 2 and "dimensions do not compare" in done.err


def test_usage(gt: Callable, files, folder: Path, tmp_path: Path, monkeypatch) -> None:
    """One line each, exit status 2, nothing on stdout."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    x, y = files[:2]
    cases = [
        (("-", "-"), "one of the two sets, not both"),
        ((x, y, "--features", "x.npz"), "a file of features is an operand"),
        ((folder, folder, "--features", x), "a file of features is an operand"),
        ((folder, folder, "--features", folder / "1.png"), "no network file"),
        ((x, y, "--splits", 1), "two parts or more"),
        ((x, y, "--splits", 30), "30 parts need 60 pictures"),
        ((x, y, "--num", 5), "leave FAKE out"),
        ((x, y, "-o", "x.png"), "text results go to x.json, x.tsv or -"),
        ((x, y, "-o", tmp_path / "none" / "x.json"), "does not exist"),
        ((tmp_path / "nowhere", y), "nowhere: no such file or folder"),
        ((folder, folder), "weights-inception-2015-12-05-6726825d.pth"),
        ((folder, folder, "--features", "mobilenet"), "mobilenet_v2_imagenet_int8.npz"),
    ]
    for argv, why in cases:
        done = gt("metrics", "fid", *argv)
        assert done.code == 2 and why in done.err, (argv, done.err)
        assert done.err.count("\n") == 1 and not done.out, (argv, done.err)


def test_nothing_heavy_before_a_usage_error(tmp_path: Path) -> None:
    """--help and a wrong flag do not import torch or numpy."""
    code = (
        "import sys; from gantools import cli; "
        "cli.run(['metrics', 'fid', '--help']); "
        "cli.run(['metrics', 'fid', 'a', 'b', '--features', 'c']); "
        "print([m for m in ('torch', 'numpy', 'PIL', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "$ gantools metrics fid" in done.stdout


@pytest.mark.data
def test_faces_are_nearer_to_faces(gt: Callable, shared: Path, tmp_path: Path, monkeypatch) -> None:
    """S0.16, S0.15: with MobileNetV2, other faces are nearer to faces than noise is."""
    from gantools.evaluation import features
    from gantools.io.image import decode

    monkeypatch.setenv("GANTOOLS_WEIGHTS", str(shared / "data/weights"))
    faces = zipfile.ZipFile(shared / "data/faces-celeba64/celeba64_20k.zip")
    names = sorted(name for name in faces.namelist() if name.endswith(".jpg"))[::10]
    generator = np.random.default_rng(0)
    sets = {
        "a": [decode(faces.read(name)) for name in names[:1600:80]],
        "b": [decode(faces.read(name)) for name in names[40:1640:80]],
        "noise": [generator.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(20)],
    }
    extract = features.extractor("mobilenet")
    for name, pictures in sets.items():
        stream = ((str(i), pixels) for i, pixels in enumerate(pictures))
        rows = np.concatenate([*features.of_pictures(stream, extract)])
        features.save(tmp_path / f"{name}.safetensors", rows, extract)
    found = {}
    for verb in ("fid", "kid"):
        for other in ("b", "noise"):
            argv = [tmp_path / f"{name}.safetensors" for name in ("a", other)]
            done = gt("metrics", verb, *argv, "--json", "--quiet")
            assert done.code == 0, done.err
            found[verb, other] = json.loads(done.text)[verb]
    assert found["fid", "b"] * 2 < found["fid", "noise"]
    assert abs(found["kid", "b"]) * 10 < found["kid", "noise"]
    few = tmp_path / "few"
    few.mkdir()
    for i, pixels in enumerate(sets["a"][:4]):
        (few / f"{i}.png").write_bytes(png(pixels))
    done = gt("metrics", "kid", tmp_path / "a.safetensors", few, "--features", "mobilenet")
    assert done.code == 0, done.err
    assert "protocol.features\tmobilenet\n" in done.text


# ---------------------------------------------------------------------------- text results

RESULTS = {
    "fid": 12.345678901234567,
    "fid_ci": [12.0, 13.0],
    "count": 3,
    "protocol": {"features": "a\tb\nc", "mirror": True, "psnr": float("inf"), "of": {"x": None}},
}


def test_lines_read_back_exactly() -> None:
    """`name<TAB>value`, inner names with dots, lists with spaces; one line each."""
    lines = results.as_lines(RESULTS).splitlines()
    assert lines == [
        "fid\t12.345678901234567",
        "fid_ci\t12.0 13.0",
        "count\t3",
        "protocol.features\ta b c",
        "protocol.mirror\ttrue",
        "protocol.psnr\tinf",
        "protocol.of.x\t",
    ]


def test_json_is_one_object_that_any_reader_takes() -> None:
    """No NaN or Infinity, which JSON does not have."""
    text = results.as_object(RESULTS)
    assert text.count("\n") == 1 and text.endswith("\n")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(text, parse_constant=refuse)
    assert found["fid"] == RESULTS["fid"] and found["protocol"]["psnr"] == "inf"


def test_outputs_are_repeatable_and_by_suffix(tmp_path: Path, capsys) -> None:
    """-o x.json -o x.tsv -o -; without -, nothing on standard output."""
    a, b = tmp_path / "a.json", tmp_path / "b.TSV"
    results.check([str(a), str(b), "-"])
    results.write(RESULTS, [str(a), str(b)])
    assert capsys.readouterr().out == ""
    results.write(RESULTS, [str(a), "-"], as_json=True)
    assert capsys.readouterr().out == a.read_text() == results.as_object(RESULTS)
    assert b.read_text() == results.as_lines(RESULTS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b.TSV"]
    for bad in ("x.png", "x", str(tmp_path), str(tmp_path / "no" / "x.json")):
        with pytest.raises(report.Usage):
            results.check([bad])


def test_a_terminal_gets_an_aligned_table(files) -> None:
    """On a terminal: a table with rounded numbers; text is welcome there."""
    leader, follower = pty.openpty()
    argv = [sys.executable, "-m", "gantools", "metrics", "fid", *map(str, files[:2])]
    with subprocess.Popen(argv, stdout=follower, stderr=subprocess.PIPE) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.wait() == 0, process.stderr and process.stderr.read()
    os.close(leader)
    lines = [line for line in shown.decode().splitlines() if line.strip()]
    assert lines[0].startswith("fid ") and "\t" not in lines[0]
    value = lines[0].split()[-1]
    assert len(value) <= 8
    assert len({line.index(line.split()[1]) for line in lines[:2]}) == 1
