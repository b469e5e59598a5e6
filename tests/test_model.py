"""gantools model: info, import and list, through the command line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from gantools.io import foreign, network

Run = Callable[..., Any]


def _table(text: str) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in text.splitlines())


def test_info_of_a_foreign_file(gt: Run, fixtures: Path) -> None:
    """Family, parts, parameters, configuration, origin, and both numbers of every layer."""
    path = fixtures / "sg2ada_pt_r32_skip.pkl"
    done = gt("model", "info", path)
    said = _table(done.text)
    assert (done.code, done.err) == (0, "")
    assert (said["family"], said["resolution"], said["parts"]) == ("stylegan2", "32", "g_ema g d")
    assert said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert said["sources.0.name"] == path.name
    assert (said["trained_on"], said["licence"], said["crop"]) == ("x.zip", "-", "-")
    assert said["config.g.widths"] == "32 32 32 16"
    assert said["layer.0"].startswith("block 1, 4x4, 32 channels, b4.conv1")
    assert said["layer.7"] == "block 8, 32x32, 3 channels, b32.torgb"
    assert "layer.8" not in said


def test_info_counts_trained_numbers(gt: Run, tiny_network: Path) -> None:
    """Parameters are those that torch counts; noise maps and averages are not among them."""
    from gantools.networks.stylegan2 import Generator
    from gantools.networks.stylegan2_config import GeneratorConfig

    said = json.loads(gt("model", "info", tiny_network, "--json").text)
    g = Generator(GeneratorConfig.from_dict(network.load(tiny_network).config["g"]))
    assert said["parameters"]["g_ema"] == sum(p.numel() for p in g.parameters())
    assert said["id"] == network.header(tiny_network)["id"]
    assert said["parts"] == ["g_ema", "d"]
    assert said["crop"]["landmarks"][0] == [0.33, 0.31]
    assert [row["layer"] for row in said["layers"]] == list(range(6))
    assert [row["block"] for row in said["layers"]] == list(range(1, 7))
    assert said["layers"][1]["modules"] == "b8.conv0 b4.torgb"


def test_info_of_stylegan3(gt: Run, fixtures: Path) -> None:
    """Layer 0 is the Fourier input, the last is ToRGB."""
    said = json.loads(gt("model", "info", fixtures / "sg3t_r32.pkl", "--json").text)
    assert (said["family"], len(said["layers"])) == ("stylegan3", 16)
    assert said["layers"][0] == {
        "layer": 0,
        "block": 1,
        "resolution": 36,
        "size": [36, 36],
        "modules": "input",
        "channels": 16,
    }
    assert said["layers"][15]["modules"] == "L14_32_3"


def test_info_goes_to_files(gt: Run, fixtures: Path, tmp_path: Path) -> None:
    """-o x.json|x.tsv, repeatable; another suffix is refused before any work."""
    outputs = ("-o", tmp_path / "a.json", "-o", tmp_path / "a.tsv")
    done = gt("model", "info", fixtures / "sg2_tf_v5_ada_uncond.pkl", *outputs)
    assert (done.code, done.out) == (0, b"")
    assert json.loads((tmp_path / "a.json").read_text())["config"]["g"]["conv_clamp"] == 256
    assert _table((tmp_path / "a.tsv").read_text())["config.g.conv_clamp"] == "256.0"
    refused = gt("model", "info", tmp_path / "missing", "-o", tmp_path / "a.png")
    assert refused.code == 2
    assert "x.json, x.tsv" in refused.err


@pytest.mark.parametrize(
    "name", ["sg2ada_pt_r16_era.pkl", "sg2_tf_v4_skip.pkl", "rosinality_converted_gd.pt"]
)
def test_import_keeps_every_bit(name: str, gt: Run, fixtures: Path, tmp_path: Path) -> None:
    """Issue 1: `model import x.pkl -o y.safetensors` round-trips bit-exactly."""
    target = tmp_path / "y.safetensors"
    done = gt("model", "import", fixtures / name, "-o", target, "--licence", "CC BY-NC 4.0")
    assert (done.code, done.out) == (0, b"")
    source, written = foreign.read(fixtures / name), load_file(target)
    assert set(source.tensors) == set(written)
    assert all(written[n].tobytes() == t.tobytes() for n, t in source.tensors.items())
    header = network.header(target)
    assert header["licence"] == "CC BY-NC 4.0"
    assert header["sources"][0]["sha256"] == source.meta["sources"][0]["sha256"]
    assert [p.name for p in tmp_path.iterdir()] == ["y.safetensors"]


def test_import_without_an_output_is_found_by_name(
    gt: Run, fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes where --net and `model list` look."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    done = gt("model", "import", fixtures / "sg2_tf_v5_ada_uncond.pkl", "--trained-on", "faces")
    assert done.code == 0
    said = json.loads(gt("model", "info", "sg2_tf_v5_ada_uncond", "--json").text)
    assert (said["trained_on"], said["file"]) == ("faces", "sg2_tf_v5_ada_uncond.safetensors")
    rows = [line.split("\t") for line in gt("model", "list").text.splitlines()]
    mine = [row for row in rows if row[0] == "sg2_tf_v5_ada_uncond"]
    assert mine == [[mine[0][0], "stylegan2", "16", said["id"][:12], said["file"]]]


def test_what_stands_here_under_a_networks_name(
    gt: Run, tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures in faces64/ hide no network; nothing here is taken where none is asked for."""
    monkeypatch.chdir(tmp_path)
    packaged = network.find(None)
    folder = tmp_path / network.PACKAGED
    folder.mkdir()
    (folder / "one.png").write_bytes(b"a picture")
    assert network.find(None) == network.find(network.PACKAGED) == packaged
    shutil.copy(tiny_network, folder / "best.safetensors")  # a run of that name is meant
    assert network.find(network.PACKAGED) == Path(network.PACKAGED, "best.safetensors")
    assert network.find(None) == packaged
    shutil.rmtree(folder)
    folder.write_bytes(b"")
    assert network.find(None) == packaged
    assert gt("model", "info").code == gt("model", "info", str(packaged)).code == 0
    refused = gt("model", "info", network.PACKAGED)
    assert refused.code == 2 and "faces64: an empty file" in refused.err
    (tmp_path / "empty").mkdir()
    assert "empty: a folder without best.safetensors" in gt("model", "info", "empty").err


def test_list_names_what_is_no_network(
    gt: Run, tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken file in the folder fails alone; the others are listed, exit 1."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "gantools" / "networks"
    folder.mkdir(parents=True)
    shutil.copy(tiny_network, folder / "mine.safetensors")
    (folder / "broken.safetensors").write_bytes(b"12345678{")
    done = gt("model", "list", "--json")
    assert done.code == 1
    assert "broken.safetensors: not a network" in done.err
    names = [entry["name"] for entry in json.loads(done.text)["networks"]]
    assert "mine" in names
    assert "broken" not in names


def test_import_refusals(gt: Run, fixtures: Path, tmp_path: Path) -> None:
    """One line, exit 2, nothing written; --no-clobber does nothing, and that is no failure."""
    good = fixtures / "sg2_tf_v5_ada_uncond.pkl"
    for argv, words in [
        ((good, "-o", "-"), "written to a file"),
        ((good, "-o", tmp_path / "y.pkl"), "x.safetensors"),
        ((good, "-o", tmp_path / "no" / "y.safetensors"), "no such folder"),
        ((tmp_path / "missing.pkl", "-o", tmp_path / "y.safetensors"), "no such network"),
        ((fixtures / "numerics", "-o", tmp_path / "y.safetensors"), "a folder without"),
        ((fixtures / "malicious" / "zip_bomb_200MB.pth", "-o", f"{tmp_path}/"), "compressed"),
    ]:
        done = gt("model", "import", *argv)
        assert (done.code, done.out) == (2, b"")
        assert words in done.err
        assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "y.safetensors").write_bytes(b"mine")
    done = gt("model", "import", good, "-o", tmp_path / "y.safetensors", "--no-clobber")
    assert done.code == 0
    assert (tmp_path / "y.safetensors").read_bytes() == b"mine"


def test_failed_import_leaves_the_old_file(
    gt: Run, fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up in the middle: the old network stays, no litter."""
    from gantools.io import tensorfile

    target = tmp_path / "y.safetensors"
    target.write_bytes(b"old")
    written = 0

    def full(file: Any, value: np.ndarray) -> None:
        nonlocal written
        written += 1
        if written == 5:
            raise OSError(28, "No space left on device")
        file.write(value.tobytes())

    monkeypatch.setattr(tensorfile, "_write_one", full)
    done = gt("model", "import", fixtures / "sg2_tf_v5_ada_uncond.pkl", "-o", target)
    assert done.code == 2
    assert "no space left" in done.err.lower()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("y.safetensors", b"old")]


@pytest.mark.parametrize(
    "name", sorted(p.name for p in (Path(__file__).parent / "fixtures/malicious").glob("*.*[!n]"))
)
def test_hostile_files_on_the_command_line(
    name: str, gt: Run, fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 1: one clear line and exit 2, or an inert reading; never a side effect."""
    monkeypatch.chdir(tmp_path)
    done = gt("model", "info", fixtures / "malicious" / name)
    assert list(tmp_path.iterdir()) == []
    if done.code == 0:
        assert done.text.startswith(f"file\t{name}\n")
        return
    assert (done.code, done.out) == (2, b"")
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"gantools model info: {name}: ")


def test_info_and_import_need_no_torch(fixtures: Path, tmp_path: Path) -> None:
    """design.md 2: as real processes, with torch made unimportable."""
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')\n")
    root = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    source = fixtures / "sg2ada_pt_r16_era.pkl"
    for argv in (["info", source], ["import", source, "-o", tmp_path / "y.safetensors"]):
        run = [sys.executable, "-m", "gantools", "model", *map(str, argv)]
        done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
